"""Reads JSON and, where it is not JSON, says so in the words of Jackson, the parser that AWS uses."""

import json
import math
import re
from typing import NoReturn

from stepbridge.stepfunctions.language.values import MAXIMUM_DEPTH, Json, too_deep

_EXPECTED = "was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


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
    except json.JSONDecodeError as problem:
        raise _in_jackson_words(text, problem) from None
    except RecursionError:
        raise _too_deep(text) from None
    except ValueError:
        raise JsonError("Unexpected token", f"{_source(text)}; line: 1, column: 1]") from None
    if too_deep(value, text):
        raise _too_deep(text)
    return value


def _too_deep(text: str) -> JsonError:
    return JsonError(
        f"Document nesting depth ({MAXIMUM_DEPTH + 1}) exceeds the maximum allowed "
        f"({MAXIMUM_DEPTH}, from `StreamReadConstraints.getMaxNestingDepth()`)",
        f"{_source(text)}; line: 1, column: 1]",
    )


def _source(text: str) -> str:
    return (
        f'[Source: (String)"{text[:500]}"'
        if len(text) <= 500
        else f'[Source: (String)"{text[:500]}"[truncated {len(text) - 500} chars]'
    )


def _in_jackson_words(text: str, problem: json.JSONDecodeError) -> JsonError:
    """Jackson's message for a mistake; it counts columns to where it stopped reading."""
    position = problem.pos
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    if position >= len(text):
        message, stopped = "Unexpected end-of-input", len(text)
    elif word := re.compile(r"[A-Za-z_$][\w$]*").match(text, position):
        if problem.msg.startswith("Expecting property name"):
            message = f"{_character(text[position])}: was expecting double-quote to start field name"
            stopped = position + 1
        elif problem.msg.startswith("Expecting value"):
            message, stopped = f"Unrecognized token '{word.group(0)}': {_EXPECTED}", word.end()
        else:
            message, stopped = _delimiter(problem, text[position]), position + 1
    elif problem.msg.startswith("Expecting property name"):
        message = f"{_character(text[position])}: was expecting double-quote to start field name"
        stopped = position + 1
    elif problem.msg.startswith("Expecting value"):
        message, stopped = f"{_character(text[position])}: expected a valid value {_EXPECTED[14:]}", position + 1
    else:
        message, stopped = _delimiter(problem, text[position]), position + 1
    line = text.count("\n", 0, stopped) + 1
    # Jackson gives the column after the last character it read.
    column = stopped - (text.rfind("\n", 0, stopped) + 1) + 1
    return JsonError(message, f"{_source(text)}; line: {line}, column: {column}]")


def _delimiter(problem: json.JSONDecodeError, character: str) -> str:
    if problem.msg.startswith("Expecting ':'"):
        return f"{_character(character)}: was expecting a colon to separate field name and value"
    if problem.msg.startswith("Expecting ','"):
        return f"{_character(character)}: was expecting comma to separate entries"
    return f"{_character(character)}: {problem.msg}"


def _character(character: str) -> str:
    return f"Unexpected character ('{character}' (code {ord(character)}))"
