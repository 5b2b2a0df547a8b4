"""Checks a request against botocore's shapes, with the text that AWS's services answer.

AWS collects every violation into one message: "2 validation errors detected: Value null at 'name' failed to satisfy
constraint: Member must not be null; Value …".
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Members

# The error that each service answers an invalid request with.
_ERROR_CODES = {
    "iot": "InvalidRequestException",
    "iot-data": "InvalidRequestException",
    "cloudformation": "ValidationError",
}


def validate(service_name: str, shape: StructureShape | None, members: Members) -> None:
    """Raise AwsError, with all violations, unless `members` is what `shape` allows."""
    if shape is None:
        return
    violations = list(_structure(shape, members, ""))
    if violations:
        count = f"{len(violations)} validation error{'s' if len(violations) > 1 else ''} detected: "
        raise AwsError(_ERROR_CODES.get(service_name, "ValidationException"), count + "; ".join(violations), status=400)


def _structure(shape: StructureShape, value: Members, path: str) -> Iterator[str]:
    for name in shape.required_members:
        if name not in value:
            yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, item in value.items():
        yield from _value(shape.members[name], item, _join(path, name))


def _join(path: str, name: str) -> str:
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _value(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        if not getattr(shape, "is_document_type", False):
            yield from _structure(shape, value, path)
        return
    if isinstance(shape, ListShape):
        yield from _length(shape, value, path)
        for number, item in enumerate(value, 1):
            yield from _value(shape.member, item, f"{path}.{number}.member")
        return
    if isinstance(shape, MapShape):
        yield from _length(shape, value, path)
        for key, item in value.items():
            yield from _value(shape.key, key, path)
            yield from _value(shape.value, item, f"{path}.{key}.member")
        return
    kind = shape.type_name
    if kind in ("integer", "long", "float", "double"):
        yield from _range(shape, value, path)
    elif kind == "blob":
        yield from _length(shape, value, path)
    elif kind == "string" and _is_limited(shape):
        yield from _length(shape, value, path)
        allowed = getattr(shape, "enum", None)
        if allowed and value not in allowed:
            yield _violation(shape, value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
        pattern = shape.metadata.get("pattern")
        if pattern and not _pattern(pattern).search(value):
            yield _violation(shape, value, path, f"Member must satisfy regular expression pattern: {pattern}")


@cache
def _is_limited(shape: Shape) -> bool:
    return bool(getattr(shape, "enum", None)) or not shape.metadata.keys().isdisjoint(("min", "max", "pattern"))


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """The pattern of a model; where it says what only Java can read, one that takes anything."""
    # The models' patterns are Java's; a whole match is meant even where ^ and $ are left out.
    body = re.sub(r"\\p\{([A-Za-z]+)\}", lambda match: _UNICODE_CLASSES.get(match[1], r"\w"), pattern)
    body = body.replace(*_SURROGATES)
    try:
        return re.compile(rf"\A(?:{body})\Z")
    except re.error:
        return re.compile("")


# Characters beyond the basic plane, which are pairs in Java: in a pattern of it, and as Python has them.
_SURROGATES = (r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")

# Java's \p classes that the models use, as far as Python's re can say them.
_UNICODE_CLASSES = {
    "L": "A-Za-z\u00aa-\uffff",
    "Z": " \u00a0\u2000-\u200b",
    "N": "0-9",
    "Graph": "!-~",
    "ASCII": "\x00-\x7f",
}


def _violation(shape: Shape, value: Any, path: str, constraint: str) -> str:
    return f"Value '{_shown(shape, value)}' at '{path}' failed to satisfy constraint: {constraint}"


def _shown(shape: Shape, value: Any) -> str:
    """A value as Java shows it: `[Tag(key=a, value=null)]`, `{a=1}`."""
    if shape.metadata.get("sensitive"):
        return "***"
    if isinstance(shape, StructureShape):
        members = (f"{_join('', name)}={_shown(of, value.get(name))}" for name, of in shape.members.items())
        return f"{shape.name}({', '.join(members)})"
    if isinstance(value, list) and isinstance(shape, ListShape):
        return f"[{', '.join(_shown(shape.member, item) for item in value)}]"
    if isinstance(value, dict) and isinstance(shape, MapShape):
        return f"{{{', '.join(f'{key}={_shown(shape.value, item)}' for key, item in value.items())}}}"
    if isinstance(value, bytes):
        return "java.nio.HeapByteBuffer"
    return "null" if value is None else str(value)


def _length(shape: Shape, value: Any, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and len(value) < least:
        yield _violation(shape, value, path, f"Member must have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        yield _violation(shape, value, path, f"Member must have length less than or equal to {most}")


def _range(shape: Shape, value: float, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        yield _violation(shape, value, path, f"Member must have value greater than or equal to {least}")
    if most is not None and value > most:
        yield _violation(shape, value, path, f"Member must have value less than or equal to {most}")
