"""The message core that leaves sessions, queues, retained messages and fan-out to a real Mosquitto.

Each device session is a session on Mosquitto (:mod:`.mosquitto_session`) over a connection of its own, on which
messages come.  All messages go to Mosquitto over one connection, :class:`~.mosquitto_standing.Publisher`, since their
order is then the one in which they were accepted.  Shared subscriptions have a distributor (:mod:`.mosquitto_shares`).

The devices' connections end when Mosquitto goes away, and those who connect meanwhile are told that the server is
unavailable; their sessions, queues and acknowledged messages are there when it is back.
"""

import asyncio
import itertools
import secrets
from collections.abc import Coroutine
from typing import Any

from stepbridge.clock import Clock
from stepbridge.iot.broker.core import CoreSession, Opening, Safe, Subscriber
from stepbridge.iot.broker.embedded import expired
from stepbridge.iot.broker.mosquitto_envelope import pack, unpack, wire_filter
from stepbridge.iot.broker.mosquitto_link import Endpoint, Link, finish
from stepbridge.iot.broker.mosquitto_process import MosquittoProcess
from stepbridge.iot.broker.mosquitto_records import SessionRecords
from stepbridge.iot.broker.mosquitto_session import MosquittoSession
from stepbridge.iot.broker.mosquitto_shares import SharedSubscriptions
from stepbridge.iot.broker.mosquitto_standing import Publisher
from stepbridge.iot.broker.subscriptions import Subscriptions
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.packets import Subscription
from stepbridge.iot.mqtt.topics import share_of
from stepbridge.store import Store
from stepbridge.trace import Trace

# Sessions end by the emulator's clock.  Mosquitto's own limit, in seconds, is for those whose emulator is gone for
# good: twice as long as AWS lets a session be.
_KEPT = 2 * 604_800
_RECEIVE_MAXIMUM = 200  # twice what a client may have unacknowledged


class MosquittoCore:
    """The core; `endpoint` is where Mosquitto listens.  A `process` is started and ended with the core."""

    def __init__(
        self, store: Store, clock: Clock, trace: Trace, endpoint: Endpoint, process: MosquittoProcess | None = None
    ) -> None:
        self._process = process
        self._store = store
        self._clock = clock
        self._trace = trace
        self._endpoint = endpoint
        self.records = SessionRecords(store)
        self.shares = SharedSubscriptions(self, endpoint, "stepbridge/shared", self._tell, _KEPT)
        self._publisher = Publisher(endpoint, "stepbridge/publisher", self._tell)
        self._sessions: dict[str, MosquittoSession] = {}
        self.lasting: Subscriptions[MosquittoSession] = Subscriptions()  # of sessions that outlive their connections
        # By client id: done when the connection that has the session, or will have it, has let it go.
        self._turns: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()
        self._run = secrets.token_hex(4)

    async def start(self) -> None:
        """Connect, and take up the sessions of the last run.  Raises OSError or RuntimeError, with a sentence."""
        if self._process is not None:
            await self._process.start()
        now = self._clock.now()
        for row in self.records.sessions():
            session = MosquittoSession(self, row["client_id"], row["version"], row["expiry"])
            session.durable = True
            self._sessions[session.client_id] = session
            expires_at = row["expires_at"]
            self._expire_at(session, now + session.expiry if expires_at is None else expires_at)
        for client_id, subscription in self.records.subscriptions():
            session = self._sessions[client_id]
            session.restore(subscription)
            self.lasting.add(session, subscription)
            if share_of(subscription.topic_filter)[0] is not None:
                self.shares.restore(session, subscription)
        await self._publisher.start()
        await self.shares.start()

    async def stop(self) -> None:
        for session in self._sessions.values():
            if session.timer is not None:
                session.timer.cancel()
        if self._turns:
            await asyncio.wait(list(self._turns.values()))
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        await self._publisher.stop()
        await self.shares.stop()
        if self._process is not None:
            await self._process.stop()
        await self._store.committed()

    def open(self, opening: Opening, subscriber: Subscriber) -> asyncio.Future[CoreSession]:
        previous = self._turns.get(opening.client_id)
        turn = self._take_turn(opening.client_id)
        return asyncio.ensure_future(self._open(opening, subscriber, previous, turn))

    def publish(self, message: Message) -> Safe:
        safe = self.publish_of(message)
        # What comes from inside may be asked for at once, as with GetRetainedMessage.
        return self._publisher.barrier() if safe is None else safe

    async def retained(self, topic: str) -> Message | None:
        found = [each for each in await self._retained(wire_filter(topic)) if not expired(each, self._clock.now())]
        return found[0] if found else None

    async def retained_topics(self) -> list[tuple[str, int, int, float]]:
        now = self._clock.now()
        messages = [each for each in await self._retained("#") if not expired(each, now)]
        return sorted((each.topic, len(each.payload), each.qos, each.time) for each in messages)

    # For the sessions

    def now(self) -> float:
        return self._clock.now()

    def next_number(self) -> str:
        """A number that no other message has."""
        return f"{self._run}.{next(self._numbers)}"

    def pending_commit(self) -> Safe:
        return self._store.pending_commit()

    def publish_of(self, message: Message) -> Safe:
        """Distribute a message from a session."""
        recipients = self.lasting.match(message.topic)
        lasts = message.retain or bool(recipients.sessions or recipients.groups)
        return self._publisher.publish(pack(message, self.next_number(), message.qos, message.retain), lasts=lasts)

    def synchronize(self, session: MosquittoSession) -> Safe:
        """Done when `session` has got all that was published before."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def own(_: object = None) -> None:
            if session.link is None:
                finish(done)
            else:
                session.link.ping(lambda: finish(done))

        def shared(_: object = None) -> None:
            safe = self.shares.barrier() if session.has_shares else None
            if safe is None:
                own()
            else:
                safe.add_done_callback(own)

        self._publisher.barrier().add_done_callback(shared)
        return done

    def keep(self, session: MosquittoSession) -> None:
        """The session stays without a connection."""
        expires_at = self._clock.now() + session.expiry
        self.records.save_session(session.client_id, session.version, session.expiry, expires_at)
        self._expire_at(session, expires_at)

    def end(self, session: MosquittoSession, *, with_link: bool = False) -> None:
        """Forget a session; Mosquitto is told by its link, if it has one, or else here."""
        if session.timer is not None:
            session.timer.cancel()
        for topic_filter in session.subscriptions:
            if session.durable:
                self.lasting.remove(session, topic_filter)
            if share_of(topic_filter)[0] is not None:
                self.shares.leave(session, topic_filter)
        session.subscriptions.clear()
        if session.durable:
            self.records.delete_session(session.client_id)
        if self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]
        if session.durable and not with_link:
            self._run_task(self._clear(session))

    # Connections

    async def _open(
        self,
        opening: Opening,
        subscriber: Subscriber,
        previous: "asyncio.Future[None] | None",
        turn: "asyncio.Future[None]",
    ) -> CoreSession:
        if previous is not None:
            await previous
        session = self._sessions.get(opening.client_id)
        if session is not None and (opening.clean_start or session.version != opening.version):
            self.end(session, with_link=True)  # connect() lets Mosquitto forget it
            session = None
        resumed = session is not None
        if session is None:
            session = MosquittoSession(self, opening.client_id, opening.version, opening.expiry)
            self._sessions[opening.client_id] = session
        elif session.timer is not None:
            session.timer.cancel()
        session.attach(subscriber)
        current = session

        lasts, upstream_id = session.durable, session.upstream_id

        async def connect() -> Link:
            # Never with Clean Start if it is to last: Mosquitto 2.0 does not write such a session to disk, even if it
            # has an expiry.
            return await Link.open(
                self._endpoint,
                upstream_id,
                clean_start=not lasts,
                expiry=_KEPT if lasts else 0,
                receive_maximum=_RECEIVE_MAXIMUM,
                arrived=lambda packet: current.arrived(packet),
                lost=lambda reason: current.lost(reason),
            )

        try:
            link = await connect()
            if link.session_present and not resumed:  # what Mosquitto has is another session, which is over
                link.disconnect(forget=True)
                await link.closed
                session.attach(subscriber)
                link = await connect()
        except BaseException:
            session.subscriber = None
            if resumed:
                self.keep(session)
            else:
                self.end(session, with_link=True)
            turn.set_result(None)
            raise
        link.closed.add_done_callback(lambda done: turn.set_result(None))
        if resumed and not link.session_present:  # Mosquitto has lost it
            self.end(session, with_link=True)
            resumed = False
            session = current = MosquittoSession(self, opening.client_id, opening.version, opening.expiry)
            self._sessions[opening.client_id] = session
            session.durable = True  # on Mosquitto it is
            session.attach(subscriber)
        session.present = resumed
        session.expiry = opening.expiry
        if session.durable:
            self.records.save_session(session.client_id, session.version, session.expiry, None)
        session.begin(link)
        return session

    def _take_turn(self, client_id: str) -> "asyncio.Future[None]":
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns[client_id] = turn

        def over(done: object) -> None:
            if self._turns.get(client_id) is turn:
                del self._turns[client_id]

        turn.add_done_callback(over)
        return turn

    async def _clear(self, session: MosquittoSession) -> None:
        """Let Mosquitto forget a session that nobody is connected to."""
        previous = self._turns.get(session.client_id)
        turn = self._take_turn(session.client_id)
        try:
            if previous is not None:
                await previous
            link = await Link.open(
                self._endpoint, session.upstream_id, clean_start=True, expiry=0, receive_maximum=_RECEIVE_MAXIMUM
            )
            link.disconnect(forget=True)
            await link.closed
        except ConnectionError:
            pass  # whoever has this client id next begins with Clean Start, and nobody until then is harmed
        finally:
            turn.set_result(None)

    async def _retained(self, topic_filter: str) -> list[Message]:
        """The retained messages on `topic_filter`, which is as Mosquitto takes it."""
        found: list[Message] = []

        def arrived(packet: p.Publish) -> None:
            if packet.retain:
                found.append(unpack(packet, self._clock.now).message)

        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        link = await Link.open(
            self._endpoint,
            f"stepbridge/query/{self.next_number()}",
            clean_start=True,
            expiry=0,
            receive_maximum=_RECEIVE_MAXIMUM,
            arrived=arrived,
        )
        link.subscribe([Subscription(topic_filter, 0)], 1, lambda codes: None)
        link.ping(lambda: finish(answered))
        await asyncio.wait({answered, link.closed}, return_when=asyncio.FIRST_COMPLETED)
        link.disconnect()
        if not answered.done():
            raise ConnectionError(f"Mosquitto at {self._endpoint} went away")
        return found

    def _expire_at(self, session: MosquittoSession, when: float) -> None:
        session.timer = self._clock.call_at(when, lambda: self.end(session))

    def _run_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self, event: str, text: str) -> None:
        self._trace.emit("iot", event, text)
