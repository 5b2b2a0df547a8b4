"""JSON values as Step Functions writes and types them."""

import json
import sys
from typing import Any

Json = Any  # a JSON value: None, bool, int, float, str, list, dict

MAXIMUM_BYTES = 262_144  # of any input, output or result: 256 KiB of UTF-8
MAXIMUM_DEPTH = 1_000  # of arrays and objects in each other, as Jackson, AWS's parser, reads them by default

# Python's JSON functions and the evaluators recurse, up to three times for each level of the data.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 5 * MAXIMUM_DEPTH))


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def to_text(value: Json) -> str:
    """`value` as compact JSON text."""
    return _encode(value)


def is_number(value: Json) -> bool:
    """True for a JSON number; Python's bool is an int, JSON's is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_name(value: Json) -> str:
    """The name of the JSON type of `value`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, dict) else "number"


def too_deep(value: Json, text: str) -> bool:
    """True if arrays and objects in `value`, whose text is `text`, are nested more deeply than the limit."""
    if text.count("[") + text.count("{") <= MAXIMUM_DEPTH:
        return False
    level = [value]
    for _ in range(MAXIMUM_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def too_large(text: str) -> bool:
    """True if `text` exceeds the limit of 256 KiB of UTF-8."""
    if len(text) * 4 <= MAXIMUM_BYTES:
        return False
    return len(text) > MAXIMUM_BYTES or len(text.encode()) > MAXIMUM_BYTES
