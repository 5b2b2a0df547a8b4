r"""Sets of characters, as Java's regular expressions write them: what is in `[a-z&&[^aeiou]]` or in `\p{Lu}`."""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache

_LAST = 0x10FFFF
# A range with more characters than this is not searched for letters of the other case beyond ASCII.
_MAX_SEARCHED = 3000


class Characters:
    """An immutable set of characters: the bounds of its ranges in order, each from one up to and without the next."""

    __slots__ = ("bounds",)

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> "Characters":
        """The set of ranges, each from its first to its last code point."""
        bounds: list[int] = []
        for first, last in sorted(ranges):
            if bounds and first <= bounds[-1]:
                bounds[-1] = max(bounds[-1], last + 1)
            else:
                bounds += [first, last + 1]
        return cls(tuple(bounds))

    def ranges(self) -> list[tuple[int, int]]:
        """The ranges, each from its first to its last code point."""
        return [(first, end - 1) for first, end in zip(self.bounds[::2], self.bounds[1::2], strict=True)]

    def __contains__(self, code: int) -> bool:
        return bisect_right(self.bounds, code) % 2 == 1

    def __invert__(self) -> "Characters":
        bounds = list(self.bounds)
        bounds = bounds[1:] if bounds[:1] == [0] else [0, *bounds]
        bounds = bounds[:-1] if bounds[-1:] == [_LAST + 1] else [*bounds, _LAST + 1]
        return Characters(tuple(bounds))

    def __or__(self, other: "Characters") -> "Characters":
        return Characters.of([*self.ranges(), *other.ranges()])

    def __and__(self, other: "Characters") -> "Characters":
        return ~(~self | ~other)

    def in_any_case(self, *, beyond_ascii: bool) -> "Characters":
        """With the letters of the other case: Java knows only those of ASCII unless it is told to look further."""
        others: list[tuple[int, int]] = []
        for first, last in self.ranges():
            for lower, upper in ((0x61, 0x7A), (0x41, 0x5A)):
                start, end = max(first, lower), min(last, upper)
                if start <= end:
                    others.append((start ^ 0x20, end ^ 0x20))
            if beyond_ascii and last - first < _MAX_SEARCHED:
                for code in range(first, last + 1):
                    turned = (chr(code).lower(), chr(code).upper())
                    others += [(ord(one), ord(one)) for one in turned if len(one) == 1]
        return Characters.of([*self.ranges(), *others])

    def pattern(self) -> str:
        """The set in the writing of Python's regular expressions."""
        if not self.bounds:
            return "(?!)"
        if self.bounds == (0, _LAST + 1):
            return r"[\s\S]"
        return f"[{''.join(_written(first, last) for first, last in self.ranges())}]"


def _written(first: int, last: int) -> str:
    start, end = f"\\U{first:08x}", f"\\U{last:08x}"
    return start if first == last else f"{start}-{end}"


def _listed(characters: str) -> Characters:
    return Characters.of((ord(one), ord(one)) for one in characters)


DIGITS = Characters.of([(0x30, 0x39)])
SPACES = _listed(" \t\n\x0b\f\r")
WORDS = Characters.of([(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)])
BLANKS = Characters.of([(0x2000, 0x200A)]) | _listed(" \t\xa0\u1680\u180e\u202f\u205f\u3000")
BREAKS = _listed("\n\x0b\f\r\x85\u2028\u2029")
# What `.` does not match and `$` stands before.
LINE_TERMINATORS = _listed("\n\r\x85\u2028\u2029")

_LOWER, _UPPER = Characters.of([(0x61, 0x7A)]), Characters.of([(0x41, 0x5A)])
_GRAPH = Characters.of([(0x21, 0x7E)])
_POSIX = {
    "Lower": _LOWER,
    "Upper": _UPPER,
    "ASCII": Characters.of([(0, 0x7F)]),
    "Alpha": _LOWER | _UPPER,
    "Digit": DIGITS,
    "Alnum": _LOWER | _UPPER | DIGITS,
    "Punct": _GRAPH & ~(_LOWER | _UPPER | DIGITS),
    "Graph": _GRAPH,
    "Print": Characters.of([(0x20, 0x7E)]),
    "Blank": _listed(" \t"),
    "Cntrl": Characters.of([(0, 0x1F), (0x7F, 0x7F)]),
    "XDigit": Characters.of([(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)]),
    "Space": SPACES,
}
# Binary properties that are the same as categories.
_BINARY = {"ISLETTER": "L", "ISDIGIT": "Nd", "ISPUNCTUATION": "P", "ISCONTROL": "Cc", "ISTITLECASE": "Lt"}
_CATEGORIES = frozenset({
    "L", "LC", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Me", "Mc", "N", "Nd", "Nl", "No", "P", "Pd", "Ps", "Pe", "Pc",
    "Po", "Pi", "Pf", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Co", "Cs", "Cn",
})  # fmt: skip


def named(name: str) -> Characters | None:
    r"""The set that `\p{name}` stands for, or None if it is not one of those known here.

    Known are the POSIX classes, the categories of Unicode in each of their writings (`Lu`, `IsLu`, `gc=Lu`) and the
    binary properties that are categories; scripts and blocks are not.
    """
    if name in _POSIX:
        return _POSIX[name]
    key, equals, value = name.partition("=")
    if equals and key.lower() in ("gc", "general_category"):
        return _category(value) if value in _CATEGORIES else None
    category = _BINARY.get(name.upper(), name.removeprefix("Is"))
    return _category(category) if category in _CATEGORIES else None


@lru_cache(maxsize=64)
def _category(name: str) -> Characters:
    kinds = ("Lu", "Ll", "Lt") if name == "LC" else (name,)
    is_in = False
    bounds: list[int] = []
    for code in range(_LAST + 1):
        if unicodedata.category(chr(code)).startswith(kinds) != is_in:
            is_in = not is_in
            bounds.append(code)
    if is_in:
        bounds.append(_LAST + 1)
    return Characters(tuple(bounds))
