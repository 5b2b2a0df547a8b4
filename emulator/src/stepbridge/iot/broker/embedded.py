"""The message core inside the emulator's process.

What must survive a killed process is in SQLite before anybody is told that it is safe: sessions with an expiry, their
subscriptions, QoS 1 messages for them, retained messages.  QoS 0, and QoS 1 for sessions that end with their
connection, stay in memory.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence

from stepbridge.clock import Clock, Timer
from stepbridge.iot.broker.core import CoreSession, Opening, Safe, Subscriber
from stepbridge.iot.broker.queue import SessionStore
from stepbridge.iot.broker.subscriptions import Subscriptions
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt.packets import Subscription
from stepbridge.iot.mqtt.topics import has_wildcard, share_of
from stepbridge.store import Store
from stepbridge.trace import Trace

_BATCH = 64
# What waits in memory for a connected client that does not keep up.
_MEMORY_MESSAGES = 10_000
_MEMORY_BYTES = 8 * 1024 * 1024


def expired(message: Message, now: float) -> bool:
    """Whether the message expiry interval has passed (MQTT 5.0 section 3.3.2.3.3)."""
    expiry = message.properties.message_expiry
    return expiry is not None and now >= message.time + expiry


class EmbeddedSession:
    """A session, connected or not.  Those with `durable` live in the database."""

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_behind",
        "_core",
        "_last_sent",
        "client_id",
        "durable",
        "expiry",
        "present",
        "subscriber",
        "subscriptions",
        "timer",
        "version",
    )

    def __init__(self, core: "EmbeddedCore", client_id: str, version: int, expiry: int) -> None:
        self._core = core
        self.client_id = client_id
        self.version = version
        self.expiry = expiry
        self.durable = expiry > 0
        self.present = False
        self.subscriber: Subscriber | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.timer: Timer | None = None
        # Durable: messages with ids above `_last_sent` wait in the database while `_behind`.
        self._behind = True
        self._last_sent = 0
        # Not durable: they wait here.
        self._backlog: deque[tuple[Message, bool]] | None = None
        self._backlog_bytes = 0

    @property
    def topic_filters(self) -> Collection[str]:
        return self.subscriptions.keys()

    def attach(self, subscriber: Subscriber) -> None:
        """A connection takes the session up: all that was not acknowledged is sent again."""
        self.subscriber = subscriber
        self._behind = True
        self._last_sent = 0

    def resume(self) -> None:
        if self.durable:
            self._resume_from_database()
        elif self._backlog:
            while self._backlog and self.subscriber is not None:
                message, retain = self._backlog[0]
                if not self._core.is_expired(message) and not self.subscriber.deliver(message, 1, retain, 0):
                    return
                self._backlog.popleft()
                self._backlog_bytes -= len(message.payload)

    def _resume_from_database(self) -> None:
        while self._behind and self.subscriber is not None:
            batch = self._core.records.queued(self.client_id, self._last_sent, _BATCH)
            for message_id, message, retain in batch:
                if self._core.is_expired(message):
                    self._core.records.dequeue(self.client_id, message_id)
                elif not self.subscriber.deliver(message, 1, retain, message_id):
                    return
                self._last_sent = message_id
            if len(batch) < _BATCH:
                self._behind = False

    def offer(self, message: Message, retain: bool, message_id: int) -> None:
        """A QoS 1 message for this session; `message_id` is 0 unless the session is durable."""
        if self.durable:
            self._core.records.enqueue(self.client_id, message_id, retain)
            if self.subscriber is None or self._behind:
                self._behind = True
            elif self.subscriber.deliver(message, 1, retain, message_id):
                self._last_sent = message_id
            else:
                self._behind = True
        elif self.subscriber is not None and (self._backlog or not self.subscriber.deliver(message, 1, retain, 0)):
            self._keep(message, retain)

    def _keep(self, message: Message, retain: bool) -> None:
        if self._backlog is None:
            self._backlog = deque()
        if len(self._backlog) >= _MEMORY_MESSAGES or self._backlog_bytes >= _MEMORY_BYTES:
            self._core.trace.emit(
                "iot",
                "message-dropped",
                f"{self.client_id} does not keep up: {len(self._backlog)} messages wait, the next on "
                f"{message.topic} is dropped. A persistent session would keep it.",
                client_id=self.client_id,
                topic=message.topic,
            )
            return
        self._backlog.append((message, retain))
        self._backlog_bytes += len(message.payload)

    def subscribe(self, subscriptions: Sequence[Subscription]) -> Safe:
        for subscription in subscriptions:
            self.subscriptions[subscription.topic_filter] = subscription
            self._core.subscriptions.add(self, subscription)
            if self.durable:
                self._core.records.save_subscription(self.client_id, subscription)
        return self._core.pending_commit() if self.durable else None

    def send_retained(self, subscriptions: Sequence[tuple[Subscription, bool]]) -> None:
        for subscription, replaced in subscriptions:
            topic_filter = subscription.topic_filter
            handling = subscription.retain_handling
            if handling == 2 or (handling == 1 and replaced):
                continue
            # Exact filters only (AWS IoT developer guide, "MQTT retained messages").
            if has_wildcard(topic_filter) or share_of(topic_filter)[0] is not None:
                continue
            message = self._core.retained_now(topic_filter)
            if message is None:
                continue
            qos = min(message.qos, subscription.qos)
            if qos:
                self.offer(message, True, self._core.records.save_message(message) if self.durable else 0)
            elif self.subscriber is not None:
                self.subscriber.deliver(message, 0, True, 0)

    def unsubscribe(self, topic_filters: Sequence[str]) -> Safe:
        for topic_filter in topic_filters:
            if self.subscriptions.pop(topic_filter, None) is not None:
                self._core.subscriptions.remove(self, topic_filter)
                if self.durable:
                    self._core.records.delete_subscription(self.client_id, topic_filter)
        return self._core.pending_commit() if self.durable else None

    def publish(self, message: Message) -> Safe:
        return self._core.publish(message)

    def synchronize(self) -> Safe:
        return None

    def acknowledge(self, token: int) -> None:
        if self.durable:
            self._core.records.dequeue(self.client_id, token)

    def close(self, subscriber: Subscriber, expiry: int) -> None:
        if self.subscriber is not subscriber:
            return
        self.subscriber = None
        if expiry and self.durable:
            self.expiry = expiry
            self._core.keep(self)
        else:
            self._core.end(self)


class EmbeddedCore:
    """The core."""

    def __init__(self, store: Store, clock: Clock, trace: Trace) -> None:
        self._store = store
        self._clock = clock
        self.trace = trace
        self.records = SessionStore(store)
        self.subscriptions: Subscriptions[EmbeddedSession] = Subscriptions()
        self._sessions: dict[str, EmbeddedSession] = {}

    async def start(self) -> None:
        """Take up the sessions of the last run.  One that was connected when the process died expires from now on."""
        now = self._clock.now()
        for row in self.records.sessions():
            session = EmbeddedSession(self, row["client_id"], row["version"], row["expiry"])
            self._sessions[session.client_id] = session
            expires_at = row["expires_at"]
            self._expire_at(session, now + session.expiry if expires_at is None else expires_at)
        for client_id, subscription in self.records.subscriptions():
            session = self._sessions[client_id]
            session.subscriptions[subscription.topic_filter] = subscription
            self.subscriptions.add(session, subscription)

    async def stop(self) -> None:
        for session in self._sessions.values():
            if session.timer is not None:
                session.timer.cancel()
        await self._store.committed()

    def open(self, opening: Opening, subscriber: Subscriber) -> asyncio.Future[CoreSession]:
        session = self._sessions.get(opening.client_id)
        if session is not None and (opening.clean_start or session.version != opening.version):
            self.end(session)
            session = None
        if session is None:
            session = EmbeddedSession(self, opening.client_id, opening.version, opening.expiry)
            self._sessions[opening.client_id] = session
            session.present = False
        else:
            session.present = True
            session.expiry = opening.expiry
        if session.timer is not None:
            session.timer.cancel()
            session.timer = None
        if session.durable:
            self.records.save_session(session.client_id, session.version, session.expiry, None)
        session.attach(subscriber)
        opened: asyncio.Future[CoreSession] = asyncio.get_running_loop().create_future()
        opened.set_result(session)
        return opened

    def publish(self, message: Message) -> Safe:
        if message.retain:
            self.records.retain(message)
        recipients = self.subscriptions.match(message.topic)
        stored = 0
        waiting: set[EmbeddedSession] = set()  # for the message under the id `stored`
        chosen = [self._choose(group.in_turn()) for group in recipients.groups] if recipients.groups else []
        for session, subscription in (*recipients.sessions, *chosen) if chosen else recipients.sessions:
            if subscription.no_local and message.client_id == session.client_id:
                continue
            retain = message.retain and subscription.retain_as_published
            if message.qos == 0 or subscription.qos == 0:
                if session.subscriber is not None:
                    session.subscriber.deliver(message, 0, retain, 0)
            elif session.durable:
                if not stored or session in waiting:  # by a shared subscription a session may get it once more
                    stored = self.records.save_message(message)
                    waiting.clear()
                waiting.add(session)
                session.offer(message, retain, stored)
            else:
                session.offer(message, retain, 0)
        return self.pending_commit()

    def _choose(self, members: list[tuple[EmbeddedSession, Subscription]]) -> tuple[EmbeddedSession, Subscription]:
        """The member of a shared subscription that gets a message: a connected one if there is any."""
        for member in members:
            if member[0].subscriber is not None:
                return member
        return members[0]

    async def retained(self, topic: str) -> Message | None:
        return self.retained_now(topic)

    async def retained_topics(self) -> list[tuple[str, int, int, float]]:
        now = self._clock.now()
        return [
            (each.topic, len(each.payload), each.qos, each.time)
            for each in self.records.retained_messages()
            if not expired(each, now)
        ]

    # For the sessions

    def retained_now(self, topic: str) -> Message | None:
        message = self.records.retained(topic)
        return None if message is None or self.is_expired(message) else message

    def is_expired(self, message: Message) -> bool:
        return message.properties.message_expiry is not None and expired(message, self._clock.now())

    def pending_commit(self) -> Safe:
        return self._store.pending_commit()

    def keep(self, session: EmbeddedSession) -> None:
        """The session stays without a connection."""
        expires_at = self._clock.now() + session.expiry
        self.records.save_session(session.client_id, session.version, session.expiry, expires_at)
        self._expire_at(session, expires_at)

    def end(self, session: EmbeddedSession) -> None:
        """Forget a session and what waits for it."""
        if session.timer is not None:
            session.timer.cancel()
        for topic_filter in session.subscriptions:
            self.subscriptions.remove(session, topic_filter)
        session.subscriptions.clear()
        if session.durable:
            self.records.delete_session(session.client_id)
        if self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]

    def _expire_at(self, session: EmbeddedSession, when: float) -> None:
        session.timer = self._clock.call_at(when, lambda: self.end(session))
