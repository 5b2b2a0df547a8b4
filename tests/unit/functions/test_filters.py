"""Filter criteria of event source mappings."""

import json
from typing import Any

import pytest

from stepbridge.functions.filters import MAX_FILTERS, FilterError, matches, parse_filters

RECORD = {
    "messageId": "1",
    "body": json.dumps({"kind": "Temperature", "value": 21.5, "tags": ["a", "b"], "none": None, "deep": {"on": True}}),
    "attributes": {"SenderId": "AIDA"},
    "messageAttributes": {"color": {"stringValue": "red", "dataType": "String"}},
}


def criteria(*patterns: Any) -> dict[str, Any]:
    return {"Filters": [{"Pattern": json.dumps(pattern)} for pattern in patterns]}


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ({}, True),
        ({"body": {"kind": ["Temperature", "Humidity"]}}, True),
        ({"body": {"kind": ["temperature"]}}, False),
        ({"body": {"kind": [{"equals-ignore-case": "temperature"}]}}, True),
        ({"body": {"kind": [{"prefix": "Temp"}]}}, True),
        ({"body": {"kind": [{"suffix": "Temp"}]}}, False),
        ({"body": {"kind": [{"anything-but": "Humidity"}]}}, True),
        ({"body": {"kind": [{"anything-but": ["Humidity", "Temperature"]}]}}, False),
        ({"body": {"kind": [{"anything-but": {"prefix": "Temp"}}]}}, False),
        ({"body": {"missing": [{"anything-but": "x"}]}}, False),
        ({"body": {"value": [21.5]}}, True),
        ({"body": {"value": ["21.5"]}}, False),
        ({"body": {"value": [{"numeric": ["=", 21.5]}]}}, True),
        ({"body": {"value": [{"numeric": [">", 20, "<=", 21]}]}}, False),
        ({"body": {"kind": [{"numeric": [">", 0]}]}}, False),
        ({"body": {"tags": ["b"]}}, True),
        ({"body": {"tags": ["c"]}}, False),
        ({"body": {"none": [None]}}, True),
        ({"body": {"deep": {"on": [True]}}}, True),
        ({"body": {"deep": {"on": [1]}}}, False),
        ({"body": {"deep": [{"exists": True}]}}, False),  # only of values, not of what has values in it
        ({"body": {"value": [{"exists": True}]}}, True),
        ({"body": {"missing": [{"exists": False}]}}, True),
        ({"body": {"missing": {"deeper": [{"exists": False}]}}}, True),
        ({"body": {"kind": ["Temperature"], "value": [0]}}, False),
        ({"body": {"$or": [{"kind": ["Humidity"]}, {"value": [21.5]}]}}, True),
        ({"body": {"$or": [{"kind": ["Humidity"]}, {"value": [0]}]}}, False),
        ({"messageAttributes": {"color": {"stringValue": ["red"]}}}, True),
        ({"attributes": {"SenderId": [{"prefix": "AROA"}]}}, False),
        ({"body": ["text"]}, False),
    ],
)
def test_patterns(pattern: dict[str, Any], matched: bool) -> None:
    assert matches(parse_filters(criteria(pattern)), RECORD) is matched


def test_bodies_that_are_not_json() -> None:
    record = {**RECORD, "body": "plain text"}
    assert matches(parse_filters(criteria({"body": ["plain text"]})), record)
    assert matches(parse_filters(criteria({"body": [{"prefix": "plain"}]})), record)
    assert not matches(parse_filters(criteria({"body": {"kind": ["x"]}})), record)
    assert not matches(parse_filters(criteria({"body": {"kind": [{"anything-but": "x"}]}})), {**record, "body": "1"})


def test_any_of_several_filters() -> None:
    patterns = parse_filters(criteria({"body": {"kind": ["Humidity"]}}, {"body": {"value": [21.5]}}))
    assert matches(patterns, RECORD)
    assert matches([], RECORD), "no filters let all through"


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "[1]",
        '{"body": "text"}',
        '{"body": []}',
        '{"body": {}}',
        '{"body": {"a": [{"prefix": 1}]}}',
        '{"body": {"a": [{"unknown": "x"}]}}',
        '{"body": {"a": [{"exists": "yes"}]}}',
        '{"body": {"a": [{"anything-but": []}]}}',
        '{"body": {"a": [{"anything-but": {"numeric": ["=", 1]}}]}}',
        '{"body": {"a": [{"numeric": ["=", "1"]}]}}',
        '{"body": {"a": [{"numeric": ["!=", 1]}]}}',
        '{"body": {"a": [{"numeric": ["<"]}]}}',
        '{"body": {"$or": [{"a": [1]}]}}',
        '{"body": {"a": ["' + "x" * 4096 + '"]}}',
    ],
)
def test_refused(pattern: str) -> None:
    with pytest.raises(FilterError, match="Invalid filter pattern definition"):
        parse_filters({"Filters": [{"Pattern": pattern}]})


def test_not_too_many() -> None:
    with pytest.raises(FilterError, match="at most 10 filters"):
        parse_filters(criteria(*[{}] * (MAX_FILTERS + 1)))
