"""The control packets of MQTT (MQTT 5.0 section 3, MQTT 3.1.1 section 3), as values.

One set of classes serves both versions: what MQTT 3.1.1 lacks (properties, most reason codes) keeps its default.
`version` is the protocol level on the wire: 4 for MQTT 3.1.1, 5 for MQTT 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any

MQTT_3_1_1 = 4
MQTT_5 = 5


class Property(IntEnum):
    """The properties of MQTT 5 by their identifiers (MQTT 5.0 section 2.2.2.2)."""

    PAYLOAD_FORMAT_INDICATOR = 0x01
    MESSAGE_EXPIRY_INTERVAL = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    SESSION_EXPIRY_INTERVAL = 0x11
    ASSIGNED_CLIENT_IDENTIFIER = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFORMATION = 0x17
    WILL_DELAY_INTERVAL = 0x18
    REQUEST_RESPONSE_INFORMATION = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER_PROPERTY = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_SUBSCRIPTION_AVAILABLE = 0x28
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 0x29
    SHARED_SUBSCRIPTION_AVAILABLE = 0x2A


# Integers are int, strings str, binary data bytes; USER_PROPERTY is a tuple of (name, value) pairs, in order, and
# SUBSCRIPTION_IDENTIFIER a tuple of int.
Properties = Mapping[Property, Any]
NO_PROPERTIES: Properties = MappingProxyType({})


def _no_properties() -> Properties:
    return NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Will:
    """The message that the server publishes when the connection ends without DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Connect:
    """Client to server: the first packet.  `clean_start` is MQTT 3.1.1's clean session; `keep_alive` is in seconds."""

    client_id: str
    version: int = MQTT_3_1_1
    clean_start: bool = True
    keep_alive: int = 0
    will: Will | None = None
    user_name: str | None = None
    password: bytes | None = None
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Connack:
    """Server to client: the answer.  `code` is a return code of MQTT 3.1.1 or a reason code of MQTT 5."""

    code: int
    session_present: bool = False
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Publish:
    """A message, either way.  `packet_id` is 0 for QoS 0; `topic` may be empty where a topic alias stands for it."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Puback:
    """The answer to a QoS 1 publish."""

    packet_id: int
    code: int = 0
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Pubrec:
    """The first answer to a QoS 2 publish."""

    packet_id: int
    code: int = 0
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Pubrel:
    """The sender's second packet for QoS 2."""

    packet_id: int
    code: int = 0
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Pubcomp:
    """The end of a QoS 2 publish."""

    packet_id: int
    code: int = 0
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One filter of a SUBSCRIBE, as the client wrote it (`$share/<name>/` included), with its options."""

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Client to server: subscribe to each of the filters."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Suback:
    """The answer to SUBSCRIBE: for each filter, in order, the granted QoS or a reason code of 0x80 and above."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Client to server: end the subscriptions to these filters."""

    packet_id: int
    topic_filters: tuple[str, ...]
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Unsuback:
    """The answer to UNSUBSCRIBE; MQTT 3.1.1 has no codes."""

    packet_id: int
    codes: tuple[int, ...] = ()
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Pingreq:
    """Client to server: still here."""


@dataclass(frozen=True, slots=True)
class Pingresp:
    """Server to client: so am I."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The last packet: from the client, and in MQTT 5 also from the server."""

    code: int = 0
    properties: Properties = field(default_factory=_no_properties)


@dataclass(frozen=True, slots=True)
class Auth:
    """Enhanced authentication of MQTT 5, which AWS IoT Core does not offer."""

    code: int = 0
    properties: Properties = field(default_factory=_no_properties)


Packet = (
    Connect
    | Connack
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
