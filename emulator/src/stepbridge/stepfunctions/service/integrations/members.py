"""The members of an API's shapes, as the two kinds of integrations write them.

Step Functions' own integrations write each member as the service's API does, but for its first letter: `QueueUrl`,
`TaskDefinition`.  Those of the SDK have the names that the AWS SDK for Java 2 makes of them: `DbInstanceIdentifier`
for `DBInstanceIdentifier`, `Bool` for `BOOL`.

https://docs.aws.amazon.com/step-functions/latest/dg/connect-parameters.html
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from botocore.model import ListShape, MapShape, Shape, StructureShape

from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.service.integrations.sdk_metadata import to_json

_RENAMED = {"NULL": "Nul", "equals": "EqualsValue"}  # what is a word of Java, or a method of each of its objects

# The texts that are booleans: None for what is not there.
BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "null"), None),
}


def _capitalized(name: str) -> str:
    return name[:1].upper() + name[1:]


def _java_name(name: str) -> str:
    """`DBInstanceIdentifier` → `DbInstanceIdentifier`: capitals at the start count as one word."""
    if name in _RENAMED:
        return _RENAMED[name]
    end = 1
    while end < len(name) and name[end].isupper() and not name[end + 1 : end + 2].islower():
        end += 1
    return name[:1].upper() + name[1:end].lower() + name[end:]


@dataclass(frozen=True, slots=True)
class Style:
    """How a kind of integrations writes: `name` gives a member's name, and times are texts or `milliseconds`."""

    name: Callable[[str], str]
    milliseconds: bool

    def names(self, shape: StructureShape) -> Mapping[str, str]:
        """The members of `shape`: the name in a workflow → the name in the API."""
        return _names(self, shape)


OPTIMIZED = Style(_capitalized, milliseconds=True)
SDK = Style(_java_name, milliseconds=False)


@cache
def _names(style: Style, shape: StructureShape) -> Mapping[str, str]:
    return {style.name(name): name for name in shape.members}


def to_members(shape: Shape | None, value: Json, style: Style) -> Any:
    """Parameters as a definition writes them, as members of the API: names in its spelling, blobs as bytes.

    A parameter that is null is one that is not there.
    """
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        if getattr(shape, "is_document_type", False):
            return value
        names = style.names(shape)
        members = ((names[name], to_members(shape.members[names[name]], value[name], style)) for name in value)
        return {name: member for name, member in members if member is not None}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [to_members(shape.member, item, style) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, Mapping):
        return {key: to_members(shape.value, item, style) for key, item in value.items()}
    return value if shape is None or value is None else _to_scalar(shape, value, style)


def _to_scalar(shape: Shape, value: Json, style: Style) -> Any:
    if shape.type_name == "blob":
        # In a stream text too gets its quotes: so AWS stores it in S3.
        is_text = isinstance(value, str) and style is SDK and not shape.serialization.get("streaming")
        return (value if is_text else to_json(value)).encode()
    if shape.type_name == "string" and not isinstance(value, str):
        return to_json(value)
    if shape.type_name == "boolean":
        return BOOLEANS[value.strip()] if isinstance(value, str) else bool(value)
    return value


def to_output(shape: Shape | None, value: Any, style: Style) -> Json:
    """The answer of an API as a workflow sees it."""
    if shape is None:  # an operation without output
        return {}
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        return {
            style.name(name): to_output(shape.members[name], item, style)
            for name, item in value.items()
            if name in shape.members and item is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [to_output(shape.member, item, style) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, Mapping):
        return {key: to_output(shape.value, item, style) for key, item in value.items()}
    if shape.type_name == "timestamp":
        return _time(value, style)
    if shape.type_name == "string" and isinstance(value, Mapping):  # a policy, which botocore has decoded
        return quote(to_json(value), safe="")
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return value


def _time(value: Any, style: Style) -> Json:
    """Times are ISO 8601 text in calls of the SDK, and milliseconds since the epoch in the other integrations."""
    seconds = value.timestamp() if isinstance(value, datetime) else value
    if style.milliseconds:
        return round(seconds * 1000)
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds" if seconds % 1 else "seconds")
    return text.replace("+00:00", "Z")
