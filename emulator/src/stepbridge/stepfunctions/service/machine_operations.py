"""State machines: create, look, change, delete, validate."""

import re
import uuid
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.stepfunctions import language
from stepbridge.stepfunctions.service import arns, definitions
from stepbridge.stepfunctions.service.core import OWNED_KEY, Core, check_encryption
from stepbridge.stepfunctions.service.machines import Machine, Revision, does_not_exist

_UNCHANGEABLE = ("definition", "logging", "tracing", "encryption")  # a second Create with another one is refused


class MachineOperations(Core):
    """The operations on state machines."""

    async def create_state_machine(self, caller: Caller, request: Members) -> Members:
        name, kind = request["name"], request.get("type", "STANDARD")
        arns.check_name(name)
        _check_version_description(request)
        arn = f"arn:aws:states:{self._settings.region}:{self._settings.account}:stateMachine:{name}"
        now = self._clock.now()
        revision = self._revision(arn, kind, request, None, now)
        await self._integrations.require_trust(revision.role, arn)
        machine = self._machines.find(arn)
        if machine is None:
            self._machines.add(Machine(arn, name, kind, "ACTIVE", 0, now), revision)
            self._tags.add(arn, request.get("tags", []))
            self._trace.emit("stepfunctions", "state-machine-created", f"state machine {name} created", arn=arn)
        else:
            self._check_same(machine, kind, revision)
        machine = self._machines.get(arn)
        answer = {"stateMachineArn": arn, "creationDate": machine.created}
        if request.get("publish"):
            answer["stateMachineVersionArn"] = self._publish(machine, request.get("versionDescription"))[0]
        await self._store.committed()
        return answer

    async def update_state_machine(self, caller: Caller, request: Members) -> Members:
        reference = arns.parse_machine(request["stateMachineArn"])
        machine = self._machines.get(reference.machine, request["stateMachineArn"])
        if machine.status == "DELETING":
            raise AwsError("StateMachineDeleting", f"State Machine Deleting: '{machine.arn}'")
        if request.keys() <= {"stateMachineArn", "versionDescription"}:
            raise AwsError(
                "MissingRequiredParameter",
                "Either the definition, the role ARN, the LoggingConfiguration, the TracingConfiguration or the "
                "EncryptionConfiguration must be specified",
            )
        _check_version_description(request)
        now = self._clock.now()
        current = self._machines.revision(machine.revision)
        changed = self._revision(machine.arn, machine.type, request, current, now)
        if "roleArn" in request:
            await self._integrations.require_trust(changed.role, machine.arn)
        if any(getattr(changed, field) != getattr(current, field) for field in ("role", *_UNCHANGEABLE)):
            self._machines.revise(changed)
            machine = self._machines.get(machine.arn)
            current = changed
        answer = {"updateDate": now, "revisionId": current.revision_id}
        if request.get("publish"):
            answer["stateMachineVersionArn"] = self._publish(machine, request.get("versionDescription"))[0]
        await self._store.committed()
        return answer

    async def describe_state_machine(self, caller: Caller, request: Members) -> Members:
        arn = request["stateMachineArn"]
        reference = arns.parse_machine(arn)
        machine = self._machines.get(reference.machine, arn)
        number, created, description = machine.revision, machine.created, None
        version = reference.version
        if reference.alias is not None:
            version = self._versions.route(reference.alias, 0)
            if version is None:
                raise does_not_exist(arn)
        if version is not None:
            row = self._versions.describe(machine.arn, version)
            if row is None:
                raise does_not_exist(arn)
            number, created, description = row["revision"], row["created"], row["description"]
        revision = self._machines.revision(number)
        included = request.get("includedData") != "METADATA_ONLY"
        return {
            "stateMachineArn": arn,
            "name": machine.name,
            "status": machine.status,
            "type": machine.type,
            "creationDate": created,
            "description": description,
            **self._revision_members(revision, included),
        }

    async def list_state_machines(self, caller: Caller, request: Members) -> Members:
        size, start = self._page_size(request), self._page_start("ListStateMachines", request)
        rows = self._store.query(
            "SELECT arn, name, type, created FROM state_machines WHERE name > ? ORDER BY name LIMIT ?",
            (start[0] if start else "", size + 1),
        )
        return {
            "stateMachines": [
                {
                    "stateMachineArn": row["arn"],
                    "name": row["name"],
                    "type": row["type"],
                    "creationDate": row["created"],
                }
                for row in rows[:size]
            ],
            "nextToken": self._page_end("ListStateMachines", rows, size, "name"),
        }

    async def delete_state_machine(self, caller: Caller, request: Members) -> Members:
        arn = arns.parse_unqualified(request["stateMachineArn"])
        if self._machines.find(arn) is not None:  # deleting what is not there is no error
            self._machines.start_deleting(arn)
            text = f"state machine {arns.machine_name(arn)} deleted"
            self._trace.emit("stepfunctions", "state-machine-deleted", text, arn=arn)
        await self._store.committed()
        return {}

    async def validate_state_machine_definition(self, caller: Caller, request: Members) -> Members:
        found = definitions.diagnostics(request["definition"], request.get("type", "STANDARD"), self._integrations)
        failed = any(diagnostic.severity == "ERROR" for diagnostic in found)
        if request.get("severity") == "WARNING":
            found = [*found, *definitions.warnings(request["definition"])]
        limit = request.get("maxResults") or 100
        return {
            "result": "FAIL" if failed else "OK",
            "diagnostics": [_diagnostic(diagnostic) for diagnostic in found[:limit]],
            "truncated": len(found) > limit,
        }

    async def tag_resource(self, caller: Caller, request: Members) -> Members:
        self._tags.add(self._taggable(request), request["tags"])
        await self._store.committed()
        return {}

    async def untag_resource(self, caller: Caller, request: Members) -> Members:
        self._tags.remove(self._taggable(request), request["tagKeys"])
        await self._store.committed()
        return {}

    async def list_tags_for_resource(self, caller: Caller, request: Members) -> Members:
        return {"tags": self._tags.of(self._taggable(request))}

    def _taggable(self, request: Members) -> str:
        """The ARN of the resource to tag.  Raises AwsError InvalidArn or ResourceNotFound."""
        arn = arns.parse(request["resourceArn"], "stateMachine", "activity").text
        if self._machines.find(arn) is None and not self._activities.exists(arn):
            raise AwsError("ResourceNotFound", f"Resource not found: '{arn}'", members={"resourceName": arn})
        return arn

    def _revision(self, arn: str, kind: str, request: Members, current: Revision | None, now: float) -> Revision:
        """The revision that a Create (`current` None) or Update asks for, checked."""
        role = request.get("roleArn", current.role if current else "")
        arns.check_role(role)
        definition = request.get("definition", current.definition if current else "")
        if current is None or "definition" in request:
            definitions.check(definition, kind, self._integrations)
        logging = current.logging if current else _logging({})
        if "loggingConfiguration" in request:
            logging = _logging(request["loggingConfiguration"])
        tracing = current.tracing if current else {"enabled": False}
        if "tracingConfiguration" in request:
            tracing = {"enabled": bool(request["tracingConfiguration"].get("enabled", False))}
        encryption = current.encryption if current else OWNED_KEY
        if "encryptionConfiguration" in request:
            encryption = check_encryption(request["encryptionConfiguration"])
        revision_id = str(uuid.uuid4()) if current else None  # the first revision has none
        return Revision(0, arn, revision_id, definition, role, logging, tracing, encryption, now)

    def _check_same(self, machine: Machine, kind: str, revision: Revision) -> None:
        """Raise unless creating `machine` again as `revision` changes nothing but the role, which is then ignored."""
        if machine.status == "DELETING":
            raise AwsError("StateMachineDeleting", f"State Machine Deleting: '{machine.arn}'")
        current = self._machines.revision(machine.revision)
        if machine.type != kind or any(getattr(revision, it) != getattr(current, it) for it in _UNCHANGEABLE):
            raise AwsError("StateMachineAlreadyExists", f"State Machine Already Exists: '{machine.arn}'")

    def _publish(self, machine: Machine, description: str | None) -> tuple[str, float]:
        """Make a version of the machine as it is now; its ARN and the time of its making."""
        number, created = self._versions.publish(machine.arn, machine.revision, description, self._clock.now())
        return f"{machine.arn}:{number}", created


def _diagnostic(diagnostic: language.Diagnostic) -> Members:
    return {
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "location": diagnostic.location,
    }


def _check_version_description(request: Members) -> None:
    if "versionDescription" in request and not request.get("publish"):
        raise AwsError("ValidationException", "Version description can only be set when publish is true")


def _logging(configuration: dict[str, Any]) -> dict[str, Any]:
    """A loggingConfiguration with its defaults.  Raises AwsError InvalidLoggingConfiguration."""
    level, destinations = configuration.get("level", "OFF"), configuration.get("destinations", [])
    if len(destinations) > 1 or (level != "OFF" and not destinations):
        raise _invalid_logging("Must specify exactly one Log Destination.")
    for destination in destinations:
        group = destination.get("cloudWatchLogsLogGroup", {}).get("logGroupArn", "")
        match = re.fullmatch(r"arn:aws[a-z-]*:logs:[^:]+:\d{12}:log-group:[^:]+(:\*)?", group)
        if match is not None and match[1] is None:
            raise _invalid_logging("Log Group ARN must be provided with '*' qualifier.")
        if match is None:
            raise _invalid_logging("Log Destination must be a CloudWatch log group ARN that ends with ':*'.")
    answer = {"level": level, "includeExecutionData": bool(configuration.get("includeExecutionData", False))}
    return {**answer, "destinations": destinations} if destinations else answer


def _invalid_logging(reason: str) -> AwsError:
    return AwsError("InvalidLoggingConfiguration", f"Invalid Logging Configuration: {reason}")
