"""Protobuf messages to JSON, by a descriptor file (`protoc --descriptor_set_out --include_imports`).

The encoding: protobuf.dev/programming-guides/encoding; the JSON: the canonical mapping of
protobuf.dev/programming-guides/json.  Pure.
"""

import base64
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


class ProtobufError(Exception):
    """A descriptor file or message that cannot be read; says why."""


# Wire types
_VARINT, _FIXED64, _LENGTH, _START_GROUP, _END_GROUP, _FIXED32 = range(6)
# Types of google.protobuf.FieldDescriptorProto
_DOUBLE, _FLOAT, _INT64, _UINT64, _INT32, _FIXED64_TYPE, _FIXED32_TYPE, _BOOL, _STRING = range(1, 10)
_GROUP, _MESSAGE, _BYTES, _UINT32, _ENUM, _SFIXED32, _SFIXED64, _SINT32, _SINT64 = range(10, 19)
_REPEATED = 3
_MAX_DEPTH = 100  # that of protobuf's own parsers


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
    raise ProtobufError("the message ends within a number")


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and raw value of each field of an encoded message."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, wire, value
            continue
        if wire == _LENGTH:
            size, position = _varint(data, position)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ProtobufError(f"field {number} has the wire type {wire}, which is not supported")
        if number == 0 or position + size > len(data):
            raise ProtobufError(f"the message ends within field {number}")
        yield number, wire, data[position : position + size]
        position += size


@dataclass(slots=True)
class _Field:
    name: str = ""
    json_name: str = ""
    number: int = 0
    is_repeated: bool = False
    type: int = 0
    type_name: str = ""


@dataclass(slots=True)
class _Message:
    fields: dict[int, _Field] = field(default_factory=dict)
    is_map_entry: bool = False


class Descriptors:
    """The messages and enumerations of a descriptor file."""

    def __init__(self, data: bytes) -> None:
        """Read a FileDescriptorSet.  Raises ProtobufError."""
        self._messages: dict[str, _Message] = {}
        self._enums: dict[str, dict[int, str]] = {}
        self._files: dict[str, str] = {}  # file: package
        for number, _, content in _fields(data):
            if number == 1:
                self._read_file(_bytes(content))

    def decode(self, file: str, message_type: str, data: bytes) -> dict[str, Any]:
        """The JSON value of an encoded message of a type defined in a `.proto` file.  Raises ProtobufError."""
        if file not in self._files:
            raise ProtobufError(f"the descriptor file has no {file} (it has {', '.join(self._files) or 'none'})")
        package = self._files[file]
        for name in (f".{message_type}", f".{package}.{message_type}"):
            if name in self._messages:
                return self._message(name, data, 0)
        raise ProtobufError(f"{file} has no message {message_type}")

    def _read_file(self, data: bytes) -> None:
        name = package = ""
        definitions: list[tuple[int, bytes]] = []
        for number, _, content in _fields(data):
            if number == 1:
                name = _text(content)
            elif number == 2:
                package = _text(content)
            elif number in (4, 5):
                definitions.append((number, _bytes(content)))
        self._files[name] = package
        prefix = f".{package}" if package else ""
        for number, definition in definitions:
            (self._read_message if number == 4 else self._read_enum)(prefix, definition)

    def _read_message(self, prefix: str, data: bytes) -> None:
        message = _Message()
        parts = list(_fields(data))
        path = f"{prefix}.{next((_text(content) for number, _, content in parts if number == 1), '')}"
        for number, _, content in parts:
            if number == 2:
                one = _read_field(_bytes(content))
                message.fields[one.number] = one
            elif number == 3:
                self._read_message(path, _bytes(content))
            elif number == 4:
                self._read_enum(path, _bytes(content))
            elif number == 7:
                message.is_map_entry = any(option == 7 and value for option, _, value in _fields(_bytes(content)))
        self._messages[path] = message

    def _read_enum(self, prefix: str, data: bytes) -> None:
        name, values = "", {}
        for number, _, content in _fields(data):
            if number == 1:
                name = _text(content)
            elif number == 2:
                value = {part: what for part, _, what in _fields(_bytes(content))}
                values[_signed(int(value.get(2, 0)), 64)] = _text(value.get(1, b""))
        self._enums[f"{prefix}.{name}"] = values

    def _message(self, name: str, data: bytes, depth: int) -> dict[str, Any]:
        if depth > _MAX_DEPTH:
            raise ProtobufError(f"the message is nested more than {_MAX_DEPTH} deep")
        message = self._messages[name]
        result: dict[str, Any] = {}
        for number, wire, raw in _fields(data):
            known = message.fields.get(number)
            if known is None:
                continue
            entry = self._messages.get(known.type_name) if known.type == _MESSAGE else None
            if entry is not None and entry.is_map_entry:
                self._put_entry(result.setdefault(known.json_name, {}), known, entry, _bytes(raw), depth)
            elif known.is_repeated:
                items = result.setdefault(known.json_name, [])
                items.extend(self._value(known, one, depth) for one in _unpacked(known, wire, raw))
            else:
                result[known.json_name] = self._value(known, raw, depth)
        return result

    def _put_entry(self, entries: dict[str, Any], known: _Field, entry: _Message, data: bytes, depth: int) -> None:
        key_field, value_field = entry.fields[1], entry.fields[2]
        raw = {number: content for number, _, content in _fields(data)}
        key = self._value(key_field, raw[1], depth) if 1 in raw else _default(key_field)
        if 2 in raw:
            value = self._value(value_field, raw[2], depth)
        else:
            value = {} if value_field.type == _MESSAGE else _default(value_field)
        entries[str(key).lower() if isinstance(key, bool) else str(key)] = value

    def _value(self, known: _Field, raw: int | bytes, depth: int) -> Any:
        if known.type == _MESSAGE:
            return self._message(known.type_name, _bytes(raw), depth + 1)
        if known.type == _ENUM:
            number = _signed(_number(raw), 32)
            return self._enums.get(known.type_name, {}).get(number, number)
        convert = _SCALARS.get(known.type)
        if convert is None:
            raise ProtobufError(f"the field {known.name} is a group, which is not supported")
        try:
            return convert(raw)
        except (struct.error, UnicodeDecodeError) as error:
            raise ProtobufError(f"the field {known.name} is not of its type: {error}") from error


def _read_field(data: bytes) -> _Field:
    one = _Field()
    for number, _, content in _fields(data):
        match number:
            case 1:
                one.name = _text(content)
            case 3:
                one.number = _number(content)
            case 4:
                one.is_repeated = content == _REPEATED
            case 5:
                one.type = _number(content)
            case 6:
                one.type_name = _text(content)
            case 10:
                one.json_name = _text(content)
    first, *others = one.name.split("_")
    one.json_name = one.json_name or first + "".join(other[:1].upper() + other[1:] for other in others)
    return one


def _unpacked(known: _Field, wire: int, raw: int | bytes) -> Iterator[int | bytes]:
    """The items of a field that may be packed: numbers one after another."""
    if wire != _LENGTH or known.type in (_STRING, _BYTES, _MESSAGE):
        yield raw
        return
    data, position = _bytes(raw), 0
    size = {_DOUBLE: 8, _FIXED64_TYPE: 8, _SFIXED64: 8, _FLOAT: 4, _FIXED32_TYPE: 4, _SFIXED32: 4}.get(known.type)
    while position < len(data):
        if size is None:
            value, position = _varint(data, position)
            yield value
        else:
            yield data[position : position + size]
            position += size


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise ProtobufError("a number stands where a length was expected")
    return raw


def _number(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        raise ProtobufError("bytes stand where a number was expected")
    return raw


def _text(raw: int | bytes) -> str:
    return _bytes(raw).decode()


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _zigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


def _fixed(form: str, as_text: bool) -> Callable[[int | bytes], Any]:
    def convert(raw: int | bytes) -> Any:
        (value,) = struct.unpack(form, _bytes(raw))
        return str(value) if as_text else value

    return convert


def _real(form: str) -> Callable[[int | bytes], Any]:
    def convert(raw: int | bytes) -> Any:
        (value,) = struct.unpack(form, _bytes(raw))
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        # A float has about seven digits: the shortest text that is the same float, as Java prints it.
        return value if form == "<d" else float(next(t for n in range(6, 10) if _same(value, t := f"{value:.{n}g}")))

    return convert


def _same(value: float, text: str) -> bool:
    return bool(struct.pack("<f", float(text)) == struct.pack("<f", value))


# 64-bit numbers are strings in JSON: it cannot hold them all.
_SCALARS: dict[int, Callable[[int | bytes], Any]] = {
    _DOUBLE: _real("<d"),
    _FLOAT: _real("<f"),
    _INT64: lambda raw: str(_signed(_number(raw), 64)),
    _UINT64: lambda raw: str(_number(raw)),
    _INT32: lambda raw: _signed(_number(raw), 32),
    _FIXED64_TYPE: _fixed("<Q", True),
    _FIXED32_TYPE: _fixed("<I", False),
    _BOOL: lambda raw: _number(raw) != 0,
    _STRING: _text,
    _BYTES: lambda raw: base64.b64encode(_bytes(raw)).decode(),
    _UINT32: lambda raw: _number(raw) & 0xFFFF_FFFF,
    _SFIXED32: _fixed("<i", False),
    _SFIXED64: _fixed("<q", True),
    _SINT32: lambda raw: _zigzag(_number(raw)),
    _SINT64: lambda raw: str(_zigzag(_number(raw))),
}


def _default(known: _Field) -> Any:
    if known.type in (_STRING, _BYTES):
        return ""
    if known.type == _BOOL:
        return False
    return "0" if known.type in (_INT64, _UINT64, _FIXED64_TYPE, _SFIXED64, _SINT64) else 0
