"""Lifecycle events, and the ports."""

import json
import socket
from typing import Any

import pytest

from stepbridge.iot.mqtt import packets as p


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
