"""JSON values by shape: what the two JSON protocols share.

Timestamps are numbers of seconds since the epoch unless the shape says otherwise; blobs are base64
(https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html).
"""

import base64
import binascii
import json
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from stepbridge.api.errors import AwsError
from stepbridge.api.http import HttpResponse
from stepbridge.clock import http_date, iso_timestamp

_EXPECTED_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "a string"),
    "character": ((str,), "a string"),
    "blob": ((str,), "a base64 string"),
    "boolean": ((bool,), "a boolean"),
    "integer": ((int,), "an integer"),
    "long": ((int,), "an integer"),
    "float": ((int, float), "a number"),
    "double": ((int, float), "a number"),
    "timestamp": ((int, float, str), "a timestamp"),
    "list": ((list,), "a list"),
    "map": ((dict,), "an object"),
    "structure": ((dict,), "an object"),
}


# Kinds of values that are in JSON what they are in Python, and what that is.
_PLAIN: dict[str, type] = {
    "string": str,
    "character": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
}

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def load_body(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body (an empty body is an empty object)."""
    if not body:
        return {}
    try:
        document = json.loads(body)
    except ValueError as error:
        raise AwsError("SerializationException", f"The request body is not JSON: {error}", status=400) from None
    if not isinstance(document, dict):
        raise AwsError("SerializationException", "The request body is not a JSON object", status=400)
    return document


def wire_name(name: str, shape: Shape) -> str:
    """The name of a structure's member on the wire."""
    wire: str = shape.serialization.get("name", name)
    return wire


@cache
def _members(shape: StructureShape) -> dict[str, tuple[str, Shape, type | None]]:
    """The members of a structure: what each is called on the wire, its shape, and its type if that is plain."""
    return {
        name: (wire_name(name, member), member, _PLAIN.get(member.type_name)) for name, member in shape.members.items()
    }


def parse_value(shape: Shape, value: Any, path: str) -> Any:
    """A JSON value as the shape wants it; `path` names it in errors."""
    kind: str = shape.type_name
    types, wanted = _EXPECTED_TYPES[kind]
    fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not fits:
        if kind in ("integer", "long") and isinstance(value, float) and value.is_integer():
            return int(value)
        raise AwsError("SerializationException", f"'{path}' must be {wanted}", status=400)
    if isinstance(shape, StructureShape):
        if getattr(shape, "is_document_type", False):
            return value
        return parse_structure(shape, value, path)
    if isinstance(shape, ListShape):
        return [parse_value(shape.member, item, f"{path}.{n}") for n, item in enumerate(value, 1) if item is not None]
    if isinstance(shape, MapShape):
        return {k: parse_value(shape.value, v, f"{path}.{k}") for k, v in value.items() if v is not None}
    if kind == "blob":
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise AwsError("SerializationException", f"'{path}' is not base64", status=400) from None
    if kind == "timestamp":
        return parse_timestamp(value, path)
    return value


def parse_structure(shape: StructureShape, value: dict[str, Any], path: str) -> dict[str, Any]:
    """The members of `value` that the shape knows; others are ignored, as AWS ignores them."""
    members: dict[str, Any] = {}
    for name, (wire, member, plain) in _members(shape).items():
        found = value.get(wire)
        if type(found) is plain:
            members[name] = found
        elif found is not None:
            members[name] = parse_value(member, found, f"{path}.{name}" if path else name)
    return members


def parse_timestamp(value: str | float, path: str) -> float:
    """Seconds since the epoch from any of the forms that AWS takes."""
    if not isinstance(value, str):
        return float(value)
    try:
        return float(value)
    except ValueError:
        pass
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return parse(value).timestamp()
        except (ValueError, TypeError):
            continue
    raise AwsError("SerializationException", f"'{path}' is not a timestamp", status=400)


def write_timestamp(shape: Shape, seconds: float, default: str = "unixTimestamp") -> str | float:
    """`seconds` since the epoch in the format that the shape names."""
    form = shape.serialization.get("timestampFormat", default)
    if form == "iso8601":
        return iso_timestamp(seconds)
    if form == "rfc822":
        return http_date(seconds)
    return round(seconds, 3)


def write_value(shape: Shape, value: Any) -> Any:
    """A value of the service as JSON."""
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return value
        return write_structure(shape, value)
    if kind == "list":
        member = shape.member
        return [write_value(member, item) for item in value]
    if kind == "map":
        return {key: write_value(shape.value, item) for key, item in value.items()}
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind == "timestamp":
        return write_timestamp(shape, value)
    return value


def write_structure(shape: StructureShape, value: dict[str, Any], *, skip_located: bool = False) -> dict[str, Any]:
    """The members of a structure; with `skip_located` only those that belong in the body."""
    written: dict[str, Any] = {}
    members = _members(shape)
    for name, item in value.items():  # an answer has few of the members of a large shape
        if item is None or name not in members:
            continue
        wire, member, plain = members[name]
        if skip_located and member.serialization.get("location"):
            continue
        written[wire] = write_value(member, item) if plain is None else item
    return written


def dump_body(document: Any) -> bytes:
    """JSON as bytes, without white space."""
    return _encode(document).encode()


def error_response(
    error: AwsError, status: int, content_type: str, request_id: str, *, type_in_header: bool
) -> HttpResponse:
    """An error in the form of the JSON protocols."""
    document: dict[str, Any] = {"message": error.message, **error.members}
    headers = {"content-type": content_type, "x-amzn-requestid": request_id}
    if type_in_header:
        headers["x-amzn-errortype"] = error.code
    else:
        document = {"__type": error.code, **document}
    return HttpResponse(status, headers, dump_body(document))
