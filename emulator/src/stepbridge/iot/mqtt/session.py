"""The server's side of one MQTT connection, with the rules and limits of AWS IoT Core.

Theory of operation.  :class:`ServerSession` is fed what comes from the client (:meth:`ServerSession.receive`) and
answers with events, each a frozen dataclass; what is to be sent to the client collects in `output`.  It passes through
four states:

    NEW ──CONNECT──► ANSWERING ──accept()──► CONNECTED ──DISCONNECT, violation, close()──► CLOSED
                         └──────refuse()──────────────────────────────────────────────────────┘

Who may do what, what is stored and who gets a message is decided outside.  What is decided here needs nothing but the
packets: the order of packets, limits, keep-alive values, packet identifiers, the window of unacknowledged messages and
topic aliases.  A violation is the last event; a DISCONNECT with the reason (MQTT 5) is then in `output`.

The limits are those of "AWS IoT Core message broker and protocol limits and quotas".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from stepbridge.iot.message import MessageProperties
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt import topics
from stepbridge.iot.mqtt.codec import Decoder, encode
from stepbridge.iot.mqtt.packets import Property
from stepbridge.iot.mqtt.properties import check_properties, message_properties, publish_properties
from stepbridge.iot.mqtt.reason import ProtocolError, ReasonCode

MAXIMUM_PACKET = 149_504
MAXIMUM_PAYLOAD = 131_072
MAXIMUM_CLIENT_ID = 128
MAXIMUM_FILTERS = 8  # in one SUBSCRIBE
MAXIMUM_SUBSCRIPTIONS = 50  # of one connection
MINIMUM_CLIENT_PACKET = 512
RECEIVE_MAXIMUM = 100
TOPIC_ALIAS_MAXIMUM = 8
KEEP_ALIVE_MINIMUM = 30  # seconds
KEEP_ALIVE_MAXIMUM = 1200
SESSION_EXPIRY_DEFAULT = 3600  # MQTT 3.1.1 with clean session 0
SESSION_EXPIRY_MAXIMUM = 604_800

# MQTT 5 reason codes as CONNACK return codes of MQTT 3.1.1 (section 3.2.2.3).
_RETURN_CODES = {
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: 1,
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: 2,
    ReasonCode.SERVER_UNAVAILABLE: 3,
    ReasonCode.NOT_AUTHORIZED: 5,
}
# The reason codes that AWS IoT Core sends, per packet ("MQTT reason codes supported by AWS IoT").
_CONNACK_CODES = frozenset((0x80, 0x84, 0x85, 0x86, 0x87, 0x90, 0x97, 0x9B))
_DISCONNECT_CODES = frozenset((0x81, 0x82, 0x87, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x97, 0x98, 0x9B, 0xA1))


class State(Enum):
    """Where a connection stands."""

    NEW = "new"
    ANSWERING = "answering"
    CONNECTED = "connected"
    CLOSED = "closed"


class Sending(Enum):
    """What became of a message for the client."""

    SENT = "sent"
    WINDOW_FULL = "window full"
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class LastWill:
    """A will that keeps the limits; `delay` in seconds."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: MessageProperties
    delay: int


@dataclass(frozen=True, slots=True)
class Connecting:
    """CONNECT; answer with accept() or refuse().  `client_id` is empty if the server is to assign one."""

    client_id: str
    version: int
    clean_start: bool
    session_expiry: int
    will: LastWill | None


@dataclass(frozen=True, slots=True)
class Publishing:
    """A message from the client; with QoS 1, acknowledge() it when it is safe."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet_id: int
    properties: MessageProperties


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The client has the message that was sent with this token."""

    token: int


@dataclass(frozen=True, slots=True)
class Subscribing:
    """SUBSCRIBE; answer with suback()."""

    packet_id: int
    subscriptions: tuple[p.Subscription, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribing:
    """UNSUBSCRIBE; answer with unsuback()."""

    packet_id: int
    topic_filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pinging:
    """PINGREQ; answer with pong()."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A packet that AWS IoT Core leaves without an answer, and why."""

    text: str


@dataclass(frozen=True, slots=True)
class Disconnecting:
    """The client's farewell.  `session_expiry` is the final value."""

    with_will: bool
    session_expiry: int


@dataclass(frozen=True, slots=True)
class Violation:
    """The client broke a rule; the connection is over."""

    reason: ReasonCode
    section: str
    text: str


Event = (
    Connecting | Publishing | Acknowledged | Subscribing | Unsubscribing | Pinging | Ignored | Disconnecting | Violation
)


class ServerSession:
    """The state of one connection; see the module."""

    __slots__ = (
        "_aliases_in",
        "_aliases_out",
        "_client_alias_maximum",
        "_client_maximum_packet",
        "_decoder",
        "_next_packet_id",
        "_unacknowledged",
        "_window",
        "_window_size",
        "client_id",
        "keep_alive",
        "output",
        "packets",
        "session_expiry",
        "state",
        "version",
    )

    def __init__(self) -> None:
        self.state = State.NEW
        self.version = p.MQTT_3_1_1
        self.client_id = ""  # as CONNECT gave it
        self.keep_alive = KEEP_ALIVE_MAXIMUM  # the effective value, in seconds
        self.session_expiry = 0
        self.output: list[bytes] = []
        self.packets = 0  # how many have come whole
        self._decoder = Decoder(maximum_packet_size=MAXIMUM_PACKET)
        self._window: dict[int, int] = {}  # packet identifier of an unacknowledged message to the client -> token
        self._window_size = RECEIVE_MAXIMUM
        self._next_packet_id = 0
        self._unacknowledged = 0  # messages from the client that have no PUBACK yet
        self._client_maximum_packet = 0  # 0: none
        self._client_alias_maximum = 0
        self._aliases_in: dict[int, str] | None = None
        self._aliases_out: dict[str, int] | None = None

    @property
    def closed(self) -> bool:
        """Whether the connection is over, by whomever."""
        return self.state is State.CLOSED

    # From the client

    def receive(self, data: bytes) -> Iterator[Event]:
        """What the client's bytes mean, one event after the other; act on each before asking for the next."""
        if self.closed:
            return
        try:
            for packet in self._decoder.feed(data):
                if self.closed:
                    return
                self.packets += 1
                event = self._handle(packet)
                if event is not None:
                    yield event
        except ProtocolError as error:
            yield self._violated(error)

    def _handle(self, packet: p.Packet) -> Event | None:
        if isinstance(packet, p.Publish) and self.state is State.CONNECTED:
            return self._publish(packet)
        if isinstance(packet, p.Puback) and self.state is State.CONNECTED:
            token = self._window.pop(packet.packet_id, None)
            return None if token is None else Acknowledged(token)
        if self.state is State.ANSWERING:
            raise ProtocolError(
                ReasonCode.PROTOCOL_ERROR,
                "AWS IoT differences from MQTT",
                f"it sent {type(packet).__name__.upper()} before it had the CONNACK",
            )
        match packet:
            case p.Connect():
                return self._connect(packet)
            case p.Pingreq():
                return Pinging()
            case p.Subscribe():
                return self._subscribe(packet)
            case p.Unsubscribe():
                return Unsubscribing(packet.packet_id, packet.topic_filters)
            case p.Disconnect():
                return self._disconnect(packet)
        raise ProtocolError(
            ReasonCode.PROTOCOL_ERROR,
            "AWS IoT differences from MQTT",
            f"a client must not send {type(packet).__name__.upper()} to AWS IoT Core",
        )

    def _connect(self, packet: p.Connect) -> Event:
        if self.state is not State.NEW:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "MQTT-3.1.0-2", "it sent a second CONNECT")
        self.version = packet.version
        self.client_id = packet.client_id
        self.state = State.ANSWERING
        asked = packet.keep_alive or KEEP_ALIVE_MAXIMUM
        self.keep_alive = min(max(asked, KEEP_ALIVE_MINIMUM), KEEP_ALIVE_MAXIMUM)
        size = len(packet.client_id.encode())
        if size > MAXIMUM_CLIENT_ID:
            text = f"the client id has {size} bytes, the most is {MAXIMUM_CLIENT_ID}"
            raise ProtocolError(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "AWS IoT Core quotas", text)
        if packet.version == p.MQTT_5:
            self._connect_properties(packet.properties)
        elif not packet.client_id:
            text = "the client id is empty; AWS IoT Core assigns one in MQTT 5 only"
            raise ProtocolError(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "MQTT-3.1.3-9", text)
        else:
            self.session_expiry = 0 if packet.clean_start else SESSION_EXPIRY_DEFAULT
        will = None if packet.will is None else self._last_will(packet.will)
        return Connecting(packet.client_id, packet.version, packet.clean_start, self.session_expiry, will)

    def _connect_properties(self, properties: p.Properties) -> None:
        self.session_expiry = min(properties.get(Property.SESSION_EXPIRY_INTERVAL, 0), SESSION_EXPIRY_MAXIMUM)
        self._window_size = min(properties.get(Property.RECEIVE_MAXIMUM, RECEIVE_MAXIMUM), RECEIVE_MAXIMUM)
        self._client_alias_maximum = min(properties.get(Property.TOPIC_ALIAS_MAXIMUM, 0), TOPIC_ALIAS_MAXIMUM)
        self._client_maximum_packet = properties.get(Property.MAXIMUM_PACKET_SIZE, 0)
        if 0 < self._client_maximum_packet < MINIMUM_CLIENT_PACKET:
            text = f"its maximum packet size is {self._client_maximum_packet} bytes, the least is 512"
            raise ProtocolError(ReasonCode.UNSPECIFIED_ERROR, "AWS IoT Core quotas", text)
        if Property.AUTHENTICATION_METHOD in properties or Property.AUTHENTICATION_DATA in properties:
            text = "AWS IoT Core has no enhanced authentication"
            raise ProtocolError(ReasonCode.BAD_AUTHENTICATION_METHOD, "AWS IoT differences from MQTT", text)

    def _last_will(self, will: p.Will) -> LastWill:
        if will.qos == 2:
            raise ProtocolError(ReasonCode.QOS_NOT_SUPPORTED, "AWS IoT differences from MQTT", "the will has QoS 2")
        if not will.topic:
            raise ProtocolError(ReasonCode.TOPIC_NAME_INVALID, "MQTT-4.7.3-1", "the will has an empty topic")
        self._check_topic(will.topic, will.retain, "the will's topic")
        check_properties(will.properties)
        delay = will.properties.get(Property.WILL_DELAY_INTERVAL, 0)
        return LastWill(will.topic, will.payload, will.qos, will.retain, message_properties(will.properties), delay)

    def _publish(self, packet: p.Publish) -> Event:
        if packet.qos == 2:
            if self.version == p.MQTT_5:
                text = f"it published to {packet.topic!r} with QoS 2, the CONNACK said that the maximum is 1"
                raise ProtocolError(ReasonCode.QOS_NOT_SUPPORTED, "MQTT-3.2.2-11", text)
            return Ignored(
                f"it published to {packet.topic!r} with QoS 2, which AWS IoT Core leaves unanswered; use QoS 1"
            )
        topic = packet.topic
        properties = MESSAGE_WITHOUT_PROPERTIES
        if packet.properties:
            topic = self._resolve_alias(packet)
            check_properties(packet.properties)
            properties = message_properties(packet.properties)
        self._check_topic(topic, packet.retain, "the topic")
        if len(packet.payload) > MAXIMUM_PAYLOAD:
            text = f"it published {len(packet.payload)} bytes to {topic!r}, the most is {MAXIMUM_PAYLOAD} (128 KB)"
            raise ProtocolError(ReasonCode.QUOTA_EXCEEDED, "AWS IoT Core quotas", text)
        if packet.qos:
            self._unacknowledged += 1
            if self._unacknowledged > RECEIVE_MAXIMUM and self.version == p.MQTT_5:
                text = f"it has more than {RECEIVE_MAXIMUM} unacknowledged messages on the way"
                raise ProtocolError(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED, "MQTT-3.3.4-7", text)
        return Publishing(topic, packet.payload, packet.qos, packet.retain, packet.packet_id, properties)

    def _resolve_alias(self, packet: p.Publish) -> str:
        alias: int | None = packet.properties.get(Property.TOPIC_ALIAS)
        if alias is None:
            return packet.topic
        if self._aliases_in is None:
            self._aliases_in = {}
        if not 1 <= alias <= TOPIC_ALIAS_MAXIMUM:
            text = f"it used topic alias {alias}, the CONNACK said that the maximum is {TOPIC_ALIAS_MAXIMUM}"
            raise ProtocolError(ReasonCode.TOPIC_ALIAS_INVALID, "MQTT-3.3.2-9", text)
        if packet.topic:
            self._aliases_in[alias] = packet.topic
        elif alias not in self._aliases_in:
            text = f"it used topic alias {alias} without having said what it stands for"
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "MQTT section 3.3.2.3.4", text)
        return self._aliases_in[alias]

    def _check_topic(self, topic: str, retain: bool, what: str) -> None:
        if topic[0] == "$":
            if not topics.may_publish(topic):
                text = f"{what} {topic!r} {topics.reservation(topic)}"
                raise ProtocolError(ReasonCode.TOPIC_NAME_INVALID, "AWS IoT reserved topics", text)
            if retain:
                text = f"{what} {topic!r} is reserved by AWS and cannot be retained"
                raise ProtocolError(ReasonCode.TOPIC_NAME_INVALID, "AWS IoT reserved topics", text)
        fault = topics.limit_fault(topic)
        if fault is not None:
            raise ProtocolError(ReasonCode.TOPIC_NAME_INVALID, "AWS IoT Core quotas", f"{what} {topic!r}: {fault}")

    def _subscribe(self, packet: p.Subscribe) -> Event:
        if Property.SUBSCRIPTION_IDENTIFIER in packet.properties:
            text = "it sent a subscription identifier, the CONNACK said that there are none"
            raise ProtocolError(
                ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "AWS IoT differences from MQTT", text
            )
        for each in packet.subscriptions:
            if each.qos == 2:
                text = f"it subscribed to {each.topic_filter!r} with QoS 2"
                if self.version == p.MQTT_5:
                    raise ProtocolError(ReasonCode.QOS_NOT_SUPPORTED, "AWS IoT differences from MQTT", text)
                return Ignored(f"{text}, which AWS IoT Core leaves unanswered; use QoS 1")
            if each.no_local and each.topic_filter.startswith(topics.SHARE):
                text = f"it subscribed to {each.topic_filter!r} with No Local, which a shared subscription cannot have"
                raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "MQTT-3.8.3-4", text)
        return Subscribing(packet.packet_id, packet.subscriptions)

    def _disconnect(self, packet: p.Disconnect) -> Event:
        expiry = packet.properties.get(Property.SESSION_EXPIRY_INTERVAL, self.session_expiry)
        if expiry and not self.session_expiry:
            text = "it asked at DISCONNECT for a session that CONNECT had not asked for"
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "MQTT section 3.14.2.2.2", text)
        self.session_expiry = min(expiry, SESSION_EXPIRY_MAXIMUM)
        self.state = State.CLOSED
        return Disconnecting(packet.code == ReasonCode.DISCONNECT_WITH_WILL, self.session_expiry)

    def _violated(self, error: ProtocolError) -> Violation:
        if self.state in (State.NEW, State.ANSWERING):
            self.refuse(error.reason)
        else:
            self.close(error.reason)
        return Violation(error.reason, error.section, error.text)

    # To the client

    def accept(self, *, session_present: bool, assigned_client_id: str | None = None) -> None:
        """Answer CONNECT: welcome.  The properties are those that AWS IoT Core sends."""
        self.state = State.CONNECTED
        if self.version != p.MQTT_5:
            self.output.append(encode(p.Connack(0, session_present), p.MQTT_3_1_1))
            return
        properties: dict[Property, int | str] = {
            Property.SESSION_EXPIRY_INTERVAL: self.session_expiry,
            Property.RECEIVE_MAXIMUM: RECEIVE_MAXIMUM,
            Property.MAXIMUM_QOS: 1,
            Property.RETAIN_AVAILABLE: 1,
            Property.MAXIMUM_PACKET_SIZE: MAXIMUM_PACKET,
            Property.TOPIC_ALIAS_MAXIMUM: TOPIC_ALIAS_MAXIMUM,
            Property.WILDCARD_SUBSCRIPTION_AVAILABLE: 1,
            Property.SUBSCRIPTION_IDENTIFIER_AVAILABLE: 0,
            Property.SHARED_SUBSCRIPTION_AVAILABLE: 1,
            Property.SERVER_KEEP_ALIVE: self.keep_alive,
        }
        if assigned_client_id is not None:
            properties[Property.ASSIGNED_CLIENT_IDENTIFIER] = assigned_client_id
        self.output.append(encode(p.Connack(0, session_present, properties), p.MQTT_5))

    def refuse(self, reason: ReasonCode) -> None:
        """Answer CONNECT: no.  A client that has not got as far as CONNECT gets no answer."""
        unanswered = self.state is State.NEW and reason is not ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
        self.state = State.CLOSED
        if unanswered:
            return
        if self.version == p.MQTT_5:
            code = reason if reason in _CONNACK_CODES else ReasonCode.UNSPECIFIED_ERROR
            self.output.append(encode(p.Connack(code), p.MQTT_5))
        elif reason in _RETURN_CODES:
            self.output.append(encode(p.Connack(_RETURN_CODES[reason]), p.MQTT_3_1_1))

    def close(self, reason: ReasonCode) -> None:
        """End the connection; an MQTT 5 client is told the reason."""
        if self.state is State.CONNECTED and self.version == p.MQTT_5:
            code = reason if reason in _DISCONNECT_CODES else _stand_in(reason)
            self.output.append(encode(p.Disconnect(code), p.MQTT_5))
        self.state = State.CLOSED

    def acknowledge(self, packet_id: int) -> None:
        """Answer a QoS 1 message: it is safe."""
        self._unacknowledged -= 1
        self.output.append(b"\x40\x02" + packet_id.to_bytes(2, "big"))

    def suback(self, packet_id: int, codes: tuple[ReasonCode | int, ...]) -> None:
        """Answer SUBSCRIBE with the granted QoS or a reason code for each filter."""
        if self.version != p.MQTT_5:
            codes = tuple(min(code, 0x80) for code in codes)
        self.output.append(encode(p.Suback(packet_id, tuple(map(int, codes))), self.version))

    def unsuback(self, packet_id: int, codes: tuple[ReasonCode | int, ...]) -> None:
        """Answer UNSUBSCRIBE."""
        self.output.append(encode(p.Unsuback(packet_id, tuple(map(int, codes))), self.version))

    def pong(self) -> None:
        """Answer PINGREQ."""
        self.output.append(b"\xd0\0")

    @property
    def window_is_full(self) -> bool:
        """Whether a QoS 1 message to the client has to wait for a PUBACK."""
        return len(self._window) >= self._window_size

    @property
    def window_is_low(self) -> bool:
        """Whether at least half of the window is free."""
        return len(self._window) <= self._window_size // 2

    def send(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: MessageProperties, token: int
    ) -> Sending:
        """A message to the client.  With QoS 1, :class:`Acknowledged` will bring back `token`."""
        if qos and len(self._window) >= self._window_size:
            return Sending.WINDOW_FULL
        packet_id = self._new_packet_id() if qos else 0
        if self.version == p.MQTT_5:
            packet = self._packet_5(topic, payload, qos, retain, properties, packet_id)
            if packet is None:
                return Sending.TOO_LARGE
        else:
            packet = encode(p.Publish(topic, payload, qos, retain, False, packet_id), p.MQTT_3_1_1)
        if qos:
            self._window[packet_id] = token
        self.output.append(packet)
        return Sending.SENT

    def _packet_5(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: MessageProperties, packet_id: int
    ) -> bytes | None:
        """PUBLISH with a topic alias if the client takes one; None if it is larger than the client takes."""
        wire_properties = publish_properties(properties)
        name, aliases = topic, self._aliases_out
        new = False
        if self._client_alias_maximum:
            if aliases is None:
                aliases = self._aliases_out = {}
            if topic in aliases:
                wire_properties[Property.TOPIC_ALIAS] = aliases[topic]
                name = ""
            elif len(aliases) < self._client_alias_maximum:
                wire_properties[Property.TOPIC_ALIAS] = len(aliases) + 1
                new = True
        packet = encode(p.Publish(name, payload, qos, retain, False, packet_id, wire_properties), p.MQTT_5)
        if 0 < self._client_maximum_packet < len(packet):
            return None
        if new and aliases is not None:
            aliases[topic] = len(aliases) + 1
        return packet

    def _new_packet_id(self) -> int:
        packet_id = self._next_packet_id % 65_535 + 1
        while packet_id in self._window:
            packet_id = packet_id % 65_535 + 1
        self._next_packet_id = packet_id
        return packet_id


def _stand_in(reason: ReasonCode) -> ReasonCode:
    return ReasonCode.QUOTA_EXCEEDED if reason is ReasonCode.PACKET_TOO_LARGE else ReasonCode.PROTOCOL_ERROR


MESSAGE_WITHOUT_PROPERTIES = MessageProperties()
