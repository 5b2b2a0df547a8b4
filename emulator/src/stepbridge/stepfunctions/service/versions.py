"""Versions of state machines, which never change, and aliases, which share executions out between two of them.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-cd-aliasing-versioning.html
"""

import json
from collections.abc import Sequence
from typing import Any

from stepbridge.store import Row, Store

Route = dict[str, Any]  # a member of an alias's routingConfiguration


class Versions:
    """The versions and aliases of all state machines."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def revision(self, machine: str, number: int) -> int | None:
        """The row id of the revision that version `number` is, or None if there is no such version."""
        row = self._store.query_one(
            "SELECT revision FROM state_machine_versions WHERE machine = ? AND number = ?", (machine, number)
        )
        return row["revision"] if row is not None else None

    def describe(self, machine: str, number: int) -> Row | None:
        """The row of a version, or None."""
        return self._store.query_one(
            "SELECT * FROM state_machine_versions WHERE machine = ? AND number = ?", (machine, number)
        )

    def publish(self, machine: str, revision: int, description: str | None, now: float) -> tuple[int, float]:
        """Make a version of a revision; its number and the time of its making.

        Publishing the revision of the newest version again answers with that version.
        """
        newest = self._store.query_one(
            "SELECT number, revision, created FROM state_machine_versions WHERE machine = ?"
            " ORDER BY number DESC LIMIT 1",
            (machine,),
        )
        if newest is not None and newest["revision"] == revision:
            return newest["number"], newest["created"]
        self._store.execute("UPDATE state_machines SET last_version = last_version + 1 WHERE arn = ?", (machine,))
        number: int = self._store.query("SELECT last_version FROM state_machines WHERE arn = ?", (machine,))[0][0]
        self._store.execute(
            "INSERT INTO state_machine_versions (machine, number, revision, description, created)"
            " VALUES (?, ?, ?, ?, ?)",
            (machine, number, revision, description, now),
        )
        return number, now

    def count(self, machine: str) -> int:
        """How many versions there are of a state machine."""
        number: int = self._store.query("SELECT count(*) FROM state_machine_versions WHERE machine = ?", (machine,))[0][
            0
        ]
        return number

    def before(self, machine: str, number: int, limit: int) -> list[Row]:
        """Up to `limit` versions older than `number`, newest first."""
        return self._store.query(
            "SELECT * FROM state_machine_versions WHERE machine = ? AND number < ? ORDER BY number DESC LIMIT ?",
            (machine, number, limit),
        )

    def delete(self, machine: str, number: int) -> None:
        """Remove a version; one that does not exist is no error."""
        self._store.execute("DELETE FROM state_machine_versions WHERE machine = ? AND number = ?", (machine, number))

    def alias(self, arn: str) -> Row | None:
        """The row of an alias, or None."""
        return self._store.query_one("SELECT * FROM state_machine_aliases WHERE arn = ?", (arn,))

    def aliases(self, machine: str) -> list[Row]:
        """The aliases of a state machine, oldest first."""
        return self._store.query(
            "SELECT rowid, * FROM state_machine_aliases WHERE machine = ? ORDER BY rowid", (machine,)
        )

    def put_alias(
        self, arn: str, machine: str, name: str, description: str | None, routing: Sequence[Route], now: float
    ) -> None:
        """Make an alias."""
        self._store.execute(
            "INSERT INTO state_machine_aliases (arn, machine, name, description, routing, created, updated)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (arn, machine, name, description, json.dumps(routing), now, now),
        )

    def change_alias(self, arn: str, description: str | None, routing: Sequence[Route], now: float) -> None:
        """Change what an alias says and points at."""
        self._store.execute(
            "UPDATE state_machine_aliases SET description = ?, routing = ?, updated = ? WHERE arn = ?",
            (description, json.dumps(routing), now, arn),
        )

    def delete_alias(self, arn: str) -> None:
        """Remove an alias."""
        self._store.execute("DELETE FROM state_machine_aliases WHERE arn = ?", (arn,))

    def route(self, alias: str, chance: float) -> int | None:
        """The version number that an alias leads to, `chance` being from [0, 1); None if there is no such alias."""
        row = self.alias(alias)
        if row is None:
            return None
        point = chance * 100
        routes: list[Route] = json.loads(row["routing"])
        for route in routes:
            point -= route["weight"]
            if point < 0:
                return version_number(route)
        return version_number(routes[-1])


def version_number(route: Route) -> int:
    """The number of the version that a route leads to."""
    return int(route["stateMachineVersionArn"].rsplit(":", 1)[1])
