"""Versions and aliases of state machines."""

import json
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.stepfunctions.service import arns
from stepbridge.stepfunctions.service.core import Core
from stepbridge.stepfunctions.service.machines import Machine
from stepbridge.stepfunctions.service.versions import Route
from stepbridge.store import Row

# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
_MAXIMUM_VERSIONS = 1000
_MAXIMUM_ALIASES = 100


class VersionOperations(Core):
    """The operations on versions and aliases."""

    async def publish_state_machine_version(self, caller: Caller, request: Members) -> Members:
        machine = self._unqualified(request["stateMachineArn"])
        wanted = request.get("revisionId")
        current = self._machines.revision(machine.revision).revision_id or "INITIAL"
        if wanted is not None and wanted != current:
            raise AwsError(
                "ConflictException",
                f"Failed to publish the State Machine version for revision {wanted}. "
                f"The current State Machine revision is {current}.",
            )
        if self._versions.count(machine.arn) >= _MAXIMUM_VERSIONS:
            raise _over_quota(f"A state machine has at most {_MAXIMUM_VERSIONS} versions.")
        now = self._clock.now()
        number, created = self._versions.publish(machine.arn, machine.revision, request.get("description"), now)
        await self._store.committed()
        return {"stateMachineVersionArn": f"{machine.arn}:{number}", "creationDate": created}

    async def list_state_machine_versions(self, caller: Caller, request: Members) -> Members:
        machine, size = arns.parse_unqualified(request["stateMachineArn"]), self._page_size(request)
        listing = f"ListStateMachineVersions {machine}"
        start = self._page_start(listing, request)
        rows = self._versions.before(machine, int(start[0]) if start else 1 << 62, size + 1)
        return {
            "stateMachineVersions": [
                {"stateMachineVersionArn": f"{machine}:{row['number']}", "creationDate": row["created"]}
                for row in rows[:size]
            ],
            "nextToken": self._page_end(listing, rows, size, "number"),
        }

    async def delete_state_machine_version(self, caller: Caller, request: Members) -> Members:
        arn = request["stateMachineVersionArn"]
        reference = arns.parse_machine(arn)
        if reference.version is None:
            raise AwsError("ValidationException", f"Expected a state machine version ARN. Received: {arn}")
        names = [
            row["name"]
            for row in self._versions.aliases(reference.machine)
            if any(route["stateMachineVersionArn"] == arn for route in json.loads(row["routing"]))
        ]
        if names:
            raise AwsError(
                "ConflictException",
                "Version to be deleted must not be referenced by an alias. "
                f"Current list of aliases referencing this version: [{', '.join(names)}]",
            )
        self._versions.delete(reference.machine, reference.version)
        await self._store.committed()
        return {}

    async def create_state_machine_alias(self, caller: Caller, request: Members) -> Members:
        name, routing = request["name"], request["routingConfiguration"]
        if not arns.ALIAS_NAME.fullmatch(name) or len(name) > 80:
            raise AwsError("InvalidName", f"Invalid Name: '{name}'")
        machine = self._check_routing(routing)
        arn, description = f"{machine.arn}:{name}", request.get("description")
        existing = self._versions.alias(arn)
        if existing is not None:
            if (existing["description"], json.loads(existing["routing"])) != (description, routing):
                raise AwsError(
                    "ConflictException",
                    f"Failed to create alias because an alias with the name {name} "
                    "and a different routing configuration already exists.",
                )
            return {"stateMachineAliasArn": arn, "creationDate": existing["created"]}
        if len(self._versions.aliases(machine.arn)) >= _MAXIMUM_ALIASES:
            raise _over_quota(f"A state machine has at most {_MAXIMUM_ALIASES} aliases.")
        now = self._clock.now()
        self._versions.put_alias(arn, machine.arn, name, description, routing, now)
        await self._store.committed()
        return {"stateMachineAliasArn": arn, "creationDate": now}

    async def update_state_machine_alias(self, caller: Caller, request: Members) -> Members:
        row = self._alias(request["stateMachineAliasArn"])
        if "description" not in request and "routingConfiguration" not in request:
            message = "At least one of description or routingConfiguration must be specified"
            raise arns.not_valid(message, "MISSING_REQUIRED_PARAMETER")
        routing = request.get("routingConfiguration", json.loads(row["routing"]))
        if self._check_routing(routing).arn != row["machine"]:
            raise _invalid_routing("must contain versions of the alias's state machine.")
        now = self._clock.now()
        self._versions.change_alias(row["arn"], request.get("description", row["description"]), routing, now)
        await self._store.committed()
        return {"updateDate": now}

    async def describe_state_machine_alias(self, caller: Caller, request: Members) -> Members:
        row = self._alias(request["stateMachineAliasArn"])
        return {
            "stateMachineAliasArn": row["arn"],
            "name": row["name"],
            "description": row["description"],
            "routingConfiguration": json.loads(row["routing"]),
            "creationDate": row["created"],
            "updateDate": row["updated"],
        }

    async def list_state_machine_aliases(self, caller: Caller, request: Members) -> Members:
        reference = arns.parse_machine(request["stateMachineArn"])
        machine = self._machines.get(reference.machine, request["stateMachineArn"])
        if machine.status == "DELETING":
            raise AwsError("StateMachineDeleting", f"State Machine Deleting: '{machine.arn}'")
        listing, size = f"ListStateMachineAliases {request['stateMachineArn']}", self._page_size(request)
        start = self._page_start(listing, request)
        rows = [
            row
            for row in self._versions.aliases(reference.machine)
            if (start is None or row["rowid"] > start[0]) and _leads_to(row, reference.version)
        ]
        return {
            "stateMachineAliases": [
                {"stateMachineAliasArn": row["arn"], "creationDate": row["created"]} for row in rows[:size]
            ],
            "nextToken": self._page_end(listing, rows, size, "rowid"),
        }

    async def delete_state_machine_alias(self, caller: Caller, request: Members) -> Members:
        row = self._alias(request["stateMachineAliasArn"])
        self._versions.delete_alias(row["arn"])
        await self._store.committed()
        return {}

    def _unqualified(self, arn: str) -> Machine:
        """The state machine of an ARN without version or alias."""
        machine = self._machines.get(arns.parse_unqualified(arn))
        if machine.status == "DELETING":
            raise AwsError("StateMachineDeleting", f"State Machine Deleting: '{arn}'")
        return machine

    def _alias(self, arn: str) -> Row:
        """The row of an alias.  Raises AwsError InvalidArn, ValidationException or ResourceNotFound."""
        if arns.parse_machine(arn).alias is None:
            raise AwsError("ValidationException", f"Expected a state machine alias ARN. Received: {arn}")
        row = self._versions.alias(arn)
        if row is None:
            raise AwsError(
                "ResourceNotFound",
                f"Request references a resource that does not exist. Resource: {arn}",
                members={"resourceName": arn},
            )
        return row

    def _check_routing(self, routing: list[Route]) -> Machine:
        """The state machine that `routing` shares out the executions of.  Raises AwsError unless AWS takes it."""
        versions = [route["stateMachineVersionArn"] for route in routing]
        references = [arns.parse_machine(version) for version in versions]
        if any(reference.version is None for reference in references):
            raise _invalid_routing(f"must contain state machine version ARNs. Received: [{', '.join(versions)}]")
        if len({reference.machine for reference in references}) > 1:
            raise _invalid_routing("must contain versions of one state machine.")
        if len(set(versions)) < len(versions):
            raise _invalid_routing(
                f"must contain distinct state machine version ARNs. Received: [{', '.join(versions)}]"
            )
        if sum(route["weight"] for route in routing) != 100:
            weights = ", ".join(str(route["weight"]) for route in routing)
            raise _invalid_routing(f"must have weights that sum up to 100. Received: [{weights}]")
        machine = self._machines.get(references[0].machine, versions[0])
        if machine.status == "DELETING":
            raise AwsError("StateMachineDeleting", f"State Machine Deleting: '{machine.arn}'")
        for reference, arn in zip(references, versions, strict=True):
            if reference.version is not None and self._versions.revision(machine.arn, reference.version) is None:
                raise AwsError(
                    "ResourceNotFound",
                    f"Request references a resource that does not exist. Resource: {arn}",
                    members={"resourceName": arn},
                )
        return machine


def _leads_to(alias: Row, version: int | None) -> bool:
    routes: list[dict[str, Any]] = json.loads(alias["routing"])
    return version is None or any(route["stateMachineVersionArn"].endswith(f":{version}") for route in routes)


def _invalid_routing(problem: str) -> AwsError:
    return arns.not_valid(f"Routing configuration {problem}", "INVALID_ROUTING_CONFIGURATION")


def _over_quota(message: str) -> AwsError:
    return AwsError("ServiceQuotaExceededException", message)
