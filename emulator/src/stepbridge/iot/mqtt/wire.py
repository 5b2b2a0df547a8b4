"""The data types of MQTT (MQTT 5.0 sections 1.5 and 2.2.2): integers, strings, binary data and properties."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from stepbridge.iot.mqtt.packets import NO_PROPERTIES, Properties, Property
from stepbridge.iot.mqtt.reason import ProtocolError, ReasonCode

MAXIMUM_VARIABLE_INTEGER = 268_435_455


def malformed(section: str, text: str) -> ProtocolError:
    return ProtocolError(ReasonCode.MALFORMED_PACKET, section, text)


class Reader:
    """Takes the fields of one packet from its bytes, in order."""

    __slots__ = ("data", "end", "packet", "position")

    def __init__(self, data: bytes, packet: str) -> None:
        self.data = data
        self.position = 0
        self.end = len(data)
        self.packet = packet

    def _advance(self, count: int) -> int:
        start = self.position
        if start + count > self.end:
            raise malformed("MQTT section 2.1.4", f"{self.packet} ends in the middle of a field")
        self.position = start + count
        return start

    def byte(self) -> int:
        return self.data[self._advance(1)]

    def two_bytes(self) -> int:
        start = self._advance(2)
        return (self.data[start] << 8) | self.data[start + 1]

    def four_bytes(self) -> int:
        start = self._advance(4)
        return int.from_bytes(self.data[start : start + 4], "big")

    def variable_integer(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if shift and byte == 0:
                    raise malformed("MQTT-1.5.5-1", f"{self.packet} has an integer that is longer than needed")
                return value
        raise malformed("MQTT section 1.5.5", f"{self.packet} has an integer of more than four bytes")

    def binary(self) -> bytes:
        length = self.two_bytes()
        start = self._advance(length)
        return self.data[start : start + length]

    def string(self) -> str:
        raw = self.binary()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise malformed("MQTT-1.5.4-1", f"{self.packet} has a string that is not UTF-8") from None
        if "\0" in text:
            raise malformed("MQTT-1.5.4-2", f"{self.packet} has a string with the null character")
        return text

    def pair(self) -> tuple[str, str]:
        return self.string(), self.string()

    def rest(self) -> bytes:
        start, self.position = self.position, self.end
        return self.data[start:]

    @property
    def exhausted(self) -> bool:
        return self.position >= self.end

    def finish(self) -> None:
        if not self.exhausted:
            raise malformed("MQTT section 2.1.4", f"{self.packet} has {self.end - self.position} bytes too many")

    def properties(self) -> Properties:
        """The properties of this packet; `packet` must name it as in :data:`PROPERTIES`."""
        length = self.variable_integer()
        if length == 0:
            return NO_PROPERTIES
        end = self.position + length
        if end > self.end:
            raise malformed("MQTT section 2.2.2", f"the properties of {self.packet} are longer than the packet")
        found: dict[Property, Any] = {}
        repeated: dict[Property, list[Any]] = {}
        outer, self.end = self.end, end
        while self.position < end:
            identifier = self.variable_integer()
            rule = PROPERTIES.get(identifier)
            if rule is None or self.packet not in rule.packets:
                raise malformed("MQTT section 2.2.2.2", f"{self.packet} cannot have a property 0x{identifier:02X}")
            name = Property(identifier)
            value = rule.read(self)
            if rule.repeatable:
                repeated.setdefault(name, []).append(value)
                continue
            if name in found:
                raise ProtocolError(
                    ReasonCode.PROTOCOL_ERROR, "MQTT section 2.2.2.2", f"{self.packet} has {name.name} more than once"
                )
            if not rule.valid(value):
                raise ProtocolError(
                    ReasonCode.PROTOCOL_ERROR, "MQTT section 3", f"{self.packet} has {name.name} with the value {value}"
                )
            found[name] = value
        self.end = outer
        found.update((name, tuple(values)) for name, values in repeated.items())
        return found


def two_bytes(value: int) -> bytes:
    return value.to_bytes(2, "big")


def four_bytes(value: int) -> bytes:
    return value.to_bytes(4, "big")


def variable_integer(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value > MAXIMUM_VARIABLE_INTEGER:
        raise ValueError(f"{value} is more than MQTT can say in a variable byte integer")
    encoded = bytearray()
    while value >= 0x80:
        encoded.append((value & 0x7F) | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def binary(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def string(value: str) -> bytes:
    return binary(value.encode())


def pair(value: tuple[str, str]) -> bytes:
    return string(value[0]) + string(value[1])


def properties(values: Properties) -> bytes:
    """The properties with their length in front."""
    if not values:
        return b"\0"
    encoded = bytearray()
    for name, value in values.items():
        rule = PROPERTIES[name]
        for each in value if rule.repeatable else (value,):
            encoded += variable_integer(name) + rule.write(each)
    return variable_integer(len(encoded)) + encoded


class PropertyRule(NamedTuple):
    """How a property looks on the wire, and which packets may carry it."""

    read: Callable[[Reader], Any]
    write: Callable[[Any], bytes]
    packets: frozenset[str]
    valid: Callable[[Any], bool]
    repeatable: bool = False


def _one_byte(value: int) -> bytes:
    return bytes((value,))


_anything: Callable[[Any], bool] = lambda value: True  # noqa: E731
_flag: Callable[[Any], bool] = lambda value: value in (0, 1)  # noqa: E731
_not_zero: Callable[[Any], bool] = lambda value: value != 0  # noqa: E731
_no_wildcard: Callable[[Any], bool] = lambda value: value != "" and not re.search("[+#]", value)  # noqa: E731

_BYTE = (Reader.byte, _one_byte)
_TWO = (Reader.two_bytes, two_bytes)
_FOUR = (Reader.four_bytes, four_bytes)
_VARIABLE = (Reader.variable_integer, variable_integer)
_BINARY = (Reader.binary, binary)
_STRING = (Reader.string, string)
_PAIR = (Reader.pair, pair)

_ACKNOWLEDGEMENTS = "PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK"
_EVERY_PACKET = f"CONNECT CONNACK PUBLISH WILL {_ACKNOWLEDGEMENTS} SUBSCRIBE UNSUBSCRIBE DISCONNECT AUTH"


def _rule(wire: tuple[Any, Any], packets: str, valid: Callable[[Any], bool] = _anything) -> PropertyRule:
    return PropertyRule(wire[0], wire[1], frozenset(packets.split()), valid)


# MQTT 5.0 table 2-4.
PROPERTIES: dict[int, PropertyRule] = {
    Property.PAYLOAD_FORMAT_INDICATOR: _rule(_BYTE, "PUBLISH WILL", _flag),
    Property.MESSAGE_EXPIRY_INTERVAL: _rule(_FOUR, "PUBLISH WILL"),
    Property.CONTENT_TYPE: _rule(_STRING, "PUBLISH WILL"),
    Property.RESPONSE_TOPIC: _rule(_STRING, "PUBLISH WILL", _no_wildcard),
    Property.CORRELATION_DATA: _rule(_BINARY, "PUBLISH WILL"),
    Property.SUBSCRIPTION_IDENTIFIER: _rule(_VARIABLE, "PUBLISH SUBSCRIBE")._replace(repeatable=True),
    Property.SESSION_EXPIRY_INTERVAL: _rule(_FOUR, "CONNECT CONNACK DISCONNECT"),
    Property.ASSIGNED_CLIENT_IDENTIFIER: _rule(_STRING, "CONNACK"),
    Property.SERVER_KEEP_ALIVE: _rule(_TWO, "CONNACK"),
    Property.AUTHENTICATION_METHOD: _rule(_STRING, "CONNECT CONNACK AUTH"),
    Property.AUTHENTICATION_DATA: _rule(_BINARY, "CONNECT CONNACK AUTH"),
    Property.REQUEST_PROBLEM_INFORMATION: _rule(_BYTE, "CONNECT", _flag),
    Property.WILL_DELAY_INTERVAL: _rule(_FOUR, "WILL"),
    Property.REQUEST_RESPONSE_INFORMATION: _rule(_BYTE, "CONNECT", _flag),
    Property.RESPONSE_INFORMATION: _rule(_STRING, "CONNACK"),
    Property.SERVER_REFERENCE: _rule(_STRING, "CONNACK DISCONNECT"),
    Property.REASON_STRING: _rule(_STRING, f"CONNACK {_ACKNOWLEDGEMENTS} DISCONNECT AUTH"),
    Property.RECEIVE_MAXIMUM: _rule(_TWO, "CONNECT CONNACK", _not_zero),
    Property.TOPIC_ALIAS_MAXIMUM: _rule(_TWO, "CONNECT CONNACK"),
    Property.TOPIC_ALIAS: _rule(_TWO, "PUBLISH"),
    Property.MAXIMUM_QOS: _rule(_BYTE, "CONNACK", _flag),
    Property.RETAIN_AVAILABLE: _rule(_BYTE, "CONNACK", _flag),
    Property.USER_PROPERTY: _rule(_PAIR, _EVERY_PACKET)._replace(repeatable=True),
    Property.MAXIMUM_PACKET_SIZE: _rule(_FOUR, "CONNECT CONNACK", _not_zero),
    Property.WILDCARD_SUBSCRIPTION_AVAILABLE: _rule(_BYTE, "CONNACK", _flag),
    Property.SUBSCRIPTION_IDENTIFIER_AVAILABLE: _rule(_BYTE, "CONNACK", _flag),
    Property.SHARED_SUBSCRIPTION_AVAILABLE: _rule(_BYTE, "CONNACK", _flag),
}
