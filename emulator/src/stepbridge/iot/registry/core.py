"""What the parts of the registry share: tables, names, pages, and word of changes."""

from collections.abc import Callable, Sequence
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Service
from stepbridge.clock import Clock
from stepbridge.iot.pages import read_token, write_token
from stepbridge.settings import Settings
from stepbridge.store.database import Row, Store, Value
from stepbridge.trace import Trace

_TABLES = """
CREATE TABLE iot_thing_type (
    name TEXT PRIMARY KEY, id TEXT NOT NULL, properties TEXT NOT NULL, created REAL NOT NULL, deprecated REAL
) STRICT;
CREATE TABLE iot_thing (
    name TEXT PRIMARY KEY, id TEXT NOT NULL, type TEXT REFERENCES iot_thing_type (name), attributes TEXT NOT NULL,
    version INTEGER NOT NULL, created REAL NOT NULL
) STRICT;
CREATE INDEX iot_thing_by_type ON iot_thing (type);
CREATE TABLE iot_thing_group (
    name TEXT PRIMARY KEY, id TEXT NOT NULL, parent TEXT REFERENCES iot_thing_group (name),
    description TEXT, attributes TEXT, version INTEGER NOT NULL, created REAL NOT NULL
) STRICT;
CREATE INDEX iot_thing_group_by_parent ON iot_thing_group (parent);
CREATE TABLE iot_thing_group_member (
    thing TEXT NOT NULL REFERENCES iot_thing (name) ON DELETE CASCADE,
    thing_group TEXT NOT NULL REFERENCES iot_thing_group (name),
    PRIMARY KEY (thing, thing_group)
) STRICT, WITHOUT ROWID;
CREATE INDEX iot_thing_group_member_by_group ON iot_thing_group_member (thing_group);
CREATE TABLE iot_certificate (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, pem TEXT NOT NULL, status TEXT NOT NULL,
    authority TEXT, mode TEXT NOT NULL, own INTEGER NOT NULL, facts TEXT NOT NULL,
    not_before REAL NOT NULL, not_after REAL NOT NULL, created REAL NOT NULL, modified REAL NOT NULL,
    version INTEGER NOT NULL, generation TEXT NOT NULL
) STRICT;
CREATE INDEX iot_certificate_by_authority ON iot_certificate (authority);
CREATE TABLE iot_authority (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, pem TEXT NOT NULL, subject TEXT NOT NULL,
    status TEXT NOT NULL, auto_registration TEXT NOT NULL, registration_config TEXT, mode TEXT NOT NULL,
    not_before REAL NOT NULL, not_after REAL NOT NULL, created REAL NOT NULL, modified REAL NOT NULL,
    version INTEGER NOT NULL, generation TEXT NOT NULL
) STRICT;
CREATE TABLE iot_policy (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, default_version INTEGER NOT NULL,
    last_version INTEGER NOT NULL, created REAL NOT NULL, modified REAL NOT NULL, generation TEXT NOT NULL
) STRICT;
CREATE TABLE iot_policy_version (
    policy TEXT NOT NULL REFERENCES iot_policy (name) ON DELETE CASCADE, version INTEGER NOT NULL,
    document TEXT NOT NULL, created REAL NOT NULL, PRIMARY KEY (policy, version)
) STRICT;
CREATE TABLE iot_policy_target (
    number INTEGER PRIMARY KEY AUTOINCREMENT, policy TEXT NOT NULL REFERENCES iot_policy (name), target TEXT NOT NULL,
    UNIQUE (target, policy)
) STRICT;
CREATE INDEX iot_policy_target_by_policy ON iot_policy_target (policy);
CREATE TABLE iot_thing_principal (
    number INTEGER PRIMARY KEY AUTOINCREMENT, thing TEXT NOT NULL REFERENCES iot_thing (name),
    principal TEXT NOT NULL, exclusive INTEGER NOT NULL, UNIQUE (principal, thing)
) STRICT;
CREATE INDEX iot_thing_principal_by_thing ON iot_thing_principal (thing);
CREATE TABLE iot_tag (arn TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (arn, name))
    STRICT, WITHOUT ROWID;
CREATE TABLE iot_setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""

_DOMAINS = "CREATE TABLE iot_domain (name TEXT PRIMARY KEY, configuration TEXT NOT NULL) STRICT"

_ANCESTORS = """
WITH RECURSIVE up (name, parent, distance) AS (
    SELECT name, parent, 0 FROM iot_thing_group WHERE name = ?
    UNION ALL SELECT g.name, g.parent, distance + 1 FROM iot_thing_group AS g JOIN up ON g.name = up.parent
) SELECT name FROM up ORDER BY distance
"""


class RegistryCore:
    """The registry's tables, the names of what is in them, and those who want to hear of changes."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, trace: Trace) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self.trace = trace
        self._change_listeners: list[Callable[[], object]] = []
        self._revocation_listeners: list[Callable[[str], object]] = []
        self._trust_listeners: list[Callable[[str], object]] = []
        store.migrate("iot", [_TABLES, _DOMAINS])

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a thing, cert, policy, …"""
        region, account = self.settings.region, self.settings.account
        partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
        return f"arn:{partition}:iot:{region}:{account}:{kind}/{name}"

    def name_in_arn(self, kind: str, arn: str) -> str | None:
        """The name in an ARN of a kind in this account and region, or None if it is not one."""
        prefix = self.arn(kind, "")
        return arn.removeprefix(prefix) if arn.startswith(prefix) else None

    def group_and_ancestors(self, name: str) -> list[str]:
        """A thing group and all groups above it, from the bottom."""
        return [row["name"] for row in self.store.query(_ANCESTORS, (name,))]

    def changed(self) -> None:
        """Tell that what devices may do may have changed."""
        for listener in self._change_listeners:
            listener()

    def revoked(self, certificate: str) -> None:
        """Tell that a certificate (by id) is no longer valid."""
        for listener in self._revocation_listeners:
            listener(certificate)

    def trusted(self, pem: str) -> None:
        """Tell that TLS must accept this certificate, or what it has signed."""
        for listener in self._trust_listeners:
            listener(pem)

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call `listener` after each change to what devices may do."""
        self._change_listeners.append(listener)

    def on_revocation(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with the id of each certificate that ceases to be valid."""
        self._revocation_listeners.append(listener)

    def on_trust(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with each certificate (PEM) that becomes a trust anchor."""
        self._trust_listeners.append(listener)


class RegistryService(Service):
    """Base of the services: all of them are part of the API `iot`."""

    service_name = "iot"

    def __init__(self, core: RegistryCore) -> None:
        self._core = core
        self._store = core.store

    async def _finish(self) -> None:
        """After a write: tell of the change, and return when it is in the database."""
        self._core.changed()
        await self._store.committed()


def invalid(message: str) -> AwsError:
    """An InvalidRequestException."""
    return AwsError("InvalidRequestException", message)


def not_found(message: str) -> AwsError:
    """A ResourceNotFoundException."""
    return AwsError("ResourceNotFoundException", message)


def already_exists(message: str, resource_id: str, resource_arn: str) -> AwsError:
    """A ResourceAlreadyExistsException, which names the resource."""
    members = {"resourceId": resource_id, "resourceArn": resource_arn}
    return AwsError("ResourceAlreadyExistsException", message, members=members)


def present(**members: Any) -> dict[str, Any]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def select_page(
    store: Store,
    select: str,
    parameters: Sequence[Value],
    key: str,
    token: str | None,
    size: int,
    *,
    descending: bool = False,
) -> tuple[list[Row], str | None]:
    """One page of a listing, and the token of the next.

    `select` is a SELECT up to and with a WHERE clause, that gives the column `key`; `key` orders the rows and tells
    them apart, so that a page begins after the last row of the one before, whatever has been added or deleted since.
    """
    order = "DESC" if descending else "ASC"
    sql, values = select, [*parameters]
    if token is not None:
        sql += f" AND {key} {'<' if descending else '>'} ?"
        values.append(_read_token(token))
    rows = store.query(f"{sql} ORDER BY {key} {order} LIMIT ?", [*values, size + 1])
    if len(rows) <= size:
        return rows, None
    return rows[:size], write_token(rows[size - 1][key.rpartition(".")[2]])


def slice_page(items: Sequence[str], token: str | None, size: int) -> tuple[list[str], str | None]:
    """One page of a sorted list, and the token of the next."""
    if token is not None:
        last = str(_read_token(token))
        items = [item for item in items if item > last]
    return list(items[:size]), write_token(items[size - 1]) if len(items) > size else None


def _read_token(token: str) -> str | int:
    try:
        return read_token(token)
    except ValueError:
        raise invalid("The page token is not one that this operation has given.") from None
