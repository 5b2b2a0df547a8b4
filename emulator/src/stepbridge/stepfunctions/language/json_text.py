"""Reads JSON and, where it is not JSON, says so in the words of Jackson, the parser that AWS uses."""

import json
import math
from typing import NoReturn

from stepbridge.stepfunctions.language import jackson
from stepbridge.stepfunctions.language.values import MAXIMUM_DEPTH, Json, too_deep


class JsonError(ValueError):
    """The text is not JSON.  `message` and `location` are Jackson's."""

    def __init__(self, message: str, location: str) -> None:
        super().__init__(message)
        self.message = message
        self.location = location


class DuplicateFieldError(ValueError):
    """An object has the same field twice."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise DuplicateFieldError(name)
            seen.add(name)
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large a number")
    return number


def parse(text: str, *, unique_fields: bool = False) -> Json:
    """Parse `text`.  Raises JsonError; with `unique_fields` also DuplicateFieldError."""
    try:
        hook = _unique if unique_fields else None
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=hook)
    except DuplicateFieldError:
        raise
    except RecursionError:
        raise _too_deep(text) from None
    except ValueError as problem:
        raise _in_jackson_words(text, problem) from None
    if too_deep(value, text):
        raise _too_deep(text)
    return value


def _too_deep(text: str) -> JsonError:
    return JsonError(
        f"Document nesting depth ({MAXIMUM_DEPTH + 1}) exceeds the maximum allowed "
        f"({MAXIMUM_DEPTH}, from `StreamReadConstraints.getMaxNestingDepth()`)",
        jackson.location(text, 0),
    )


def _in_jackson_words(text: str, problem: ValueError) -> JsonError:
    mistake = jackson.find_mistake(text)
    if mistake is None:
        return JsonError(f"Unexpected token: {problem}", jackson.location(text, 0))
    return JsonError(mistake.message, jackson.location(text, mistake.position))
