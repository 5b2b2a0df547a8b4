"""parse_time and time_to_epoch."""

import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.iot.rules.sql import VERSION_2016, Failed, Input, SqlError, Statement
from stepbridge.iot.rules.sql.evaluation import Stop
from stepbridge.iot.rules.sql.functions.parse_time import parse_time
from stepbridge.iot.rules.sql.functions.time_to_epoch import time_to_epoch
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
        ("z|zzz|zzzz", "Europe/London", "BST|BST|British Summer Time"),
        ("z|zzzz", "Europe/Berlin", "CEST|Central European Summer Time"),
        ("z|zzzz", "America/Phoenix", "MST|Mountain Standard Time"),
        ("z|zzzz", "America/Sao_Paulo", "BRT|Brasilia Standard Time"),
        ("z|zzzz", "Asia/Kolkata", "IST|India Standard Time"),
        ("z|zzzz", "Asia/Shanghai", "CST|China Standard Time"),
        ("z|zzzz", "+05:30", "+05:30|+05:30"),
        ("z|zzzz", "Pacific/Marquesas", "-09:30|-09:30"),
        ("ZZ", "-0930", "-09:30"),
        ("YYYY YY xx yyyyy", "UTC", "2017 17 17 02017"),
        ("hh'h' 'o''clock' aa", "UTC", "05h o'clock PM"),
        ("CC ww ee DDDD", "UTC", "20 23 05 0160"),
        ("yyyy-MM-ddTHH", "UTC", UNDEFINED),
        ("yyyy", "PST", UNDEFINED),
        ("yyyy", "UTC+1", UNDEFINED),
        ("yyyy", "+25:00", UNDEFINED),
        ("yyyy", "../../etc/passwd", UNDEFINED),
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
        # ResolverStyle.SMART: the last day of the month, the end of the day.
        ("2017-02-31", "yyyy-MM-dd", 1488240000000),
        ("2017-06-31", "yyyy-MM-dd", 1498780800000),
        ("2017-06-32", "yyyy-MM-dd", UNDEFINED),
        ("2017-06-08 24:00", "yyyy-MM-dd HH:mm", 1496966400000),
        ("2017-06-08 24:01", "yyyy-MM-dd HH:mm", UNDEFINED),
        # What does not agree with the date is refused.
        ("Fri 2017-06-09", "EEE yyyy-MM-dd", 1496966400000),
        ("Mon 2017-06-09", "EEE yyyy-MM-dd", UNDEFINED),
        ("2017-06-09 2", "yyyy-MM-dd Q", 1496966400000),
        ("2017-06-09 Q3", "yyyy-MM-dd QQQ", UNDEFINED),
        # Widths, signs and digits side by side.
        ("20170609171946123", "yyyyMMddHHmmssSSS", MOMENT),
        ("12017-06-09", "yyyy-MM-dd", UNDEFINED),
        ("2017-6-9", "yyyy-M-d", 1496966400000),
        ("2017-6-9", "yyyy-MM-dd", UNDEFINED),
        ("2017-06-09 17:19:46.1", "yyyy-MM-dd HH:mm:ss.SSS", UNDEFINED),
        ("2017-06-09 17:19:46.123456789", "yyyy-MM-dd HH:mm:ss.SSSSSSSSS", MOMENT),
        ("2017-06-09 62386123", "yyyy-MM-dd A", MOMENT),
        ("9 june 2017", "d MMMM yyyy", UNDEFINED),
        ("2017-W23-6", "YYYY-'W'ww-e", 1496966400000),
        ("2017-06", "yyyy-MM", UNDEFINED),
        ("2017-06-09 05:19", "yyyy-MM-dd hh:mm", 1496966400000),
        ("AD 2017-06-09", "G yyyy-MM-dd", 1496966400000),
        ("2017-06-09 17:19", "yyyy-MM-dd'T'HH:mm", UNDEFINED),
        ("2017-06-09T17:19", "yyyy-MM-ddTHH:mm", UNDEFINED),
        ("2017-06-09 17", "yyyy-MM-dd [HH:mm][HH]", 1496966400000 + 17 * 3_600_000),
        # Zones.
        ("2017-06-09+02", "yyyy-MM-ddX", 1496966400000 - 7_200_000),
        ("2017-06-09+0200", "yyyy-MM-ddXX", 1496966400000 - 7_200_000),
        ("2017-06-09+0200", "yyyy-MM-ddXXX", UNDEFINED),
        ("2017-06-09Z", "yyyy-MM-ddxxx", UNDEFINED),
        ("2017-06-09+00:00", "yyyy-MM-ddxxx", 1496966400000),
        ("2017-06-09-0330", "yyyy-MM-ddZ", 1496966400000 + 12_600_000),
        ("2017-06-09 GMT+2", "yyyy-MM-dd O", 1496966400000 - 7_200_000),
        ("2017-06-09 GMT+02:00", "yyyy-MM-dd ZZZZ", 1496966400000 - 7_200_000),
        ("2017-06-09 Europe/Paris", "yyyy-MM-dd VV", 1496966400000 - 7_200_000),
        ("2017-06-09 CEST", "yyyy-MM-dd z", 1496966400000 - 7_200_000),
        ("2017-06-09 Central European Summer Time", "yyyy-MM-dd zzzz", 1496966400000 - 7_200_000),
        ("2017-06-09 CEST", "yyyy-MM-dd VV", UNDEFINED),
        ("2017-06-09 +19:00", "yyyy-MM-dd XXX", UNDEFINED),
        ("2017-06-09", "yyyy-MM-dd{", UNDEFINED),
        ("2017-06-09", "yyyy-MM-dd]", UNDEFINED),
    ],
)
def test_time_to_epoch(text: str, pattern: str, expected: Value) -> None:
    assert time_to_epoch(text, pattern) == expected


@pytest.mark.parametrize("pattern", ["yyyy-MM-W", "yyyy MMMMM", "yyyy-MM-dd v", "ppH"])
def test_what_only_java_can_read_is_refused_when_the_rule_is_created(pattern: str) -> None:
    problem = re.escape(f"stepbridge cannot read times by the pattern {pattern!r}: it uses ")
    with pytest.raises(SqlError, match=problem):
        Statement(f"SELECT time_to_epoch(x, '{pattern}') FROM 'a'", VERSION_2016)
    statement = Statement("SELECT time_to_epoch(x, p) FROM 'a'", VERSION_2016)
    outcome = statement.run(statement.start(Input("a", json.dumps({"x": "", "p": pattern}).encode(), 0, "1")))
    assert isinstance(outcome, Failed)
    assert re.match(problem, outcome.message)


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (1_497_028_786_123_456, "49408-12-15 Thu 01:28:43.456"),  # microseconds, taken for milliseconds
        (253_402_300_799_999, "9999-12-31 Fri 23:59:59.999"),
        (253_402_300_800_000, "10000-01-01 Sat 00:00:00.000"),
        (-1, "1969-12-31 Wed 23:59:59.999"),
    ],
)
def test_times_far_away(milliseconds: int, expected: str) -> None:
    assert parse_time("yyyy-MM-dd EEE HH:mm:ss.SSS", milliseconds) == expected


@given(st.text("yMdHhmsSazZXVEQGwe'[]- :T+0129", max_size=14), st.text(max_size=14) | st.just("2017-06-09 17:19:46"))
def test_any_pattern_is_read_or_undefined(pattern: str, text: str) -> None:
    assert parse_time(pattern, MOMENT) is UNDEFINED or isinstance(parse_time(pattern, MOMENT), str)
    with suppress(Stop):  # not supported
        assert time_to_epoch(text, pattern) is UNDEFINED or isinstance(time_to_epoch(text, pattern), int)
