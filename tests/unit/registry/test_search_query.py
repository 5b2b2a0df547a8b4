"""The query language of fleet indexing."""

import pytest

from stepbridge.iot.registry.search_query import QueryError, compile_query

THING = {
    "thingName": ["Pump-7"],
    "thingTypeName": ["pump"],
    "thingGroupNames": ["hall", "north wing"],
    "attributes.model": ["Big Pump 2000"],
    "attributes.pressure": ["7.5"],
    "attributes.path": ["a:b"],
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("*", True),
        ("pump", True),
        ("valve", False),
        ("thingName:pump-7", True),
        ("thingName:pump*", True),
        ("thingName:pump", False),
        ("thingname:pump-7", False),
        ("thingName:pum?-7", True),
        ("thingGroupNames:hall thingTypeName:pump", True),
        ("thingGroupNames:hall AND thingTypeName:valve", False),
        ("thingTypeName:valve OR thingTypeName:pump", True),
        ("thingName:pump* AND NOT thingGroupNames:hall", False),
        ("thingName:(pump* AND -pump-8)", True),
        ("thingName:(pump* -pump-7)", False),
        ("(thingTypeName:valve OR thingTypeName:pump) AND thingGroupNames:wing", True),
        ('attributes.model:"pump 2000"', True),
        ('attributes.model:"2000 pump"', False),
        ("attributes.model:2000", True),
        (r"attributes.path:a\:b", True),
        ("attributes.pressure > 7", True),
        ("attributes.pressure:>=7.5", True),
        ("attributes.pressure < 7", False),
        ("attributes.pressure:[7 TO 8]", True),
        ("attributes.pressure:{7.5 TO *]", False),
        ("attributes.pressure:[10 TO *]", False),
        ("attributes.none:*", False),
        ("attributes.pressure:*", True),
    ],
)
def test_queries(query: str, expected: bool) -> None:
    assert compile_query(query)(THING) is expected


@pytest.mark.parametrize(
    "query",
    [
        "",
        "  ",
        "thingName:",
        "(a",
        "a)",
        "*leading",
        "a AND",
        "x:[1 TO",
        "x:[1 2]",
        ":",
        " ".join("abcdefghijklm"),
        "(" * 5000,
    ],
)
def test_queries_that_cannot_be_read(query: str) -> None:
    with pytest.raises(QueryError):
        compile_query(query)
