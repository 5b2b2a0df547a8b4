"""The part of the Lambda API that is about reserved and provisioned concurrency."""

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.clock import Clock
from stepbridge.functions.concurrency import MIN_UNRESERVED
from stepbridge.functions.invoker import Functions
from stepbridge.functions.names import LATEST, FunctionName
from stepbridge.functions.pagination import page
from stepbridge.functions.pool import MAX_PROVISIONED
from stepbridge.functions.provisioned import Provisioned, unpublished
from stepbridge.functions.refusals import invalid, not_found
from stepbridge.functions.registry import FunctionRegistry
from stepbridge.store import Store


class ConcurrencyOperations:
    """Reserved and provisioned concurrency; a part of :class:`~service.LambdaService`."""

    functions: Functions
    _registry: FunctionRegistry
    _store: Store
    _clock: Clock

    # Reserved

    async def put_function_concurrency(self, caller: Caller, request: Members) -> Members:
        name = self._registry.unqualified(self.functions.name(request["FunctionName"]))
        function = self._registry.function(name)
        reserved = request["ReservedConcurrentExecutions"]
        concurrency = self.functions.concurrency
        if concurrency.unreserved() + concurrency.claimed(function) - reserved < MIN_UNRESERVED:
            raise invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{MIN_UNRESERVED}]."
            )
        provisioned = concurrency.provisioned(function.name)
        if reserved < provisioned:
            raise invalid(
                f"ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned "
                f"concurrency [{provisioned}]."
            )
        function.reserved_concurrency = reserved
        self._registry.save(function)
        await self._store.committed()
        return {"ReservedConcurrentExecutions": reserved}

    async def get_function_concurrency(self, caller: Caller, request: Members) -> Members:
        function = self._registry.function(self._registry.unqualified(self.functions.name(request["FunctionName"])))
        if function.reserved_concurrency is None:
            return {}
        return {"ReservedConcurrentExecutions": function.reserved_concurrency}

    async def delete_function_concurrency(self, caller: Caller, request: Members) -> Members:
        function = self._registry.function(self._registry.unqualified(self.functions.name(request["FunctionName"])))
        function.reserved_concurrency = None
        self._registry.save(function)
        await self._store.committed()
        return {}

    # Provisioned

    async def put_provisioned_concurrency_config(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"], request["Qualifier"])
        requested = request["ProvisionedConcurrentExecutions"]
        if name.qualifier == LATEST:
            raise unpublished()
        self._require_qualifier(name)
        provisioned = self.functions.provisioned
        alias = self._registry.alias(name, name.qualifier or "")
        if alias is None:
            provisioned.check_version(name)
        else:
            if "RoutingConfig" in alias:
                raise invalid("Alias with weights can not be used with Provisioned Concurrency")
            provisioned.check_alias(name, alias)
        self._check_limits(name, requested)
        configured = Provisioned(name.name, name.qualifier or "", requested, self._clock.now())
        provisioned.put(configured)
        await self._store.committed()
        return provisioned.describe(configured)

    async def get_provisioned_concurrency_config(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"], request["Qualifier"])
        self._require_qualifier(name)
        configured = self.functions.provisioned.get(name.name, name.qualifier or "")
        if configured is None:
            raise AwsError(
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
                members={"Type": "User"},
            )
        return self.functions.provisioned.describe(configured)

    async def delete_provisioned_concurrency_config(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"], request["Qualifier"])
        self._require_qualifier(name)
        self.functions.provisioned.delete(name.name, name.qualifier or "")
        await self._store.committed()
        return {}

    async def list_provisioned_concurrency_configs(self, caller: Caller, request: Members) -> Members:
        name = self._registry.unqualified(self.functions.name(request["FunctionName"]))
        found = [
            {
                "FunctionArn": f"{name.unqualified_arn}:{configured.qualifier}",
                **self.functions.provisioned.describe(configured),
            }
            for configured in self.functions.provisioned.of_function(name.name)
        ]
        return page("ProvisionedConcurrencyConfigs", found, request)

    def _require_qualifier(self, name: FunctionName) -> None:
        """Raises ResourceNotFoundException unless the version or alias is there."""
        self._registry.function(name)
        qualifier = name.qualifier or ""
        if qualifier == LATEST:
            raise invalid("The function resource provided must be an alias or a published version.")
        if qualifier.isdecimal():
            self._registry.version(name, qualifier)
        elif self._registry.alias(name, qualifier) is None:
            raise not_found(f"Cannot find alias arn: {name.arn}")

    def _check_limits(self, name: FunctionName, requested: int) -> None:
        """Raises InvalidParameterValueException for more than AWS would give, or than there is on this machine."""
        concurrency, provisioned = self.functions.concurrency, self.functions.provisioned
        function = self._registry.function(name)
        before = provisioned.get(name.name, name.qualifier or "")
        replaced = before.requested if before is not None else 0
        if function.reserved_concurrency is not None:
            if concurrency.provisioned(name.name) - replaced + requested > function.reserved_concurrency:
                raise invalid(
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for "
                    "function"
                )
        else:
            unreserved = concurrency.unreserved() + replaced
            if requested > unreserved:
                raise invalid(
                    "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
                    f"[{unreserved}]."
                )
            if unreserved - requested < MIN_UNRESERVED:
                raise invalid(
                    "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                    f"below its minimum value of [{MIN_UNRESERVED}]."
                )
        others = sum(configured.requested for configured in provisioned.all()) - replaced
        if others + requested > MAX_PROVISIONED:
            raise invalid(
                f"stepbridge provisions at most {MAX_PROVISIONED} execution environments, which are processes on this "
                f"machine, for all functions together. Ask for {MAX_PROVISIONED - others} or fewer"
                + (f": {others} are taken." if others else ", as by a parameter of the template.")
            )
