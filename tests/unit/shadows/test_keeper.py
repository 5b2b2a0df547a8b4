"""Shadows on a database, with a clock that the test moves."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from stepbridge.clock import ManualClock
from stepbridge.iot.message import Message
from stepbridge.iot.shadows import Shadows
from stepbridge.iot.shadows.document import Rejection
from stepbridge.iot.shadows.topics import ShadowName, parse_request
from stepbridge.store import Store
from stepbridge.trace import Trace

HOUR = 3600
LED = b'{"state": {"reported": {"led": 1}}}'


class World:
    """Shadows, and what they publish."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store(None)
        self.trace = Trace(self.clock)
        self.sent: list[Message] = []
        self.shadows = Shadows(self.store, self.clock, self.trace, self.sent.append)

    def take(self, topic: str, payload: bytes = b"") -> list[tuple[str, Any]]:
        """Topics and documents of what a message makes the shadows publish."""
        self.sent.clear()
        self.shadows.take(Message(topic, payload, qos=1, retain=False, time=self.clock.now(), client_id="device"))
        return [(message.topic, json.loads(message.payload)) for message in self.sent]


def run(test: Callable[[World], None]) -> None:
    async def inside() -> None:
        world = World()
        test(world)
        await world.store.committed()
        world.store.close()

    asyncio.run(inside())


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("$aws/things/t/shadow/get", (ShadowName("t"), "get")),
        ("$aws/things/t/shadow/name/n/update", (ShadowName("t", "n"), "update")),
        ("$aws/things/t/shadow/get/accepted", None),
        ("$aws/things/t/shadow/name/n", None),
        ("$aws/things/t/shadow/name/n/delete/rejected", None),
        ("$aws/things/t/shadow/documents", None),
        ("a/$aws/things/t/shadow/get", None),
    ],
)
def test_topics(topic: str, expected: Any) -> None:
    assert parse_request(topic) == expected


@pytest.mark.parametrize(("hours", "version"), [(47, 3), (48, 1)])
def test_a_version_outlives_its_shadow_for_48_hours(hours: int, version: int) -> None:
    def test(world: World) -> None:
        name = ShadowName("t")
        world.shadows.update(name, LED)
        world.shadows.update(name, LED)
        assert world.shadows.delete(name)["version"] == 2
        world.clock.advance(hours * HOUR)
        assert world.shadows.update(name, LED)["version"] == version

    run(test)


def test_classic_and_named_shadows_are_apart() -> None:
    def test(world: World) -> None:
        for name in (ShadowName("t"), ShadowName("t", "n"), ShadowName("u", "n")):
            with pytest.raises(Rejection, match=f"'{name}'"):
                world.shadows.get(name)
            assert world.shadows.update(name, LED)["version"] == 1
        assert world.shadows.names("t", "", 10) == ["n"]
        world.shadows.delete(ShadowName("t", "n"))
        assert world.shadows.names("t", "", 10) == []
        assert world.shadows.get(ShadowName("t"))["version"] == 1

    run(test)


def test_what_is_published() -> None:
    def test(world: World) -> None:
        prefix = "$aws/things/t/shadow"
        assert [topic for topic, _ in world.take(f"{prefix}/update", b'{"state": {"desired": {"a": 1}}}')] == [
            f"{prefix}/update/accepted",
            f"{prefix}/update/delta",
            f"{prefix}/update/documents",
        ]
        assert [topic for topic, _ in world.take(f"{prefix}/get")] == [f"{prefix}/get/accepted"]
        assert [topic for topic, _ in world.take(f"{prefix}/delete")] == [f"{prefix}/delete/accepted"]
        assert world.take("some/topic") == []
        assert all(message.client_id is None for message in world.sent)

    run(test)


@pytest.mark.parametrize(
    ("shadow", "message"),
    [("$aws/things/t t/shadow", "Invalid thing name"), ("$aws/things/t/shadow/name/n.n", "Invalid shadow name")],
)
def test_names_that_no_shadow_has(shadow: str, message: str) -> None:
    def test(world: World) -> None:
        assert world.take(f"{shadow}/get") == [(f"{shadow}/get/rejected", {"code": 400, "message": message})]
        hop = world.trace.recent[-1]
        assert hop.event == "shadow-refused"
        assert "by device is rejected" in hop.text

    run(test)


def test_a_failure_of_ours_is_told_as_aws_tells_its_own() -> None:
    def test(world: World) -> None:
        world.store.execute("DROP TABLE shadow")
        [(topic, document)] = world.take("$aws/things/t/shadow/update", LED)
        assert topic == "$aws/things/t/shadow/update/rejected"
        assert document == {"code": 500, "message": "Internal service failure"}

    run(test)
