"""Lifecycle events: what AWS IoT Core publishes about clients on `$aws/events/presence/…` and `…/subscriptions/…`.

See "Lifecycle events" in the AWS IoT developer guide.
"""

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from stepbridge.clock import Clock
from stepbridge.iot.message import Message

EVENTS = "$aws/events/"
CLIENT_INITIATED = "CLIENT_INITIATED_DISCONNECT"


class Lifecycle:
    """Publishes the events.  `publish` accepts a message as if it came from inside the broker."""

    def __init__(self, clock: Clock, publish: Callable[[Message], object]) -> None:
        self._clock = clock
        self._publish = publish
        self._versions: dict[str, int] = {}  # by client id: how many connections it has had

    def connected(self, client_id: str, principal: str, address: str) -> str:
        """A client has its CONNACK.  The answer is the session identifier that later events carry."""
        session_identifier = str(uuid.uuid4())
        self._versions[client_id] = self._versions.get(client_id, -1) + 1
        self._presence(
            "connected",
            client_id,
            sessionIdentifier=session_identifier,
            principalIdentifier=principal,
            ipAddress=address,
            versionNumber=self._versions[client_id],
        )
        return session_identifier

    def connect_failed(self, client_id: str, principal: str, address: str) -> None:
        """The policy does not let a client connect."""
        self._presence(
            "connect_failed",
            client_id,
            sessionIdentifier=str(uuid.uuid4()),
            principalIdentifier=principal,
            ipAddress=address,
            connectFailureReason="AUTHORIZATION_FAILED",
        )

    def disconnected(self, client_id: str, principal: str, session_identifier: str, reason: str) -> None:
        """A connection is over."""
        self._presence(
            "disconnected",
            client_id,
            clientInitiatedDisconnect=reason == CLIENT_INITIATED,
            sessionIdentifier=session_identifier,
            principalIdentifier=principal,
            disconnectReason=reason,
            versionNumber=self._versions.get(client_id, 0),
        )

    def subscriptions(
        self, event: str, client_id: str, principal: str, session_identifier: str, topic_filters: Sequence[str]
    ) -> None:
        """A client has `subscribed` or `unsubscribed`."""
        self._event(
            "subscriptions",
            event,
            client_id,
            sessionIdentifier=session_identifier,
            principalIdentifier=principal,
            topics=list(topic_filters),
        )

    def _presence(self, event: str, client_id: str, **members: Any) -> None:
        self._event("presence", event, client_id, **members)

    def _event(self, kind: str, event: str, client_id: str, **members: Any) -> None:
        # Client ids with # or + get no events: the topic would be none.
        if "#" in client_id or "+" in client_id:
            return
        now = self._clock.now()
        document = {"clientId": client_id, "timestamp": int(now * 1000), "eventType": event, **members}
        payload = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        topic = f"{EVENTS}{kind}/{event}/{client_id}"
        self._publish(Message(topic=topic, payload=payload, qos=1, retain=False, time=now))
