"""Provisioned concurrency: execution environments that are ready before an invocation asks for one.

A configuration stands on a version, or on an alias for the version that it points to; it is kept in the database, and
the pool has the environments.  How far it has come is asked of the pool each time, so that it is true after a start of
the emulator, too, when the environments are started anew.

https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.functions.environment import EnvironmentPlan
from stepbridge.functions.names import LATEST, FunctionName
from stepbridge.functions.pool import EnvironmentPool, Kept
from stepbridge.functions.refusals import conflict, invalid
from stepbridge.functions.registry import Configuration, FunctionRegistry
from stepbridge.store import Store

_SCHEMA = [
    """
    CREATE TABLE lambda_provisioned_concurrency (
        name TEXT NOT NULL REFERENCES lambda_functions ON DELETE CASCADE,
        qualifier TEXT NOT NULL,
        requested INTEGER NOT NULL,
        last_modified REAL NOT NULL,
        PRIMARY KEY (name, qualifier)
    ) STRICT
    """
]


Alias = dict[str, Any]


def unpublished() -> AwsError:
    return invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")


def versions_of(alias: Alias) -> set[str]:
    """The versions that an alias leads to."""
    return {alias["FunctionVersion"], *alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})}


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What is asked for: `requested` environments for what `qualifier`, a version or alias, stands for."""

    function: str
    qualifier: str
    requested: int
    last_modified: float


class ProvisionedConcurrency:
    """The configurations, and their environments in `pool`.

    `plan` makes the plan of a version's environments on demand.  Durable after `store.committed()`.
    """

    def __init__(
        self,
        store: Store,
        registry: FunctionRegistry,
        pool: EnvironmentPool,
        name: Callable[[str], FunctionName],
        plan: Callable[[Configuration], EnvironmentPlan],
    ) -> None:
        store.migrate("lambda_provisioned_concurrency", _SCHEMA)
        self._store = store
        self._registry = registry
        self._pool = pool
        self._name = name
        self._plan = plan
        self._configured = self._read()
        self._plans: dict[tuple[str, str], EnvironmentPlan] = {}  # of the environments there are, by function, version

    def start(self) -> None:
        """Start the environments of all configurations."""
        for function in {configured.function for configured in self._configured.values()}:
            self.allocate(function)

    # Configurations

    def get(self, function: str, qualifier: str) -> Provisioned | None:
        return self._configured.get((function, qualifier))

    def of_function(self, function: str) -> list[Provisioned]:
        """The configurations of a function, by qualifier."""
        return [configured for key, configured in sorted(self._configured.items()) if key[0] == function]

    def all(self) -> list[Provisioned]:
        return list(self._configured.values())

    def put(self, configured: Provisioned) -> None:
        """Make or replace a configuration, and have the environments."""
        self._store.execute(
            "INSERT OR REPLACE INTO lambda_provisioned_concurrency VALUES (?, ?, ?, ?)",
            (configured.function, configured.qualifier, configured.requested, configured.last_modified),
        )
        self._configured[configured.function, configured.qualifier] = configured
        self.allocate(configured.function)

    def delete(self, function: str, qualifier: str) -> None:
        """Remove a configuration, if there is one, and its environments."""
        if self._configured.pop((function, qualifier), None) is None:
            return
        self._store.execute(
            "DELETE FROM lambda_provisioned_concurrency WHERE name = ? AND qualifier = ?", (function, qualifier)
        )
        self.allocate(function)

    def function_deleted(self, function: str) -> None:
        """The function is gone, and with it the configurations in the database."""
        self._configured = {key: value for key, value in self._configured.items() if key[0] != function}
        self.allocate(function)

    def check_version(self, name: FunctionName) -> None:
        """Raises ResourceConflictException for a version that has environments by way of an alias.

        Each version has them once at most: of its own, or by one alias that points to it.
        https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
        """
        if any(name.qualifier in versions_of(alias) for alias in self._provisioned_aliases(name)):
            raise conflict("Version is pointed by a Provisioned Concurrency alias")

    def check_alias(self, name: FunctionName, alias: Alias) -> None:
        """Raises what AWS answers if the versions of an alias cannot have environments by way of it.

        InvalidParameterValueException for $LATEST, ResourceConflictException for versions that have them already.
        """
        wanted = versions_of(alias)
        if LATEST in wanted:
            raise unpublished()
        taken = {one.qualifier for one in self.of_function(name.name)}
        for other in self._provisioned_aliases(name):
            if other["Name"] != alias["Name"]:
                taken |= versions_of(other)
        if wanted & taken:
            raise conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )

    def _provisioned_aliases(self, name: FunctionName) -> list[Alias]:
        return [alias for alias in self._registry.aliases(name.name) if self.get(name.name, alias["Name"]) is not None]

    def describe(self, configured: Provisioned) -> dict[str, Any]:
        """The configuration as the API answers with it."""
        ready, failed = 0, False
        for version, share in self._shares(configured).items():
            plan = self._plans.get((configured.function, version))
            kept = self._pool.kept(plan) if plan is not None else Kept(0, failed=True)
            ready += min(share, kept.ready)
            failed = failed or kept.failed
        answer: dict[str, Any] = {
            "RequestedProvisionedConcurrentExecutions": configured.requested,
            "AvailableProvisionedConcurrentExecutions": ready,
            "AllocatedProvisionedConcurrentExecutions": ready,
            "Status": "READY",
            "LastModified": datetime.fromtimestamp(configured.last_modified, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
        }
        if ready < configured.requested:
            answer["Status"] = "FAILED" if failed else "IN_PROGRESS"
            if failed:
                answer["StatusReason"] = "FUNCTION_ERROR_INIT_FAILURE"
        return answer

    # Environments

    def free(self, configuration: Configuration) -> EnvironmentPlan | None:
        """The plan of a version's environments, if one of them is free for an invocation."""
        plan = self._plans.get((configuration["FunctionName"], configuration["Version"]))
        return plan if plan is not None and self._pool.has_free(plan) else None

    def ready(self, function: str) -> int:
        """How many environments a function has, idle or busy."""
        return sum(self._pool.kept(plan).ready for key, plan in self._plans.items() if key[0] == function)

    def allocate(self, function: str) -> None:
        """Have the environments that the function's configurations ask for now, and no others.

        An alias that is moved to another version has them of that version from then on.  (AWS moves the traffic only
        once they are there; here that is a matter of milliseconds, in which invocations run on demand.)
        """
        wanted: Counter[str] = Counter()
        for configured in self.of_function(function):
            wanted.update(self._shares(configured))
        for key in [key for key in self._plans if key[0] == function and key[1] not in wanted]:
            self._pool.keep(self._plans.pop(key), 0)
        for version, count in wanted.items():
            try:
                plan = self._plan(self._registry.version(self._name(f"{function}:{version}"), version)).as_provisioned
            except AwsError:  # this machine has nothing (any more) that runs it
                continue
            self._plans[function, version] = plan
            self._pool.keep(plan, count)

    def _shares(self, configured: Provisioned) -> dict[str, int]:
        """How many environments of which versions it takes: an alias that routes to two shares them out."""
        if configured.qualifier.isdecimal():
            return {configured.qualifier: configured.requested}
        alias = self._registry.alias(self._name(configured.function), configured.qualifier)
        if alias is None:
            return {}
        shares = {alias["FunctionVersion"]: configured.requested}
        for version, weight in alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}).items():
            shares[version] = round(configured.requested * weight)
            shares[alias["FunctionVersion"]] -= shares[version]
        return {version: share for version, share in shares.items() if share}

    def _read(self) -> dict[tuple[str, str], Provisioned]:
        rows = self._store.query("SELECT * FROM lambda_provisioned_concurrency")
        return {
            (row["name"], row["qualifier"]): Provisioned(
                row["name"], row["qualifier"], row["requested"], row["last_modified"]
            )
            for row in rows
        }
