"""JSON texts from callers, refused in the words of AWS's parser (Jackson)."""

import json
import re
from typing import Never

from stepbridge.stepfunctions.interpreter.messages import Json

_VALUES = "JSON String, Number, Array, Object or token 'null', 'true' or 'false'"
_TOKEN = re.compile(r"[\w$]+")


class NotJsonError(ValueError):
    """A text is not JSON; the message says why."""


def parse(text: str) -> Json:
    """The JSON value that `text` is.  Raises NotJsonError."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise NotJsonError(_reason(text, error)) from None


def _refuse_constant(name: str) -> Never:
    """Refuse what Python's parser takes and JSON does not have: NaN and the infinities."""
    raise NotJsonError(f"Unrecognized token '{name.lstrip('-')}': was expecting ({_VALUES})")


def _reason(text: str, error: json.JSONDecodeError) -> str:
    rest = text[error.pos :].lstrip()
    if not rest:
        return "Unexpected end-of-input"
    character = f"Unexpected character ('{rest[0]}' (code {ord(rest[0])}))"
    if error.msg.startswith("Expecting property name"):
        return f"{character}: was expecting double-quote to start field name"
    if error.msg.startswith("Expecting ':'"):
        return f"{character}: was expecting a colon to separate field name and value"
    if error.msg.startswith("Expecting ','"):
        return f"{character}: was expecting comma to separate Object or Array entries"
    if (token := _TOKEN.match(rest)) is not None and not rest[0].isdigit():
        return f"Unrecognized token '{token[0]}': was expecting ({_VALUES})"
    return f"{character}: expected a valid value ({_VALUES})"
