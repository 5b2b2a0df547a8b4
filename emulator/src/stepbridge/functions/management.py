"""The part of the Lambda API that is about what Lambda may do with a function by itself.

That is to update its runtime (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html) and to stop it from
calling itself in a circle (https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html).  Here it does
neither: an interpreter stays what it is, and circles are not found.  The settings are kept and shown.
"""

import json
from typing import Any

from stepbridge.api.service import Caller, Members
from stepbridge.functions.invoker import Functions
from stepbridge.functions.names import LATEST
from stepbridge.functions.refusals import invalid
from stepbridge.functions.registry import FunctionRegistry
from stepbridge.store import Store

_SCHEMA = [
    """
    CREATE TABLE lambda_management (
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        setting TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (name, version, setting),
        FOREIGN KEY (name, version) REFERENCES lambda_versions ON DELETE CASCADE
    ) STRICT
    """
]


class ManagementSettings:
    """The settings of versions; those of a function are of its $LATEST.  Durable after `store.committed()`."""

    def __init__(self, store: Store) -> None:
        store.migrate("lambda-management", _SCHEMA)
        self._store = store

    def get(self, name: str, version: str, setting: str) -> dict[str, Any]:
        """Empty if it has not been put."""
        row = self._store.query_one(
            "SELECT value FROM lambda_management WHERE name = ? AND version = ? AND setting = ?",
            (name, version, setting),
        )
        return json.loads(row[0]) if row else {}

    def put(self, name: str, version: str, setting: str, value: dict[str, Any]) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO lambda_management VALUES (?, ?, ?, ?)", (name, version, setting, json.dumps(value))
        )


class ManagementOperations:
    """Runtime management and recursion; a part of :class:`~service.LambdaService`."""

    functions: Functions
    _management: ManagementSettings
    _registry: FunctionRegistry
    _store: Store

    async def put_function_recursion_config(self, caller: Caller, request: Members) -> Members:
        name = self._registry.unqualified(self.functions.name(request["FunctionName"]))
        self._management.put(name.name, LATEST, "recursion", {"RecursiveLoop": request["RecursiveLoop"]})
        await self._store.committed()
        return {"RecursiveLoop": request["RecursiveLoop"]}

    async def get_function_recursion_config(self, caller: Caller, request: Members) -> Members:
        name = self._registry.unqualified(self.functions.name(request["FunctionName"]))
        return {"RecursiveLoop": "Terminate", **self._management.get(name.name, LATEST, "recursion")}

    async def put_runtime_management_config(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"], request.get("Qualifier"))
        configuration = self._registry.resolve(name)
        config = {"UpdateRuntimeOn": request["UpdateRuntimeOn"]}
        runtime = request.get("RuntimeVersionArn")
        if (config["UpdateRuntimeOn"] == "Manual") != (runtime is not None):
            raise invalid("RuntimeVersionArn is to be given with the UpdateRuntimeOn Manual, and only then.")
        if runtime is not None:
            own = configuration["RuntimeVersionConfig"]["RuntimeVersionArn"]
            if runtime != own:
                raise invalid(
                    f"The runtime version {runtime} is not there: stepbridge has only {own} for the function."
                )
            config["RuntimeVersionArn"] = runtime
        self._management.put(name.name, configuration["Version"], "runtime", config)
        await self._store.committed()
        return {**config, "FunctionArn": name.arn}

    async def get_runtime_management_config(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"], request.get("Qualifier"))
        version = self._registry.resolve(name)["Version"]
        config = {"UpdateRuntimeOn": "Auto", **self._management.get(name.name, version, "runtime")}
        return {**config, "FunctionArn": name.arn}
