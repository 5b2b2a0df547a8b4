"""Schedule expressions: `rate(5 minutes)`, `cron(0 12 * * ? *)`, `at(2030-01-01T12:00:00)`.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from stepbridge.schedules.cron import Cron, parse_cron

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)(s?)\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class Rate:
    """Every `seconds`, counted from when the schedule began."""

    seconds: int

    def next_after(self, time: float, began: float) -> float | None:
        """The first time after `time`, seconds since the epoch; `began` is one of them."""
        if time < began:
            return began
        return began + ((time - began) // self.seconds + 1) * self.seconds


@dataclass(frozen=True, slots=True)
class Recurring:
    """By the clocks of a zone."""

    cron: Cron
    zone: tzinfo

    def next_after(self, time: float, began: float) -> float | None:
        """The first time after `time`, not before `began`; None if there is none any more."""
        return self.cron.next_after(max(time, began - 1), self.zone)


@dataclass(frozen=True, slots=True)
class Once:
    """At one time, seconds since the epoch."""

    moment: float

    def next_after(self, time: float, began: float) -> float | None:
        """The time, if it is after `time`."""
        del began
        return self.moment if self.moment > time else None


Expression = Rate | Recurring | Once


def parse_expression(text: str, zone: tzinfo = UTC, *, once: bool = True) -> Expression:
    """Read an expression; rules have none that happen `once`.  Raises ValueError if it is not valid."""
    if match := _RATE.fullmatch(text):
        value = int(match[1])
        if value < 1 or (value == 1) == bool(match[3]):
            raise ValueError("a rate is 1 minute, 2 minutes, …")
        return Rate(value * _SECONDS[match[2]])
    if text.startswith("cron(") and text.endswith(")"):
        return Recurring(parse_cron(text[5:-1]), zone)
    if once and text.startswith("at(") and text.endswith(")"):
        return Once(datetime.strptime(text[3:-1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone).timestamp())
    raise ValueError(f"{text} is neither a rate nor a cron expression")


def parse_zone(name: str) -> tzinfo:
    """A time zone of the IANA database.  Raises ValueError if there is none of this name."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"there is no time zone {name}") from None
