"""The database: its group commit and the versions of its tables."""

import asyncio
import contextlib
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepbridge.store import Store

TABLE = "CREATE TABLE job (name TEXT PRIMARY KEY) STRICT"


def names(path: Path) -> list[str]:
    """What another process would find in the file."""
    with sqlite3.connect(path) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM job ORDER BY name")]


def test_writes_of_one_turn_are_committed_together_before_committed_returns(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"

    async def scenario() -> None:
        store = Store(path)
        store.migrate("jobs", [TABLE])
        store.execute("INSERT INTO job VALUES ('a')")
        store.execute("INSERT INTO job VALUES ('b')")
        assert store.query("SELECT count(*) FROM job")[0][0] == 2
        assert names(path) == []
        await store.committed()
        assert names(path) == ["a", "b"]
        store.close()

    asyncio.run(scenario())


@contextlib.contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """What a full disk is to SQLite: the kernel refuses to write past `size` bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_commit_that_fails_is_told_to_those_who_wait_and_the_next_one_works(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"

    async def scenario() -> None:
        store = Store(path)
        store.migrate("jobs", [TABLE])
        store.execute("INSERT INTO job VALUES ('a')")
        await store.committed()
        with no_file_grows_beyond((tmp_path / "state.sqlite-wal").stat().st_size):
            store.execute("INSERT INTO job VALUES ('b')")
            with pytest.raises(sqlite3.OperationalError):
                await store.committed()
        assert [row["name"] for row in store.query("SELECT name FROM job")] == ["a"]
        store.execute("INSERT INTO job VALUES ('c')")
        await store.committed()
        assert names(path) == ["a", "c"]
        store.close()

    asyncio.run(scenario())


def test_a_commit_that_leaves_its_transaction_open_is_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    reference = "CREATE TABLE part (job TEXT REFERENCES job DEFERRABLE INITIALLY DEFERRED) STRICT"

    async def scenario() -> None:
        store = Store(path)
        store.migrate("jobs", [TABLE, reference])
        store.execute("INSERT INTO job VALUES ('a')")
        store.execute("INSERT INTO part VALUES ('nobody')")
        with pytest.raises(sqlite3.IntegrityError):
            await store.committed()
        store.execute("INSERT INTO job VALUES ('b')")
        await store.committed()
        assert names(path) == ["b"]
        store.close()

    asyncio.run(scenario())


def test_close_commits(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"

    async def scenario() -> None:
        store = Store(path)
        store.migrate("jobs", [TABLE])
        store.execute("INSERT INTO job VALUES ('a')")
        store.close()

    asyncio.run(scenario())
    assert names(path) == ["a"]


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    Store(tmp_path / "state.sqlite").close()
    assert (tmp_path / "state.sqlite").stat().st_mode & 0o777 == 0o600


def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    store = Store(path)
    store.migrate("jobs", [TABLE])
    store.close()
    store = Store(path)
    store.migrate("jobs", [TABLE, "ALTER TABLE job ADD COLUMN done INTEGER NOT NULL DEFAULT 0"])
    assert [row["name"] for row in store.query("PRAGMA table_info(job)")] == ["name", "done"]
    store.close()


def test_a_failed_migration_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    store = Store(path)
    with pytest.raises(sqlite3.Error):
        store.migrate("jobs", [TABLE, "CREATE TABLE other (x TEXT) STRICT; NONSENSE"])
    store.close()
    store = Store(path)
    store.migrate("jobs", [TABLE, "CREATE TABLE other (x TEXT) STRICT"])
    assert store.query("SELECT name FROM sqlite_master WHERE name = 'other'")
    store.close()


def test_a_file_of_a_newer_version_is_refused_in_words(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite")
    store.migrate("jobs", [TABLE, "CREATE TABLE other (x TEXT) STRICT"])
    with pytest.raises(RuntimeError, match="newer stepbridge"):
        store.migrate("jobs", [TABLE])
    store.close()
