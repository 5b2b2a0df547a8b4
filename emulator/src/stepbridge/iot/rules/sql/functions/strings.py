"""Functions of strings, regular expressions and digests."""

import hashlib
import re
from collections.abc import Callable

from stepbridge.iot.rules.sql.evaluation import Failed, Stop
from stepbridge.iot.rules.sql.functions.md2 import md2
from stepbridge.iot.rules.sql.functions.regular_expressions import (
    InvalidPatternError,
    UnsupportedPatternError,
    compile_java,
    replace_all,
)
from stepbridge.iot.rules.sql.values import UNDEFINED, Value, to_int, to_text

_MAX_PADDING = 1000
# No action takes more than the 128 KiB of a message; beyond this, texts that a message makes grow are a mistake.
MAX_TEXT = 1_048_576
_ASCII = 128


def concat(*values: Value) -> Value:
    """Arrays joined if there is one among the values, else strings if there is one."""
    if len(values) == 1:
        return values[0]
    if any(isinstance(value, list) for value in values):
        joined: list[Value] = []
        for value in values:
            if isinstance(value, list):
                joined.extend(value)
            elif value is not UNDEFINED:
                joined.append(value)
        return joined
    texts = [to_text(value) for value in values]
    if not any(isinstance(value, str) for value in values) or None in texts:
        return UNDEFINED
    return "".join(text for text in texts if text is not None)


def _of_text(compute: Callable[[str], Value]) -> Callable[[Value], Value]:
    def evaluate(value: Value) -> Value:
        text = to_text(value)
        return UNDEFINED if text is None else compute(text)

    return evaluate


# Java's String.trim and its white space: everything up to the space.
_SPACES = "".join(map(chr, range(33)))

lower = _of_text(str.lower)
upper = _of_text(str.upper)
trim = _of_text(lambda text: text.strip(_SPACES))
ltrim = _of_text(lambda text: text.lstrip(_SPACES))
rtrim = _of_text(lambda text: text.rstrip(_SPACES))
length = _of_text(len)
numbytes = _of_text(lambda text: len(text.encode(errors="replace")))

DIGESTS = ("md2", "md5", "sha1", "sha224", "sha256", "sha384", "sha512")


def digest(name: str) -> Callable[[Value], Value]:
    """The hash function `name`, as lower-case hexadecimal digits."""

    def compute(text: str) -> str:
        data = text.encode(errors="replace")
        return md2(data) if name == "md2" else hashlib.new(name, data, usedforsecurity=False).hexdigest()

    return _of_text(compute)


def lpad(value: Value, count: Value) -> Value:
    """`count` spaces before the text."""
    return _padded(value, count, lambda text, spaces: spaces + text)


def rpad(value: Value, count: Value) -> Value:
    """`count` spaces after the text."""
    return _padded(value, count, lambda text, spaces: text + spaces)


def _padded(value: Value, count: Value, join: Callable[[str, str], str]) -> Value:
    text, number = to_text(value), to_int(count)
    if text is None or number is None:
        return UNDEFINED
    return join(text, " " * min(max(number, 0), _MAX_PADDING))


def indexof(value: Value, part: Value) -> Value:
    """Where `part` first stands, from 0; -1 if nowhere.  "Does not apply to arrays", whose text is not searched."""
    text, sought = to_text(value), to_text(part)
    if text is None or sought is None or isinstance(value, list) or isinstance(part, list):
        return UNDEFINED
    return text.find(sought)


def substring(value: Value, start: Value, *end: Value) -> Value:
    """The text from `start` up to, not including, an end; both are brought within the text."""
    text, first = to_text(value), to_int(start)
    last = to_int(end[0]) if end else len(text or "")
    if text is None or first is None or last is None:
        return UNDEFINED
    return text[max(first, 0) : max(last, 0)]


def replace(value: Value, part: Value, replacement: Value) -> Value:
    """Every `part` replaced, taken literally."""
    text, sought, by = to_text(value), to_text(part), to_text(replacement)
    if text is None or sought is None or by is None:
        return UNDEFINED
    if len(text) + text.count(sought) * len(by) > MAX_TEXT:
        raise Stop(Failed(f"the result of replace is longer than {MAX_TEXT} characters"))
    return text.replace(sought, by)


def startswith(value: Value, start: Value) -> Value:
    """Whether the text begins so."""
    text, part = to_text(value), to_text(start)
    return UNDEFINED if text is None or part is None else text.startswith(part)


def endswith(value: Value, end: Value) -> Value:
    """Whether the text ends so."""
    text, part = to_text(value), to_text(end)
    return UNDEFINED if text is None or part is None else text.endswith(part)


def chr_(code: Value) -> Value:
    """The ASCII character of a code."""
    number = to_int(code)
    return chr(number) if number is not None and 0 <= number < _ASCII else UNDEFINED


def regexp_matches(value: Value, pattern: Value) -> Value:
    """Whether the pattern is found anywhere in the text."""
    text, expression = _text_and_pattern(value, pattern)
    return UNDEFINED if text is None or expression is None else expression.search(text) is not None


def regexp_substr(value: Value, pattern: Value) -> Value:
    """What the pattern first finds."""
    text, expression = _text_and_pattern(value, pattern)
    if text is None or expression is None:
        return UNDEFINED
    found = expression.search(text)
    return UNDEFINED if found is None else found[0]


def regexp_replace(value: Value, pattern: Value, replacement: Value) -> Value:
    """Everything the pattern finds replaced; `$1` stands for its first group."""
    text, expression = _text_and_pattern(value, pattern)
    template = to_text(replacement)
    if text is None or expression is None or template is None:
        return UNDEFINED
    try:
        return replace_all(expression, template, text, MAX_TEXT)
    except OverflowError as error:
        raise Stop(Failed(f"the result of regexp_replace is longer than {MAX_TEXT} characters")) from error
    except (IndexError, ValueError):  # a group that the pattern does not have
        return UNDEFINED


def _text_and_pattern(value: Value, pattern: Value) -> tuple[str | None, re.Pattern[str] | None]:
    source = to_text(pattern)
    if source is None:
        return to_text(value), None
    try:
        return to_text(value), compile_java(source)
    except InvalidPatternError:
        return to_text(value), None
    except UnsupportedPatternError as error:
        # Better no answer than another one than AWS gives.
        raise Stop(Failed(str(error))) from error
