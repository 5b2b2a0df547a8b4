"""The stored shadows, and what is published when one is asked for or changes."""

import json
import logging
from collections.abc import Callable

from stepbridge.clock import Clock
from stepbridge.iot.message import Message
from stepbridge.iot.shadows import document
from stepbridge.iot.shadows.document import Json, Rejection, Shadow
from stepbridge.iot.shadows.topics import ShadowName, parse_request
from stepbridge.store import Store
from stepbridge.trace import Trace

logger = logging.getLogger(__name__)

# A deleted shadow has state NULL; `changed` is then when it was deleted.
_TABLES = """
CREATE TABLE shadow (
    thing TEXT NOT NULL, name TEXT NOT NULL, state TEXT, metadata TEXT, version INTEGER NOT NULL, changed REAL NOT NULL,
    PRIMARY KEY (thing, name)
) STRICT, WITHOUT ROWID;
"""
# "If you create a device shadow document that has the same name as one that was deleted within the past 48 hours, the
# version number of the new device shadow document will follow that of the deleted one."
_VERSION_OUTLIVES = 48 * 3600
_CLASSIC = ""  # as a name in the database


class Shadows:
    """All shadows of the account; a shadow needs no thing in the registry.

    `publish` takes the messages that answer requests and tell of changes.
    """

    def __init__(self, store: Store, clock: Clock, trace: Trace, publish: Callable[[Message], object]) -> None:
        self._store = store
        self._clock = clock
        self._trace = trace
        self._publish = publish
        store.migrate("shadows", [_TABLES])

    def take(self, message: Message) -> None:
        """Carry out a message on the broker if it is a request to a shadow; the answer is published."""
        request = parse_request(message.topic)
        if request is None:
            return
        shadow, operation = request
        try:
            self._carry_out(shadow, operation, message.payload)
        except Rejection as rejection:
            self._reject(shadow, operation, message, rejection)
        except Exception:  # of ours, or of the disk: a device must not lose its connection by it
            logger.exception("%s of shadow %s failed", operation, shadow)
            self._reject(shadow, operation, message, Rejection(500, "Internal service failure"))

    def _carry_out(self, shadow: ShadowName, operation: str, payload: bytes) -> None:
        if (fault := shadow.fault) is not None:
            raise Rejection(400, fault)
        if operation == "update":
            self.update(shadow, payload)
        elif operation == "delete":
            self.delete(shadow, payload)
        else:
            self._send(shadow, "get/accepted", self.get(shadow, payload))

    def _reject(self, shadow: ShadowName, operation: str, message: Message, rejection: Rejection) -> None:
        who = message.client_id or message.principal or "the emulator"
        self._trace.emit(
            "iot",
            "shadow-refused",
            f"the {operation} of shadow {shadow} by {who} is rejected: {rejection.message} ({rejection.code})",
            shadow=str(shadow),
            code=rejection.code,
            reason=rejection.message,
        )
        self._send(shadow, f"{operation}/rejected", rejection.document)

    def get(self, name: ShadowName, payload: bytes = b"") -> Json:
        """The shadow with its delta.  Raises Rejection."""
        token = document.client_token_of(payload)
        shadow, _ = self._read(name)
        if shadow is None:
            raise _not_found(name, token)
        return document.accepted_get(shadow, token, self._now())

    def update(self, name: ShadowName, payload: bytes) -> Json:
        """Change or make a shadow, and publish accepted, delta and documents; what is accepted.  Raises Rejection."""
        request = document.parse_update(payload)
        now = self._now()
        before, last_version = self._read(name)
        after = document.apply_update(before, request, last_version, now)
        self._write(name, after)
        accepted = document.accepted_update(request, after, now)
        self._tell(name, "update", f"version {after.version}")
        self._send(name, "update/accepted", accepted)
        difference = document.delta_message(request, after, now)
        if difference is not None:
            self._send(name, "update/delta", difference)
        self._send(name, "update/documents", document.documents_message(before, after, request.client_token, now))
        return accepted

    def delete(self, name: ShadowName, payload: bytes = b"") -> Json:
        """Delete a shadow and publish it; what is accepted.  Raises Rejection."""
        token = document.client_token_of(payload)
        shadow, _ = self._read(name)
        if shadow is None:
            raise _not_found(name, token)
        self._store.execute(
            "UPDATE shadow SET state = NULL, metadata = NULL, changed = ? WHERE thing = ? AND name = ?",
            (self._clock.now(), name.thing, name.name or _CLASSIC),
        )
        accepted = document.accepted_delete(shadow.version, token, self._now())
        self._tell(name, "delete", f"at version {shadow.version}")
        self._send(name, "delete/accepted", accepted)
        return accepted

    def names(self, thing: str, after: str, count: int) -> list[str]:
        """The first `count` names after `after` of a thing's named shadows, in order."""
        rows = self._store.query(
            "SELECT name FROM shadow WHERE thing = ? AND name > ? AND state IS NOT NULL ORDER BY name LIMIT ?",
            (thing, max(after, _CLASSIC), count),
        )
        return [row["name"] for row in rows]

    def _read(self, name: ShadowName) -> tuple[Shadow | None, int]:
        """The shadow, and the version that an update goes on from."""
        row = self._store.query_one(
            "SELECT state, metadata, version, changed FROM shadow WHERE thing = ? AND name = ?",
            (name.thing, name.name or _CLASSIC),
        )
        if row is None:
            return None, 0
        if row["state"] is None:
            return None, row["version"] if self._clock.now() - row["changed"] < _VERSION_OUTLIVES else 0
        return Shadow(json.loads(row["state"]), json.loads(row["metadata"]), row["version"]), row["version"]

    def _write(self, name: ShadowName, shadow: Shadow) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO shadow VALUES (?, ?, ?, ?, ?, ?)",
            (
                name.thing,
                name.name or _CLASSIC,
                document.dump(shadow.state).decode(),
                document.dump(shadow.metadata).decode(),
                shadow.version,
                self._clock.now(),
            ),
        )

    def _now(self) -> int:
        return int(self._clock.now())

    def _tell(self, name: ShadowName, operation: str, text: str) -> None:
        self._trace.emit("iot", "shadow", f"{operation} of shadow {name}: {text}", shadow=str(name))

    def _send(self, name: ShadowName, topic: str, content: Json) -> None:
        payload = document.dump(content)
        self._publish(Message(f"{name.prefix}/{topic}", payload, qos=1, retain=False, time=self._clock.now()))


def _not_found(name: ShadowName, client_token: str | None) -> Rejection:
    return Rejection(404, f"No shadow exists with name: '{name}'", client_token)
