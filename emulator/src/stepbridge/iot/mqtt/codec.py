"""Packets from bytes and back (MQTT 5.0 and 3.1.1, sections 2 and 3), for either end of a connection.

Two tables do it: `_DECODERS` by packet type, `_ENCODERS` by class.  :class:`Decoder` is incremental and strict: what
the specification forbids raises :class:`ProtocolError`.  It never holds more than one packet of `maximum_packet_size`
bytes, since the size stands in front of a packet.
"""

from collections.abc import Callable, Iterator
from typing import Any

from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt import wire
from stepbridge.iot.mqtt.reason import ProtocolError, ReasonCode
from stepbridge.iot.mqtt.wire import Reader, malformed

NAMES = (
    "a reserved packet type",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
)
_PUBLISH = 3
# The flags that MQTT section 2.1.3 prescribes, by packet type.
_FLAGS = (0, 0, 0, -1, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0)


class Decoder:
    """Turns the bytes of one connection into packets.

    `version` is the protocol level, or None on a server's side until CONNECT has told it.  A packet larger than
    `maximum_packet_size` bytes is refused as soon as its header is there.
    """

    __slots__ = ("_needed", "_pending", "maximum_packet_size", "version")

    def __init__(self, *, version: int | None = None, maximum_packet_size: int = wire.MAXIMUM_VARIABLE_INTEGER) -> None:
        self.version = version
        self.maximum_packet_size = maximum_packet_size
        self._pending = bytearray()
        self._needed = 0  # the size of the packet that `_pending` begins, as soon as it is known

    @property
    def buffered(self) -> int:
        """How many bytes of an incomplete packet are held."""
        return len(self._pending)

    def feed(self, data: bytes) -> Iterator[p.Packet]:
        """The packets that `data` completes.  Raises ProtocolError, after which the decoder is of no more use."""
        if self._pending:
            self._pending += data
            if len(self._pending) < self._needed:
                return
            data = bytes(self._pending)
            self._pending = bytearray()
            self._needed = 0
        position, end = 0, len(data)
        while position < end:
            start = position
            first = data[position]
            position += 1
            # The remaining length, inlined: this is done for every packet.
            length = shift = 0
            while True:
                if position >= end:
                    self._pending += data[start:]
                    self._check_header(first, 0)
                    return
                byte = data[position]
                position += 1
                length |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
                if shift > 21:
                    raise malformed("MQTT section 2.1.4", f"{NAMES[first >> 4]} has a length of more than four bytes")
            self._check_header(first, position - start + length)
            if position + length > end:
                self._pending += data[start:]
                self._needed = position - start + length
                return
            body = data[position : position + length]
            position += length
            if self.version is None:
                connect = _connect(first, body)
                self.version = connect.version
                yield connect
            elif first >> 4 == _PUBLISH:
                yield _publish(first, body, self.version)
            else:
                yield _DECODERS[first >> 4](first, body, self.version)

    def _check_header(self, first: int, size: int) -> None:
        """Refuse a packet by what is known before its body is there."""
        kind = first >> 4
        if self.version is None and kind != 1:
            raise ProtocolError(
                ReasonCode.PROTOCOL_ERROR, "MQTT-3.1.0-1", f"the first packet must be CONNECT and is {NAMES[kind]}"
            )
        if kind == 0 or (kind == 15 and self.version == p.MQTT_3_1_1):
            raise malformed("MQTT section 2.1.2", f"packet type {kind} is reserved")
        if kind != _PUBLISH and first & 0x0F != _FLAGS[kind]:
            raise malformed("MQTT section 2.1.3", f"{NAMES[kind]} has the reserved flags {first & 0x0F:04b}")
        if size > self.maximum_packet_size:
            raise ProtocolError(
                ReasonCode.PACKET_TOO_LARGE,
                "MQTT section 3.1.2.11.4",
                f"{NAMES[kind]} has {size} bytes, the most is {self.maximum_packet_size}",
            )


def _connect(first: int, body: bytes) -> p.Connect:
    reader = Reader(body, "CONNECT")
    protocol = reader.string()
    version = reader.byte()
    if protocol != "MQTT" or version not in (p.MQTT_3_1_1, p.MQTT_5):
        raise ProtocolError(
            ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
            "MQTT-3.1.2-2",
            f"the protocol is {protocol!r} level {version}, not 'MQTT' level 4 (3.1.1) or 5",
        )
    flags = reader.byte()
    if flags & 0x01:
        raise malformed("MQTT-3.1.2-3", "CONNECT has the reserved flag")
    will_flag, will_qos, will_retain = bool(flags & 0x04), (flags >> 3) & 0x03, bool(flags & 0x20)
    if will_qos == 3 or (not will_flag and (will_qos or will_retain)):
        raise malformed("MQTT-3.1.2-11", "CONNECT has will flags that contradict each other")
    has_password, has_user_name = bool(flags & 0x40), bool(flags & 0x80)
    if version == p.MQTT_3_1_1 and has_password and not has_user_name:
        raise malformed("MQTT-3.1.2-22", "CONNECT has a password without a user name")
    keep_alive = reader.two_bytes()
    is_five = version == p.MQTT_5
    properties = reader.properties() if is_five else p.NO_PROPERTIES
    client_id = reader.string()
    will = None
    if will_flag:
        reader.packet = "WILL"
        will_properties = reader.properties() if is_five else p.NO_PROPERTIES
        will = p.Will(reader.string(), reader.binary(), will_qos, will_retain, will_properties)
        reader.packet = "CONNECT"
        _check_topic_name(will.topic)
    user_name = reader.string() if has_user_name else None
    password = reader.binary() if has_password else None
    reader.finish()
    clean_start = bool(flags & 0x02)
    return p.Connect(client_id, version, clean_start, keep_alive, will, user_name, password, properties)


def _connect_again(first: int, body: bytes, version: int) -> p.Connect:
    return _connect(first, body)


def _connack(first: int, body: bytes, version: int) -> p.Connack:
    reader = Reader(body, "CONNACK")
    flags, code = reader.byte(), reader.byte()
    if flags & 0xFE:
        raise malformed("MQTT section 3.2.2.1", "CONNACK has reserved flags")
    properties = reader.properties() if version == p.MQTT_5 else p.NO_PROPERTIES
    reader.finish()
    return p.Connack(code, bool(flags), properties)


def _check_topic_name(topic: str) -> None:
    if "+" in topic or "#" in topic:
        raise ProtocolError(
            ReasonCode.TOPIC_NAME_INVALID, "MQTT-3.3.2-2", f"the topic {topic!r} of a message has a wildcard"
        )


def _publish(first: int, body: bytes, version: int) -> p.Publish:
    reader = Reader(body, "PUBLISH")
    qos = (first >> 1) & 0x03
    if qos == 3:
        raise malformed("MQTT-3.3.1-4", "PUBLISH has QoS 3")
    dup = bool(first & 0x08)
    if dup and qos == 0:
        raise malformed("MQTT-3.3.1-2", "PUBLISH with QoS 0 has the DUP flag")
    topic = reader.string()
    _check_topic_name(topic)
    packet_id = _packet_id(reader) if qos else 0
    properties = reader.properties() if version == p.MQTT_5 else p.NO_PROPERTIES
    if not topic and p.Property.TOPIC_ALIAS not in properties:
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "MQTT-4.7.3-1", "PUBLISH has neither topic nor topic alias")
    return p.Publish(topic, reader.rest(), qos, bool(first & 0x01), dup, packet_id, properties)


def _packet_id(reader: Reader) -> int:
    packet_id = reader.two_bytes()
    if packet_id == 0:
        raise malformed("MQTT-2.2.1-3", f"{reader.packet} has the packet identifier 0")
    return packet_id


def _acknowledgement(kind: type[Any], name: str) -> Callable[[int, bytes, int], Any]:
    def decode(first: int, body: bytes, version: int) -> Any:
        reader = Reader(body, name)
        packet_id = _packet_id(reader)
        if version != p.MQTT_5 or reader.exhausted:
            reader.finish()
            return kind(packet_id)
        code = reader.byte()
        properties = p.NO_PROPERTIES if reader.exhausted else reader.properties()
        reader.finish()
        return kind(packet_id, code, properties)

    return decode


def _subscribe(first: int, body: bytes, version: int) -> p.Subscribe:
    reader = Reader(body, "SUBSCRIBE")
    packet_id = _packet_id(reader)
    properties = reader.properties() if version == p.MQTT_5 else p.NO_PROPERTIES
    subscriptions = []
    while not reader.exhausted:
        topic_filter = reader.string()
        options = reader.byte()
        qos, handling = options & 0x03, (options >> 4) & 0x03
        reserved = options & (0xC0 if version == p.MQTT_5 else 0xFC)
        if reserved or qos == 3 or handling == 3:
            raise malformed("MQTT-3.8.3-5", f"SUBSCRIBE has reserved options (0x{options:02X}) for {topic_filter!r}")
        subscriptions.append(p.Subscription(topic_filter, qos, bool(options & 4), bool(options & 8), handling))
    if not subscriptions:
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "MQTT-3.8.3-2", "SUBSCRIBE has no topic filter")
    return p.Subscribe(packet_id, tuple(subscriptions), properties)


def _suback(first: int, body: bytes, version: int) -> p.Suback:
    reader = Reader(body, "SUBACK")
    packet_id = _packet_id(reader)
    properties = reader.properties() if version == p.MQTT_5 else p.NO_PROPERTIES
    return p.Suback(packet_id, tuple(reader.rest()), properties)


def _unsubscribe(first: int, body: bytes, version: int) -> p.Unsubscribe:
    reader = Reader(body, "UNSUBSCRIBE")
    packet_id = _packet_id(reader)
    properties = reader.properties() if version == p.MQTT_5 else p.NO_PROPERTIES
    topic_filters = []
    while not reader.exhausted:
        topic_filters.append(reader.string())
    if not topic_filters:
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "MQTT-3.10.3-2", "UNSUBSCRIBE has no topic filter")
    return p.Unsubscribe(packet_id, tuple(topic_filters), properties)


def _unsuback(first: int, body: bytes, version: int) -> p.Unsuback:
    reader = Reader(body, "UNSUBACK")
    packet_id = _packet_id(reader)
    if version != p.MQTT_5:
        reader.finish()
        return p.Unsuback(packet_id)
    properties = reader.properties()
    return p.Unsuback(packet_id, tuple(reader.rest()), properties)


def _empty(kind: type[Any], name: str) -> Callable[[int, bytes, int], Any]:
    def decode(first: int, body: bytes, version: int) -> Any:
        Reader(body, name).finish()
        return kind()

    return decode


def _with_reason(kind: type[Any], name: str) -> Callable[[int, bytes, int], Any]:
    def decode(first: int, body: bytes, version: int) -> Any:
        reader = Reader(body, name)
        if version != p.MQTT_5 or reader.exhausted:
            reader.finish()
            return kind()
        code = reader.byte()
        properties = p.NO_PROPERTIES if reader.exhausted else reader.properties()
        reader.finish()
        return kind(code, properties)

    return decode


_DECODERS: tuple[Callable[[int, bytes, int], p.Packet], ...] = (
    _empty(p.Pingreq, NAMES[0]),  # never reached: the header is refused
    _connect_again,
    _connack,
    _publish,
    _acknowledgement(p.Puback, "PUBACK"),
    _acknowledgement(p.Pubrec, "PUBREC"),
    _acknowledgement(p.Pubrel, "PUBREL"),
    _acknowledgement(p.Pubcomp, "PUBCOMP"),
    _subscribe,
    _suback,
    _unsubscribe,
    _unsuback,
    _empty(p.Pingreq, "PINGREQ"),
    _empty(p.Pingresp, "PINGRESP"),
    _with_reason(p.Disconnect, "DISCONNECT"),
    _with_reason(p.Auth, "AUTH"),
)


def encode(packet: p.Packet, version: int) -> bytes:
    """The bytes of `packet` at protocol level `version`."""
    return _ENCODERS[type(packet)](packet, version)


def _frame(first: int, body: bytes) -> bytes:
    return bytes((first,)) + wire.variable_integer(len(body)) + body


def _properties(values: p.Properties, version: int) -> bytes:
    return wire.properties(values) if version == p.MQTT_5 else b""


def _encode_connect(packet: p.Connect, version: int) -> bytes:
    flags = packet.clean_start << 1
    payload = wire.string(packet.client_id)
    if (will := packet.will) is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        payload += _properties(will.properties, packet.version) + wire.string(will.topic) + wire.binary(will.payload)
    if packet.user_name is not None:
        flags |= 0x80
        payload += wire.string(packet.user_name)
    if packet.password is not None:
        flags |= 0x40
        payload += wire.binary(packet.password)
    head = wire.string("MQTT") + bytes((packet.version, flags)) + wire.two_bytes(packet.keep_alive)
    return _frame(0x10, head + _properties(packet.properties, packet.version) + payload)


def _encode_connack(packet: p.Connack, version: int) -> bytes:
    return _frame(0x20, bytes((packet.session_present, packet.code)) + _properties(packet.properties, version))


def _encode_publish(packet: p.Publish, version: int) -> bytes:
    topic = packet.topic.encode()
    middle = len(topic).to_bytes(2, "big") + topic
    if packet.qos:
        middle += packet.packet_id.to_bytes(2, "big")
    if version == p.MQTT_5:
        middle += wire.properties(packet.properties)
    first = 0x30 | packet.dup << 3 | packet.qos << 1 | packet.retain
    return bytes((first,)) + wire.variable_integer(len(middle) + len(packet.payload)) + middle + packet.payload


def _encode_acknowledgement(first: int) -> Callable[[Any, int], bytes]:
    short = bytes((first, 2))

    def encode_it(packet: Any, version: int) -> bytes:
        packet_id: bytes = packet.packet_id.to_bytes(2, "big")
        if version != p.MQTT_5 or not (packet.code or packet.properties):
            return short + packet_id
        tail = wire.properties(packet.properties) if packet.properties else b""
        return _frame(first, packet_id + bytes((packet.code,)) + tail)

    return encode_it


def _encode_subscribe(packet: p.Subscribe, version: int) -> bytes:
    body = wire.two_bytes(packet.packet_id) + _properties(packet.properties, version)
    for each in packet.subscriptions:
        options = each.qos | each.no_local << 2 | each.retain_as_published << 3 | each.retain_handling << 4
        body += wire.string(each.topic_filter) + bytes((options,))
    return _frame(0x82, body)


def _encode_suback(packet: p.Suback, version: int) -> bytes:
    body = wire.two_bytes(packet.packet_id) + _properties(packet.properties, version) + bytes(packet.codes)
    return _frame(0x90, body)


def _encode_unsubscribe(packet: p.Unsubscribe, version: int) -> bytes:
    body = wire.two_bytes(packet.packet_id) + _properties(packet.properties, version)
    return _frame(0xA2, body + b"".join(map(wire.string, packet.topic_filters)))


def _encode_unsuback(packet: p.Unsuback, version: int) -> bytes:
    body = wire.two_bytes(packet.packet_id)
    if version == p.MQTT_5:
        body += wire.properties(packet.properties) + bytes(packet.codes)
    return _frame(0xB0, body)


def _encode_with_reason(first: int) -> Callable[[Any, int], bytes]:
    def encode_it(packet: Any, version: int) -> bytes:
        if version != p.MQTT_5 or not (packet.code or packet.properties):
            return bytes((first, 0))
        tail = wire.properties(packet.properties) if packet.properties else b""
        return _frame(first, bytes((packet.code,)) + tail)

    return encode_it


_ENCODERS: dict[type[Any], Callable[[Any, int], bytes]] = {
    p.Connect: _encode_connect,
    p.Connack: _encode_connack,
    p.Publish: _encode_publish,
    p.Puback: _encode_acknowledgement(0x40),
    p.Pubrec: _encode_acknowledgement(0x50),
    p.Pubrel: _encode_acknowledgement(0x62),
    p.Pubcomp: _encode_acknowledgement(0x70),
    p.Subscribe: _encode_subscribe,
    p.Suback: _encode_suback,
    p.Unsubscribe: _encode_unsubscribe,
    p.Unsuback: _encode_unsuback,
    p.Pingreq: lambda packet, version: b"\xc0\0",
    p.Pingresp: lambda packet, version: b"\xd0\0",
    p.Disconnect: _encode_with_reason(0xE0),
    p.Auth: _encode_with_reason(0xF0),
}
