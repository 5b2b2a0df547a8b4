"""Wildcards and policy variables: the patterns in Resource, NotResource and Condition.

`*` stands for any run of characters (`/` and `:` included), `?` for exactly one; MQTT's `+` and `#` are ordinary
characters.  `${name}` is a policy variable, `${name, 'text'}` one with a default; `${*}`, `${?}` and `${$}` are the
characters themselves.  A value put in the place of a variable is literal: its `*` is no wildcard.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
https://docs.aws.amazon.com/iot/latest/developerguide/iot-policy-variables.html
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_DEFAULTED = re.compile(r"\s*([^,\s]+)\s*,\s*'([^']*)'\s*", re.DOTALL)


class Wildcard(Enum):
    """The two wildcards."""

    RUN = "*"
    ONE = "?"


@dataclass(frozen=True, slots=True)
class Variable:
    """A policy variable, with what stands for it where the context has no value."""

    name: str
    default: str | None = None


_NOTHING: frozenset[str] = frozenset()  # Python makes a new one each time


class Context:
    """The condition keys of a request and their values, which are also the values of the policy variables.

    A key that is absent from `values` has no value; one with an empty tuple is a set without members.  The keys in
    `opaque` can be compared by conditions but are not put in the place of variables: AWS IoT does so with attributes
    that contain wildcard characters or are too long.  Keys are found whatever their case.
    """

    __slots__ = ("_folded", "opaque", "values")

    def __init__(self, values: Mapping[str, tuple[str, ...]], opaque: Iterable[str] = ()) -> None:
        self.values = dict(values)
        self.opaque = frozenset(opaque) or _NOTHING
        self._folded: dict[str, str] | None = None  # only when it is needed: there is a context for each device

    def get(self, key: str) -> tuple[str, ...] | None:
        """The values of a condition key, or None if the request has no such key."""
        values = self.values.get(key)
        if values is None and (name := self._any_case(key)) is not None:
            values = self.values[name]
        return values

    def substitute(self, variable: Variable) -> str | None:
        """What stands in the place of a variable, or None if it cannot be resolved."""
        name = variable.name if variable.name in self.values else self._any_case(variable.name)
        if name is None or name in self.opaque or len(self.values[name]) != 1:
            return variable.default
        return self.values[name][0]

    def _any_case(self, key: str) -> str | None:
        if self._folded is None:
            self._folded = {name.lower(): name for name in self.values}
        return self._folded.get(key.lower())


class Glob:
    """A pattern without variables.

    It is cut at its `*`; what lies between is found from left to right, so that matching takes time in proportion to
    the text whatever the pattern (a regular expression with many `.*` would not).
    """

    __slots__ = ("_segments",)

    def __init__(self, parts: Iterable[str | Wildcard]) -> None:
        segments: list[list[str | Wildcard]] = [[]]
        for part in parts:
            if part is Wildcard.RUN:
                segments.append([])
            else:
                segments[-1].append(part)
        self._segments = tuple(_segment(segment) for segment in segments)

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` fits."""
        segments = self._segments
        first, last = segments[0], segments[-1]
        if len(segments) == 1:
            return text == first if isinstance(first, str) else first.fits(text)
        start = first.length if not isinstance(first, str) else len(first)
        end = len(text) - (last.length if not isinstance(last, str) else len(last))
        if start > end:
            return False
        if not (text.startswith(first) if isinstance(first, str) else first.fits(text[:start])):
            return False
        if not (text.endswith(last) if isinstance(last, str) else last.fits(text[end:])):
            return False
        for segment in segments[1:-1]:
            if isinstance(segment, str):
                found = text.find(segment, start, end)
                if found < 0:
                    return False
                start = found + len(segment)
            else:
                found = segment.find(text, start, end)
                if found < 0:
                    return False
                start = found + segment.length
        return True


class _GappedSegment:
    """A stretch of a pattern that has `?` in it and no `*`: its length is fixed."""

    __slots__ = ("_expression", "length")

    def __init__(self, parts: list[str | Wildcard]) -> None:
        self.length = sum(len(part) if isinstance(part, str) else 1 for part in parts)
        source = "".join(re.escape(part) if isinstance(part, str) else "." for part in parts)
        self._expression = re.compile(source, re.DOTALL)

    def fits(self, text: str) -> bool:
        return self._expression.fullmatch(text) is not None

    def find(self, text: str, start: int, end: int) -> int:
        found = self._expression.search(text, start, end)
        return found.start() if found else -1


def _segment(parts: list[str | Wildcard]) -> str | _GappedSegment:
    if all(isinstance(part, str) for part in parts):
        return "".join(part for part in parts if isinstance(part, str))
    return _GappedSegment(parts)


@lru_cache(maxsize=8192)
def _glob(parts: tuple[str | Wildcard, ...]) -> Glob:
    return Glob(parts)


class Template:
    """A pattern as written in a policy: wildcards and variables not yet replaced."""

    __slots__ = ("_glob", "parts", "source", "variables")

    def __init__(self, source: str, *, variables: bool = True) -> None:
        self.source = source
        self.parts: tuple[str | Wildcard | Variable, ...] = tuple(_parse(source, variables))
        self.variables = tuple(part for part in self.parts if isinstance(part, Variable))
        self._glob = None if self.variables else _glob(self._bind(()))

    def glob(self, context: Context) -> Glob | None:
        """The pattern for one request, or None if a variable in it cannot be resolved."""
        if self._glob is not None:
            return self._glob
        bound = self._bound(context)
        return None if bound is None else _glob(bound)

    def globs(self, context: Context, separator: str, most: int) -> list[Glob] | None:
        """The patterns between the first `most` separators for one request, or None like :meth:`glob`."""
        bound = self._bound(context)
        if bound is None:
            return None
        pieces: list[list[str | Wildcard]] = [[]]
        for part in bound:
            first, *rest = part.split(separator, most + 1 - len(pieces)) if isinstance(part, str) else (part,)
            pieces[-1].append(first)
            pieces += [[text] for text in rest]
        return [_glob(tuple(piece)) for piece in pieces]

    def text(self, context: Context) -> str | None:
        """The text for one request, for operators to which `*` and `?` are ordinary characters."""
        written: list[str] = []
        for part in self.parts:
            piece = part.value if isinstance(part, Wildcard) else part
            if isinstance(piece, Variable):
                value = context.substitute(piece)
                if value is None:
                    return None
                piece = value
            written.append(piece)
        return "".join(written)

    def unresolved(self, context: Context) -> tuple[str, ...]:
        """The names of the variables that have no value in this request."""
        return tuple(variable.name for variable in self.variables if context.substitute(variable) is None)

    def _bound(self, context: Context) -> tuple[str | Wildcard, ...] | None:
        values = [context.substitute(variable) for variable in self.variables]
        return None if None in values else self._bind(tuple(value for value in values if value is not None))

    def _bind(self, values: tuple[str, ...]) -> tuple[str | Wildcard, ...]:
        remaining = iter(values)
        return tuple(next(remaining) if isinstance(part, Variable) else part for part in self.parts)


def _parse(source: str, variables: bool) -> Iterable[str | Wildcard | Variable]:
    position = 0
    if variables:
        for found in _VARIABLE.finditer(source):
            yield from _wildcards(source[position : found.start()])
            name = found[1]
            if name in ("*", "?", "$"):
                yield name
            elif defaulted := _DEFAULTED.fullmatch(name):
                yield Variable(defaulted[1], defaulted[2])
            else:
                yield Variable(name.strip())
            position = found.end()
    yield from _wildcards(source[position:])


def _wildcards(text: str) -> Iterable[str | Wildcard]:
    for piece in re.split(r"([*?])", text):
        if piece in ("*", "?"):
            yield Wildcard(piece)
        elif piece:
            yield piece
