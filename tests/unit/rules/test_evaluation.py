"""What statements and templates make of messages."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.iot.rules.sql import (
    VERSION_2015,
    VERSION_2016,
    ExternalCall,
    Failed,
    Input,
    NoMatch,
    Output,
    Statement,
    Template,
)
from stepbridge.iot.rules.sql.functions import CATALOGUE


def _input(payload: bytes | Any, **members: Any) -> Input:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Input(topic="a/b/c", payload=data, timestamp=1_700_000_000_000, account="123456789012", **members)


def _run(sql: str, payload: Any, version: str = VERSION_2016, **members: Any) -> Any:
    statement = Statement(sql, version)
    return statement.run(statement.start(_input(payload, **members)))


def _text(expression: str, payload: Any = None, version: str = VERSION_2016) -> str:
    outcome = _run(f"SELECT VALUE {expression}", {} if payload is None else payload, version)
    assert isinstance(outcome, Output), outcome
    return outcome.payload.decode()


@pytest.mark.parametrize(
    ("select", "payload", "expected"),
    [
        ("*", b'{ "a" : 1.0, "b": [10.50, 1E3] }', '{"a":1,"b":[10.50,1000]}'),
        ("*, topic(2) AS b", {"a": 1}, '{"a":1,"b":"b"}'),
        ("*, 2 AS a", {"a": 1, "b": 1}, '{"a":2,"b":1}'),
        ("* AS x", {"a": 1}, '{"x":{"a":1}}'),
        ("*.a.b", {"a": {"b": 1}}, '{"b":1}'),
        ("a.b, timestamp(), a.b AS c", {"a": {"b": 1}}, '{"b":1,"timestamp":1700000000000,"c":1}'),
        ("a AS s.a, b AS s.b, c AS s.t.c", {"a": 1, "b": 2, "c": 3}, '{"s":{"a":1,"b":2,"t":{"c":3}}}'),
        ("s, 1 AS s.new", {"s": {"old": 0}}, '{"s":{"old":0,"new":1}}'),
        ("s AS t, 1 AS t.x, s", {"s": {"o": 0}}, '{"t":{"o":0,"x":1},"s":{"o":0}}'),
        ("nokey, nokey AS x.y", {"a": 1}, "{}"),
        ("*, 1 AS x", b"", '{"x":1}'),
        ("[1, nokey, null] AS l, {'a': nokey, 'b': 1} AS o", {}, '{"l":[1,null],"o":{"b":1}}'),
        ("VALUE nokey", {}, ""),
        ("*", b"\xff\x00", "\xff\x00"),
        ("*", [1, 2], "[1,2]"),
        ("(SELECT VALUE x FROM l WHERE y > 1) AS r", {"l": [{"x": 1, "y": 1}, {"x": 2, "y": 2}]}, '{"r":[2]}'),
        ("(SELECT x.a, topic(1) AS t FROM l AS x) AS r", {"l": [{"a": 1}]}, '{"r":[{"a":1,"t":"a"}]}'),
        ("(SELECT VALUE e FROM l AS e) AS r", {"l": [1, "x"]}, '{"r":[1,"x"]}'),
        ("(SELECT a FROM n) AS r", {"n": 5}, "{}"),
        ("'ünï\\n' AS s", {}, '{"s":"ünï\\\\n"}'),
    ],
)
def test_select(select: str, payload: Any, expected: str) -> None:
    outcome = _run(f"SELECT {select} FROM 'a/#'", payload)
    assert isinstance(outcome, Output), outcome
    assert outcome.payload == (expected.encode("latin-1") if payload == b"\xff\x00" else expected.encode())


_LONG = "9.999999999999999999999999999999999E+34"


@pytest.mark.parametrize(
    ("expression", "in_2016", "in_2015"),
    [
        ("10.0", "10", "10.0"),
        ("0.1 + 0.2", "0.3", "0.3"),
        ("1.5 + 1.5", "3", "3.0"),
        ("1 / 3", "0", "0"),
        ("-7 / 2", "-3", "-3"),
        ("-7 % 2", "-1", "-1"),
        ("1.0 / 3", "0", "0.3333333333333333333333333333333333"),
        ("'1' / 3", "0.3333333333333333333333333333333333", "0.3333333333333333333333333333333333"),
        ("1 / 0", "", ""),
        ("1.5 / 0", "", ""),
        ("5 % 0", "", ""),
        ("9999999999999999999999999999999999 * 10", _LONG, _LONG),
        ("1E999 * 10", "", ""),
        ("sqrt(9)", "3", "3.0"),
        ("sqrt(-1)", "", ""),
        ("exp(10000)", "", ""),
        ("power(10, 400)", "", ""),
        ("abs(-0.50)", "0.50", "0.50"),
        ("trunc(2.300, 2)", "2.3", "2.3"),
        ("trunc(0.005, 2)", "0", "0"),
        ("round(-2.5)", "-3", "-3"),
        ("ceil(1E40)", "1E+40", "1E+40"),
        ("floor(timestamp() / 1E3)", "1700000000", "1700000000"),
        ("chr(128)", "", ""),
        ("bitnot(13)", "-14", "-14"),
        ("concat(1, 2)", "", ""),
        ("concat()", "", ""),
        ("md2('abc')", '"da853b0d3f88d99b30283a69e6ded6bb"', '"da853b0d3f88d99b30283a69e6ded6bb"'),
        ("regexp_replace('a1', '([a-z])(\\d)', '$2$1\\$')", '"1a$"', '"1a$"'),
        ("regexp_replace('a', 'a', '$3')", "", ""),
        ("regexp_matches('x.y', '\\Q.\\E')", "true", "true"),
        ("regexp_substr('abC', '\\p{Upper}')", '"C"', '"C"'),
        ("regexp_substr('a', 'b')", "", ""),
        ("substring('abc', 2, 1)", '""', '""'),
        ("'it''s'", '"it\'s"', '"it\'s"'),
        ("topic(4)", "", ""),
        ("topic(0)", "", ""),
        ("clientid()", '"n/a"', '"n/a"'),
        ("traceid()", "", ""),
        ("abs()", "", ""),
        ("abs(1, 2)", "", ""),
        ("NOT 1 = 2", "true", "true"),
        ("2 + 3 * 4 - 1", "13", "13"),
        ("- 2 * -3", "6", "6"),
        ("true AND 'FALSE'", "false", "false"),
    ],
)
def test_expressions(expression: str, in_2016: str, in_2015: str) -> None:
    assert _text(expression) == in_2016
    assert _text(expression, version=VERSION_2015) == in_2015


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("3 IN [1, 3]", "true"),
        ("'3' IN [3]", "false"),
        ("nokey IN [1]", ""),
        ("1 IN 1", ""),
        ("EXISTS(SELECT * FROM [1, 2] AS x WHERE x > 1)", "true"),
        ("EXISTS(SELECT * FROM nokey)", ""),
        ("get(get({'my-key': [1]}, 'my-key'), 0)", "1"),
        ("decode('!', 'base64')", "null"),
        ("decode('/w==', 'base64')", "null"),
        ("decode('eA==', 'base64')", '"x"'),
        ("decode('MTAuMA==', 'base64')", "10"),
        ("indexof('abc', 'c')", "2"),
        ("indexof('abc', 'd')", "-1"),
        ("numbytes('€')", "3"),
        ("get_or_default(nokey, 'd')", '"d"'),
        ("get_mqtt_property('format_indicator')", '"UNSPECIFIED_BYTES"'),
        ("get_user_properties()", ""),
        ("transform('enrichArray', {'a': 1}, [{'b': 2}, 3])", ""),
    ],
)
def test_expressions_of_2016(expression: str, expected: str) -> None:
    assert _text(expression) == expected


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"x": 1}, "WHERE x > 5 is false"),
        ({}, "WHERE x > 5 is Undefined (not in the payload: x)"),
        (b"not json", "WHERE x > 5 is Undefined (the payload is not JSON)"),
        ({"x": "high"}, "WHERE x > 5 is Undefined"),
    ],
)
def test_a_rule_that_does_not_match_says_why(payload: Any, reason: str) -> None:
    assert _run("SELECT * FROM 'a/#' WHERE x > 5", payload) == NoMatch(reason)


def test_a_where_that_is_not_a_boolean_does_not_match() -> None:
    for where, value in (
        ("5", "5"),
        ("0", "0"),
        ("'true'", '"true"'),
        ("*", '{"x":[1]}'),
        ("x", "[1]"),
        ("Null", "null"),
    ):
        assert _run(f"SELECT * FROM 'a/#' WHERE {where}", {"x": [1]}) == NoMatch(f"WHERE {where} is {value}")


def test_variables_are_found_once_and_where_they_are_needed() -> None:
    sql = "SET @t = x * 2, @u = @t + 1, @o = {'p': @u} "
    sql += "SELECT @t AS t, @o.p AS p, (SELECT VALUE @t FROM l) AS l WHERE @t > 5"
    outcome = _run(sql, {"x": 3, "l": [1, 2]})
    assert outcome.payload == b'{"t":6,"p":7,"l":[6,6]}'


def test_a_variable_has_at_most_128_kib() -> None:
    outcome = _run("SET @v = x SELECT @v AS v", {"x": "a" * 131_071})
    assert outcome == Failed("the value of @v is longer than 131072 bytes")
    outcome = _run("SET @v = x SELECT @v AS v", {"x": "€" * 43_691})  # of three bytes each
    assert outcome == Failed("the value of @v is longer than 131072 bytes")


def test_variables_have_at_most_128_kib_together() -> None:
    statement = Statement("SET @v = x, @w = x SELECT @v AS v, @w AS w", VERSION_2016)
    evaluation = statement.start(_input({"x": "a" * 65_534}))
    for _ in range(2):  # each run counts by itself
        assert isinstance(statement.run(evaluation), Output)
    outcome = _run("SET @v = x, @w = x SELECT @v AS v, @w AS w", {"x": "a" * 65_535})
    assert outcome == Failed("the values of the variables are longer than 131072 bytes together")


@pytest.mark.parametrize("function", ["replace", "regexp_replace"])
def test_replacing_does_not_fill_the_memory(function: str) -> None:
    payload = {"x": "a" * 60_000, "part": "a", "by": "b" * 60_000}
    outcome = _run(f"SELECT {function}(x, part, by) AS r", payload)
    assert outcome == Failed(f"the result of {function} is longer than 1048576 characters")
    assert isinstance(_run(f"SELECT {function}(x, part, 'bc') AS r", payload), Output)


def test_chance_is_an_input() -> None:
    sql = "SELECT newuuid() AS a, newuuid() AS b, rand() AS r FROM 'a/#'"
    first, again, other = _run(sql, {}, seed=1), _run(sql, {}, seed=1), _run(sql, {}, seed=2)
    assert first == again != other
    assert first.value["a"] != first.value["b"]


def test_an_external_call_stops_the_evaluation_until_it_is_answered() -> None:
    statement = Statement(
        "SELECT aws_lambda('arn:f', {'n': n, 'id': newuuid()}).x AS x FROM 'a/#' WHERE n > 1", VERSION_2016
    )
    evaluation = statement.start(_input({"n": 5}))
    call = statement.run(evaluation)
    assert isinstance(call, ExternalCall)
    assert call.function == "aws_lambda"
    assert call.arguments[0] == "arn:f"
    assert statement.run(evaluation) == call  # the same, chance included
    evaluation.answer(call, {"x": 57})
    assert statement.run(evaluation) == Output({"x": 57}, b'{"x":57}')


def test_an_external_call_that_fails_ends_the_rule_unless_there_is_a_default() -> None:
    for expression, expected in (
        ("get_thing_shadow('t', 'role')", Failed("no such thing")),
        ("get_or_default(get_thing_shadow('t', 'role'), 1)", Output({"s": 1}, b'{"s":1}')),
    ):
        statement = Statement(f"SELECT {expression} AS s FROM 'a/#'", VERSION_2016)
        evaluation = statement.start(_input({}))
        call = statement.run(evaluation)
        assert isinstance(call, ExternalCall)
        evaluation.answer(call, Failed("no such thing"))
        assert statement.run(evaluation) == expected


def test_get_dynamodb_twice_ends_the_rule() -> None:
    one = "get_dynamodb('t', 'k', 'v', 'role')"
    outcome = _run(f"SELECT {one} AS a, {one} AS b FROM 'a/#'", {})
    assert outcome == Failed("get_dynamodb may be called only once in a statement")


def test_protobuf_is_decoded_at_most_twice() -> None:
    one, base64 = "decode(x, 'proto', 'b', 'k', 'f', 'm')", "decode(x, 'base64')"
    outcome = _run(f"SELECT {one} AS a, {one} AS b, {one} AS c FROM 'a/#'", {"x": ""})
    assert outcome == Failed("decode may be called only 2 times in a statement")
    assert isinstance(_run(f"SELECT {one} AS a, {one} AS b FROM 'a/#'", {"x": ""}), ExternalCall)
    assert isinstance(_run(f"SELECT {base64} AS a, {base64} AS b, {base64} AS c FROM 'a/#'", {"x": ""}), Output)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a/${topic(2)}/${x}", "a/b/5"),
        ("${nokey}|${null}|${o}|${1.50}", '|null|{"k":"v"}|1.50'),
        ("${{'a': '}'}}", '{"a":"}"}'),
        ("$$aws/${x}", "$$aws/5"),
        ("${ CASE x WHEN 5 THEN 'five' END }", "five"),
    ],
)
def test_templates(text: str, expected: str) -> None:
    statement = Statement("SELECT * FROM 'a/#'", VERSION_2016)
    evaluation = statement.start(_input({"x": 5, "o": {"k": "v"}}))
    assert Template(text, VERSION_2016).render(evaluation) == expected


def test_templates_see_the_statements_variables() -> None:
    statement = Statement("SET @v = x + 1 SELECT * FROM 'a/#'", VERSION_2016)
    evaluation = statement.start(_input({"x": 5}))
    assert Template("${@v}", VERSION_2016, statement.variables).render(evaluation) == "6"


_CALLS = [
    f"{name}({', '.join(['x', 'y', 'z', '*', '1.5', 'x'][:count])})"
    for name, function in CATALOGUE.items()
    if name not in ("aws_lambda", "get_dynamodb", "get_registry_data", "get_secret", "get_thing_shadow")
    for count in range(function.least, (function.most if function.most is not None else 3) + 1)
]
_OPERATIONS = [f"(x {symbol} y)" for symbol in ("+", "-", "*", "/", "%", "=", "<>", "<", "IN", "AND", "OR")]
_OTHERS = ["NOT x", "-x", "x.y.z", "(SELECT y, *.z FROM x WHERE y > z)", "EXISTS(SELECT VALUE y FROM x)"]
_CASTS = [f"cast(x as {target})" for target in ("Int", "Decimal", "String", "Boolean")]
_CASES = ["CASE x WHEN y THEN z ELSE x END", "decode(x, 'base64')", "encode(x, 'base64')", "*"]
_EVERYTHING = Statement(
    f"SELECT {', '.join(f'{one} AS c{n}' for n, one in enumerate(_CALLS + _OPERATIONS + _OTHERS + _CASTS + _CASES))}"
    " FROM 'a/#' WHERE isUndefined(nokey)",
    VERSION_2016,
)

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(max_size=10)
    | st.sampled_from(["12", "-1.5E5", "(", "$1", "a/b", "yyyy", "base64", "9" * 50, "1E-999"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyzab"), inner, max_size=4),
    max_leaves=12,
)
_payloads = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(st.sampled_from("xyz"), _json, max_size=3).map(lambda value: json.dumps(value).encode()),
    _json.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [
            b'{"x":1E400000000,"y":1E-400000000,"z":-1E999999}',
            b'{"x":1E99999999999999999999}',
            b'{"x":"\\ud800","y":"\\ud800"}',
            b"[" * 100_000,
            b'{"x":' * 5_000 + b"1" + b"}" * 5_000,
            b"9" * 10_000,
            b'{"x":' + b"9" * 4_000 + b',"y":7}',
        ]
    ),
)


@given(_payloads)
def test_evaluation_never_raises(payload: bytes) -> None:
    outcome = _EVERYTHING.run(_EVERYTHING.start(_input(payload)))
    assert isinstance(outcome, Output | Failed)
    if isinstance(outcome, Output):
        json.loads(outcome.payload)
