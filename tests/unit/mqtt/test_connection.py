"""A device's connection and a core that takes its time: who sends too fast waits."""

import asyncio
import ssl
from collections.abc import Sequence

from stepbridge.clock import ManualClock
from stepbridge.iot.access import Admission, Connection, Decision
from stepbridge.iot.broker.connection import DeviceConnection
from stepbridge.iot.broker.gateway import Gateway
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.codec import Decoder, encode
from stepbridge.trace import Trace


class Anybody:
    """An Access that allows everything."""

    def admit(self, certificate_der: bytes | None) -> Admission:
        return Admission("principal")

    def exclusive_thing(self, principal: str) -> str | None:
        return None

    def decide(self, connection: Connection, action: str, resource: str) -> Decision:
        return Decision(True, "")

    async def prepare(self, access_key: str) -> None: ...

    def on_revocation(self, callback: object) -> None: ...


class SlowSession:
    """A CoreSession in which everything waits until the test lets it be done."""

    present = False

    def __init__(self) -> None:
        self.topic_filters: list[str] = []
        self.waiting: list[asyncio.Future[None]] = []

    def _wait(self) -> asyncio.Future[None]:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    async def let_be_done(self) -> None:
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.set_result(None)
        for _ in range(3):
            await asyncio.sleep(0)

    def resume(self) -> None: ...

    def subscribe(self, subscriptions: Sequence[p.Subscription]) -> asyncio.Future[None]:
        self.topic_filters += [each.topic_filter for each in subscriptions]
        return self._wait()

    def send_retained(self, subscriptions: object) -> None: ...

    def unsubscribe(self, topic_filters: Sequence[str]) -> asyncio.Future[None]:
        return self._wait()

    def publish(self, message: Message) -> None: ...

    def synchronize(self) -> asyncio.Future[None]:
        return self._wait()

    def acknowledge(self, token: int) -> None: ...

    def close(self, subscriber: object, expiry: int) -> None: ...


class SlowCore:
    """A Core with one such session."""

    def __init__(self) -> None:
        self.session = SlowSession()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def open(self, opening: object, subscriber: object) -> asyncio.Future[SlowSession]:
        opened: asyncio.Future[SlowSession] = asyncio.get_running_loop().create_future()
        opened.set_result(self.session)
        return opened

    def publish(self, message: Message) -> None: ...

    async def retained(self, topic: str) -> None: ...

    async def retained_topics(self) -> list[tuple[str, int, int, float]]:
        return []


class Wire:
    """A Transport that keeps what is sent."""

    def __init__(self) -> None:
        self.paused = False
        self.closed = False
        self._decoder = Decoder(version=p.MQTT_3_1_1)
        self.packets: list[p.Packet] = []

    def write(self, data: bytes) -> None:
        self.packets += self._decoder.feed(data)

    def close(self) -> None:
        self.closed = True

    abandon = abort = close

    def set_write_buffer(self, size: int) -> None: ...

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Bench:
    """A connection between such a wire and such a core."""

    def __init__(self) -> None:
        clock, core = ManualClock(), SlowCore()
        self.accepted: list[Message] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        gateway = Gateway(
            clock,
            Trace(clock),
            Anybody(),
            core,  # type: ignore[arg-type]
            context,
            lambda message, session: self.accepted.append(message),
            "us-east-1",
        )
        self.session, self.wire = core.session, Wire()
        self.connection = DeviceConnection(gateway)
        self.connection.begin(self.wire, "127.0.0.1", "principal", None)

    async def connect(self) -> "Bench":
        self.send(p.Connect("x"))
        for _ in range(3):
            await asyncio.sleep(0)
        self.wire.packets.clear()
        self.accepted.clear()
        return self

    def send(self, *packets: p.Packet) -> None:
        self.connection.received(b"".join(encode(each, p.MQTT_3_1_1) for each in packets))

    def payloads(self) -> list[bytes]:
        return [each.payload[:8].rstrip(b"\0") for each in self.accepted if each.topic == "t"]


def test_after_a_quarter_of_a_megabyte_the_core_is_waited_for() -> None:
    async def scenario() -> None:
        bench = await Bench().connect()
        for number in range(9):
            bench.send(p.Publish("t", f"{number}".encode() + bytes(60_000)))
        assert bench.payloads() == [b"0", b"1", b"2", b"3", b"4"]
        assert bench.wire.paused
        await bench.session.let_be_done()
        assert bench.payloads() == [f"{number}".encode() for number in range(9)]
        assert not bench.wire.paused

    asyncio.run(scenario())


def test_many_small_packets_count_too() -> None:
    async def scenario() -> None:
        bench = await Bench().connect()
        bench.send(*[p.Publish("t", b"x")] * 5000)
        first = len(bench.payloads())
        assert 500 < first < 1500
        while bench.session.waiting:
            await bench.session.let_be_done()
        assert len(bench.payloads()) == 5000

    asyncio.run(scenario())


def test_what_comes_after_subscribe_waits_for_its_answer() -> None:
    async def scenario() -> None:
        bench = await Bench().connect()
        bench.send(p.Subscribe(1, (p.Subscription("a"),)), p.Subscribe(2, (p.Subscription("b"),)), p.Publish("t", b"x"))
        assert bench.session.topic_filters == ["a"]
        await bench.session.let_be_done()
        assert bench.session.topic_filters == ["a", "b"]
        assert bench.payloads() == []
        await bench.session.let_be_done()
        assert bench.payloads() == [b"x"]
        assert bench.wire.packets == [p.Suback(1, (0,)), p.Suback(2, (0,))]

    asyncio.run(scenario())


def test_the_core_is_asked_once_for_many_pings() -> None:
    async def scenario() -> None:
        bench = await Bench().connect()
        bench.send(*[p.Pingreq()] * 100)
        assert len(bench.session.waiting) == 1
        await bench.session.let_be_done()
        assert bench.wire.packets == [p.Pingresp()]
        assert len(bench.session.waiting) == 1
        await bench.session.let_be_done()
        assert bench.wire.packets == [p.Pingresp()] * 100

    asyncio.run(scenario())


def test_what_is_held_is_heard_when_the_client_goes() -> None:
    async def scenario() -> None:
        bench = await Bench().connect()
        bench.send(p.Subscribe(1, (p.Subscription("a"),)), p.Publish("t", b"last"), p.Disconnect())
        assert bench.payloads() == []
        bench.connection.lost()
        assert bench.payloads() == [b"last"]
        assert bench.connection.disconnect_reason == "CLIENT_INITIATED_DISCONNECT"

    asyncio.run(scenario())
