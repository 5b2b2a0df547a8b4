"""Protobuf messages by hand: descriptors and messages are encoded field by field."""

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.iot.rules.protobuf import Descriptors, ProtobufError


def number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def data(field: int, content: bytes | str) -> bytes:
    encoded = content.encode() if isinstance(content, str) else content
    return _varint(field << 3 | 2) + _varint(len(encoded)) + encoded


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(name: str, position: int, kind: int, *, repeated: bool = False, type_name: str = "") -> bytes:
    content = data(1, name) + number(3, position) + number(4, 3 if repeated else 1) + number(5, kind)
    return data(2, content + (data(6, type_name) if type_name else b""))


_ENTRY = data(1, "TagsEntry") + field("key", 1, 9) + field("value", 2, 5) + data(7, number(7, 1))
_MESSAGE = (
    data(1, "Reading")
    + field("device_id", 1, 9)
    + field("temp", 2, 1)
    + field("small", 3, 2)
    + field("big", 4, 3)
    + field("delta", 5, 17)
    + field("raw", 6, 12)
    + field("state", 7, 14, type_name=".acme.State")
    + field("samples", 8, 5, repeated=True)
    + field("inner", 9, 11, type_name=".acme.Reading")
    + field("tags", 10, 11, repeated=True, type_name=".acme.Reading.TagsEntry")
    + field("on", 11, 8)
    + field("fixed", 12, 7)
    + data(3, _ENTRY)
)
_ENUM = data(1, "State") + data(2, data(1, "OFF") + number(2, 0)) + data(2, data(1, "ON") + number(2, 1))
DESCRIPTORS = data(1, data(1, "reading.proto") + data(2, "acme") + data(4, _MESSAGE) + data(5, _ENUM))


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        (data(1, "d"), {"deviceId": "d"}),
        (b"\x11" + struct.pack("<d", 21.5), {"temp": 21.5}),
        (b"\x1d" + struct.pack("<f", 0.1), {"small": 0.1}),
        (b"\x11" + struct.pack("<d", float("nan")), {"temp": "NaN"}),
        (number(4, -5), {"big": "-5"}),
        (number(5, 3), {"delta": -2}),
        (data(6, b"\xff"), {"raw": base64.b64encode(b"\xff").decode()}),
        (number(7, 1) + number(11, 1), {"state": "ON", "on": True}),
        (number(7, 9), {"state": 9}),
        (number(8, 1) + number(8, -2), {"samples": [1, -2]}),
        (data(8, b"\x01\x02\x96\x01"), {"samples": [1, 2, 150]}),
        (data(9, data(9, data(1, "x"))), {"inner": {"inner": {"deviceId": "x"}}}),
        (data(10, data(1, "a") + number(2, 1)) + data(10, data(1, "b")), {"tags": {"a": 1, "b": 0}}),
        (b"\x65" + struct.pack("<I", 7), {"fixed": 7}),
        (number(99, 1) + data(98, "?"), {}),
        (b"", {}),
    ],
)
def test_messages_become_their_canonical_json(encoded: bytes, decoded: dict[str, Any]) -> None:
    descriptors = Descriptors(DESCRIPTORS)
    assert descriptors.decode("reading.proto", "Reading", encoded) == decoded
    assert descriptors.decode("reading.proto", "acme.Reading", encoded) == decoded


@pytest.mark.parametrize(
    ("file", "message_type", "encoded", "problem"),
    [
        ("other.proto", "Reading", b"", r"has no other.proto \(it has reading.proto\)"),
        ("reading.proto", "Other", b"", "reading.proto has no message Other"),
        ("reading.proto", "Reading", b"\x0a\x05ab", "ends within field 1"),
        ("reading.proto", "Reading", b"\x80", "ends within a number"),
        ("reading.proto", "Reading", number(1, 5), "a number stands where a length was expected"),
        ("reading.proto", "Reading", data(1, b"\xff"), "the field device_id is not of its type"),
    ],
)
def test_what_cannot_be_decoded_is_told(file: str, message_type: str, encoded: bytes, problem: str) -> None:
    with pytest.raises(ProtobufError, match=problem):
        Descriptors(DESCRIPTORS).decode(file, message_type, encoded)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(encoded: bytes) -> None:
    result: object = {}
    try:
        result = Descriptors(DESCRIPTORS).decode("reading.proto", "Reading", encoded)
    except ProtobufError as error:
        result = str(error)
    assert result is not None
