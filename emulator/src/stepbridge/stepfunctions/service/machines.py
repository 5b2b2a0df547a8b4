"""State machines as they are kept: the machine, its revisions, versions and aliases, its parsed definitions."""

import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.stepfunctions import language
from stepbridge.stepfunctions.language.definition import Map
from stepbridge.store import Row, Store

_PARSED_DEFINITIONS_KEPT = 128


@dataclass(frozen=True, slots=True)
class Revision:
    """What a state machine was, or is, at some time."""

    id: int
    machine: str
    revision_id: str | None
    definition: str
    role: str
    logging: dict[str, Any]
    tracing: dict[str, Any]
    encryption: dict[str, Any] | None
    updated: float

    @classmethod
    def of(cls, row: Row) -> "Revision":
        return cls(
            row["id"],
            row["machine"],
            row["revision_id"],
            row["definition"],
            row["role"],
            json.loads(row["logging"]),
            json.loads(row["tracing"]),
            json.loads(row["encryption"]) if row["encryption"] is not None else None,
            row["updated"],
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """A state machine."""

    arn: str
    name: str
    type: str
    status: str
    revision: int
    created: float


def does_not_exist(arn: str) -> AwsError:
    return AwsError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")


class Machines:
    """The state machines of one emulator."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed: OrderedDict[tuple[int, str | None], language.Definition] = OrderedDict()
        self._settings: OrderedDict[int, tuple[str, dict[str, Any]]] = OrderedDict()
        # Looked at in each step of each execution, hence in memory.
        self.deleting = {row["arn"] for row in store.query("SELECT arn FROM state_machines WHERE status = 'DELETING'")}

    def find(self, arn: str) -> Machine | None:
        """The state machine with the unqualified ARN `arn`, or None."""
        row = self._store.query_one(
            "SELECT arn, name, type, status, revision, created FROM state_machines WHERE arn = ?", (arn,)
        )
        return Machine(*row) if row is not None else None

    def get(self, arn: str, asked_for: str | None = None) -> Machine:
        """The state machine `arn`.  Raises AwsError StateMachineDoesNotExist, naming `asked_for`."""
        machine = self.find(arn)
        if machine is None:
            raise does_not_exist(asked_for or arn)
        return machine

    def revision(self, number: int) -> Revision:
        """The revision with row id `number`."""
        return Revision.of(self._store.query("SELECT * FROM state_machine_revisions WHERE id = ?", (number,))[0])

    def role(self, revision: int) -> str:
        """The role that executions of a revision have."""
        return self._settings_of(revision)[0]

    def logging(self, revision: int) -> dict[str, Any]:
        """The loggingConfiguration of a revision."""
        return self._settings_of(revision)[1]

    def _settings_of(self, revision: int) -> tuple[str, dict[str, Any]]:
        """Role and loggingConfiguration; the last ones used stay in memory."""
        settings = self._settings.get(revision)
        if settings is None:
            found = self.revision(revision)
            settings = self._settings[revision] = (found.role, found.logging)
            if len(self._settings) > _PARSED_DEFINITIONS_KEPT:
                self._settings.popitem(last=False)
        return settings

    def definition(self, revision: int, map_state: str | None = None) -> language.Definition:
        """The parsed definition of a revision, or of the children of its distributed Map `map_state`.

        The last ones used stay in memory.
        """
        key = (revision, map_state)
        parsed = self._parsed.get(key)
        if parsed is not None:
            self._parsed.move_to_end(key)
            return parsed
        if map_state is None:
            row = self._store.query("SELECT definition FROM state_machine_revisions WHERE id = ?", (revision,))[0]
            parsed = language.parse(row["definition"])
        else:
            whole = self.definition(revision)
            state = whole.states[map_state]
            if not isinstance(state, Map):
                raise TypeError(f"{map_state} is no Map state")
            parsed = replace(whole, flow=state.processor, timeout_seconds=None)
        self._parsed[key] = parsed
        if len(self._parsed) > _PARSED_DEFINITIONS_KEPT:
            self._parsed.popitem(last=False)
        return parsed

    def processor(self, revision: Revision, map_state: str) -> dict[str, Any]:
        """The ItemProcessor of the Map state `map_state` of a revision, as it is written."""
        flows: list[dict[str, Any]] = [json.loads(revision.definition)]
        for flow in flows:
            for name, state in flow["States"].items():
                processor: dict[str, Any] | None = state.get("ItemProcessor") or state.get("Iterator")
                if name == map_state and processor is not None:
                    return processor
                flows += [*state.get("Branches", []), *([processor] if processor else [])]
        raise KeyError(map_state)

    def variable_references(self, revision: int) -> dict[str, list[str]] | None:
        """Which variables each state of a revision refers to, or None if none does."""
        references = self.definition(revision).variable_references
        return {state: list(variables) for state, variables in references.items() if variables} or None

    def add(self, machine: Machine, revision: Revision) -> None:
        """Keep a new state machine with its first revision; the ids of the two rows are made here."""
        number = self._insert_revision(revision)
        self._store.execute(
            "INSERT INTO state_machines (arn, name, type, status, revision, created) VALUES (?, ?, ?, ?, ?, ?)",
            (machine.arn, machine.name, machine.type, machine.status, number, machine.created),
        )

    def revise(self, revision: Revision) -> None:
        """Make `revision` the current one of its state machine."""
        number = self._insert_revision(revision)
        self._store.execute("UPDATE state_machines SET revision = ? WHERE arn = ?", (number, revision.machine))

    def start_deleting(self, arn: str) -> None:
        """Let the state machine go: now if no execution of it is running, else when the last one has ended."""
        self._store.execute("UPDATE state_machines SET status = 'DELETING' WHERE arn = ?", (arn,))
        self.deleting.add(arn)
        self.finish_deleting(arn)

    def finish_deleting(self, arn: str) -> None:
        """Remove a state machine in deletion unless an execution of it is still running."""
        running = self._store.query_one(
            "SELECT 1 FROM executions WHERE machine = ? AND status = 'RUNNING' LIMIT 1", (arn,)
        )
        if running is not None:
            return
        self.deleting.discard(arn)
        self._store.execute("DELETE FROM state_machines WHERE arn = ?", (arn,))
        self._store.execute("DELETE FROM state_machine_versions WHERE machine = ?", (arn,))
        self._store.execute("DELETE FROM state_machine_aliases WHERE machine = ?", (arn,))
        self._store.execute("DELETE FROM stepfunctions_tags WHERE arn = ?", (arn,))

    def _insert_revision(self, revision: Revision) -> int:
        return self._store.insert(
            "INSERT INTO state_machine_revisions"
            " (machine, revision_id, definition, role, logging, tracing, encryption, updated)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                revision.machine,
                revision.revision_id,
                revision.definition,
                revision.role,
                json.dumps(revision.logging, sort_keys=True),
                json.dumps(revision.tracing, sort_keys=True),
                json.dumps(revision.encryption, sort_keys=True) if revision.encryption is not None else None,
                revision.updated,
            ),
        )
