"""parse_time: a time as text, by a pattern of Joda-Time's DateTimeFormat."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from stepbridge.iot.rules.sql.functions.zones import fixed_offset, name_of, zone_of
from stepbridge.iot.rules.sql.values import UNDEFINED, Value, to_number, to_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_LONG = 2**63 - 1
_CYCLE = 146_097 * 86_400_000  # 400 years, in milliseconds: whole weeks too
_LATEST = 253_370_764_800_000  # the beginning of 9999
_PATTERN = re.compile(r"'(?P<quoted>(?:[^']|'')*)'|(?P<letters>(?P<letter>[A-Za-z])(?P=letter)*)|(?P<other>[^A-Za-z'])")
_OFFSET = re.compile(r"([+-])(\d\d)(?::?(\d\d)(?::?(\d\d))?)?", re.ASCII)
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


class UnreadableError(Exception):
    """A pattern or text that is not of the form it should be."""


def parse_time(pattern: Value, milliseconds: Value, zone: Value = "UTC") -> Value:
    """`milliseconds` since the epoch as text, in a time zone."""
    text, number, zone_name = to_text(pattern), to_number(milliseconds), to_text(zone)
    if text is None or number is None or zone_name is None:
        return UNDEFINED
    if not -_LAST_LONG <= number <= _LAST_LONG:
        return UNDEFINED
    # Python knows no later years than 9999, but the calendar repeats itself.
    cycles = max(0, (int(number) - _LATEST) // _CYCLE + 1)
    try:
        moment = (_EPOCH + timedelta(milliseconds=int(number) - cycles * _CYCLE)).astimezone(_zone(zone_name))
        years = 400 * cycles
        return "".join(_field(letter, letters, moment, zone_name, years) for letter, letters in parts_of(text))
    except (UnreadableError, OverflowError, ValueError):
        return UNDEFINED


def parts_of(pattern: str) -> list[tuple[str, str]]:
    """A pattern as literals (`("", text)`) and fields (`(letter, letters)`).  Raises UnreadableError."""
    parts: list[tuple[str, str]] = []
    position = 0
    while position < len(pattern):
        match = _PATTERN.match(pattern, position)
        if match is None:
            raise UnreadableError(pattern)
        if match["letters"]:
            parts.append((match["letter"], match["letters"]))
        elif match["quoted"] is not None:
            parts.append(("", match["quoted"].replace("''", "'") or "'"))
        else:
            parts.append(("", match["other"]))
        position = match.end()
    return parts


def _zone(name: str) -> tzinfo:
    offset = _OFFSET.fullmatch(name)
    zone = fixed_offset(offset[1], offset[2], offset[3], offset[4]) if offset else zone_of(name)
    if zone is None:
        raise UnreadableError(name)
    return zone


def _field(letter: str, letters: str, moment: datetime, zone_name: str, years: int) -> str:
    """A field of `moment`, which is so many `years` later."""
    width = len(letters)
    week_year, week, weekday = moment.isocalendar()
    match letter:
        case "":
            return letters
        case "G":
            return "AD"
        case "C":
            return str((moment.year + years) // 100).zfill(width)
        case "y" | "Y" | "x":
            year = (week_year if letter == "x" else moment.year) + years
            return f"{year % 100:02}" if width == 2 else str(year).zfill(width)
        case "M":
            name = MONTHS[moment.month - 1]
            return name if width > 3 else name[:3] if width == 3 else str(moment.month).zfill(width)
        case "E":
            name = DAYS[weekday - 1]
            return name if width > 3 else name[:3]
        case "a":
            return "AM" if moment.hour < 12 else "PM"
        case "S":
            return f"{moment.microsecond:06}".ljust(width, "0")[:width]
        case "z":
            # A zone without a name is shown by its offset.
            return name_of(moment, zone_name, is_long=width > 3) or _offset(moment, ":")
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
        raise UnreadableError(letters)
    return str(numbers[letter]).zfill(width)


def _offset(moment: datetime, separator: str) -> str:
    seconds = (moment.utcoffset() or timedelta()) // timedelta(seconds=1)
    minutes, rest = divmod(abs(seconds), 60)
    text = f"{'-' if seconds < 0 else '+'}{minutes // 60:02}{separator}{minutes % 60:02}"
    return f"{text}{separator}{rest:02}" if rest else text
