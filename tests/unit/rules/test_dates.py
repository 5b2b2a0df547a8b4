"""parse_time and time_to_epoch."""

import pytest

from stepbridge.iot.rules.sql.functions.dates import parse_time, time_to_epoch
from stepbridge.iot.rules.sql.values import UNDEFINED, Value

MOMENT = 1_497_028_786_123  # 2017-06-09 17:19:46.123 UTC, a Friday


@pytest.mark.parametrize(
    ("pattern", "zone", "expected"),
    [
        ("yyyy-MM-dd'T'HH:mm:ss.SSS", "UTC", "2017-06-09T17:19:46.123"),
        ("yy M d, H:m:s", "UTC", "17 6 9, 17:19:46"),
        ("EEE EEEE MMM MMMM", "UTC", "Fri Friday Jun June"),
        ("hh:mm a, KK kk", "America/Los_Angeles", "10:19 AM, 10 10"),
        ("z Z ZZ ZZZ", "America/Los_Angeles", "PDT -0700 -07:00 America/Los_Angeles"),
        ("Z", "+05:30", "+0530"),
        ("D w e x C", "UTC", "160 23 5 2017 20"),
        ("''yyyy''", "UTC", "'2017'"),
        ("S SS SSSSSS", "UTC", "1 12 123000"),
        ("yyyy", "Nowhere/City", UNDEFINED),
        ("'open", "UTC", UNDEFINED),
        ("i", "UTC", UNDEFINED),
        ("zzzz", "UTC", "Coordinated Universal Time"),
    ],
)
def test_parse_time(pattern: str, zone: str, expected: Value) -> None:
    assert parse_time(pattern, MOMENT, zone) == expected


@pytest.mark.parametrize("milliseconds", [10**30, -(10**30), "x", None, True, UNDEFINED])
def test_parse_time_of_what_is_no_time(milliseconds: Value) -> None:
    assert parse_time("yyyy", milliseconds) is UNDEFINED


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("2020-04-03 09:45:18 UTC+01:00", "yyyy-MM-dd HH:mm:ss VV", 1585903518000),
        ("18 December 2015", "dd MMMM yyyy", 1450396800000),
        ("2007-12-03 10:15:30.592 America/Los_Angeles", "yyyy-MM-dd HH:mm:ss.SSS z", 1196705730592),
        ("2017-06-09T17:19:46.123Z", "yyyy-MM-dd'T'HH:mm:ss.SSSX", MOMENT),
        ("2017-06-09T19:19:46.123+02:00", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", MOMENT),
        ("20170609171946", "yyyyMMddHHmmss", MOMENT - 123),
        ("Fri, 9 Jun 2017 05:19:46 PM GMT", "EEE, d MMM yyyy hh:mm:ss a z", MOMENT - 123),
        ("2017-160", "yyyy-DDD", 1496966400000),
        ("2017-06-09", "yyyy-MM-dd[ HH:mm]", 1496966400000),
        ("17-06-09", "yy-MM-dd", 1496966400000),
        ("2017-13-09", "yyyy-MM-dd", UNDEFINED),
        ("2017-06-09 25:00", "yyyy-MM-dd HH:mm", UNDEFINED),
        ("17:19", "HH:mm", UNDEFINED),
        ("2017-06-09 x", "yyyy-MM-dd", UNDEFINED),
        ("2017", "yyyy qqq", UNDEFINED),
    ],
)
def test_time_to_epoch(text: str, pattern: str, expected: Value) -> None:
    assert time_to_epoch(text, pattern) == expected
