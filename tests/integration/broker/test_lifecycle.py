"""Lifecycle events, and the ports."""

import json
import socket
from typing import Any

import pytest

from stepbridge.clock import ManualClock
from stepbridge.iot.broker.lifecycle import Client, Lifecycle
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.packets import Property


def event(raw: Any) -> tuple[str, dict[str, Any]]:
    packet = raw.receive()
    assert isinstance(packet, p.Publish)
    raw.send(p.Puback(packet.packet_id))
    return packet.topic, json.loads(packet.payload)


def test_presence_and_subscriptions(world: Any) -> None:
    watcher = world.connected("watcher")
    assert watcher.subscribe("$aws/events/presence/+/device", "$aws/events/subscriptions/+/device") == (1, 1)
    device = world.connected("device")
    device.subscribe("a", "b")
    device.send(p.Unsubscribe(2, ("a",)))
    device.receive()
    device.send(p.Disconnect())
    events = [event(watcher) for _ in range(4)]
    assert [topic for topic, _ in events] == [
        "$aws/events/presence/connected/device",
        "$aws/events/subscriptions/subscribed/device",
        "$aws/events/subscriptions/unsubscribed/device",
        "$aws/events/presence/disconnected/device",
    ]
    connected, subscribed, unsubscribed, disconnected = (document for _, document in events)
    identifier = connected["sessionIdentifier"]
    assert connected == {
        "clientId": "device",
        "timestamp": connected["timestamp"],
        "eventType": "connected",
        "sessionIdentifier": identifier,
        "principalIdentifier": world.device.certificate_id,
        "ipAddress": "127.0.0.1",
        "versionNumber": 0,
    }
    assert (subscribed["eventType"], subscribed["topics"]) == ("subscribed", ["a", "b"])
    assert (unsubscribed["eventType"], unsubscribed["topics"]) == ("unsubscribed", ["a"])
    assert disconnected == {
        "clientId": "device",
        "timestamp": disconnected["timestamp"],
        "eventType": "disconnected",
        "clientInitiatedDisconnect": True,
        "sessionIdentifier": identifier,
        "principalIdentifier": world.device.certificate_id,
        "disconnectReason": "CLIENT_INITIATED_DISCONNECT",
        "versionNumber": 0,
    }


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda world, raw: raw.close(), "CONNECTION_LOST"),
        (lambda world, raw: raw.send(b"\0\0"), "CLIENT_ERROR"),
        (lambda world, raw: raw.send(p.Publish("denied", b"")), "FORBIDDEN_ACCESS"),
        (lambda world, raw: world.connected("device"), "DUPLICATE_CLIENTID"),
        (
            lambda world, raw: world.loop.call_soon_threadsafe(world.broker.disconnect, "device"),
            "API_INITIATED_DISCONNECT",
        ),
    ],
)
def test_disconnect_reason(world: Any, end: Any, reason: str) -> None:
    world.registry.denied.add(("iot:Publish", "topic/denied"))
    watcher = world.connected("watcher")
    watcher.subscribe("$aws/events/presence/disconnected/#")
    end(world, world.connected("device"))
    _, document = event(watcher)
    assert document["disconnectReason"] == reason
    assert document["clientInitiatedDisconnect"] is False


def test_the_thing_of_a_client_that_is_attached_to_it_exclusively(world: Any) -> None:
    world.registry.things[world.device.certificate_id] = "drill"
    watcher = world.connected("watcher")
    watcher.subscribe("$aws/events/presence/+/+")
    world.connected("device").send(p.Disconnect())
    assert [event(watcher)[1]["thingName"] for _ in range(2)] == ["drill", "drill"]


def test_the_version_number_rises_and_begins_anew_when_a_client_was_away(world: Any) -> None:
    clock = ManualClock()
    world.stop()
    world.start(clock)
    watcher = world.connected("watcher", keep_alive=0)
    watcher.subscribe("$aws/events/presence/disconnected/device")

    def version_after(seconds: int, **options: Any) -> int:
        async def advance() -> None:
            clock.advance(600)

        for _ in range(seconds // 600):
            world.call(advance())
            watcher.send(p.Pingreq())
            assert watcher.receive() == p.Pingresp()
        device = world.connected("device", version=p.MQTT_5, **options)
        device.send(p.Disconnect())
        return int(event(watcher)[1]["versionNumber"])

    assert [version_after(0), version_after(3000), version_after(3600)] == [0, 1, 0]
    long = {Property.SESSION_EXPIRY_INTERVAL: 7200}
    assert [version_after(0, properties=long), version_after(6600), version_after(0)] == [1, 2, 3]


def test_clients_that_never_come_again_are_forgotten() -> None:
    clock, events = ManualClock(), list[Message]()
    lifecycle = Lifecycle(clock, events.append)
    for number in range(5000):
        client = Client(str(number), "principal", "127.0.0.1", None)
        lifecycle.connected(client)
        lifecycle.disconnected(client, "CONNECTION_LOST", 0)
        clock.advance(10)
    assert len(events) == 10_000
    assert len(lifecycle._versions) < 2000


def test_connect_failed(world: Any) -> None:
    world.registry.denied.add(("iot:Connect", "client/nobody"))
    watcher = world.connected("watcher")
    watcher.subscribe("$aws/events/presence/connect_failed/nobody")
    world.raw().connect("nobody")
    _, document = event(watcher)
    assert document["connectFailureReason"] == "AUTHORIZATION_FAILED"


def test_a_taken_port_is_replaced(world: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = world.call(world.broker._gateway.start("127.0.0.1", port, (port,)))
    assert port not in ports
    assert f"MQTT port {port} is not available" in world.told("port-taken")
    assert f"not offered on port {port}" in world.told("port-refused", "another program listens there")
    assert world.raw(port=ports[-1]).connect("x") == p.Connack(0)
