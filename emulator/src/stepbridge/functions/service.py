"""The Lambda API."""

import base64
from collections.abc import Callable
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.models import operation_model
from stepbridge.api.service import Caller, Members, Service
from stepbridge.clock import Clock
from stepbridge.functions import configuration as configurations
from stepbridge.functions.aws_calls import AwsCalls, Permissions, function_session
from stepbridge.functions.code import CodePackage
from stepbridge.functions.code_signing import CodeSigning, CodeSigningOperations
from stepbridge.functions.concurrency import ACCOUNT_CONCURRENCY
from stepbridge.functions.concurrency_operations import ConcurrencyOperations
from stepbridge.functions.event_sources import EventSourceOperations, EventSources
from stepbridge.functions.invoker import Functions
from stepbridge.functions.layers import LayerOperations, LayerRegistry
from stepbridge.functions.management import ManagementOperations, ManagementSettings
from stepbridge.functions.names import LATEST, FunctionName
from stepbridge.functions.pagination import page
from stepbridge.functions.policies import PolicyOperations
from stepbridge.functions.provisioned import versions_of
from stepbridge.functions.queues import queue_url
from stepbridge.functions.refusals import conflict, invalid, revision_differs
from stepbridge.functions.registry import Configuration
from stepbridge.functions.streamed_invocations import StreamOperations
from stepbridge.functions.tags import TagOperations
from stepbridge.functions.urls import FunctionUrlRegistry, UrlOperations
from stepbridge.functions.versions import VersionOperations
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

MAX_ZIP = 52_428_800  # bytes, uploaded directly; larger packages come by way of S3


class LambdaService(
    VersionOperations,
    ConcurrencyOperations,
    CodeSigningOperations,
    LayerOperations,
    EventSourceOperations,
    ManagementOperations,
    PolicyOperations,
    TagOperations,
    UrlOperations,
    StreamOperations,
    Service,
):
    """Lambda's operations on :class:`~stepbridge.functions.invoker.Functions`, which is `functions`."""

    service_name = "lambda"

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        trace: Trace,
        endpoint: Callable[[], str],
        calls: AwsCalls,
        permissions: Permissions,
    ) -> None:
        self.functions = Functions(settings, store, clock, trace, endpoint, calls, permissions)
        self._registry = self.functions.registry
        self.urls = FunctionUrlRegistry(store)
        self._signing = CodeSigning(settings, store, trace, calls, self.functions.code)
        self._layers = LayerRegistry(store, settings)
        self._management = ManagementSettings(store)
        self._sources = EventSources(settings, store, clock, trace, self.functions)
        self._trace = trace
        self._permissions = permissions
        self._settings = settings
        self._endpoint = endpoint
        self._store = store
        self._clock = clock
        self._calls = calls

    async def start(self) -> None:
        """Be ready to invoke, and go on with what was accepted before."""
        self.functions.code.prune(self._registry.all_packages() | self._layers.all_packages())
        await self.functions.start()
        self._sources.start()

    async def drain(self) -> None:
        """The emulator is about to stop: finish what runs.  What functions call must answer as long as this takes."""
        await self.functions.drain()

    async def stop(self) -> None:
        """End everything that runs."""
        await self._sources.stop()
        await self.functions.stop()

    def queue_has_messages(self, queue_arn: str, delay: float) -> None:
        """A queue has a message to be received after `delay` seconds."""
        self._sources.queue_has_messages(queue_arn, delay)

    # Functions

    async def create_function(self, caller: Caller, request: Members) -> Members:
        name = self._name(request)
        if self._registry.exists(name.name):
            raise conflict(f"Function already exist: {name.name}")
        new = configurations.new_configuration(name, request, CodePackage("", 0), self._clock.now())
        self._apply_layers(new, request)
        await self._check_role(new, request)
        signing = request.get("CodeSigningConfigArn")
        if signing is not None:
            self._signing.require(signing)
        code = request.get("Code", {})
        configurations.apply_code(new, await self._package(code, "CreateFunction"), code.get("SourceKMSKeyArn"))
        await self._signing.check(new, signing)
        if self._registry.exists(name.name):  # while its package was fetched
            raise conflict(f"Function already exist: {name.name}")
        if signing is not None:  # it may be gone by now
            self._signing.require(signing)
        self._registry.create(name.name, new, request.get("Tags", {}))
        self._signing.assign(name.name, signing)
        if request.get("Publish"):
            new = self._publish(name.name, new, None)
        await self._store.committed()
        self.functions.warm_up(new["Runtime"])
        return new

    async def get_function(self, caller: Caller, request: Members) -> Members:
        name = self._name(request)
        found = self._registry.resolve(name)
        function = self._registry.function(name)
        answer: Members = {
            "Configuration": configurations.qualified(found, name.qualifier),
            "Code": {"RepositoryType": "S3", "Location": self.functions.location(found["CodeSha256"])},
        }
        if "SourceKMSKeyArn" in found:
            answer["Code"]["SourceKMSKeyArn"] = found["SourceKMSKeyArn"]
        if function.tags:
            answer["Tags"] = function.tags
        if function.reserved_concurrency is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved_concurrency}
        return answer

    async def get_function_configuration(self, caller: Caller, request: Members) -> Members:
        name = self._name(request)
        return configurations.qualified(self._registry.resolve(name), name.qualifier)

    async def list_functions(self, caller: Caller, request: Members) -> Members:
        found = list(self._registry.all_latest())
        if request.get("FunctionVersion") == "ALL":
            found = [
                configurations.qualified(version, version["Version"])
                for latest in found
                for version in self._registry.versions(latest["FunctionName"])
            ]
        return page("Functions", found, request)

    async def update_function_code(self, caller: Caller, request: Members) -> Members:
        name = self._registry.unqualified(self._name(request))
        _check_revision(self._registry.version(name, LATEST), request)
        if "PublishTo" in request:
            raise configurations.not_offered("PublishTo is")
        package = await self._package(request, "UpdateFunctionCode")

        def changed() -> Configuration:
            new = self._latest(name, request)
            if "Architectures" in request:
                new["Architectures"] = request["Architectures"]
            configurations.apply_code(new, package, request.get("SourceKMSKeyArn"))
            return new

        await self._signing.check(changed(), self._signing.of_function(name.name))
        if request.get("DryRun"):
            return changed()
        return await self._put_latest(name, changed(), publish=request.get("Publish", False))

    async def update_function_configuration(self, caller: Caller, request: Members) -> Members:
        name = self._registry.unqualified(self._name(request))

        def changed() -> Configuration:
            new = self._latest(name, request)
            configurations.apply_settings(new, request)
            self._apply_layers(new, request)
            return new

        if "Layers" in request:
            await self._signing.check(changed(), self._signing.of_function(name.name))
        await self._check_role(changed(), request)
        return await self._put_latest(name, changed())

    async def delete_function(self, caller: Caller, request: Members) -> Members:
        name = self._name(request)
        if name.qualifier == LATEST:
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        if name.qualifier is None:
            self._registry.function(name)
            self._registry.delete(name.name)
        else:
            self._registry.version(name, name.qualifier)
            aliases = self._registry.aliases(name.name)
            if using := [alias["Name"] for alias in aliases if name.qualifier in versions_of(alias)]:
                raise conflict(
                    f"Unable to delete version because the following aliases reference it: [{', '.join(using)}]"
                )
            self._registry.delete_version(name.name, name.qualifier)
        self.functions.deleted(name.name, name.qualifier)
        await self._store.committed()
        return {}

    async def get_account_settings(self, caller: Caller, request: Members) -> Members:
        found = list(self._registry.all_latest())
        return {
            "AccountLimit": {
                "TotalCodeSize": 80_530_636_800,
                "CodeSizeUnzipped": 262_144_000,
                "CodeSizeZipped": MAX_ZIP,
                "ConcurrentExecutions": ACCOUNT_CONCURRENCY,
                "UnreservedConcurrentExecutions": self.functions.concurrency.unreserved(),
            },
            "AccountUsage": {"TotalCodeSize": sum(one["CodeSize"] for one in found), "FunctionCount": len(found)},
        }

    # Invoke

    async def invoke(self, caller: Caller, request: Members) -> Members:
        for member in ("DurableExecutionName", "TenantId"):
            if member in request:
                raise configurations.not_offered(f"{member} is")
        log_tail = request.get("LogType") == "Tail"
        result = await self.functions.invoke(
            request["FunctionName"],
            request.get("Payload", b""),
            qualifier=request.get("Qualifier"),
            invocation_type=request.get("InvocationType", "RequestResponse"),
            client_context=request.get("ClientContext"),
            log_tail=log_tail,
        )
        answer: Members = {
            "StatusCode": result.status_code,
            "Payload": result.payload,
            "ExecutedVersion": result.executed_version,
        }
        if result.function_error is not None:
            answer["FunctionError"] = result.function_error
        if result.log_tail is not None:
            answer["LogResult"] = base64.b64encode(result.log_tail).decode()
        return answer

    async def invoke_async(self, caller: Caller, request: Members) -> Members:
        event = {"FunctionName": request["FunctionName"], "Payload": request["InvokeArgs"], "InvocationType": "Event"}
        answer = await self.invoke(caller, event)
        return {"Status": answer["StatusCode"]}

    # What operations share

    def _name(self, request: Members) -> FunctionName:
        return self.functions.name(request["FunctionName"], request.get("Qualifier"))

    def _latest(self, name: FunctionName, request: Members) -> Configuration:
        """$LATEST, to be changed: read anew after each wait, in which others may have changed or deleted it.

        Raises ResourceNotFoundException, and PreconditionFailedException if it is not of the revision asked for.
        """
        latest = self._registry.version(name, LATEST)
        _check_revision(latest, request)
        return {**latest}

    def _apply_layers(self, configuration: Configuration, request: Members) -> None:
        if "Layers" not in request:
            return
        layers = self._layers.of_function(request["Layers"], configuration["Runtime"])
        configuration.pop("Layers", None)
        if layers:
            configuration["Layers"] = layers

    async def _check_role(self, configuration: Configuration, request: Members) -> None:
        """Raises InvalidParameterValueException for a role that Lambda may not assume, or that cannot send failures.

        A role that IAM does not have passes, as functions may be tried without one here.
        """
        role, arn = configuration["Role"], configuration["FunctionArn"]
        if "Role" in request and not await self._permissions.may_assume("lambda.amazonaws.com", role, arn):
            raise invalid("The role defined for the function cannot be assumed by Lambda.")
        target = request.get("DeadLetterConfig", {}).get("TargetArn")
        if not target:
            return
        service, action, members = "SNS", "Publish", {"TopicArn": target}
        if ":sqs:" in target:
            service, action, members = "SQS", "SendMessage", {"QueueUrl": queue_url(target)}
        operation = operation_model(service.lower(), action)
        try:
            await self._permissions.require(function_session(role, arn), operation, members)
        except AwsError as error:
            raise invalid(
                f"The provided execution role does not have permissions to call {action} on {service}"
            ) from error

    async def _package(self, code: Members, operation: str) -> CodePackage:
        if "ImageUri" in code:
            raise configurations.not_offered("Functions from container images (ImageUri) are")
        if code.get("S3ObjectStorageMode") == "REFERENCE":
            raise configurations.not_offered("The S3ObjectStorageMode REFERENCE is")
        if "ZipFile" in code:
            if len(code["ZipFile"]) > MAX_ZIP:
                raise AwsError(
                    "RequestEntityTooLargeException",
                    f"Request must be smaller than 70167211 bytes for the {operation} operation",
                    status=413,
                )
            return await self.functions.code.keep(code["ZipFile"])
        if "S3Bucket" not in code or "S3Key" not in code:
            raise invalid("Please provide a source for function code.")
        members: dict[str, Any] = {"Bucket": code["S3Bucket"], "Key": code["S3Key"]}
        if "S3ObjectVersion" in code:
            members["VersionId"] = code["S3ObjectVersion"]
        try:
            answer = await self._calls.call("s3", "GetObject", **members)
        except AwsError as error:
            raise invalid(
                f"Error occurred while GetObject. S3 Error Code: {error.code}. S3 Error Message: {error.message}"
            ) from error
        return await self.functions.code.keep(answer["Body"])

    async def _put_latest(self, name: FunctionName, changed: Configuration, *, publish: bool = False) -> Configuration:
        configurations.touch(changed, self._clock.now())
        self._registry.put_version(name.name, LATEST, changed)
        if publish:
            changed = self._publish(name.name, changed, None)
        await self._store.committed()
        self.functions.changed(name.name)
        self.functions.warm_up(changed["Runtime"])
        return changed


def _check_revision(configuration: Configuration, request: Members) -> None:
    if request.get("RevisionId", configuration["RevisionId"]) != configuration["RevisionId"]:
        raise revision_differs()
