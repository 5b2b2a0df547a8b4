"""Cron expressions as EventBridge has them: minutes, hours, day of month, month, day of week, year.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based and
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), start=1)}
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_SATURDAY, _SUNDAY = 5, 6  # of date.weekday()


@dataclass(frozen=True, slots=True)
class _Day:
    """A day of the month that depends on the month: `L`, `LW`, `15W`, or of the week: `5L`, `3#2`."""

    kind: str
    number: int = 0
    occurrence: int = 0

    def matches(self, day: date) -> bool:
        last = calendar.monthrange(day.year, day.month)[1]
        if self.kind == "L":
            return day.day == last - self.number
        if self.kind == "W":
            number = self.number or last
            return number <= last and day.day == _nearest_weekday(day.year, day.month, number)
        if _weekday(day) != self.number:
            return False
        return day.day + 7 > last if self.kind == "lastweekday" else (day.day - 1) // 7 + 1 == self.occurrence


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression; `parse_cron` makes it."""

    minutes: frozenset[int]
    hours: frozenset[int]
    month_days: frozenset[int] | _Day | None  # None is `?`
    months: frozenset[int]
    week_days: frozenset[int] | _Day | None
    years: frozenset[int]

    def next_after(self, time: float, zone: tzinfo) -> float | None:
        """The first time after `time` (both seconds since the epoch) that matches on the clocks of `zone`.

        A time that a change to summer time leaves out is skipped; one that comes twice counts once.  None if there is
        no such time any more.
        """
        start = datetime.fromtimestamp(time, zone).date() - timedelta(days=1)
        for day in self._days(start):
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                    moment = local.timestamp()
                    if moment <= time:
                        continue
                    there = datetime.fromtimestamp(moment, zone)
                    if (there.hour, there.minute) == (hour, minute):
                        return moment
        return None

    def _days(self, start: date) -> Iterator[date]:
        for year in sorted(year for year in self.years if year >= start.year):
            for month in sorted(self.months):
                if (year, month) < (start.year, start.month):
                    continue
                for number in range(1, calendar.monthrange(year, month)[1] + 1):
                    day = date(year, month, number)
                    if day >= start and self._on(day):
                        yield day

    def _on(self, day: date) -> bool:
        return _among(self.month_days, day, day.day) and _among(self.week_days, day, _weekday(day))


def parse_cron(text: str) -> Cron:
    """Read the six fields between the parentheses.  Raises ValueError if they are not an expression."""
    fields = text.split()
    if len(fields) != 6:
        raise ValueError(f"a cron expression has six fields, not {len(fields)}")
    minutes, hours, month_days, months, week_days, years = (field.upper() for field in fields)
    if (month_days == "?") == (week_days == "?"):
        raise ValueError("one of day-of-month and day-of-week must be ?")
    return Cron(
        _numbers(minutes, 0, 59),
        _numbers(hours, 0, 23),
        None if month_days == "?" else _special_month_day(month_days) or _numbers(month_days, 1, 31),
        _numbers(months, 1, 12, _MONTHS),
        None if week_days == "?" else _special_week_day(week_days) or _week_days(week_days),
        _numbers(years, _FIRST_YEAR, _LAST_YEAR),
    )


def _among(wanted: "frozenset[int] | _Day | None", day: date, number: int) -> bool:
    if wanted is None:
        return True
    return wanted.matches(day) if isinstance(wanted, _Day) else number in wanted


def _weekday(day: date) -> int:
    return (day.weekday() + 1) % 7 + 1  # Sunday is 1


def _nearest_weekday(year: int, month: int, number: int) -> int:
    """The weekday closest to a day of the month, in the same month."""
    day = date(year, month, number)
    last = calendar.monthrange(year, month)[1]
    if day.weekday() == _SATURDAY:
        return number - 1 if number > 1 else number + 2
    if day.weekday() == _SUNDAY:
        return number + 1 if number < last else number - 2
    return number


def _special_month_day(field: str) -> _Day | None:
    if match := re.fullmatch(r"L(?:-(\d{1,2}))?", field):
        return _Day("L", _bounded(match[1] or "0", 0, 30, {}))
    if field == "LW":
        return _Day("W")
    if match := re.fullmatch(r"(\d{1,2})W", field):
        return _Day("W", _bounded(match[1], 1, 31, {}))
    return None


def _special_week_day(field: str) -> _Day | None:
    if match := re.fullmatch(r"(\w+)L", field):
        return _Day("lastweekday", _bounded(match[1], 1, 7, _WEEKDAYS))
    if match := re.fullmatch(r"(\w+)#([1-5])", field):
        return _Day("nth", _bounded(match[1], 1, 7, _WEEKDAYS), int(match[2]))
    return None


def _week_days(field: str) -> frozenset[int]:
    return _numbers("7" if field == "L" else field, 1, 7, _WEEKDAYS)  # L: the last day of the week


def _numbers(field: str, lowest: int, highest: int, names: Mapping[str, int] | None = None) -> frozenset[int]:
    """The numbers that a field of lists, ranges and steps means."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = lowest, highest
        else:
            start = _bounded(first, lowest, highest, names or {})
            end = _bounded(last, lowest, highest, names or {}) if dash else highest if slash else start
        if slash and not (step.isdigit() and int(step) > 0):
            raise ValueError(f"{part} has no step of 1 or more")
        if end < start:
            raise ValueError(f"{part} is a range that ends before it begins")
        found.update(range(start, end + 1, int(step) if slash else 1))
    return frozenset(found)


def _bounded(text: str, lowest: int, highest: int, names: Mapping[str, int]) -> int:
    if text in names:
        return names[text]
    if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
        raise ValueError(f"{text or 'nothing'} is not a value from {lowest} to {highest}")
    return int(text)
