"""The server's side of a connection, without a server."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepbridge.iot.message import MessageProperties
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.codec import Decoder, encode
from stepbridge.iot.mqtt.packets import Property
from stepbridge.iot.mqtt.reason import ReasonCode
from stepbridge.iot.mqtt.session import (
    Acknowledged,
    Connecting,
    Disconnecting,
    Event,
    Ignored,
    LastWill,
    Publishing,
    Sending,
    ServerSession,
    State,
    Subscribing,
    Violation,
)


def receive(session: ServerSession, *packets: p.Packet | bytes, version: int = 4) -> list[Event]:
    return list(
        session.receive(b"".join(each if isinstance(each, bytes) else encode(each, version) for each in packets))
    )


def output(session: ServerSession, version: int = 4) -> list[p.Packet]:
    wire = b"".join(session.output)
    session.output.clear()
    return list(Decoder(version=version).feed(wire))


def connected(version: int = 4, **options: Any) -> ServerSession:
    session = ServerSession()
    receive(session, p.Connect("c", version, **options), version=version)
    session.accept(session_present=False)
    session.output.clear()
    return session


def send(session: ServerSession, topic: str = "t", qos: int = 1, token: int = 0, payload: bytes = b"") -> Sending:
    return session.send(topic, payload, qos, False, MessageProperties(), token)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (p.Connect("c"), Connecting("c", 4, True, 0, None)),
        (p.Connect("c", clean_start=False), Connecting("c", 4, False, 3600, None)),
        (p.Connect("c", 5, clean_start=False), Connecting("c", 5, False, 0, None)),
        (
            p.Connect("c", 5, properties={Property.SESSION_EXPIRY_INTERVAL: 604_801}),
            Connecting("c", 5, True, 604_800, None),
        ),
        (
            p.Connect("c", 5, will=p.Will("w", b"x", 1, True, {Property.WILL_DELAY_INTERVAL: 9})),
            Connecting("c", 5, True, 0, LastWill("w", b"x", 1, True, MessageProperties(), 9)),
        ),
    ],
)
def test_connect(packet: p.Connect, expected: Connecting) -> None:
    session = ServerSession()
    assert receive(session, packet, version=packet.version) == [expected]
    session.accept(session_present=True)
    assert isinstance(answer := output(session, packet.version)[0], p.Connack)
    assert answer.session_present
    assert session.state is State.CONNECTED


@pytest.mark.parametrize(
    ("version", "reason", "answer"),
    [
        (4, ReasonCode.NOT_AUTHORIZED, [p.Connack(5)]),
        (4, ReasonCode.SERVER_UNAVAILABLE, [p.Connack(3)]),
        (4, ReasonCode.QUOTA_EXCEEDED, []),
        (5, ReasonCode.NOT_AUTHORIZED, [p.Connack(0x87)]),
        (5, ReasonCode.SERVER_UNAVAILABLE, [p.Connack(0x80)]),
    ],
)
def test_refuse(version: int, reason: ReasonCode, answer: list[p.Packet]) -> None:
    session = ServerSession()
    receive(session, p.Connect("c", version), version=version)
    session.refuse(reason)
    assert output(session, version) == answer
    assert session.state is State.CLOSED


def test_an_old_protocol_is_told_so_and_garbage_is_told_nothing() -> None:
    session = ServerSession()
    events = receive(session, bytes.fromhex("100f00064d514973647003 02003c000161"))
    assert isinstance(events[-1], Violation)
    assert output(session) == [p.Connack(1)]
    session = ServerSession()
    assert isinstance(receive(session, b"GET / HTTP/1.1\r\n")[-1], Violation)
    assert output(session) == []


def test_events_in_the_order_of_the_packets() -> None:
    session = connected()
    events = receive(
        session,
        p.Publish("a", b"1", 1, packet_id=7),
        p.Publish("b", b"", 2, packet_id=8),
        p.Subscribe(9, (p.Subscription("c", 1),)),
        p.Disconnect(),
        p.Publish("after", b""),
    )
    assert [type(each) for each in events] == [Publishing, Ignored, Subscribing, Disconnecting]
    assert session.state is State.CLOSED


def test_window_and_packet_identifiers() -> None:
    session = connected(5, properties={Property.RECEIVE_MAXIMUM: 3})
    assert [send(session, token=n) for n in range(4)] == [Sending.SENT] * 3 + [Sending.WINDOW_FULL]
    assert send(session, qos=0) is Sending.SENT
    sent = output(session, 5)
    assert [each.packet_id for each in sent if isinstance(each, p.Publish)] == [1, 2, 3, 0]
    assert receive(session, p.Puback(2), p.Puback(2), p.Puback(99), version=5) == [Acknowledged(1)]
    assert not session.window_is_full
    assert send(session, token=5) is Sending.SENT


def test_packet_identifiers_in_use_are_passed_over() -> None:
    session = connected()
    send(session, token=-1)
    for token in range(65_535):
        assert send(session, token=token) is Sending.SENT
        packet = output(session)[-1]
        assert isinstance(packet, p.Publish)
        assert 2 <= packet.packet_id <= 65_535
        receive(session, p.Puback(packet.packet_id))


def test_more_unacknowledged_messages_than_allowed() -> None:
    publish = [p.Publish("t", b"", 1, packet_id=n) for n in range(1, 102)]
    five = receive(connected(5), *publish, version=5)
    assert len(five) == 101
    assert isinstance(five[-1], Violation)
    assert five[-1].reason == ReasonCode.RECEIVE_MAXIMUM_EXCEEDED
    assert all(isinstance(each, Publishing) for each in receive(connected(), *publish))


def test_a_message_too_large_leaves_no_trace() -> None:
    session = connected(5, properties={Property.MAXIMUM_PACKET_SIZE: 512, Property.TOPIC_ALIAS_MAXIMUM: 1})
    assert send(session, payload=bytes(600)) is Sending.TOO_LARGE
    assert send(session) is Sending.SENT
    sent = output(session, 5)
    assert [each.topic for each in sent if isinstance(each, p.Publish)] == ["t"]  # the alias was not used up
    assert receive(session, p.Puback(1), p.Puback(2), version=5) == [Acknowledged(0)]


packet_bytes = st.sampled_from(
    [
        encode(each, 5)
        for each in (
            p.Connect("c", 5),
            p.Publish("t", b"x", 1, packet_id=1),
            p.Publish("", b"x", properties={Property.TOPIC_ALIAS: 1}),
            p.Publish("t", b"x", properties={Property.TOPIC_ALIAS: 1}),
            p.Puback(1),
            p.Subscribe(1, (p.Subscription("#", 1),)),
            p.Unsubscribe(1, ("#",)),
            p.Pingreq(),
            p.Pubrel(1),
            p.Disconnect(0),
        )
    ]
)


@given(st.lists(packet_bytes | st.binary(max_size=30), max_size=12), st.sampled_from([None, 4, 5]))
@settings(max_examples=400)
def test_no_conversation_does_harm(chunks: list[bytes], version: int | None) -> None:
    session = ServerSession() if version is None else connected(version)
    for chunk in chunks:
        for event in session.receive(chunk):
            if isinstance(event, Connecting):
                session.accept(session_present=False)
            if isinstance(event, Publishing) and event.qos:
                session.acknowledge(event.packet_id)
                send(session)
            if isinstance(event, Violation | Disconnecting):
                assert session.state is State.CLOSED
    if session.state is State.CLOSED:
        assert list(session.receive(b"\xc0\0")) == []
