"""The connection, its group commit, and the versions of its tables."""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

Value = str | bytes | int | float | None
Row = sqlite3.Row


class Store:
    """The database of one emulator.

    `path` is the file, or None to keep everything in memory.  `fsync` makes each commit survive a power cut and not
    only a killed process, at the price of a disk flush per group of writes.
    """

    def __init__(self, path: Path | None, *, fsync: bool = False) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, cached_statements=512)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(
            "PRAGMA journal_mode = WAL;"
            f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'};"
            "PRAGMA foreign_keys = ON;"
            "PRAGMA temp_store = MEMORY;"
            "CREATE TABLE IF NOT EXISTS schema_version (component TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;"
        )
        self._commit: asyncio.Future[None] | None = None
        self.rollbacks = 0  # how often what was written did not come into the file

    def migrate(self, component: str, steps: Sequence[str]) -> None:
        """Bring the tables of `component` up to date.

        `steps[n]` is the SQL script that takes them from version n to version n + 1; steps are only ever added.
        Raises RuntimeError if the file was written by a newer stepbridge.
        """
        row = self._connection.execute(
            "SELECT version FROM schema_version WHERE component = ?", (component,)
        ).fetchone()
        version: int = row[0] if row else 0
        if version > len(steps):
            raise RuntimeError(
                f"The data directory was written by a newer stepbridge ({component} is at version {version}, this one "
                f"knows {len(steps)}). Upgrade stepbridge or use another --data-dir."
            )
        for number, script in enumerate(steps[version:], start=version + 1):
            self._connection.executescript(f"BEGIN; {script};")
            self._connection.execute("INSERT OR REPLACE INTO schema_version VALUES (?, ?)", (component, number))
            self._connection.execute("COMMIT")

    def query(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """All rows of a SELECT.  Sees what this turn of the loop has written."""
        return self._connection.execute(sql, parameters).fetchall()

    def query_one(self, sql: str, parameters: Sequence[Value] = ()) -> Row | None:
        """The first row of a SELECT, or None."""
        row: Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Write; the number of rows changed.  Committed at the end of this turn of the event loop."""
        self._begin()
        return self._connection.execute(sql, parameters).rowcount

    def insert(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Write a new row; its row id."""
        self._begin()
        number = self._connection.execute(sql, parameters).lastrowid
        if number is None:
            raise ValueError(f"this inserts no row: {sql}")
        return number

    def execute_returning(self, sql: str, parameters: Sequence[Value] = ()) -> Row | None:
        """Write, with a RETURNING clause: what it says of the row that was written, None if none was."""
        self._begin()
        row: Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Write once per row."""
        self._begin()
        self._connection.executemany(sql, rows)

    async def committed(self) -> None:
        """Return when all that has been written until now is committed."""
        if self._commit is not None:
            await asyncio.shield(self._commit)

    def pending_commit(self) -> "asyncio.Future[None] | None":
        """What :meth:`committed` waits for, for those who take a callback: None if nothing is left to commit."""
        return self._commit

    def close(self) -> None:
        """Commit what is open and close the file."""
        self._end()
        self._connection.close()

    def _begin(self) -> None:
        if self._commit is not None:
            return
        loop = asyncio.get_running_loop()
        self._connection.execute("BEGIN")
        self._commit = loop.create_future()
        loop.call_soon(self._end)

    def _end(self) -> None:
        commit, self._commit = self._commit, None
        if commit is None:
            return
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:  # a full disk: whoever waits for the commit must not acknowledge
            # SQLite has rolled back by itself or keeps the transaction open, by the kind of error (SQLite, "BEGIN
            # TRANSACTION", section 3); the next one must find none.
            self.rollbacks += 1
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if not commit.get_loop().is_closed():
                commit.set_exception(error)
            return
        if not commit.get_loop().is_closed():
            commit.set_result(None)
