"""Lifecycle events: what AWS IoT Core publishes about clients on `$aws/events/presence/…` and `…/subscriptions/…`.

See "Lifecycle events" in the AWS IoT developer guide.
"""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepbridge.clock import Clock
from stepbridge.iot.message import Message

EVENTS = "$aws/events/"
CLIENT_INITIATED = "CLIENT_INITIATED_DISCONNECT"
# "If a client is not connected for approximately one hour, the version number is reset to 0.  For persistent sessions,
# [it] is reset to 0 after a client has been disconnected longer than the configured time-to-live".
_VERSION_OUTLIVES = 3600
_TIDY_AT_LEAST = 1024  # client ids


@dataclass(frozen=True, slots=True)
class Client:
    """Whom an event tells of: one connection.  `thing` is what its principal is attached to exclusively."""

    client_id: str
    principal: str
    address: str
    thing: str | None
    session_identifier: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(slots=True)
class _Version:
    number: int
    forgotten_at: float | None = None  # None while the client is connected


class Lifecycle:
    """Publishes the events.  `publish` accepts a message as if it came from inside the broker."""

    def __init__(self, clock: Clock, publish: Callable[[Message], object]) -> None:
        self._clock = clock
        self._publish = publish
        self._versions: dict[str, _Version] = {}  # by client id
        self._tidy_at = _TIDY_AT_LEAST

    def connected(self, client: Client) -> None:
        """A client has its CONNACK."""
        last = self._versions.get(client.client_id)
        number = 0 if last is None or self._is_over(last) else last.number + 1
        self._versions[client.client_id] = _Version(number)
        self._tidy()
        self._event("presence", "connected", client, ipAddress=client.address, versionNumber=number)

    def connect_failed(self, client: Client) -> None:
        """The policy does not let a client connect."""
        failure = {"ipAddress": client.address, "connectFailureReason": "AUTHORIZATION_FAILED"}
        self._event("presence", "connect_failed", client, **failure)

    def disconnected(self, client: Client, reason: str, session_expiry: int) -> None:
        """A connection is over; the session outlives it by `session_expiry` seconds."""
        version = self._versions[client.client_id]
        version.forgotten_at = self._clock.now() + (session_expiry or _VERSION_OUTLIVES)
        self._event(
            "presence",
            "disconnected",
            client,
            clientInitiatedDisconnect=reason == CLIENT_INITIATED,
            disconnectReason=reason,
            versionNumber=version.number,
        )

    def subscriptions(self, event: str, client: Client, topic_filters: Sequence[str]) -> None:
        """A client has `subscribed` or `unsubscribed`."""
        self._event("subscriptions", event, client, topics=list(topic_filters))

    def _is_over(self, version: _Version) -> bool:
        return version.forgotten_at is not None and version.forgotten_at <= self._clock.now()

    def _tidy(self) -> None:
        """Forget clients that have not come again, whenever there are twice as many as were left the last time."""
        if len(self._versions) >= self._tidy_at:
            self._versions = {name: each for name, each in self._versions.items() if not self._is_over(each)}
            self._tidy_at = max(_TIDY_AT_LEAST, 2 * len(self._versions))

    def _event(self, kind: str, event: str, client: Client, **members: Any) -> None:
        # Client ids with # or + get no events: the topic would be none.
        if "#" in client.client_id or "+" in client.client_id:
            return
        now = self._clock.now()
        document: dict[str, Any] = {"clientId": client.client_id}
        if client.thing is not None:
            document["thingName"] = client.thing
        document |= {
            "timestamp": int(now * 1000),
            "eventType": event,
            "sessionIdentifier": client.session_identifier,
            "principalIdentifier": client.principal,
            **members,
        }
        payload = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        topic = f"{EVENTS}{kind}/{event}/{client.client_id}"
        self._publish(Message(topic=topic, payload=payload, qos=1, retain=False, time=now))
