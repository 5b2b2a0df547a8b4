"""The packet codec: every packet there and back, what is malformed, and what no input may do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.codec import Decoder, encode
from stepbridge.iot.mqtt.packets import Property
from stepbridge.iot.mqtt.reason import ProtocolError, ReasonCode

BOTH = (p.MQTT_3_1_1, p.MQTT_5)
FIVE = (p.MQTT_5,)

MESSAGE_PROPERTIES = {
    Property.PAYLOAD_FORMAT_INDICATOR: 1,
    Property.MESSAGE_EXPIRY_INTERVAL: 4_000_000_000,
    Property.CONTENT_TYPE: "text/plain",
    Property.RESPONSE_TOPIC: "answers",
    Property.CORRELATION_DATA: b"\0\xff",
    Property.USER_PROPERTY: (("a", "1"), ("a", "2"), ("", "")),
}

# Each packet as the specification lays it out, byte by byte.
WIRE: list[tuple[int, p.Packet, str]] = [
    (4, p.Connect("ab", 4, True, 60), "10 0e 0004 4d515454 04 02 003c 0002 6162"),
    (
        4,
        p.Connect("a", 4, False, 0, p.Will("w", b"x", 1, True), "u", b"p"),
        "10 19 0004 4d515454 04 ec 0000 0001 61 0001 77 0001 78 0001 75 0001 70",
    ),
    (5, p.Connect("", 5, True, 10), "10 0d 0004 4d515454 05 02 000a 00 0000"),
    (
        5,
        p.Connect("", 5, True, 10, properties={Property.SESSION_EXPIRY_INTERVAL: 60}),
        "10 12 0004 4d515454 05 02 000a 05 11 0000003c 0000",
    ),
    (4, p.Connack(5), "20 02 00 05"),
    (4, p.Connack(0, True), "20 02 01 00"),
    (5, p.Connack(0x87), "20 03 00 87 00"),
    (5, p.Connack(0, False, {Property.MAXIMUM_QOS: 1}), "20 05 00 00 02 24 01"),
    (4, p.Publish("a/b", b"hi"), "30 07 0003 612f62 6869"),
    (4, p.Publish("a", b"", 1, True, True, 10), "3b 05 0001 61 000a"),
    (5, p.Publish("a", b"!", 1, packet_id=10), "32 07 0001 61 000a 00 21"),
    (5, p.Publish("", b"!", properties={Property.TOPIC_ALIAS: 3}), "30 07 0000 03 23 0003 21"),
    (4, p.Puback(258), "40 02 0102"),
    (5, p.Puback(258), "40 02 0102"),
    (5, p.Puback(258, 0x87), "40 03 0102 87"),
    (5, p.Puback(1, 0x97, {Property.REASON_STRING: "no"}), "40 09 0001 97 05 1f 0002 6e6f"),
    (4, p.Pubrec(1), "50 02 0001"),
    (4, p.Pubrel(1), "62 02 0001"),
    (4, p.Pubcomp(1), "70 02 0001"),
    (4, p.Subscribe(1, (p.Subscription("a", 1), p.Subscription("#"))), "82 0a 0001 0001 61 01 0001 23 00"),
    (5, p.Subscribe(1, (p.Subscription("a", 1, True, True, 2),)), "82 07 0001 00 0001 61 2d"),
    (4, p.Suback(1, (1, 0x80)), "90 04 0001 01 80"),
    (5, p.Suback(1, (0x87,)), "90 04 0001 00 87"),
    (4, p.Unsubscribe(1, ("a", "b")), "a2 08 0001 0001 61 0001 62"),
    (5, p.Unsubscribe(1, ("a",)), "a2 06 0001 00 0001 61"),
    (4, p.Unsuback(1), "b0 02 0001"),
    (5, p.Unsuback(1, (0x11,)), "b0 04 0001 00 11"),
    (4, p.Pingreq(), "c0 00"),
    (4, p.Pingresp(), "d0 00"),
    (4, p.Disconnect(), "e0 00"),
    (5, p.Disconnect(), "e0 00"),
    (5, p.Disconnect(0x8E), "e0 01 8e"),
    (5, p.Disconnect(0, {Property.SESSION_EXPIRY_INTERVAL: 1}), "e0 07 00 05 11 00000001"),
    (5, p.Auth(0x18), "f0 01 18"),
]


def decoder(version: int, packet: p.Packet | None = None, **options: int) -> Decoder:
    return Decoder(version=None if isinstance(packet, p.Connect) else version, **options)


@pytest.mark.parametrize(("version", "packet", "wire"), WIRE)
def test_wire_format(version: int, packet: p.Packet, wire: str) -> None:
    raw = bytes.fromhex(wire)
    assert encode(packet, version).hex(" ") == raw.hex(" ")
    assert list(decoder(version, packet).feed(raw)) == [packet]


def test_all_message_properties_survive() -> None:
    packet = p.Publish("a", b"x", 1, packet_id=1, properties=MESSAGE_PROPERTIES)
    will = p.Will("w", b"x", 1, False, {**MESSAGE_PROPERTIES, Property.WILL_DELAY_INTERVAL: 5})
    connect = p.Connect("c", p.MQTT_5, will=will)
    assert list(Decoder(version=5).feed(encode(packet, 5))) == [packet]
    assert list(Decoder().feed(encode(connect, 5))) == [connect]


MALFORMED = [
    ("type 0", 4, "00 00", ReasonCode.MALFORMED_PACKET),
    ("AUTH in MQTT 3.1.1", 4, "f0 00", ReasonCode.MALFORMED_PACKET),
    ("flags of SUBSCRIBE", 4, "80 06 0001 0001 61 00", ReasonCode.MALFORMED_PACKET),
    ("flags of PINGREQ", 4, "c1 00", ReasonCode.MALFORMED_PACKET),
    ("length of five bytes", 4, "30 ff ff ff ff 01", ReasonCode.MALFORMED_PACKET),
    ("QoS 3", 4, "36 05 0001 61 0001", ReasonCode.MALFORMED_PACKET),
    ("DUP with QoS 0", 4, "38 03 0001 61", ReasonCode.MALFORMED_PACKET),
    ("packet id 0", 4, "32 05 0001 61 0000", ReasonCode.MALFORMED_PACKET),
    ("topic longer than the packet", 4, "30 03 0005 61", ReasonCode.MALFORMED_PACKET),
    ("topic not UTF-8", 4, "30 03 0001 ff", ReasonCode.MALFORMED_PACKET),
    ("topic with a surrogate", 4, "30 05 0003 eda080", ReasonCode.MALFORMED_PACKET),
    ("topic with null", 4, "30 03 0001 00", ReasonCode.MALFORMED_PACKET),
    ("topic with +", 4, "30 03 0001 2b", ReasonCode.TOPIC_NAME_INVALID),
    ("empty topic", 4, "30 02 0000", ReasonCode.PROTOCOL_ERROR),
    ("empty topic without alias", 5, "30 03 0000 00", ReasonCode.PROTOCOL_ERROR),
    ("unknown property", 5, "30 06 0001 61 02 7f 00", ReasonCode.MALFORMED_PACKET),
    ("property of another packet", 5, "30 06 0001 61 02 24 01", ReasonCode.MALFORMED_PACKET),
    ("property twice", 5, "30 08 0001 61 04 01 00 01 00", ReasonCode.PROTOCOL_ERROR),
    ("property out of range", 5, "30 06 0001 61 02 01 02", ReasonCode.PROTOCOL_ERROR),
    ("properties longer than the packet", 5, "30 04 0001 61 05", ReasonCode.MALFORMED_PACKET),
    ("property cut off by its block", 5, "30 07 0001 61 02 02 0000", ReasonCode.MALFORMED_PACKET),
    ("overlong integer", 5, "30 05 0001 61 8000", ReasonCode.MALFORMED_PACKET),
    ("PUBACK too long", 4, "40 03 0001 00", ReasonCode.MALFORMED_PACKET),
    ("PUBACK too short", 4, "40 01 00", ReasonCode.MALFORMED_PACKET),
    ("no filter", 4, "82 02 0001", ReasonCode.PROTOCOL_ERROR),
    ("no filter to unsubscribe", 4, "a2 02 0001", ReasonCode.PROTOCOL_ERROR),
    ("options of MQTT 5 in 3.1.1", 4, "82 06 0001 0001 61 05", ReasonCode.MALFORMED_PACKET),
    ("retain handling 3", 5, "82 07 0001 00 0001 61 30", ReasonCode.MALFORMED_PACKET),
    ("PINGREQ with a body", 4, "c0 01 00", ReasonCode.MALFORMED_PACKET),
    ("DISCONNECT with a body", 4, "e0 01 00", ReasonCode.MALFORMED_PACKET),
    ("first packet not CONNECT", None, "c0 00", ReasonCode.PROTOCOL_ERROR),
    ("HTTP", None, b"GET / HTTP/1.1".hex(), ReasonCode.PROTOCOL_ERROR),
    ("MQTT 3.1", None, "10 0f 0006 4d5149736470 03 02 003c 0001 61", ReasonCode.UNSUPPORTED_PROTOCOL_VERSION),
    ("level 6", None, "10 0d 0004 4d515454 06 02 003c 0001 61", ReasonCode.UNSUPPORTED_PROTOCOL_VERSION),
    ("reserved flag of CONNECT", None, "10 0d 0004 4d515454 04 03 003c 0001 61", ReasonCode.MALFORMED_PACKET),
    ("will QoS without will", None, "10 0d 0004 4d515454 04 0a 003c 0001 61", ReasonCode.MALFORMED_PACKET),
    ("will QoS 3", None, "10 13 0004 4d515454 04 1e 003c 0001 61 0001 77 0001 78", ReasonCode.MALFORMED_PACKET),
    ("password without user", None, "10 10 0004 4d515454 04 42 003c 0001 61 0001 70", ReasonCode.MALFORMED_PACKET),
    ("CONNECT with more behind", None, "10 0e 0004 4d515454 04 02 003c 0001 61 00", ReasonCode.MALFORMED_PACKET),
    ("receive maximum 0", None, "10 10 0004 4d515454 05 02 003c 03 21 0000 0000", ReasonCode.PROTOCOL_ERROR),
]


@pytest.mark.parametrize(("version", "wire", "reason"), [case[1:] for case in MALFORMED], ids=[c[0] for c in MALFORMED])
def test_malformed(version: int | None, wire: str, reason: ReasonCode) -> None:
    with pytest.raises(ProtocolError) as caught:
        list(Decoder(version=version).feed(bytes.fromhex(wire)))
    assert caught.value.reason == reason
    assert caught.value.section.startswith("MQTT")


def test_oversize_is_refused_by_its_header() -> None:
    limited = Decoder(version=4, maximum_packet_size=100)
    assert list(limited.feed(encode(p.Publish("a", bytes(95)), 4))) == [p.Publish("a", bytes(95))]
    with pytest.raises(ProtocolError) as caught:
        list(limited.feed(b"\x30\x63"))
    assert caught.value.reason == ReasonCode.PACKET_TOO_LARGE


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_any_division_into_chunks(size: int) -> None:
    packets: list[p.Packet] = [p.Connect("a", 5)]
    packets += [packet for version, packet, _ in WIRE if version == 5 and not isinstance(packet, p.Connect)]
    wire = b"".join(encode(packet, 5) for packet in packets)
    incremental = Decoder()
    got: list[p.Packet] = []
    for start in range(0, len(wire), size):
        got += incremental.feed(wire[start : start + size])
    assert got == packets


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
topic = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=20)
identifier = st.integers(1, 65_535)
message_properties = st.fixed_dictionaries(
    {},
    optional={
        Property.PAYLOAD_FORMAT_INDICATOR: st.integers(0, 1),
        Property.MESSAGE_EXPIRY_INTERVAL: st.integers(0, 2**32 - 1),
        Property.CONTENT_TYPE: text,
        Property.RESPONSE_TOPIC: topic,
        Property.CORRELATION_DATA: st.binary(max_size=50),
        Property.USER_PROPERTY: st.lists(st.tuples(text, text), min_size=1, max_size=3).map(tuple),
    },
)
publishes = st.builds(
    lambda topic, payload, qos, retain, packet_id, properties: p.Publish(
        topic, payload, qos, retain, False, packet_id if qos else 0, properties
    ),
    topic,
    st.binary(max_size=300),
    st.integers(0, 2),
    st.booleans(),
    identifier,
    message_properties,
)
subscribes = st.builds(
    p.Subscribe,
    identifier,
    st.lists(
        st.builds(p.Subscription, text, st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 2)),
        min_size=1,
        max_size=4,
    ).map(tuple),
)
connects = st.builds(
    p.Connect,
    text,
    st.just(5),
    st.booleans(),
    st.integers(0, 65_535),
    st.none() | st.builds(p.Will, topic, st.binary(max_size=50), st.integers(0, 2), st.booleans(), message_properties),
    st.none() | text,
    st.none() | st.binary(max_size=20),
)


@given(st.one_of(publishes, subscribes, connects))
@settings(max_examples=200)
def test_there_and_back(packet: p.Packet) -> None:
    assert list(decoder(5, packet).feed(encode(packet, 5))) == [packet]


@given(st.lists(st.binary(max_size=200), max_size=10), st.sampled_from([None, 4, 5]))
@settings(max_examples=400)
def test_no_bytes_do_harm(chunks: list[bytes], version: int | None) -> None:
    _survives(Decoder(version=version, maximum_packet_size=256), chunks)


@given(publishes | subscribes | connects, st.data())
@settings(max_examples=400)
def test_no_damage_to_a_good_packet_does_harm(packet: p.Packet, data: st.DataObject) -> None:
    wire = bytearray(encode(packet, 5))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    _survives(decoder(5, packet, maximum_packet_size=2048), [bytes(wire)])


def _survives(subject: Decoder, chunks: list[bytes]) -> None:
    try:
        for chunk in chunks:
            list(subject.feed(chunk))
            assert subject.buffered <= subject.maximum_packet_size
    except ProtocolError:
        return  # anything else fails the test
