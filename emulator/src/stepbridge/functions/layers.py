"""Layers: archives whose files functions find in /opt.

https://docs.aws.amazon.com/lambda/latest/dg/packaging-layers.html

There is no /opt of a function's own here, as that would take the rights of root: a function's layers are put into one
folder, from which Python imports as it does from /opt on Lambda, and whose bin/ and lib/ are on the paths for the
commands that a function starts.  Only who opens /opt/… by that name does not find it; the trace says so.
"""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.clock import Clock
from stepbridge.functions.invoker import Functions
from stepbridge.functions.pagination import page
from stepbridge.functions.refusals import conflict, invalid, not_found, revision_differs
from stepbridge.settings import Settings
from stepbridge.store import Store

_SCHEMA = [
    """
    CREATE TABLE lambda_layers (
        name TEXT PRIMARY KEY,
        last_version INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE lambda_layer_versions (
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (name, version)
    ) STRICT
    """
]
_MAX_LAYERS = 5

LayerVersion = dict[str, Any]


class LayerRegistry:
    """Layers and their versions, as the database has them.  Durable after `store.committed()`."""

    def __init__(self, store: Store, settings: Settings) -> None:
        store.migrate("lambda-layers", _SCHEMA)
        self._store = store
        self._settings = settings

    def arn(self, name: str) -> str:
        """The ARN of a layer, without a version."""
        return f"arn:aws:lambda:{self._settings.region}:{self._settings.account}:layer:{name}"

    def add(self, name: str, document: LayerVersion) -> int:
        """A new version of the layer; its number.  Numbers are not used again, even after deletions."""
        self._store.execute(
            "INSERT INTO lambda_layers VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET last_version = last_version + 1",
            (name,),
        )
        number = int(self._store.query("SELECT last_version FROM lambda_layers WHERE name = ?", (name,))[0][0])
        document["LayerVersionArn"] = f"{self.arn(name)}:{number}"
        document["Version"] = number
        self._store.execute("INSERT INTO lambda_layer_versions VALUES (?, ?, ?)", (name, number, json.dumps(document)))
        return number

    def find(self, name: str, version: int) -> LayerVersion | None:
        row = self._store.query_one(
            "SELECT document FROM lambda_layer_versions WHERE name = ? AND version = ?", (name, version)
        )
        return json.loads(row[0]) if row else None

    def versions(self, name: str) -> list[LayerVersion]:
        """The newest first."""
        rows = self._store.query(
            "SELECT document FROM lambda_layer_versions WHERE name = ? ORDER BY version DESC", (name,)
        )
        return [json.loads(row[0]) for row in rows]

    def names(self) -> list[str]:
        """The layers that have versions."""
        return [row[0] for row in self._store.query("SELECT DISTINCT name FROM lambda_layer_versions ORDER BY name")]

    def all_packages(self) -> set[str]:
        """The CodeSha256 of all versions there are."""
        return {
            json.loads(row[0])["CodeSha256"] for row in self._store.query("SELECT document FROM lambda_layer_versions")
        }

    def replace(self, name: str, document: LayerVersion) -> None:
        """Change what is kept of a version."""
        self._store.execute(
            "UPDATE lambda_layer_versions SET document = ? WHERE name = ? AND version = ?",
            (json.dumps(document), name, document["Version"]),
        )

    def delete(self, name: str, version: int) -> None:
        self._store.execute("DELETE FROM lambda_layer_versions WHERE name = ? AND version = ?", (name, version))

    def of_function(self, arns: list[str], runtime: str) -> list[dict[str, Any]]:
        """The Layers of a function's configuration.  Raises InvalidParameterValueException.

        A version that is deleted later goes on to work in the functions that have it, as on AWS.
        """
        if len(arns) > _MAX_LAYERS:
            raise invalid(f"Cannot reference more than {_MAX_LAYERS} layers.")
        layers: list[dict[str, Any]] = []
        for arn in arns:
            layer, _, version = arn.rpartition(":")
            name = layer.rpartition(":")[2]
            if layer != self.arn(name):
                raise invalid(
                    f"The layer version {arn} is not of this account and region, so stepbridge cannot fetch it: "
                    "publish the layer here with PublishLayerVersion."
                )
            found = self.find(name, int(version)) if version.isdecimal() else None
            if found is None:
                raise invalid(f"Layer version {arn} does not exist.")
            runtimes = found.get("CompatibleRuntimes")
            if runtimes and runtime not in runtimes:
                raise invalid(f"Layer version {arn} is not compatible with the runtime {runtime}.")
            if layer in [other["Arn"].rpartition(":")[0] for other in layers]:
                raise invalid(f"Two different versions of the same layer are not allowed to be referenced: {arn}.")
            layers.append({"Arn": arn, "CodeSize": found["CodeSize"], "CodeSha256": found["CodeSha256"]})
        return layers


class LayerOperations:
    """The part of the Lambda API that is about layers; a part of :class:`~service.LambdaService`."""

    functions: Functions
    _layers: LayerRegistry
    _store: Store
    _clock: Clock

    async def publish_layer_version(self, caller: Caller, request: Members) -> Members:
        name = self._layer_name(request["LayerName"])
        package = await self._package(request["Content"], "PublishLayerVersion")
        created = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
        document: LayerVersion = {
            "Description": request.get("Description", ""),
            "CreatedDate": created,
            "CodeSha256": package.sha256,
            "CodeSize": package.size,
        }
        for member in ("CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo"):
            if member in request:
                document[member] = request[member]
        self._layers.add(name, document)
        await self._store.committed()
        return self._described(name, document)

    async def get_layer_version(self, caller: Caller, request: Members) -> Members:
        name = self._layer_name(request["LayerName"])
        found = self._layers.find(name, request["VersionNumber"])
        if found is None:
            raise not_found()
        return self._described(name, found)

    async def get_layer_version_by_arn(self, caller: Caller, request: Members) -> Members:
        layer, _, version = request["Arn"].rpartition(":")
        return await self.get_layer_version(caller, {"LayerName": layer, "VersionNumber": int(version)})

    async def list_layer_versions(self, caller: Caller, request: Members) -> Members:
        versions = self._layers.versions(self._layer_name(request["LayerName"]))
        fitting = [_listed(version) for version in versions if _fits(version, request)]
        return page("LayerVersions", fitting, request)

    async def list_layers(self, caller: Caller, request: Members) -> Members:
        layers: list[dict[str, Any]] = []
        for name in self._layers.names():
            fitting = [version for version in self._layers.versions(name) if _fits(version, request)]
            if fitting:
                layers.append(
                    {
                        "LayerName": name,
                        "LayerArn": self._layers.arn(name),
                        "LatestMatchingVersion": _listed(fitting[0]),
                    }
                )
        return page("Layers", layers, request)

    # Who may use a version: kept and shown, as all that calls is of the one account that owns it.

    async def add_layer_version_permission(self, caller: Caller, request: Members) -> Members:
        name, version, statements = self._statements(request)
        self._check_layer_revision(version, request)
        statement_id = request["StatementId"]
        if statement_id in statements:
            raise conflict(
                f"The statement id ({statement_id}) provided already exists. Please provide a new statement id, or "
                "remove the existing statement."
            )
        principal = request["Principal"]
        statement: dict[str, Any] = {
            "Sid": statement_id,
            "Effect": "Allow",
            "Principal": principal if principal == "*" else {"AWS": f"arn:aws:iam::{principal}:root"},
            "Action": request["Action"],
            "Resource": version["LayerVersionArn"],
        }
        if "OrganizationId" in request:
            statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": request["OrganizationId"]}}
        await self._put_statements(name, version, {**statements, statement_id: statement})
        return {"Statement": json.dumps(statement, separators=(",", ":")), "RevisionId": version["PolicyRevision"]}

    async def remove_layer_version_permission(self, caller: Caller, request: Members) -> Members:
        name, version, statements = self._statements(request)
        self._check_layer_revision(version, request)
        if request["StatementId"] not in statements:
            raise not_found(f"Statement {request['StatementId']} is not found in resource policy.")
        kept = {key: statement for key, statement in statements.items() if key != request["StatementId"]}
        await self._put_statements(name, version, kept)
        return {}

    async def get_layer_version_policy(self, caller: Caller, request: Members) -> Members:
        _, version, statements = self._statements(request)
        if not statements:
            raise not_found("No policy is associated with the given resource.")
        document = {"Version": "2012-10-17", "Id": "default", "Statement": list(statements.values())}
        return {"Policy": json.dumps(document, separators=(",", ":")), "RevisionId": version["PolicyRevision"]}

    def _statements(self, request: Members) -> tuple[str, LayerVersion, dict[str, Any]]:
        """The name, the version and the statements of its policy, by their ids.  Raises ResourceNotFoundException."""
        name = self._layer_name(request["LayerName"])
        version = self._layers.find(name, request["VersionNumber"])
        if version is None:
            arn = f"{self._layers.arn(name)}:{request['VersionNumber']}"
            raise not_found(f"Layer version {arn} does not exist.")
        return name, version, version.get("Policy", {})

    async def _put_statements(self, name: str, version: LayerVersion, statements: dict[str, Any]) -> None:
        version["Policy"] = statements
        version["PolicyRevision"] = str(uuid.uuid4())
        self._layers.replace(name, version)
        await self._store.committed()

    @staticmethod
    def _check_layer_revision(version: LayerVersion, request: Members) -> None:
        if request.get("RevisionId", version.get("PolicyRevision")) != version.get("PolicyRevision"):
            raise revision_differs()

    async def delete_layer_version(self, caller: Caller, request: Members) -> Members:
        self._layers.delete(self._layer_name(request["LayerName"]), request["VersionNumber"])
        await self._store.committed()
        return {}

    def _described(self, name: str, version: LayerVersion) -> Members:
        content = {
            "Location": self.functions.location(version["CodeSha256"]),
            "CodeSha256": version["CodeSha256"],
            "CodeSize": version["CodeSize"],
        }
        return {**_listed(version), "LayerArn": self._layers.arn(name), "Content": content}

    def _layer_name(self, text: str) -> str:
        """The name in a layer's name or ARN.  Raises AccessDeniedException for another account's."""
        name = text.rpartition(":")[2]
        if text not in (name, self._layers.arn(name)):
            raise AwsError("AccessDeniedException", f"The layer {text} is not of this account and region.", status=403)
        return name

    async def _package(self, code: Members, operation: str) -> Any:
        raise NotImplementedError


def _listed(version: LayerVersion) -> dict[str, Any]:
    hidden = ("CodeSha256", "CodeSize", "Policy", "PolicyRevision")
    return {name: value for name, value in version.items() if name not in hidden}


def _fits(version: LayerVersion, request: Members) -> bool:
    runtime, architecture = request.get("CompatibleRuntime"), request.get("CompatibleArchitecture")
    return (runtime is None or runtime in version.get("CompatibleRuntimes", [])) and (
        architecture is None or architecture in version.get("CompatibleArchitectures", [])
    )
