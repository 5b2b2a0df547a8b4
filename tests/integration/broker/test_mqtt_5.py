"""MQTT 5 over mutual TLS: what AWS IoT Core answers, and with which reason codes."""

import dataclasses
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.packets import Property

FIVE = {"version": p.MQTT_5}


def test_connack_says_what_aws_says(world: Any) -> None:
    assert world.raw(**FIVE).connect("x", keep_alive=0) == p.Connack(
        0,
        False,
        {
            Property.SESSION_EXPIRY_INTERVAL: 0,
            Property.RECEIVE_MAXIMUM: 100,
            Property.MAXIMUM_QOS: 1,
            Property.RETAIN_AVAILABLE: 1,
            Property.MAXIMUM_PACKET_SIZE: 149_504,
            Property.TOPIC_ALIAS_MAXIMUM: 8,
            Property.WILDCARD_SUBSCRIPTION_AVAILABLE: 1,
            Property.SUBSCRIPTION_IDENTIFIER_AVAILABLE: 0,
            Property.SHARED_SUBSCRIPTION_AVAILABLE: 1,
            Property.SERVER_KEEP_ALIVE: 1200,
        },
    )


@pytest.mark.parametrize(("asked", "given"), [(0, 1200), (1, 30), (30, 30), (31, 31), (1200, 1200), (9999, 1200)])
def test_keep_alive_is_clamped(world: Any, asked: int, given: int) -> None:
    assert world.raw(**FIVE).connect("x", keep_alive=asked).properties[Property.SERVER_KEEP_ALIVE] == given


def test_client_id_is_assigned(world: Any) -> None:
    first, second = (world.raw(**FIVE).connect("").properties[Property.ASSIGNED_CLIENT_IDENTIFIER] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"client_id": "denied"}, 0x87),
        ({"client_id": "x" * 129}, 0x85),
        ({"client_id": "x", "will": p.Will("w", b"", 2)}, 0x9B),
        ({"client_id": "x", "will": p.Will("a/b/c/d/e/f/g/h/i", b"")}, 0x90),
        ({"client_id": "x", "properties": {Property.AUTHENTICATION_METHOD: "m"}}, 0x80),
        ({"client_id": "x", "properties": {Property.MAXIMUM_PACKET_SIZE: 511}}, 0x80),
    ],
)
def test_refused_connect(world: Any, options: dict[str, Any], code: int) -> None:
    world.registry.denied.add(("iot:Connect", "client/denied"))
    raw = world.raw(**FIVE)
    assert raw.connect(**options) == p.Connack(code)
    assert raw.receive() is None


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (p.Publish("denied", b"", 1, packet_id=1), 0x87),
        (p.Publish("a", b"", 2, packet_id=1), 0x9B),
        (p.Publish("a", bytes(131_073), 1, packet_id=1), 0x97),
        (p.Publish("a", bytes(149_504), 1, packet_id=1), 0x97),
        (p.Publish("a/b/c/d/e/f/g/h/i", b"", 1, packet_id=1), 0x90),
        (p.Publish("$aws/no", b"", 1, packet_id=1), 0x90),
        (p.Publish("a", b"", properties={Property.TOPIC_ALIAS: 9}), 0x94),
        (p.Publish("a", b"", properties={Property.TOPIC_ALIAS: 0}), 0x94),
        (p.Publish("", b"", properties={Property.TOPIC_ALIAS: 1}), 0x82),
        (p.Publish("a", b"", properties={Property.USER_PROPERTY: (("k", "v" * 8192),)}), 0x97),
        (p.Publish("a", b"", properties={Property.CORRELATION_DATA: bytes(8193)}), 0x97),
        (p.Publish("a", b"", properties={Property.CONTENT_TYPE: "x" * 257}), 0x97),
        (p.Publish("a", b"", properties={Property.RESPONSE_TOPIC: "/" * 8}), 0x90),
        (p.Subscribe(1, (p.Subscription("a", 2),)), 0x9B),
        (p.Subscribe(1, (p.Subscription("a"),), {Property.SUBSCRIPTION_IDENTIFIER: (1,)}), 0xA1),
        (p.Subscribe(1, (p.Subscription("$share/g/a", 1, no_local=True),)), 0x82),
        (p.Disconnect(0, {Property.SESSION_EXPIRY_INTERVAL: 1}), 0x82),
        (p.Auth(0x18), 0x82),
        (p.Pubrel(1), 0x82),
        (b"\x36\x00", 0x81),
    ],
)
def test_disconnect_tells_the_reason(world: Any, packet: p.Packet | bytes, code: int) -> None:
    world.registry.denied.add(("iot:Publish", "topic/denied"))
    raw = world.connected("x", **FIVE)
    raw.send(packet)
    assert raw.receive() == p.Disconnect(code)
    assert raw.receive() is None
    assert world.accepted == []


def test_who_is_refused_is_told_by_client_id(world: Any) -> None:
    world.raw(version=p.MQTT_5).connect("drill", will=p.Will("a/b/c/d/e/f/g/h/i", b"", 1))
    assert world.told("connect-refused").startswith("drill from 127.0.0.1 is refused: the will's topic")


def test_receive_maximum_of_the_server(world: Any) -> None:
    raw = world.connected("x", **FIVE)
    raw.send(*(p.Publish("a", b"", 1, packet_id=n) for n in range(1, 101)))
    assert [raw.receive() for _ in range(100)] == [p.Puback(n) for n in range(1, 101)]


def test_receive_maximum_of_the_client(world: Any) -> None:
    reader = world.connected("reader", **FIVE, properties={Property.RECEIVE_MAXIMUM: 2})
    reader.subscribe("a")
    writer = world.connected("writer")
    for number in range(5):
        writer.send(p.Publish("a", b"%d" % number, 1, packet_id=number + 1))
        writer.receive()
    window = [reader.receive(), reader.receive()]
    reader.send(p.Pingreq())
    assert reader.receive() == p.Pingresp()  # nothing more before a PUBACK
    got = []
    while window:
        packet = window.pop(0)
        got.append(packet.payload)
        reader.send(p.Puback(packet.packet_id))
        if len(got) in (2, 4):
            window += [reader.receive() for _ in range(min(2, 5 - len(got)))]
    assert got == [b"0", b"1", b"2", b"3", b"4"]


def test_takeover_and_administrative_disconnect(world: Any) -> None:
    first = world.connected("x", **FIVE)
    second = world.connected("x", **FIVE)
    assert first.receive() == p.Disconnect(0x8E)
    world.loop.call_soon_threadsafe(world.broker.disconnect, "x")
    assert second.receive() == p.Disconnect(0x98)


def test_stop_says_so(world: Any) -> None:
    raw = world.connected("x", **FIVE)
    world.stop()
    assert raw.receive() == p.Disconnect(0x8B)
    world.start()


def test_suback_and_unsuback_codes(world: Any) -> None:
    world.registry.denied.add(("iot:Subscribe", "topicfilter/denied"))
    raw = world.connected("x", **FIVE)
    assert raw.subscribe("a", "denied", "a/#/b", "$SYS/x", "/" * 8) == (1, 0x87, 0x8F, 0x8F, 0x8F)
    assert raw.subscribe(*(f"f{n}" for n in range(9))) == (*(1,) * 8, 0x97)
    raw.send(p.Unsubscribe(9, ("a", "never", "a/#/b")))
    assert raw.receive() == p.Unsuback(9, (0, 0, 0x8F))


def test_all_properties_arrive_by_paho(world: Any) -> None:
    reader, inbox = world.client("reader", **FIVE)
    assert world.subscribe(reader, "t") == [1]
    writer, _ = world.client("writer", **FIVE)
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.PayloadFormatIndicator = 1
    properties.ContentType = "application/json"
    properties.ResponseTopic = "answers/here"
    properties.CorrelationData = b"\x00\x01"
    properties.MessageExpiryInterval = 100
    properties.UserProperty = [("a", "1"), ("a", "2")]
    writer.publish("t", b"{}", qos=1, properties=properties).wait_for_publish(10)
    got = inbox.wait(1)[0].properties
    assert got.PayloadFormatIndicator == 1
    assert got.ContentType == "application/json"
    assert got.ResponseTopic == "answers/here"
    assert got.CorrelationData == b"\x00\x01"
    assert got.MessageExpiryInterval in (99, 100)
    assert got.UserProperty == [("a", "1"), ("a", "2")]
    assert world.accepted[0].properties.user_properties == (("a", "1"), ("a", "2"))


def test_topic_aliases_in_both_directions(world: Any) -> None:
    raw = world.connected("x", **FIVE, properties={Property.TOPIC_ALIAS_MAXIMUM: 1})
    raw.subscribe("#", qos=0)
    raw.send(
        p.Publish("first", b"1", properties={Property.TOPIC_ALIAS: 8}),
        p.Publish("", b"2", properties={Property.TOPIC_ALIAS: 8}),
        p.Publish("second", b"3"),
    )
    assert [raw.receive() for _ in range(3)] == [
        p.Publish("first", b"1", properties={Property.TOPIC_ALIAS: 1}),
        p.Publish("", b"2", properties={Property.TOPIC_ALIAS: 1}),
        p.Publish("second", b"3"),
    ]


def test_packet_larger_than_the_client_takes_is_not_sent(world: Any) -> None:
    raw = world.connected("x", **FIVE, properties={Property.MAXIMUM_PACKET_SIZE: 512})
    raw.subscribe("a")
    raw.send(p.Publish("a", bytes(600)), p.Publish("a", b"small"))
    answer = raw.receive()
    assert isinstance(answer, p.Publish)
    assert answer.payload == b"small"


def test_no_local_and_retain_as_published(world: Any) -> None:
    raw = world.connected("x", **FIVE)
    raw.send(p.Subscribe(1, (p.Subscription("mine", 0, no_local=True), p.Subscription("kept", 0, False, True))))
    raw.receive()
    raw.send(p.Publish("mine", b""), p.Publish("kept", b"1", retain=True))
    assert raw.receive() == p.Publish("kept", b"1", retain=True)


@pytest.mark.parametrize(("handling", "times"), [(0, 2), (1, 1), (2, 0)])
def test_retain_handling(world: Any, handling: int, times: int) -> None:
    raw = world.connected("x", **FIVE)
    raw.send(p.Publish("kept", b"1", 1, True, packet_id=1))
    raw.receive()
    for packet_id in (1, 2):
        raw.send(p.Subscribe(packet_id, (p.Subscription("kept", 0, retain_handling=handling),)))
    raw.send(p.Pingreq())
    kinds = []
    while (packet := raw.receive()) != p.Pingresp():
        kinds.append(type(packet))
    assert kinds.count(p.Publish) == times


def test_session_expiry_and_no_carry_over_between_versions(world: Any) -> None:
    first = world.connected("x", **FIVE, clean_start=False, properties={Property.SESSION_EXPIRY_INTERVAL: 2**32 - 1})
    first.subscribe("a")
    second = world.raw(**FIVE)
    answer = second.connect("x", clean_start=False, properties={Property.SESSION_EXPIRY_INTERVAL: 2**32 - 1})
    assert answer.session_present
    assert answer.properties[Property.SESSION_EXPIRY_INTERVAL] == 604_800
    assert world.raw().connect("x", clean_start=False) == p.Connack(0, session_present=False)
    assert not world.raw(**FIVE).connect("x", clean_start=False).session_present


def test_session_ends_when_disconnect_says_so(world: Any) -> None:
    persistent = {"clean_start": False, "properties": {Property.SESSION_EXPIRY_INTERVAL: 100}}
    first = world.connected("x", **FIVE, **persistent)
    first.send(p.Disconnect(0, {Property.SESSION_EXPIRY_INTERVAL: 0}))
    assert first.receive() is None
    assert not world.raw(**FIVE).connect("x", **persistent).session_present


def test_disconnect_with_will(world: Any) -> None:
    reader = world.connected("reader")
    reader.subscribe("w")
    leaver = world.connected("leaver", **FIVE, will=p.Will("w", b"bye"))
    leaver.send(p.Disconnect(0x04))
    assert dataclasses.replace(reader.receive(), packet_id=0) == p.Publish("w", b"bye")


def test_delayed_will_is_dropped_when_the_session_goes_on(world: Any) -> None:
    reader = world.connected("reader")
    reader.subscribe("w/#")
    options = {
        "will": p.Will("w/delayed", b"", properties={Property.WILL_DELAY_INTERVAL: 1000}),
        "properties": {Property.SESSION_EXPIRY_INTERVAL: 2000},
        "clean_start": False,
    }
    world.connected("x", **FIVE, **options).close()
    world.told("disconnect", "x is gone")
    again = world.connected("x", **FIVE, **options)
    again.close()
    fresh = world.connected("x", **FIVE, clean_start=True)  # ends the session, so the will is due
    answer = reader.receive()
    assert isinstance(answer, p.Publish)
    assert answer.topic == "w/delayed"
    fresh.send(p.Publish("w/after", b""))
    assert reader.receive().topic == "w/after"


def test_message_expires_while_the_session_is_away(world: Any) -> None:
    persistent = {"clean_start": False, "properties": {Property.SESSION_EXPIRY_INTERVAL: 100}}
    world.connected("x", **FIVE, **persistent).subscribe("a")
    world.connected("y", **FIVE).send(p.Publish("a", b"", 1, packet_id=1))
    world.told("publish", "y → a")
    again = world.connected("x", **FIVE, **persistent)
    assert isinstance(again.receive(), p.Publish)
