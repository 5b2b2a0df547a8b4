"""Times as text: parse_time (Joda-Time's patterns) and time_to_epoch (those of Java's DateTimeFormatter)."""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from stepbridge.iot.rules.sql.values import UNDEFINED, Value, to_number, to_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATTERN = re.compile(r"'(?P<quoted>(?:[^']|'')*)'|(?P<letters>(?P<letter>[A-Za-z])(?P=letter)*)|(?P<other>[^A-Za-z'])")
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

# What Java reads a short name of a zone as (sun.util.resources.TimeZoneNames, English).
_SHORT_ZONES = {
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
    "MST": "America/Denver",
    "MDT": "America/Denver",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "EST": "America/New_York",
    "EDT": "America/New_York",
    "CET": "Europe/Paris",
    "CEST": "Europe/Paris",
    "BST": "Europe/London",
    "JST": "Asia/Tokyo",
    "IST": "Asia/Kolkata",
}


class _Unreadable(Exception):  # noqa: N818 - the functions turn it into Undefined
    """A pattern or text that is not of the form it should be."""


def parse_time(pattern: Value, milliseconds: Value, zone: Value = "UTC") -> Value:
    """`milliseconds` since the epoch as text, by a Joda-Time pattern, in a time zone."""
    text, number, zone_name = to_text(pattern), to_number(milliseconds), to_text(zone)
    if text is None or number is None or zone_name is None:
        return UNDEFINED
    try:
        moment = (_EPOCH + timedelta(milliseconds=int(number))).astimezone(_zone(zone_name))
        return "".join(_joda_field(part, moment, zone_name) for part in _parts(text))
    except (_Unreadable, OverflowError, ValueError):
        return UNDEFINED


def time_to_epoch(value: Value, pattern: Value) -> Value:
    """The text of a time, written by a pattern of Java's DateTimeFormatter, as milliseconds since the epoch."""
    text, form = to_text(value), to_text(pattern)
    if text is None or form is None:
        return UNDEFINED
    try:
        match = _java_pattern(form).fullmatch(text)
        moment = None if match is None else _moment({key: found for key, found in match.groupdict().items() if found})
    except (_Unreadable, OverflowError, ValueError, re.error):
        return UNDEFINED
    return UNDEFINED if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)


def _parts(pattern: str) -> list[tuple[str, str]]:
    """A pattern as literals (`("", text)`) and fields (`(letter, letters)`)."""
    parts: list[tuple[str, str]] = []
    position = 0
    while position < len(pattern):
        match = _PATTERN.match(pattern, position)
        if match is None:
            raise _Unreadable(pattern)
        if match["letters"]:
            parts.append((match["letter"], match["letters"]))
        elif match["quoted"] is not None:
            parts.append(("", match["quoted"].replace("''", "'") or "'"))
        else:
            parts.append(("", match["other"]))
        position = match.end()
    return parts


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name in ("Z", "UTC", "GMT", "UT"):
        return UTC
    offset = re.fullmatch(r"(?:UTC|GMT|UT)?([+-])(\d\d?):?(\d\d)?(?::?(\d\d))?", name)
    if offset:
        hours, minutes, seconds = (int(part or 0) for part in offset.groups()[1:])
        size = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        return timezone(size if offset[1] == "+" else -size)
    try:
        return ZoneInfo(_SHORT_ZONES.get(name, name))
    except (OSError, ValueError) as unknown:  # ZoneInfoNotFoundError is a KeyError
        raise _Unreadable(name) from unknown
    except KeyError as unknown:
        raise _Unreadable(name) from unknown


# parse_time


def _joda_field(part: tuple[str, str], moment: datetime, zone_name: str) -> str:
    letter, letters = part
    width = len(letters)
    year, week, weekday = moment.isocalendar()
    match letter:
        case "":
            return letters
        case "G":
            return "AD"
        case "C":
            return str(moment.year // 100).zfill(width)
        case "y" | "Y":
            return f"{moment.year % 100:02}" if width == 2 else str(moment.year).zfill(width)
        case "x":
            return f"{year % 100:02}" if width == 2 else str(year).zfill(width)
        case "M":
            name = _MONTHS[moment.month - 1]
            return name if width > 3 else name[:3] if width == 3 else str(moment.month).zfill(width)
        case "E":
            name = _DAYS[weekday - 1]
            return name if width > 3 else name[:3]
        case "a":
            return "AM" if moment.hour < 12 else "PM"
        case "S":
            return f"{moment.microsecond:06}".ljust(width, "0")[:width]
        case "z":
            return _zone_text(moment, zone_name, width)
        case "Z":
            return zone_name if width > 2 else _offset(moment, ":" if width == 2 else "")
    numbers = {
        "w": week,
        "e": weekday,
        "D": moment.timetuple().tm_yday,
        "d": moment.day,
        "K": moment.hour % 12,
        "h": moment.hour % 12 or 12,
        "H": moment.hour,
        "k": moment.hour or 24,
        "m": moment.minute,
        "s": moment.second,
    }
    if letter not in numbers:
        raise _Unreadable(letters)
    return str(numbers[letter]).zfill(width)


def _zone_text(moment: datetime, zone_name: str, width: int) -> str:
    name = moment.tzname() or zone_name
    if width > 3 and name == "UTC":
        return "Coordinated Universal Time"
    # A zone with no letters of its own is shown by its offset.
    return _offset(moment, ":") if name[0] in "+-" or name.startswith(("UTC+", "UTC-")) else name


def _offset(moment: datetime, separator: str) -> str:
    minutes = (moment.utcoffset() or timedelta()) // timedelta(minutes=1)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}{separator}{abs(minutes) % 60:02}"


# time_to_epoch

_NUMBERS = {"u": "year", "y": "year", "M": "month", "L": "month", "d": "day", "D": "day_of_year"} | {
    "H": "hour",
    "k": "clock_hour",
    "h": "half_hour",
    "K": "half_hour",
    "m": "minute",
    "s": "second",
}
_ZONE = r"[A-Za-z][\w/+:-]*|[+-]\d\d:?\d\d(?::?\d\d)?"


@lru_cache(maxsize=128)
def _java_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression whose groups are the fields of `pattern`."""
    expression = ""
    parts = _parts(pattern)
    for index, (letter, letters) in enumerate(parts):
        # Two numbers side by side: the first has exactly its width.
        adjacent = index + 1 < len(parts) and parts[index + 1][0] in _NUMBERS.keys() | {"S"}
        expression += _java_field(letter, letters, adjacent)
    return re.compile(expression, re.ASCII)


def _java_field(letter: str, letters: str, adjacent: bool) -> str:
    width = len(letters)
    if letter == "":
        return {"[": "(?:", "]": ")?"}.get(letters, re.escape(letters))
    if letter in "ML" and width >= 3:
        names = _MONTHS if width > 3 else [name[:3] for name in _MONTHS]
        return f"(?P<month_name>{'|'.join(names)})"
    if letter == "E" or (letter == "e" and width >= 3):
        return f"(?:{'|'.join(_DAYS if width == 4 else [name[:3] for name in _DAYS])})"
    if letter in "uy" and width == 2:
        return r"(?P<short_year>\d{2})"
    if letter in _NUMBERS:
        digits = f"{{{width}}}" if width > 1 or adjacent else "+"
        if letter in "uy" and width == 4 and not adjacent:
            digits = "{4,9}"
        return f"(?P<{_NUMBERS[letter]}>\\d{digits})"
    others = {
        "S": rf"(?P<fraction>\d{{{width}}})",
        "a": "(?P<half>AM|PM)",
        "G": "(?:AD|Anno Domini)" if width > 3 else "AD",
        "V": f"(?P<zone>{_ZONE})",
        "z": f"(?P<zone>{_ZONE})",
        "O": r"(?P<zone>GMT(?:[+-]\d\d?(?::\d\d)?)?)",
        "X": r"(?P<zone>Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)",
        "x": r"(?P<zone>[+-]\d\d(?::?\d\d(?::?\d\d)?)?)",
        "Z": r"(?P<zone>Z|[+-]\d\d:?\d\d(?::?\d\d)?|GMT[+-]\d\d:\d\d)",
        "n": r"(?P<nanosecond>\d{1,9})",
        "A": r"(?P<milli_of_day>\d+)",
        "N": r"(?P<nano_of_day>\d+)",
    }
    if letter not in others:
        raise _Unreadable(letters)
    return others[letter]


def _moment(fields: dict[str, str]) -> datetime:
    year = int(fields["year"]) if "year" in fields else 2000 + int(fields.get("short_year", "x"))
    if "day_of_year" in fields:
        day = date(year, 1, 1) + timedelta(days=int(fields["day_of_year"]) - 1)
    else:
        name = fields.get("month_name")
        month = [one[:3] for one in _MONTHS].index(name[:3]) + 1 if name else int(fields.get("month", "1"))
        day = date(year, month, int(fields.get("day", "1")))
    zone = _zone(fields["zone"]) if "zone" in fields else UTC
    return datetime(day.year, day.month, day.day, tzinfo=zone) + _time_of_day(fields)


def _time_of_day(fields: dict[str, str]) -> timedelta:
    if "milli_of_day" in fields:
        return timedelta(milliseconds=int(fields["milli_of_day"]))
    if "nano_of_day" in fields:
        return timedelta(microseconds=int(fields["nano_of_day"]) // 1000)
    hour = int(fields.get("hour", "0"))
    if "clock_hour" in fields:
        hour = int(fields["clock_hour"]) % 24
    if "half_hour" in fields:
        hour = int(fields["half_hour"]) % 12 + (12 if fields.get("half") == "PM" else 0)
    minute, second = int(fields.get("minute", "0")), int(fields.get("second", "0"))
    if hour > 23 or minute > 59 or second > 59:
        raise _Unreadable(str(fields))
    fraction = Decimal(f"0.{fields.get('fraction', '0')}") + Decimal(fields.get("nanosecond", "0")).scaleb(-9)
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=int(fraction * 1_000_000))
