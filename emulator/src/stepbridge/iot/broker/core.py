"""What the device gateway asks of a message core: sessions, subscriptions, queues, retained messages and fan-out.

A core knows nothing of TLS, certificates, policies or AWS's limits; the gateway sees to those on both sides of it.
Methods that change what must survive a killed process answer with a future that is done when it is safe, or with None
where it already is: no task has to wait for each message.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from stepbridge.iot.message import Message
from stepbridge.iot.mqtt.packets import Subscription

Safe = asyncio.Future[None] | None


@dataclass(frozen=True, slots=True)
class Opening:
    """A CONNECT that has been allowed.

    `expiry` is how many seconds the session outlives its connection; `version` the protocol level, since AWS carries
    no session over from MQTT 3.1.1 to 5 or back.
    """

    client_id: str
    version: int
    clean_start: bool
    expiry: int


class Subscriber(Protocol):
    """The gateway's end of a session."""

    def deliver(self, message: Message, qos: int, retain: bool, token: int) -> bool:
        """Take a message for the client; with QoS 1, `token` comes back by :meth:`CoreSession.acknowledge`.

        False means not now: a QoS 1 message is kept by the core until :meth:`CoreSession.resume`.
        """
        ...

    def abandon(self, reason: str) -> None:
        """The core can no longer serve this session."""
        ...


class CoreSession(Protocol):
    """One client's session while it is connected."""

    present: bool  # whether the session was there before this connection

    @property
    def topic_filters(self) -> Collection[str]:
        """What the session is subscribed to, as the client wrote it."""
        ...

    def resume(self) -> None:
        """The client takes QoS 1 messages now: deliver what waits."""
        ...

    def subscribe(self, subscriptions: Sequence[Subscription]) -> Safe:
        """Add or replace subscriptions."""
        ...

    def send_retained(self, subscriptions: Sequence[tuple[Subscription, bool]]) -> None:
        """Deliver the retained messages of new subscriptions; the flag says whether it replaced one."""
        ...

    def unsubscribe(self, topic_filters: Sequence[str]) -> Safe:
        """Remove subscriptions; those that are not there are no error."""
        ...

    def publish(self, message: Message) -> Safe:
        """Distribute a message from this client."""
        ...

    def synchronize(self) -> Safe:
        """Done when all that was published before has been delivered, or waits for room at the client."""
        ...

    def acknowledge(self, token: int) -> None:
        """The client has a QoS 1 message."""
        ...

    def close(self, subscriber: Subscriber, expiry: int) -> None:
        """The connection of `subscriber` is over; the session stays for `expiry` seconds.

        Nothing where another connection has taken the session up since: then it is not this one's to close.
        """
        ...


class Core(Protocol):
    """A message core."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def open(self, opening: Opening, subscriber: Subscriber) -> asyncio.Future[CoreSession]:
        """Begin or take up a session.  The gateway has closed the one that the client had open."""
        ...

    def publish(self, message: Message) -> Safe:
        """Distribute a message that comes from no session."""
        ...

    async def retained(self, topic: str) -> Message | None:
        """The retained message of a topic."""
        ...

    async def retained_topics(self) -> list[tuple[str, int, int, float]]:
        """Topic, payload size in bytes, QoS and time of each retained message, by topic."""
        ...
