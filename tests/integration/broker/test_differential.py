"""The two message cores side by side: whatever clients do, they cannot tell which one they are on.

A scenario is a random walk, fixed by its seed.  Each step is taken on both cores; then every client sends PINGREQ, and
what it got up to the PINGRESP must be the same on both.  Time stands still unless a step moves it.
"""

import contextlib
import dataclasses
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stepbridge.clock import ManualClock
from stepbridge.iot.message import Message, MessageProperties
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.packets import Property

from .conftest import Raw, World

SEEDS = range(8)
STEPS = 100
CLIENTS = ("alpha", "beta", "gamma", "delta", "ep+si/lon #\x7f")
TOPICS = ("a", "a/b", "a/b/c", "a/", "b", "/", "b\x07\ue000c", "wills/x")
FILTERS = (
    *TOPICS,
    "#",
    "+",
    "a/#",
    "a/+",
    "a/b/#",
    "+/b",
    "+/#",
    "$share/g/a/#",
    "$share/h/a/#",
    "$share/g/a/b",
    "$share/g/#",
    "$aws/events/presence/#",
)
REFUSED_FILTERS = ("a/#/b", "$SYS/#", "/" * 8, "$share/g")
VOLATILE = ("timestamp", "sessionIdentifier", "principalIdentifier")

Step = Callable[["Side"], object]


class Client:
    """A client on one of the cores, and what it has got since it was last asked."""

    def __init__(self, raw: Raw, *, acknowledges: bool) -> None:
        self.raw = raw
        self.acknowledges = acknowledges
        self.over = False
        self.got: list[p.Packet | None] = []
        self.unacknowledged: list[int] = []
        self.packet_id = 0
        self.aliases: dict[int, str] = {}

    def send(self, packet: p.Packet) -> None:
        with contextlib.suppress(OSError):  # reading finds the end
            self.raw.send(packet)

    def read_until(self, kind: type[p.Packet]) -> None:
        """Read until a packet of this kind, or the end of the connection."""
        while not self.over:
            packet = self.raw.receive()
            self.over = packet is None
            if not isinstance(packet, p.Pingresp):
                self.got.append(self.named(packet) if isinstance(packet, p.Publish) else packet)
            if isinstance(packet, p.Publish) and packet.qos:
                self.unacknowledged.append(packet.packet_id)
                if self.acknowledges:
                    self.acknowledge()
            if isinstance(packet, kind):
                return

    def named(self, packet: p.Publish) -> p.Publish:
        """With the topic that a topic alias stands for."""
        properties = dict(packet.properties)
        alias = properties.pop(Property.TOPIC_ALIAS, 0)
        topic = packet.topic or self.aliases[alias]
        self.aliases[alias] = topic
        return dataclasses.replace(packet, topic=topic, properties=properties)

    def acknowledge(self) -> None:
        waiting, self.unacknowledged = self.unacknowledged, []
        for packet_id in waiting:
            self.send(p.Puback(packet_id))

    def next_id(self) -> int:
        self.packet_id += 1
        return self.packet_id


class Side:
    """One core with its clients."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = ManualClock()
        world.stop()
        world.start(self.clock)
        self.clients: dict[str, Client] = {}
        # Pings also when nobody else is connected, and waits for the shared subscriptions.
        self.observer = Client(world.connected("observer", version=p.MQTT_5), acknowledges=True)
        self.observer.raw.subscribe("$share/observer/nothing")

    def settle(self) -> dict[str, Any]:
        """What each client has got."""
        everybody = (self.observer, *self.clients.values())
        before = -1
        while before < (before := sum(len(client.got) for client in everybody)):
            for client in everybody:
                client.send(p.Pingreq())
            for client in everybody:
                client.read_until(p.Pingresp)
        # What comes in the moment in which the connection ends may be seen or not.
        seen = {
            name: visible([each for each in client.got if not (client.over and isinstance(each, p.Publish))])
            for name, client in self.clients.items()
        }
        for client in self.clients.values():
            client.got.clear()
        self.clients = {name: each for name, each in self.clients.items() if not each.over}
        return seen

    def retained(self) -> Any:
        return self.world.call(self.world.broker.retained_topics())

    def connect(self, name: str, acknowledges: bool, version: int, **options: Any) -> None:
        client = Client(self.world.raw(version=version), acknowledges=acknowledges)
        client.send(p.Connect(name, version, **options))
        client.read_until(p.Connack)
        previous = self.clients.pop(name, None)
        if previous is not None:  # taken over
            previous.read_until(p.Connack)
            previous.raw.close()
            client.got = [*previous.got, *client.got]
        self.clients[name] = client

    def leave(self, name: str, packet: p.Disconnect | None) -> None:
        client = self.clients.pop(name)
        if packet is None:
            client.raw.close()
            self.gone(name)
        else:
            client.send(packet)
            client.read_until(p.Connack)
            client.raw.close()

    def ask(self, name: str, packet: Any, answer: type[p.Packet]) -> None:
        client = self.clients[name]
        client.send(dataclasses.replace(packet, packet_id=client.next_id()))
        client.read_until(answer)

    def gone(self, name: str) -> None:
        """Return when the gateway knows that a client is gone."""

        async def connected() -> bool:
            return name in self.world.broker._gateway._by_client_id

        while self.world.call(connected()):
            pass

    def advance(self, seconds: float) -> None:
        """Move the time; the observer stays alive meanwhile, other clients may not."""

        async def move(step: float) -> None:
            self.clock.advance(step)

        while seconds > 0:
            self.world.call(move(min(seconds, 1000)))
            seconds -= 1000
            self.observer.send(p.Pingreq())
            self.observer.read_until(p.Pingresp)
            assert not self.observer.over


def visible(packets: list[p.Packet | None]) -> Any:
    """What a client can tell apart: messages by topic in their order, and all else in its order.

    Between the copies of one message that shared subscriptions give a client there is no order.
    """
    messages: dict[str, list[Any]] = defaultdict(list)
    others: list[Any] = []
    for packet in packets:
        match packet:
            case p.Publish():
                payload: Any = packet.payload
                if packet.topic.startswith("$aws/events/"):
                    payload = {key: value for key, value in json.loads(payload).items() if key not in VOLATILE}
                messages[packet.topic].append((payload, packet.qos, packet.retain, dict(packet.properties)))
            case p.Connack():
                others.append((packet.code, packet.session_present, dict(packet.properties)))
            case p.Puback() | p.Suback() | p.Unsuback():
                others.append((type(packet).__name__, getattr(packet, "codes", ())))
            case _:
                others.append(packet)
    copies = {
        topic: [sorted(same, key=repr) for _, same in itertools.groupby(each, key=lambda message: message[0])]
        for topic, each in messages.items()
    }
    return copies, others


class Walk:
    """Draws the steps of one scenario."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.online: dict[str, int] = {}  # the versions of those that may be connected
        self.count = 0

    def next(self) -> tuple[str, Step]:
        """What the step is, for the reader of a failure, and the step."""
        self.count += 1
        choices: list[tuple[int, Callable[[], tuple[str, Step]]]] = [(3, self.connect), (1, self.advance)]
        choices += [(1, self.inside)]
        if self.online:
            choices += [(9, self.publish), (5, self.subscribe), (1, self.unsubscribe), (2, self.leave)]
            choices += [(1, self.acknowledge), (1, self.disconnect)]
        weights, kinds = zip(*choices, strict=True)
        kind: Callable[[], tuple[str, Step]] = self.random.choices(kinds, weights)[0]
        return kind()

    def maybe(self, probability: float = 0.5) -> bool:
        return self.random.random() < probability

    def client(self) -> str:
        return self.random.choice(list(self.online))

    def properties(self) -> dict[Property, Any]:
        values: dict[Property, Any] = {
            Property.MESSAGE_EXPIRY_INTERVAL: self.random.choice((10, 500, 5000)),
            Property.USER_PROPERTY: (("stepbridge", "mine"), ("k", "\x01v")),
            Property.CONTENT_TYPE: "text/\x7fplain",
            Property.RESPONSE_TOPIC: "answers/\x02",
            Property.CORRELATION_DATA: b"\0\xff",
            Property.PAYLOAD_FORMAT_INDICATOR: self.random.choice((0, 1)),
        }
        return {name: value for name, value in values.items() if self.maybe(0.3)}

    def connect(self) -> tuple[str, Step]:
        name = self.random.choice(CLIENTS)
        version = self.random.choice((p.MQTT_3_1_1, p.MQTT_5, p.MQTT_5))
        options: dict[str, Any] = {"clean_start": self.maybe(0.3), "keep_alive": self.random.choice((0, 30, 300))}
        if version == p.MQTT_5:
            options["properties"] = {
                Property.SESSION_EXPIRY_INTERVAL: self.random.choice((0, 100, 3000, 2**32 - 1)),
                Property.RECEIVE_MAXIMUM: self.random.choice((1, 2, 5, 100)),
                Property.TOPIC_ALIAS_MAXIMUM: self.random.choice((0, 2)),
            }
        if self.maybe(0.4):
            delay = {Property.WILL_DELAY_INTERVAL: self.random.choice((0, 50, 2000))} if version == p.MQTT_5 else {}
            will = p.Will(
                f"wills/{CLIENTS.index(name)}", b"%d" % self.count, self.random.choice((0, 1)), self.maybe(0.3), delay
            )
            options["will"] = will
        acknowledges = self.maybe(0.7)
        self.online[name] = version
        return f"connect {name!r} {version} {options} acknowledges={acknowledges}", lambda side: side.connect(
            name, acknowledges, version, **options
        )

    def leave(self) -> tuple[str, Step]:
        name = self.client()
        version = self.online.pop(name)
        packet = self.random.choice((None, p.Disconnect()))
        if version == p.MQTT_5 and packet is not None:
            packet = self.random.choice(
                (packet, p.Disconnect(4), p.Disconnect(0, {Property.SESSION_EXPIRY_INTERVAL: 0}))
            )
        return f"{name!r} leaves {packet}", lambda side: side.leave(name, packet)

    def disconnect(self) -> tuple[str, Step]:
        name = self.client()
        del self.online[name]
        options = {"clean_session": self.maybe(), "prevent_will": self.maybe()}

        def step(side: Side) -> None:
            async def work() -> None:
                side.world.broker.disconnect(name, **options)

            side.world.call(work())

        return f"DeleteConnection {name!r} {options}", step

    def subscribe(self) -> tuple[str, Step]:
        name = self.client()
        filters = self.random.sample(FILTERS, self.random.choice((1, 1, 2, 3)))
        if self.maybe(0.1):
            filters.append(self.random.choice(REFUSED_FILTERS))
        five = self.online[name] == p.MQTT_5
        subscriptions = tuple(
            p.Subscription(
                each,
                self.random.choice((0, 1, 1)),
                five and not each.startswith("$share") and self.maybe(0.2),
                five and self.maybe(0.3),
                self.random.choice((0, 0, 1, 2)) if five else 0,
            )
            for each in filters
        )
        return f"{name!r} subscribes {subscriptions}", lambda side: side.ask(
            name, p.Subscribe(1, subscriptions), p.Suback
        )

    def unsubscribe(self) -> tuple[str, Step]:
        name = self.client()
        filters = tuple(self.random.sample(FILTERS, 3))
        return f"{name!r} unsubscribes {filters}", lambda side: side.ask(name, p.Unsubscribe(1, filters), p.Unsuback)

    def publish(self) -> tuple[str, Step]:
        name = self.client()
        properties = self.properties() if self.online[name] == p.MQTT_5 else {}
        payload = b"" if self.maybe(0.05) else b"%d" % self.count
        packet = p.Publish(
            self.random.choice(TOPICS),
            payload,
            self.random.choice((0, 1, 1)),
            self.maybe(0.3),
            properties=properties,
        )
        if packet.qos == 0:
            return f"{name!r} {packet}", lambda side: side.clients[name].send(packet)
        return f"{name!r} {packet}", lambda side: side.ask(name, packet, p.Puback)

    def inside(self) -> tuple[str, Step]:
        topic, qos, retain = self.random.choice(TOPICS), self.random.choice((0, 1)), self.maybe(0.2)
        expiry = self.random.choice((None, None, 10, 1000))
        payload = b"inside %d" % self.count

        def step(side: Side) -> None:
            properties = MessageProperties(message_expiry=expiry)
            message = Message(topic, payload, qos, retain, side.clock.now(), properties=properties)
            side.world.call(side.world.broker.publish(message))

        return f"inside {topic} {qos} {retain} {expiry}", step

    def acknowledge(self) -> tuple[str, Step]:
        name = self.client()

        def step(side: Side) -> None:
            if name in side.clients:
                side.clients[name].acknowledge()

        return f"{name!r} acknowledges", step

    def advance(self) -> tuple[str, Step]:
        seconds = self.random.choice((5, 5, 40, 60, 600, 4000))
        return f"{seconds} s pass", lambda side: side.advance(seconds)


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[list[Side]]:
    worlds = []
    for core in ("embedded", "mosquitto"):
        (tmp_path / core).mkdir()
        worlds.append(World(tmp_path / core, core))
    yield [Side(world) for world in worlds]
    for world in worlds:
        world.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_client_can_tell_the_cores_apart(sides: list[Side], seed: int) -> None:
    walk = Walk(seed)
    told: list[str] = []
    for _ in range(STEPS):
        text, step = walk.next()
        told.append(text)
        seen = []
        for side in sides:
            step(side)
            seen.append(side.settle())
        embedded, mosquitto = seen
        assert mosquitto == embedded, "after\n" + "\n".join(told)
        walk.online = {name: version for name, version in walk.online.items() if name in sides[0].clients}
    retained = [side.retained() for side in sides]
    assert retained[1] == retained[0], "after\n" + "\n".join(told)
