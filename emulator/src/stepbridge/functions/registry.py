"""Functions, versions, aliases, resource policies and settings, as the database has them."""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stepbridge.functions.names import LATEST, FunctionName, function_not_found
from stepbridge.functions.refusals import invalid
from stepbridge.store import Store

_SCHEMA = [
    """
    CREATE TABLE lambda_functions (
        name TEXT PRIMARY KEY,
        last_version INTEGER NOT NULL DEFAULT 0,
        reserved_concurrency INTEGER,
        tags TEXT NOT NULL
    ) STRICT;
    CREATE TABLE lambda_versions (
        name TEXT NOT NULL REFERENCES lambda_functions ON DELETE CASCADE,
        version TEXT NOT NULL,
        configuration TEXT NOT NULL,
        PRIMARY KEY (name, version)
    ) STRICT;
    CREATE TABLE lambda_aliases (
        name TEXT NOT NULL REFERENCES lambda_functions ON DELETE CASCADE,
        alias TEXT NOT NULL,
        configuration TEXT NOT NULL,
        PRIMARY KEY (name, alias)
    ) STRICT;
    CREATE TABLE lambda_permissions (
        name TEXT NOT NULL REFERENCES lambda_functions ON DELETE CASCADE,
        qualifier TEXT NOT NULL,
        statement_id TEXT NOT NULL,
        statement TEXT NOT NULL,
        PRIMARY KEY (name, qualifier, statement_id)
    ) STRICT;
    CREATE TABLE lambda_event_invoke_configs (
        name TEXT NOT NULL REFERENCES lambda_functions ON DELETE CASCADE,
        qualifier TEXT NOT NULL,
        configuration TEXT NOT NULL,
        PRIMARY KEY (name, qualifier)
    ) STRICT
    """
]

# A configuration is the FunctionConfiguration that the API answers with, of this version; its code is named by
# CodeSha256.
Configuration = dict[str, Any]


@dataclass(slots=True)
class Function:
    """What is the same for all versions of a function."""

    name: str
    last_version: int
    reserved_concurrency: int | None
    tags: dict[str, str]


class FunctionRegistry:
    """Reads and writes functions; what invocations read is cached.  Durable after `store.committed()`."""

    def __init__(self, store: Store) -> None:
        store.migrate("lambda", _SCHEMA)
        self._store = store
        self._functions: dict[str, Function] = {}
        self._versions: dict[tuple[str, str], Configuration] = {}

    # Functions

    def function(self, name: FunctionName) -> Function:
        """Raises ResourceNotFoundException."""
        function = self._functions.get(name.name)
        if function is None:
            row = self._store.query_one("SELECT * FROM lambda_functions WHERE name = ?", (name.name,))
            if row is None:
                raise function_not_found(name)
            function = Function(row["name"], row["last_version"], row["reserved_concurrency"], json.loads(row["tags"]))
            self._functions[name.name] = function
        return function

    def unqualified(self, name: FunctionName) -> FunctionName:
        """The function, for operations that are not about its versions and aliases.

        Raises InvalidParameterValueException for another qualifier than $LATEST, and ResourceNotFoundException.
        """
        if name.qualifier not in (None, LATEST):
            raise invalid(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
                "operation. Please specify either a function name or an unqualified function ARN."
            )
        name = FunctionName(name.account, name.region, name.name)
        self.function(name)
        return name

    def exists(self, name: str) -> bool:
        return self._store.query_one("SELECT 1 FROM lambda_functions WHERE name = ?", (name,)) is not None

    def create(self, name: str, configuration: Configuration, tags: dict[str, str]) -> None:
        self._store.execute("INSERT INTO lambda_functions (name, tags) VALUES (?, ?)", (name, json.dumps(tags)))
        self.put_version(name, LATEST, configuration)

    def save(self, function: Function) -> None:
        """Write what may change of a function."""
        self._store.execute(
            "UPDATE lambda_functions SET last_version = ?, reserved_concurrency = ?, tags = ? WHERE name = ?",
            (function.last_version, function.reserved_concurrency, json.dumps(function.tags), function.name),
        )

    def delete(self, name: str) -> None:
        self._store.execute("DELETE FROM lambda_functions WHERE name = ?", (name,))
        self._functions.pop(name, None)
        for key in [key for key in self._versions if key[0] == name]:
            del self._versions[key]

    def reserved_concurrency(self, name: str) -> int | None:
        """None too if there is no such function."""
        row = self._store.query_one("SELECT reserved_concurrency FROM lambda_functions WHERE name = ?", (name,))
        return row[0] if row else None

    def reserved_concurrency_of_all(self) -> int:
        """The concurrency reserved for functions, together."""
        row = self._store.query_one("SELECT coalesce(sum(reserved_concurrency), 0) FROM lambda_functions")
        return int(row[0]) if row else 0

    def all_latest(self) -> Iterator[Configuration]:
        rows = self._store.query("SELECT configuration FROM lambda_versions WHERE version = ? ORDER BY name", (LATEST,))
        return (json.loads(row[0]) for row in rows)

    # Versions

    def version(self, name: FunctionName, version: str) -> Configuration:
        """Raises ResourceNotFoundException."""
        key = (name.name, version)
        configuration = self._versions.get(key)
        if configuration is None:
            row = self._store.query_one("SELECT configuration FROM lambda_versions WHERE name = ? AND version = ?", key)
            if row is None:
                raise function_not_found(name)
            configuration = self._versions[key] = json.loads(row[0])
        return configuration

    def resolve(self, name: FunctionName) -> Configuration:
        """The version that `name` means, possibly by an alias; raises ResourceNotFoundException."""
        self.function(name)
        qualifier = name.qualifier or LATEST
        if qualifier == LATEST or qualifier.isdecimal():
            return self.version(name, qualifier)
        alias = self.alias(name, qualifier)
        if alias is None:
            raise function_not_found(name)
        return self.version(name, alias["FunctionVersion"])

    def all_packages(self) -> set[str]:
        """The CodeSha256 of all versions there are, and of their layers."""
        packages: set[str] = set()
        for row in self._store.query("SELECT configuration FROM lambda_versions"):
            configuration = json.loads(row[0])
            packages.add(configuration["CodeSha256"])
            packages.update(layer["CodeSha256"] for layer in configuration.get("Layers", []))
        return packages

    def put_version(self, name: str, version: str, configuration: Configuration) -> None:
        self._store.execute(
            "INSERT INTO lambda_versions VALUES (?, ?, ?)"
            " ON CONFLICT (name, version) DO UPDATE SET configuration = excluded.configuration",
            (name, version, json.dumps(configuration)),
        )
        self._versions.pop((name, version), None)

    def delete_version(self, name: str, version: str) -> None:
        """Also what is kept of its resource policy and its asynchronous invocations."""
        self._store.execute("DELETE FROM lambda_versions WHERE name = ? AND version = ?", (name, version))
        self._delete_what_hangs_on(name, version)
        self._versions.pop((name, version), None)

    def versions(self, name: str) -> list[Configuration]:
        """$LATEST, then the published ones, oldest first."""
        rows = self._store.query(
            "SELECT configuration FROM lambda_versions WHERE name = ? ORDER BY CAST(version AS INTEGER)", (name,)
        )
        return [json.loads(row[0]) for row in rows]

    # Aliases

    def alias(self, name: FunctionName, alias: str) -> dict[str, Any] | None:
        row = self._store.query_one(
            "SELECT configuration FROM lambda_aliases WHERE name = ? AND alias = ?", (name.name, alias)
        )
        return json.loads(row[0]) if row else None

    def put_alias(self, name: str, alias: str, configuration: dict[str, Any]) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO lambda_aliases VALUES (?, ?, ?)", (name, alias, json.dumps(configuration))
        )

    def delete_alias(self, name: str, alias: str) -> None:
        """Also what is kept of its resource policy and its asynchronous invocations: another may have the name."""
        self._store.execute("DELETE FROM lambda_aliases WHERE name = ? AND alias = ?", (name, alias))
        self._delete_what_hangs_on(name, alias)

    def aliases(self, name: str) -> list[dict[str, Any]]:
        rows = self._store.query("SELECT configuration FROM lambda_aliases WHERE name = ? ORDER BY alias", (name,))
        return [json.loads(row[0]) for row in rows]

    def _delete_what_hangs_on(self, name: str, qualifier: str) -> None:
        self.replace_statements(name, qualifier, [])
        self.delete_event_invoke_config(name, qualifier)

    # Resource policies; the qualifier of the unqualified function is ""

    def statements(self, name: str, qualifier: str) -> dict[str, dict[str, Any]]:
        """The statements of a resource policy by their id."""
        rows = self._store.query(
            "SELECT statement_id, statement FROM lambda_permissions WHERE name = ? AND qualifier = ? ORDER BY rowid",
            (name, qualifier),
        )
        return {row[0]: json.loads(row[1]) for row in rows}

    def add_statement(self, name: str, qualifier: str, statement: dict[str, Any]) -> None:
        self._store.execute(
            "INSERT INTO lambda_permissions VALUES (?, ?, ?, ?)",
            (name, qualifier, statement["Sid"], json.dumps(statement)),
        )

    def replace_statements(self, name: str, qualifier: str, statements: Sequence[dict[str, Any]]) -> None:
        """Make these the policy; those without an id get one that no request can give."""
        self._store.execute("DELETE FROM lambda_permissions WHERE name = ? AND qualifier = ?", (name, qualifier))
        for number, statement in enumerate(statements):
            self._store.execute(
                "INSERT INTO lambda_permissions VALUES (?, ?, ?, ?)",
                (name, qualifier, statement.get("Sid") or f"#{number}", json.dumps(statement)),
            )

    def remove_statement(self, name: str, qualifier: str, statement_id: str) -> bool:
        """False if there is none."""
        return bool(
            self._store.execute(
                "DELETE FROM lambda_permissions WHERE name = ? AND qualifier = ? AND statement_id = ?",
                (name, qualifier, statement_id),
            )
        )

    def policy_revision(self, name: str, qualifier: str) -> str:
        """Changes whenever the policy does."""
        text = json.dumps(self.statements(name, qualifier))
        return str(uuid.uuid5(uuid.NAMESPACE_URL, text))

    # What happens with asynchronous invocations

    def event_invoke_config(self, name: str, qualifier: str) -> dict[str, Any] | None:
        row = self._store.query_one(
            "SELECT configuration FROM lambda_event_invoke_configs WHERE name = ? AND qualifier = ?", (name, qualifier)
        )
        return json.loads(row[0]) if row else None

    def event_invoke_configs(self, name: str) -> list[dict[str, Any]]:
        rows = self._store.query(
            "SELECT configuration FROM lambda_event_invoke_configs WHERE name = ? ORDER BY qualifier", (name,)
        )
        return [json.loads(row[0]) for row in rows]

    def put_event_invoke_config(self, name: str, qualifier: str, configuration: dict[str, Any]) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO lambda_event_invoke_configs VALUES (?, ?, ?)",
            (name, qualifier, json.dumps(configuration)),
        )

    def delete_event_invoke_config(self, name: str, qualifier: str) -> bool:
        """False if there is none."""
        return bool(
            self._store.execute(
                "DELETE FROM lambda_event_invoke_configs WHERE name = ? AND qualifier = ?", (name, qualifier)
            )
        )


def require_function(registry: FunctionRegistry, name: FunctionName) -> Function:
    """The function, if the version or alias that `name` may give is there too; raises ResourceNotFoundException."""
    registry.resolve(name)
    return registry.function(name)
