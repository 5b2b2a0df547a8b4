"""When expressions fall due: times are written as UTC unless a zone is given."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from stepbridge.schedules.cron import parse_cron
from stepbridge.schedules.expressions import Once, Rate, parse_expression, parse_zone

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("fields", "after", "due"),
    [
        ("0 12 * * ? *", "2025-03-01 11:59:59", ["2025-03-01 12:00", "2025-03-02 12:00"]),
        ("0 12 * * ? *", "2025-03-01 12:00:00", ["2025-03-02 12:00"]),
        ("0/15 * * * ? *", "2025-03-01 10:07", ["2025-03-01 10:15", "2025-03-01 10:30"]),
        ("5/20 8-9 * * ? *", "2025-03-01 08:50", ["2025-03-01 09:05", "2025-03-01 09:25"]),
        ("15,45 10 ? * MON-FRI *", "2025-03-01 00:00", ["2025-03-03 10:15", "2025-03-03 10:45"]),
        ("0 18 ? * 2-6 *", "2025-03-07 18:00", ["2025-03-10 18:00"]),
        ("0 8 1 * ? *", "2025-12-15 00:00", ["2026-01-01 08:00"]),
        ("0 8 31 * ? *", "2025-03-31 08:00", ["2025-05-31 08:00", "2025-07-31 08:00"]),
        ("0 0 29 FEB ? *", "2025-01-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 9 L * ? *", "2025-02-01 00:00", ["2025-02-28 09:00", "2025-03-31 09:00"]),
        ("0 9 L-2 * ? *", "2024-02-01 00:00", ["2024-02-27 09:00"]),
        ("0 9 LW * ? *", "2025-05-01 00:00", ["2025-05-30 09:00", "2025-06-30 09:00"]),
        # The 15th of February 2025 is a Saturday, of June 2025 a Sunday; the 1st of March 2025 a Saturday.
        ("0 9 15W * ? *", "2025-02-01 00:00", ["2025-02-14 09:00"]),
        ("0 9 15W * ? *", "2025-06-01 00:00", ["2025-06-16 09:00"]),
        ("0 9 1W * ? *", "2025-02-28 23:00", ["2025-03-03 09:00"]),
        ("0 9 31W * ? *", "2025-08-01 00:00", ["2025-08-29 09:00", "2025-10-31 09:00"]),
        ("0 9 ? * 3#2 *", "2025-03-01 00:00", ["2025-03-11 09:00", "2025-04-08 09:00"]),
        ("0 9 ? * FRI#5 *", "2025-03-01 00:00", ["2025-05-30 09:00"]),
        ("15 10 ? * 6L 2022-2023", "2022-01-01 00:00", ["2022-01-28 10:15", "2022-02-25 10:15"]),
        ("0 9 ? * L *", "2025-03-01 09:00", ["2025-03-08 09:00"]),
        ("30 6 ? JAN,JUL 1 2025/2", "2025-07-28 00:00", ["2027-01-03 06:30"]),
        ("0 0 1 1 ? 2020", "2021-01-01 00:00", [None]),
        ("0 0 30 2 ? *", "2021-01-01 00:00", [None]),
    ],
)
def test_cron(fields: str, after: str, due: list[str | None]) -> None:
    cron, time = parse_cron(fields), at(after)
    for expected in due:
        found = cron.next_after(time, UTC)
        assert (None if found is None else f"{datetime.fromtimestamp(found, UTC):%Y-%m-%d %H:%M}") == expected
        time = found or time


@pytest.mark.parametrize(
    ("fields", "zone", "after", "due"),
    [
        # 9 o'clock stays 9 o'clock when summer time begins, on the 30th of March 2025, and ends on the 26th of October.
        ("0 9 * * ? *", BERLIN, "2025-03-29 00:00", ["2025-03-29 08:00", "2025-03-30 07:00"]),
        ("0 9 * * ? *", BERLIN, "2025-10-25 00:00", ["2025-10-25 07:00", "2025-10-26 08:00"]),
        # Half past two does not exist on that day in March: skipped.
        ("30 2 * * ? *", BERLIN, "2025-03-29 00:00", ["2025-03-29 01:30", "2025-03-31 00:30"]),
        # It comes twice in October: once.
        ("30 2 * * ? *", BERLIN, "2025-10-25 12:00", ["2025-10-26 00:30", "2025-10-27 01:30"]),
        ("0 0 1 * ? *", NEW_YORK, "2025-02-28 12:00", ["2025-03-01 05:00", "2025-04-01 04:00"]),
        ("30 23 31 12 ? *", "Asia/Kolkata", "2025-12-31 12:00", ["2025-12-31 18:00"]),
    ],
)
def test_cron_in_a_time_zone(fields: str, zone: str, after: str, due: list[str]) -> None:
    cron, time = parse_cron(fields), at(after)
    for expected in due:
        found = cron.next_after(time, parse_zone(zone))
        assert found is not None
        assert f"{datetime.fromtimestamp(found, UTC):%Y-%m-%d %H:%M}" == expected
        time = found


def test_rate_and_once() -> None:
    rate = parse_expression("rate(5 minutes)")
    assert rate == Rate(300)
    assert [rate.next_after(time, 1000) for time in (999, 1000, 1299.5, 1300)] == [1000, 1300, 1300, 1600]
    once = parse_expression("at(2025-07-01T12:00:00)", parse_zone(BERLIN))
    assert once == Once(at("2025-07-01 10:00"))
    assert once.next_after(at("2025-07-01 10:00"), 0) is None


@pytest.mark.parametrize(
    "text",
    [
        "rate(0 minutes)", "rate(1 minutes)", "rate(5 minute)", "rate(5 seconds)", "rate(minute)", "rate( 5 minutes)",
        "cron(* * * * *)", "cron(* * * * * *)", "cron(* * ? * ? *)", "cron(60 * * * ? *)", "cron(* 24 * * ? *)",
        "cron(* * 0 * ? *)", "cron(* * 32 * ? *)", "cron(* * * 13 ? *)", "cron(* * ? * 0 *)", "cron(* * ? * 8 *)",
        "cron(* * ? * MON#6 *)", "cron(* * * * ? 1969)", "cron(* * * * ? 2200)", "cron(5-1 * * * ? *)",
        "cron(0/0 * * * ? *)", "cron(a * * * ? *)", "cron(0/5, 9-18, ?, *, MON-FRI, *)", "at(2025-01-01)",
        "at(2025-02-30T00:00:00)", "every minute", "",
    ],
)  # fmt: skip
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_expression(text)


def test_rules_have_nothing_that_happens_once() -> None:
    with pytest.raises(ValueError, match="neither a rate nor a cron"):
        parse_expression("at(2025-01-01T00:00:00)", once=False)


@pytest.mark.parametrize("name", ["Europe/Nowhere", "", "../etc/passwd"])
def test_what_is_no_time_zone(name: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        parse_zone(name)
