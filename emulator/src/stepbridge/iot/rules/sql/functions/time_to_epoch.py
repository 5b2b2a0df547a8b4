"""time_to_epoch: text as a time, by a pattern of Java's DateTimeFormatter (JDK 11, in English).

The pattern becomes a list of readers.  Each takes up what it knows of the text, puts it among the fields found, and
says where it ended; then the fields make a date, a time of day and a zone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

from stepbridge.iot.rules.sql.evaluation import Failed, Stop
from stepbridge.iot.rules.sql.functions.parse_time import DAYS, MONTHS, UnreadableError, parts_of
from stepbridge.iot.rules.sql.functions.zones import ZONES, fixed_offset, longest_zone, zone_of
from stepbridge.iot.rules.sql.values import UNDEFINED, Value, to_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ANY_WIDTH = 19


@dataclass(slots=True)
class _Found:
    """What has been read: numbers by the letter that stands for them in patterns, and the zone."""

    numbers: dict[str, int] = field(default_factory=dict)
    zone: tzinfo | None = None
    offset: tzinfo | None = None

    def put(self, letter: str, number: int) -> None:
        if self.numbers.setdefault(letter, number) != number:
            raise UnreadableError(f"two values of {letter}")


class UnsupportedFieldError(Exception):
    """A field that Java reads and this module does not; the message is its letters."""


# Where the reader ended; it raises UnreadableError where the text is not what it reads.
_Reader = Callable[[str, int, _Found], int]


def time_to_epoch(value: Value, pattern: Value) -> Value:
    """The text of a time, written by `pattern`, as milliseconds since the epoch."""
    text, form = to_text(value), to_text(pattern)
    if text is None or form is None:
        return UNDEFINED
    found = _Found()
    try:
        if _read_all(_readers(form), text, 0, found) != len(text):
            return UNDEFINED
        return _milliseconds(found)
    except UnsupportedFieldError as error:
        raise Stop(Failed(_unsupported(form, error))) from error
    except (UnreadableError, OverflowError, ValueError):
        return UNDEFINED


def unsupported_time_pattern(pattern: str) -> str | None:
    """What to tell of a pattern with fields that Java reads and stepbridge does not; None of others."""
    try:
        _readers(pattern)
    except UnsupportedFieldError as error:
        return _unsupported(pattern, error)
    except UnreadableError:
        pass
    return None


def _unsupported(pattern: str, field: UnsupportedFieldError) -> str:
    return f"stepbridge cannot read times by the pattern {pattern!r}: it uses {field}"


def _read_all(readers: list[_Reader], text: str, position: int, found: _Found) -> int:
    for reader in readers:
        position = reader(text, position, found)
    return position


# Patterns


@lru_cache(maxsize=128)
def _readers(pattern: str) -> list[_Reader]:
    readers: list[_Reader] = []
    around: list[list[_Reader]] = []
    # The number that those without a space before it share their digits with.
    adjacent: _Number | None = None
    for letter, letters in parts_of(pattern):
        if letter == "" and letters == "[":
            around.append(readers)
            readers, adjacent = [], None
            continue
        if letter == "" and letters == "]":
            if not around:
                raise UnreadableError("']' without '['")
            readers, optional = around.pop(), readers
            reader: _Reader = _Optional(optional)
        elif letter == "":
            if letters in ("{", "}", "#"):
                raise UnreadableError(f"'{letters}' is reserved")
            reader = _Literal(letters)
        else:
            reader = _field(letter, len(letters))
        if isinstance(reader, _Number):
            if adjacent is None:
                adjacent = reader
            elif reader.is_fixed:
                adjacent.following += reader.most
            else:
                adjacent = reader
        else:
            adjacent = None
        readers.append(reader)
    while around:  # an optional section that is not closed ends with the pattern
        readers, optional = around.pop(), readers
        readers.append(_Optional(optional))
    return readers


def _field(letter: str, count: int) -> _Reader:
    if letter in "uyY" and count <= _ANY_WIDTH:
        if count == 2:
            return _Number(letter, 2, 2, base=2000)
        return _Number(letter, count, _ANY_WIDTH, sign="-" if count < 4 else "+-")
    if letter in "MLEQqec" and count in (3, 4):
        return _Name(_kind(letter), count == 4)
    if letter == "E" and count <= 2:
        return _Name("E", False)
    if letter in "MLQqdhHkKmswe" and count <= 2:
        return _number(_kind(letter), count)
    if letter == "c" and count == 1:
        return _number("e", 1)
    if letter == "D" and count <= 3:
        return _Number("D", count, 3) if count > 1 else _number("D", 1)
    if letter in "AnN" and count <= _ANY_WIDTH:
        return _Number(letter, count, _ANY_WIDTH, sign="")
    if letter == "S" and count <= 9:
        return _Number("n", count, count, scale=10 ** (9 - count))
    if (letter == "a" and count == 1) or (letter == "G" and count <= 4):
        return _Name(letter, count == 4)
    if letter in _UNSUPPORTED or (letter in "MLEQqecG" and count == 5):  # five letters: the first of a name
        raise UnsupportedFieldError(letter * count)
    zone = _zone_field(letter, count)
    if zone is None:
        raise UnreadableError(letter * count)
    return zone


# The week of a month and its days, the day of the Julian calendar, names of zones without summer, and padding.
_UNSUPPORTED = frozenset("WFgvp")


def _kind(letter: str) -> str:
    """The letter of the same meaning that numbers are kept under."""
    return {"L": "M", "q": "Q", "c": "e"}.get(letter, letter)


def _number(letter: str, count: int) -> "_Number":
    return _Number(letter, 2, 2) if count == 2 else _Number(letter, 1, _ANY_WIDTH, sign="-")


_OFFSETS = ["", r"HH(?:MM)?", "HHMM", "HH:MM", "HHMM(?:SS)?", "HH:MM(?::SS)?"]


def _zone_field(letter: str, count: int) -> _Reader | None:
    if letter == "X" and count <= 5:
        return _Offset(_OFFSETS[count], "Z")
    if letter == "x" and count <= 5:
        return _Offset(_OFFSETS[count], "+00" if count == 1 else "+0000" if count % 2 == 0 else "+00:00")
    if letter == "Z" and count in (1, 2, 3, 5):
        return _Offset(_OFFSETS[5], "Z") if count == 5 else _Offset("HHMM", "+0000")
    if (letter == "O" and count in (1, 4)) or (letter == "Z" and count == 4):
        return _Offset("HH:MM(?::SS)?" if count == 4 else r"H{1,2}(?::MM(?::SS)?)?", "", "GMT")
    if letter == "V" and count == 2:
        return _Zone({})
    if letter == "z" and count <= 4:
        return _Zone(_LONG_NAMES if count == 4 else _SHORT_NAMES)
    return None


# Readers


@dataclass(frozen=True, slots=True)
class _Literal:
    text: str

    def __call__(self, text: str, position: int, found: _Found) -> int:
        if not text.startswith(self.text, position):
            raise UnreadableError(f"not {self.text!r}")
        return position + len(self.text)


@dataclass(frozen=True, slots=True)
class _Optional:
    readers: list[_Reader]

    def __call__(self, text: str, position: int, found: _Found) -> int:
        attempt = _Found(dict(found.numbers), found.zone, found.offset)
        try:
            position = _read_all(self.readers, text, position, attempt)
        except UnreadableError:
            return position
        found.numbers, found.zone, found.offset = attempt.numbers, attempt.zone, attempt.offset
        return position


@dataclass(slots=True)
class _Number:
    """Digits, from `least` to `most`, but so many less as the numbers `following` at once need.

    `sign` is the signs there may be: after a `+` there must be more digits than `least`, and without one no more.
    """

    letter: str
    least: int
    most: int
    sign: str = ""
    base: int = 0
    scale: int = 1
    following: int = 0

    @property
    def is_fixed(self) -> bool:
        return self.least == self.most

    def __call__(self, text: str, position: int, found: _Found) -> int:
        sign = text[position : position + 1] if text[position : position + 1] in ("+", "-") else ""
        if sign and sign not in self.sign:
            raise UnreadableError("a sign")
        start = end = position + len(sign)
        while end < len(text) and end - start < self.most + self.following and text[end] in "0123456789":
            end += 1
        if self.following:
            end = max(start + self.least, end - self.following)
        digits = text[start:end]
        if len(digits) < self.least or not digits.isdecimal():
            raise UnreadableError("too few digits")
        if "+" in self.sign and (len(digits) > self.least) != (sign == "+") and sign != "-":
            raise UnreadableError("a sign where none is needed, or none where it is")
        number = int(digits) * self.scale + self.base
        if sign == "-" and not number:
            raise UnreadableError("minus nothing")
        found.put(self.letter, -number if sign == "-" else number)
        return end


_NAMES = {"M": MONTHS, "E": DAYS, "e": DAYS, "a": ["AM", "PM"], "G": ["Before Christ", "Anno Domini"]}
_NAMES["Q"] = ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"]
_SHORT = {"G": ["BC", "AD"], "Q": ["Q1", "Q2", "Q3", "Q4"]}


@dataclass(frozen=True, slots=True)
class _Name:
    letter: str
    is_long: bool

    def __call__(self, text: str, position: int, found: _Found) -> int:
        names = _NAMES[self.letter]
        if not self.is_long:
            names = _SHORT.get(self.letter) or [name[:3] for name in names]
        for index, name in enumerate(names):
            if text.startswith(name, position):
                letter = "E" if self.letter == "e" else self.letter
                found.put(letter, index + (letter not in "aG"))
                return position + len(name)
        raise UnreadableError(f"not one of {', '.join(names)}")


class _Offset:
    """An offset: `form` says what follows its sign, `nothing` how the offset of 0 may be written."""

    def __init__(self, form: str, nothing: str, prefix: str = "") -> None:
        for part, name in (("HH", "h"), ("MM", "m"), ("SS", "s")):
            form = form.replace(part, rf"(?P<{name}>\d\d)", 1)
        form = form.replace("H{1,2}", r"(?P<h>\d\d?)")
        self._form = re.compile(rf"(?P<sign>[+-]){form}", re.ASCII)
        self._nothing, self._prefix = nothing, prefix

    def __call__(self, text: str, position: int, found: _Found) -> int:
        if not text.startswith(self._prefix, position):
            raise UnreadableError(f"not {self._prefix}")
        position += len(self._prefix)
        if (self._nothing and text.startswith(self._nothing, position)) or (
            self._prefix and text[position : position + 1] not in ("+", "-")
        ):
            found.offset = UTC
            return position + len(self._nothing)
        match = self._form.match(text, position)
        if match is None:
            raise UnreadableError("not an offset")
        parts = match.groupdict()
        if int(parts["h"]) > 18 or int(parts.get("m") or 0) > 59 or int(parts.get("s") or 0) > 59:
            raise UnreadableError("an offset of more than 18 hours, or of no time")
        found.offset = fixed_offset(match["sign"], parts["h"], parts.get("m"), parts.get("s"))
        return match.end()


_SHORT_NAMES: dict[str, str] = {}
_LONG_NAMES: dict[str, str] = {}
for _names in reversed(ZONES):
    _SHORT_NAMES |= {_names.standard: _names.zone, _names.summer or _names.standard: _names.zone}
    _LONG_NAMES |= {_names.long_standard: _names.zone, _names.long_summer or _names.long_standard: _names.zone}


@dataclass(frozen=True, slots=True)
class _Zone:
    """A zone by its identifier, or by one of `names`; or an offset, after UTC, UT or GMT or by itself."""

    names: dict[str, str]

    def __call__(self, text: str, position: int, found: _Found) -> int:
        inner = _Found()
        if text[position : position + 1] in ("+", "-"):
            end = _Offset(_OFFSETS[5], "")(text, position, inner)
            found.zone = inner.offset
            return end
        for prefix in ("UTC", "UT", "GMT"):
            if text.startswith(prefix, position) and self._longest_name(text, position) <= len(prefix):
                end = position + len(prefix)
                found.zone = UTC
                if text[end : end + 1] in ("+", "-"):
                    try:
                        end = _Offset(_OFFSETS[5], "")(text, end, inner)
                        found.zone = inner.offset
                    except UnreadableError:
                        pass  # the prefix alone, and what follows it is not of the zone
                return end
        length = self._longest_name(text, position)
        name = longest_zone(text, position) or ""
        if length >= len(name) > 0 or (length and not name):
            found.zone = zone_of(self.names[text[position : position + length]])
            return position + length
        if name:
            found.zone = zone_of(name)
            return position + len(name)
        if text.startswith("Z", position):
            found.zone = UTC
            return position + 1
        raise UnreadableError("not a zone")

    def _longest_name(self, text: str, position: int) -> int:
        return max((len(name) for name in self.names if text.startswith(name, position)), default=0)


# Fields to time


_RANGES = {"M": (1, 12), "d": (1, 31), "D": (1, 366), "E": (1, 7), "e": (1, 7), "Q": (1, 4), "w": (1, 53)}
_RANGES |= {"H": (0, 24), "k": (0, 24), "h": (0, 12), "K": (0, 11), "m": (0, 59), "s": (0, 59)}
_RANGES |= {"n": (0, 999_999_999), "A": (0, 86_399_999), "N": (0, 86_399_999_999_999)}


def _milliseconds(found: _Found) -> int:
    numbers = found.numbers
    for letter, (least, most) in _RANGES.items():
        if letter in numbers and not least <= numbers[letter] <= most:
            raise UnreadableError(f"{letter} is out of its range")
    day = _day(numbers)
    seconds, nanoseconds = _time_of_day(numbers)
    zone = found.offset or found.zone or UTC
    midnight = datetime(day.year, day.month, day.day) + timedelta(seconds=seconds)
    whole = (midnight.replace(tzinfo=zone) - _EPOCH) // timedelta(milliseconds=1)
    return whole + nanoseconds // 1_000_000


def _day(numbers: dict[str, int]) -> date:
    year = numbers.get("u")
    if "y" in numbers:
        if numbers["y"] < 1 or numbers.get("G") == 0:
            raise UnreadableError("a year before the first")
        if year is not None and year != numbers["y"]:
            raise UnreadableError("two years")
        year = numbers["y"]
    if year is not None and "M" in numbers and "d" in numbers:
        month = numbers["M"]
        # There is no 31st of April, but it is read as the 30th: ResolverStyle.SMART.
        last = (date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
        day = date(year, month, min(numbers["d"], last))
    elif year is not None and "D" in numbers:
        day = date(year, 1, 1) + timedelta(days=numbers["D"] - 1)
        if day.year != year:
            raise UnreadableError("a 366th day")
    elif "Y" in numbers and "w" in numbers and ("e" in numbers or "E" in numbers):
        day = _day_of_week(numbers)
    else:
        raise UnreadableError("no date")
    beside = {
        "E": day.isoweekday(),
        "Q": (day.month + 2) // 3,
        "M": day.month,
        "d": None,
        "e": day.isoweekday() % 7 + 1,
    }
    if any(letter in numbers and value not in (None, numbers[letter]) for letter, value in beside.items()):
        raise UnreadableError("a day of the week or a quarter that is not that of the date")
    return day


def _day_of_week(numbers: dict[str, int]) -> date:
    """The day of a week: in the United States it begins on Sunday, and the first has the 1st of January."""
    first = date(numbers["Y"], 1, 1)
    weekday = numbers["e"] if "e" in numbers else numbers["E"] % 7 + 1
    return first + timedelta(days=(numbers["w"] - 1) * 7 + weekday - 1 - first.isoweekday() % 7)


def _time_of_day(numbers: dict[str, int]) -> tuple[int, int]:
    """Seconds since midnight, and nanoseconds.  Without an hour it is midnight."""
    if "N" in numbers:
        return divmod(numbers["N"], 1_000_000_000)
    if "A" in numbers:
        return numbers["A"] // 1000, numbers["A"] % 1000 * 1_000_000
    hour = numbers.get("H")
    if "k" in numbers:
        hour = numbers["k"] % 24
    half = numbers.get("h", numbers.get("K"))
    if half is not None and "a" in numbers:
        hour = half % 12 + 12 * numbers["a"]
    if hour is None or ("m" not in numbers and ("s" in numbers or "n" in numbers)):
        return 0, 0
    minute, second, nanosecond = numbers.get("m", 0), numbers.get("s", 0), numbers.get("n", 0)
    if hour == 24 and (minute or second or nanosecond):
        raise UnreadableError("later than the end of the day")
    return hour * 3600 + minute * 60 + second, nanosecond
