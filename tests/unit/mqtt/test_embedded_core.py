"""The embedded message core without sockets, on a clock that the test moves."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stepbridge.clock import ManualClock
from stepbridge.iot.broker.core import CoreSession, Opening
from stepbridge.iot.broker.embedded import EmbeddedCore, EmbeddedSession
from stepbridge.iot.message import Message, MessageProperties
from stepbridge.iot.mqtt.packets import Subscription
from stepbridge.store import Store
from stepbridge.trace import Trace


@dataclass(eq=False)
class Client:
    """Takes as many QoS 1 messages as it has room for."""

    room: int = 1000
    got: list[tuple[str, int, bool, int]] = field(default_factory=list)

    def deliver(self, message: Message, qos: int, retain: bool, token: int) -> bool:
        if qos and not self.room:
            return False
        self.room -= qos
        self.got.append((message.payload.decode(), qos, retain, token))
        return True

    def abandon(self, reason: str) -> None:
        raise AssertionError(reason)

    @property
    def payloads(self) -> list[str]:
        return [each[0] for each in self.got]


class Bench:
    def __init__(self, path: Path | None = None) -> None:
        self.clock = ManualClock()
        self.store = Store(path)
        self.trace = Trace(self.clock)
        self.core = EmbeddedCore(self.store, self.clock, self.trace)

    async def open(
        self, client_id: str, client: Client, *, expiry: int = 0, clean: bool = False, version: int = 4
    ) -> CoreSession:
        session = await self.core.open(Opening(client_id, version, clean, expiry), client)
        session.resume()
        return session

    def close(self, session: CoreSession, expiry: int) -> None:
        assert isinstance(session, EmbeddedSession)
        assert session.subscriber is not None
        session.close(session.subscriber, expiry)

    def publish(
        self, payload: str, *, topic: str = "t", qos: int = 1, retain: bool = False, expiry: int | None = None
    ) -> None:
        properties = MessageProperties(message_expiry=expiry)
        self.core.publish(Message(topic, payload.encode(), qos, retain, self.clock.now(), properties=properties))

    def rows(self, table: str) -> int:
        row = self.store.query_one(f"SELECT count(*) FROM {table}")
        assert row is not None
        return int(row[0])


def run(test: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench()
        await bench.core.start()
        await test(bench)
        await bench.core.stop()

    asyncio.run(main())


def test_session_expires() -> None:
    async def story(bench: Bench) -> None:
        session = await bench.open("c", Client(), expiry=3600)
        session.subscribe([Subscription("t", 1)])
        bench.clock.advance(10_000)  # it does not expire while connected
        bench.close(session, 3600)
        bench.publish("missed")
        bench.clock.advance(3599)
        assert bench.rows("broker_queue") == 1
        bench.clock.advance(1)
        assert [bench.rows(t) for t in ("broker_session", "broker_subscription", "broker_queue", "broker_message")] == (
            [0, 0, 0, 0]
        )
        assert not (await bench.open("c", Client(), expiry=3600)).present

    run(story)


def test_session_taken_up_in_time_does_not_expire() -> None:
    async def story(bench: Bench) -> None:
        bench.close(await bench.open("c", Client(), expiry=100), 100)
        bench.clock.advance(99)
        again = await bench.open("c", Client(), expiry=100)
        bench.clock.advance(1000)
        assert again.present
        assert bench.rows("broker_session") == 1

    run(story)


def test_a_connection_that_was_overtaken_does_not_close_the_session_of_its_successor() -> None:
    """Two CONNECTs of one client at once: the first is told of its session when the second has it already."""

    async def story(bench: Bench) -> None:
        first, second = Client(), Client()
        overtaken = await bench.open("c", first, expiry=3600)
        session = await bench.open("c", second, expiry=3600)
        session.subscribe([Subscription("t", 1)])
        overtaken.close(first, 0)
        bench.publish("for the second")
        assert second.payloads == ["for the second"]
        assert bench.rows("broker_session") == 1

    run(story)


def test_expiry_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "db"

    async def first() -> None:
        bench = Bench(path)
        await bench.core.start()
        bench.close(await bench.open("away", Client(), expiry=100), 100)
        await bench.open("connected", Client(), expiry=100)
        await bench.store.committed()  # and the process is killed

    async def second() -> None:
        bench = Bench(path)
        bench.clock.advance(50)
        await bench.core.start()
        bench.clock.advance(50)
        assert [row["client_id"] for row in bench.core.records.sessions()] == ["connected"]
        bench.clock.advance(50)
        assert bench.rows("broker_session") == 0
        await bench.core.stop()

    asyncio.run(first())
    asyncio.run(second())


def test_messages_expire() -> None:
    async def story(bench: Bench) -> None:
        session = await bench.open("c", Client(), expiry=3600)
        session.subscribe([Subscription("t", 1)])
        bench.close(session, 3600)
        bench.publish("short", expiry=10)
        bench.publish("long", expiry=11)
        bench.publish("kept", topic="r", retain=True, expiry=10)
        bench.clock.advance(10)
        client = Client()
        session = await bench.open("c", client, expiry=3600)
        assert client.payloads == ["long"]
        assert bench.rows("broker_message") == 1
        assert await bench.core.retained("r") is None

    run(story)


def test_unacknowledged_messages_come_again_in_order() -> None:
    async def story(bench: Bench) -> None:
        client = Client()
        session = await bench.open("c", client, expiry=3600)
        session.subscribe([Subscription("t", 1)])
        for number in range(3):
            bench.publish(str(number))
        session.acknowledge(client.got[1][3])
        bench.close(session, 3600)
        bench.publish("3")
        again = Client()
        await bench.open("c", again, expiry=3600)
        assert again.payloads == ["0", "2", "3"]

    run(story)


@pytest.mark.parametrize("expiry", [0, 3600])
def test_what_does_not_fit_waits(expiry: int) -> None:
    async def story(bench: Bench) -> None:
        client = Client(room=2)
        session = await bench.open("c", client, expiry=expiry)
        session.subscribe([Subscription("t", 1)])
        for number in range(200):
            bench.publish(str(number))
        assert client.payloads == ["0", "1"]
        while len(client.got) < 200:
            client.room = 7
            before = len(client.got)
            session.resume()
            assert len(client.got) > before
        bench.publish("200")
        client.room = 10
        session.resume()
        assert client.payloads == [str(number) for number in range(201)]
        for _, _, _, token in client.got:
            session.acknowledge(token)
        assert bench.rows("broker_queue") == bench.rows("broker_message") == 0

    run(story)


def test_a_client_that_does_not_keep_up_is_bounded() -> None:
    async def story(bench: Bench) -> None:
        session = await bench.open("c", Client(room=0))
        session.subscribe([Subscription("t", 1)])
        for _ in range(20):
            bench.publish("x" * 1_000_000)
        dropped = [hop for hop in bench.trace.recent if hop.event == "message-dropped"]
        assert len(dropped) == 11
        assert "c does not keep up" in dropped[0].text

    run(story)


def test_nothing_durable_is_written_without_need() -> None:
    async def story(bench: Bench) -> None:
        client = Client()
        session = await bench.open("clean", client)
        session.subscribe([Subscription("t", 1), Subscription("other", 1)])
        persistent = await bench.open("persistent", Client(), expiry=10)
        persistent.subscribe([Subscription("t", 0)])
        await bench.store.committed()
        bench.publish("a")
        bench.publish("b", qos=0)
        assert bench.store.pending_commit() is None
        assert client.payloads == ["a", "b"]

    run(story)


def test_one_message_for_many_is_stored_once() -> None:
    async def story(bench: Bench) -> None:
        sessions, clients = [], [Client() for _ in range(3)]
        for number, client in enumerate(clients):
            sessions.append(await bench.open(f"c{number}", client, expiry=10))
            sessions[-1].subscribe([Subscription("t", 1)])
        bench.publish("x")
        assert (bench.rows("broker_message"), bench.rows("broker_queue")) == (1, 3)
        sessions[0].acknowledge(clients[0].got[0][3])
        await bench.open("c1", Client(), clean=True)
        assert (bench.rows("broker_message"), bench.rows("broker_queue")) == (1, 1)
        sessions[2].acknowledge(clients[2].got[0][3])
        assert (bench.rows("broker_message"), bench.rows("broker_queue")) == (0, 0)

    run(story)


def test_shared_subscription_prefers_who_is_there() -> None:
    async def story(bench: Bench) -> None:
        here = Client()
        away = await bench.open("away", Client(), expiry=10)
        present = await bench.open("here", here, expiry=10)
        for session in (away, present):
            session.subscribe([Subscription("$share/g/t", 1)])
        bench.close(away, 10)
        bench.publish("1")
        bench.publish("2")
        assert here.payloads == ["1", "2"]
        bench.close(present, 10)
        for number in range(3, 7):
            bench.publish(str(number))
        back, too = Client(), Client()
        await bench.open("away", back, expiry=10)
        await bench.open("here", too, expiry=10)
        # What "here" had not acknowledged comes again; the rest was divided.
        assert sorted(back.payloads + too.payloads) == ["1", "2", "3", "4", "5", "6"]

    run(story)
