"""Stacks, their resources, events and change sets in the database."""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stepbridge.clock import Clock
from stepbridge.cloudformation.changes import Existing
from stepbridge.cloudformation.resources.base import Made
from stepbridge.store.database import Store

Members = dict[str, Any]

_TABLES = """
CREATE TABLE cloudformation_stack (
    stack_id TEXT PRIMARY KEY, name TEXT NOT NULL, deleted INTEGER NOT NULL, document TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX cloudformation_stack_name ON cloudformation_stack (name) WHERE NOT deleted;
CREATE TABLE cloudformation_resource (
    stack_id TEXT NOT NULL, logical_id TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (stack_id, logical_id)
) STRICT;
CREATE TABLE cloudformation_event (
    number INTEGER PRIMARY KEY, stack_id TEXT NOT NULL, document TEXT NOT NULL
) STRICT;
CREATE INDEX cloudformation_event_stack ON cloudformation_event (stack_id);
CREATE TABLE cloudformation_change_set (
    number INTEGER PRIMARY KEY, change_set_id TEXT NOT NULL UNIQUE, stack_id TEXT NOT NULL, name TEXT NOT NULL,
    document TEXT NOT NULL
) STRICT;
"""

_CHANGES = """
CREATE TABLE cloudformation_change (
    number INTEGER PRIMARY KEY, stack_id TEXT NOT NULL, document TEXT NOT NULL
) STRICT;
CREATE INDEX cloudformation_change_stack ON cloudformation_change (stack_id);
"""


@dataclass(frozen=True, slots=True)
class Done:
    """Something that an operation did, and a rollback undoes: `before`, None if there was nothing, became `after`.

    `anew`: by the creation of a resource, not by a change of what there was.
    """

    before: Existing | None
    after: Existing
    anew: bool


class Records:
    """What CloudFormation remembers.  Documents are in the members of CloudFormation's own shapes, and a few more."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        store.migrate("cloudformation", [_TABLES, _CHANGES])

    # Stacks

    def stack(self, name_or_id: str) -> Members | None:
        """The stack with this id, or the one with this name that is not deleted."""
        row = self._store.query_one(
            "SELECT document FROM cloudformation_stack WHERE stack_id = ? OR (name = ? AND NOT deleted)",
            (name_or_id, name_or_id),
        )
        return json.loads(row["document"]) if row else None

    def stacks(self, *, deleted: bool = False) -> list[Members]:
        """All stacks, newest first; with those that were deleted if so asked."""
        rows = self._store.query(
            "SELECT document FROM cloudformation_stack WHERE deleted <= ? ORDER BY rowid DESC", (int(deleted),)
        )
        return [json.loads(row["document"]) for row in rows]

    def save_stack(self, stack: Members) -> None:
        """Write a stack."""
        deleted = int(stack["StackStatus"] == "DELETE_COMPLETE")
        self._store.execute(
            "INSERT INTO cloudformation_stack VALUES (?, ?, ?, ?) ON CONFLICT (stack_id) DO UPDATE SET "
            "deleted = excluded.deleted, document = excluded.document",
            (stack["StackId"], stack["StackName"], deleted, json.dumps(stack)),
        )

    def forget_stack(self, stack_id: str) -> None:
        """Remove a stack that never came to be (its only change set was deleted)."""
        self._store.execute("DELETE FROM cloudformation_stack WHERE stack_id = ?", (stack_id,))

    def exports(self) -> list[Members]:
        """What stacks export to others, by the newest stack first."""
        return [
            {"ExportingStackId": stack["StackId"], "Name": output["ExportName"], "Value": output["OutputValue"]}
            for stack in self.stacks()
            for output in stack.get("Outputs", [])
            if "ExportName" in output
        ]

    def importing(self, export: str) -> list[str]:
        """The names of the stacks that import an export."""
        return [stack["StackName"] for stack in self.stacks() if export in stack.get("imports", [])]

    # Resources

    def resource(self, stack_id: str, logical_id: str) -> Members | None:
        row = self._store.query_one(
            "SELECT document FROM cloudformation_resource WHERE stack_id = ? AND logical_id = ?", (stack_id, logical_id)
        )
        return json.loads(row["document"]) if row else None

    def resources(self, stack_id: str) -> list[Members]:
        """The resources of a stack, with those that were deleted."""
        rows = self._store.query(
            "SELECT document FROM cloudformation_resource WHERE stack_id = ? ORDER BY logical_id", (stack_id,)
        )
        return [json.loads(row["document"]) for row in rows]

    def resource_by_physical_id(self, physical_id: str) -> Members | None:
        """The resource, of whichever stack, that has this physical id."""
        rows = self._store.query(
            "SELECT document FROM cloudformation_resource WHERE json_extract(document, '$.PhysicalResourceId') = ? "
            "ORDER BY rowid DESC",
            (physical_id,),
        )
        return json.loads(rows[0]["document"]) if rows else None

    def save_resource(self, resource: Members) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO cloudformation_resource VALUES (?, ?, ?)",
            (resource["StackId"], resource["LogicalResourceId"], json.dumps(resource)),
        )

    def existing(self, stack_id: str) -> dict[str, Existing]:
        """The resources that a stack has, by logical id."""
        return {
            resource["LogicalResourceId"]: _existing(resource["made"])
            for resource in self.resources(stack_id)
            if resource.get("made")
        }

    # What a rollback undoes

    def done(self, stack_id: str) -> list[Done]:
        """What was done to a stack since it was last complete, oldest first."""
        rows = self._store.query(
            "SELECT document FROM cloudformation_change WHERE stack_id = ? ORDER BY number", (stack_id,)
        )
        documents = [json.loads(row["document"]) for row in rows]
        return [
            Done(_existing(each["before"]) if each["before"] else None, _existing(each["after"]), each["anew"])
            for each in documents
        ]

    def add_done(self, stack_id: str, done: Done) -> None:
        """Remember something that was, or is about to be, done to a stack."""
        document = {
            "before": existing_document(done.before) if done.before else None,
            "after": existing_document(done.after),
            "anew": done.anew,
        }
        self._store.execute(
            "INSERT INTO cloudformation_change (stack_id, document) VALUES (?, ?)", (stack_id, json.dumps(document))
        )

    def forget_done(self, stack_id: str) -> None:
        """The stack is complete: there is nothing to undo any more."""
        self._store.execute("DELETE FROM cloudformation_change WHERE stack_id = ?", (stack_id,))

    # Events

    def add_event(self, stack: Members, **members: Any) -> Members:
        """Append an event of a stack: `members` are those of a StackEvent that are not the same for all."""
        event = {
            "StackId": stack["StackId"],
            "StackName": stack["StackName"],
            "EventId": f"{members['LogicalResourceId']}-{members['ResourceStatus']}-{uuid.uuid4()}",
            "Timestamp": self._clock.now(),
            **{name: value for name, value in members.items() if value is not None},
        }
        self._store.execute(
            "INSERT INTO cloudformation_event (stack_id, document) VALUES (?, ?)", (stack["StackId"], json.dumps(event))
        )
        return event

    def events(self, stack_id: str, before: int | None, limit: int) -> tuple[list[Members], int | None]:
        """Up to `limit` events, newest first, from before the event number `before`; and where to go on."""
        rows = self._store.query(
            "SELECT number, document FROM cloudformation_event WHERE stack_id = ? AND (? IS NULL OR number < ?) "
            "ORDER BY number DESC LIMIT ?",
            (stack_id, before, before, limit + 1),
        )
        more = rows[limit - 1]["number"] if len(rows) > limit else None
        return [json.loads(row["document"]) for row in rows[:limit]], more

    # Change sets

    def change_set(self, stack_id: str | None, name_or_id: str) -> Members | None:
        row = self._store.query_one(
            "SELECT document FROM cloudformation_change_set WHERE change_set_id = ? OR (stack_id = ? AND name = ?)",
            (name_or_id, stack_id, name_or_id),
        )
        return json.loads(row["document"]) if row else None

    def change_sets(self, stack_id: str) -> list[Members]:
        rows = self._store.query(
            "SELECT document FROM cloudformation_change_set WHERE stack_id = ? ORDER BY number", (stack_id,)
        )
        return [json.loads(row["document"]) for row in rows]

    def save_change_set(self, change_set: Members) -> None:
        self._store.execute(
            "INSERT INTO cloudformation_change_set (change_set_id, stack_id, name, document) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (change_set_id) DO UPDATE SET document = excluded.document",
            (change_set["ChangeSetId"], change_set["StackId"], change_set["ChangeSetName"], json.dumps(change_set)),
        )

    def delete_change_sets(self, change_set_ids: Iterable[str]) -> None:
        self._store.execute_many(
            "DELETE FROM cloudformation_change_set WHERE change_set_id = ?", [(each,) for each in change_set_ids]
        )

    async def committed(self) -> None:
        """Return when all that was written until now is committed."""
        await self._store.committed()


def existing_document(existing: Existing) -> Members:
    """A resource that a stack has, for the database."""
    return {
        "logical_id": existing.logical_id,
        "type": existing.type_name,
        "physical_id": existing.made.physical_id,
        "attributes": dict(existing.made.attributes),
        "secret": existing.made.secret,
        "properties": dict(existing.properties),
        "dependencies": sorted(existing.dependencies),
        "deletion_policy": existing.deletion_policy,
        "replacement_policy": existing.replacement_policy,
        "metadata": existing.metadata,
        "shown": existing.shown,
    }


def _existing(document: Members) -> Existing:
    return Existing(
        document["logical_id"],
        document["type"],
        Made(document["physical_id"], document["attributes"], document["secret"]),
        document["properties"],
        frozenset(document["dependencies"]),
        document["deletion_policy"],
        document["replacement_policy"],
        document["metadata"],
        document["shown"],
    )
