"""The tables of iot-sql-functions.html, iot-sql-operators.html and iot-sql-data-types.html, row by row.

A row of a table is a kind of argument.  Every function of one number has the same table, and so have those of two, of
text, and of a pattern; each test below is one table, on all functions that have it and in every SQL version that has
them.
"""

import json
from typing import Any

import pytest

from stepbridge.iot.rules.sql import VERSIONS, Input, Output, SqlError, Statement
from stepbridge.iot.rules.sql.evaluation import Mqtt5Properties

# One value of each type.  `nokey` is Undefined.
PAYLOAD = {"int": 5, "decimal": 5.5, "yes": True, "word": "abc", "digits": "5.5", "list": [1], "object": {"a": 1}}
PAYLOAD |= {"null": None}
NO_NUMBER = ["yes", "word", "list", "object", "null", "nokey"]
NO_TEXT = ["null", "nokey"]
UNDEFINED = ""


def _value(expression: str, version: str = "2016-03-23", payload: Any = PAYLOAD, **members: Any) -> str:
    statement = Statement(f"SELECT VALUE {expression} FROM '#'", version)
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    outcome = statement.run(statement.start(Input("a/b/c", data, 1_481_825_251_155, "123456789012", **members)))
    assert isinstance(outcome, Output), outcome
    return outcome.payload.decode()


DOUBLES = ["acos", "asin", "atan", "cos", "cosh", "exp", "ln", "log", "sin", "sinh", "sqrt", "tan", "tanh"]
OF_ONE_NUMBER = [*DOUBLES, "abs", "ceil", "floor", "round", "sign", "chr", "bitnot"]
OF_TWO_NUMBERS = ["atan2", "power", "bitand", "bitor", "bitxor", "mod", "remainder"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("function", OF_ONE_NUMBER)
def test_functions_of_a_number(function: str, version: str) -> None:
    for argument in NO_NUMBER:
        assert _value(f"{function}({argument})", version) == UNDEFINED, argument
    assert _value(f"{function}()", version) == _value(f"{function}(1, 1)", version) == UNDEFINED
    # A string that reads as a number is that number, as a Decimal.
    for number in ("0.5", "1", "0"):
        assert _value(f"{function}('{number}')", version).removesuffix(".0") == _value(
            f"{function}({number})", version
        ).removesuffix(".0")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("function", [*OF_TWO_NUMBERS, "-", "*", "/", "%", "<", "<=", ">", ">="])
def test_functions_and_operators_of_two_numbers(function: str, version: str) -> None:
    def call(left: str, right: str) -> str:
        return _value(f"{function}({left}, {right})" if function.isalnum() else f"{left} {function} {right}", version)

    for argument in NO_NUMBER:
        assert call(argument, "2") == call("2", argument) == call(argument, argument) == UNDEFINED, argument
    assert call("'7.5'", "'2'") == call("7.5", "'2'") == call("'7.5'", "2") != UNDEFINED
    if function.isalnum():
        assert _value(f"{function}(1)", version) == _value(f"{function}(1, 1, 1)", version) == UNDEFINED


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("function", ["lower", "upper", "trim", "ltrim", "rtrim", "md2", "md5", "sha1", "sha512"])
def test_functions_of_a_text(function: str, version: str) -> None:
    for argument in NO_TEXT:
        assert _value(f"{function}({argument})", version) == UNDEFINED
    texts = {"int": "5", "decimal": "5.5", "yes": "true", "list": "[1]", "object": '{"a":1}'}
    for argument, text in texts.items():
        assert _value(f"{function}({argument})", version) == _value(f"{function}('{text}')", version) != UNDEFINED
    assert _value(f"{function}()", version) == _value(f"{function}('a', 'b')", version) == UNDEFINED


@pytest.mark.parametrize("function", ["startswith", "endswith", "indexof", "regexp_matches", "regexp_substr"])
def test_functions_of_two_texts(function: str) -> None:
    for argument in NO_TEXT:
        assert _value(f"{function}({argument}, 'a')") == _value(f"{function}('a', {argument})") == UNDEFINED
    for argument, text in {"int": "5", "decimal": "5.5", "yes": "true"}.items():
        assert _value(f"{function}({argument}, {argument})") == _value(f"{function}('{text}', '{text}')")
        assert _value(f"{function}({argument}, {argument})") != UNDEFINED
    assert _value(f"{function}('a')") == _value(f"{function}('a', 'b', 'c')") == UNDEFINED


@pytest.mark.parametrize("function", ["replace", "regexp_replace"])
def test_functions_of_three_texts(function: str) -> None:
    for argument in NO_TEXT:
        for arguments in (f"{argument}, '5', 'x'", f"'5', {argument}, 'x'", f"'5', '5', {argument}"):
            assert _value(f"{function}({arguments})") == UNDEFINED
    assert _value(f"{function}(515, 1, 7)") == '"575"'
    assert _value(f"{function}(list, 1, yes)") == '"[true]"'
    assert _value(f"{function}(object, 'a', 'b')") == '"{\\"b\\":1}"'


@pytest.mark.parametrize(("function", "expected"), [("lpad", '"  x"'), ("rpad", '"x  "')])
def test_padding(function: str, expected: str) -> None:
    for count in ("2", "2.9", "'2'", "'2.9'"):
        assert _value(f"{function}('x', {count})") == expected
    for count in NO_NUMBER:
        assert _value(f"{function}('x', {count})") == UNDEFINED
    for text in NO_TEXT:
        assert _value(f"{function}({text}, 2)") == UNDEFINED
    assert len(json.loads(_value(f"{function}('x', 1E200)"))) == 1001
    assert _value(f"{function}('x', -1E200)") == '"x"'


_ONES: list[tuple[str, str]] = [
    # Rounding, and negative zero, which there is not.
    ("round(2.5)", "3"),
    ("round(-2.5)", "-3"),
    ("round(-0.4)", "0"),
    ("ceil(-0.5)", "0"),
    ("floor(-0.5)", "-1"),
    ("floor(1E300)", "1E+300"),
    ("abs(-0.0)", "0"),
    ("0 * -1.5", "0"),
    ("trunc(-0.001, 2)", "0"),
    ("trunc(2.999, 1.9)", "2.9"),
    ("trunc(2.999, '1')", UNDEFINED),
    ("trunc('2.999', 1)", "2.9"),
    ("trunc(yes, 1)", UNDEFINED),
    ("trunc(2.5, null)", UNDEFINED),
    ("trunc(1E-40, 40)", "0"),
    ("trunc(0.12345678901234567890123456789012345, 40)", "0.1234567890123456789012345678901234"),
    # Numbers at their limits.
    ("0.1 + 0.2", "0.3"),
    ("1 / 3 + 1.5 / 7", "0.2142857142857142857142857142857143"),
    ("9999999999999999999999999999999999 + 1", "1.000000000000000000000000000000000E+34"),
    ("9E999 * 10", UNDEFINED),
    ("power(10, 400)", UNDEFINED),
    ("exp(1000)", UNDEFINED),
    ("ln(0)", UNDEFINED),
    ("log(-1)", UNDEFINED),
    ("sqrt(-1)", UNDEFINED),
    ("power(-8, 0.5)", UNDEFINED),
    ("asin(2)", UNDEFINED),
    ("bitand(-1, 255)", "255"),
    ("bitor(-1.5, 0)", "-2"),
    ("bitnot(13.9)", "-14"),
    ("chr(65.9)", '"A"'),
    ("chr(128)", UNDEFINED),
    ("chr(-1)", UNDEFINED),
    ("sign(-1E-500)", "-1"),
    # Texts.
    ("indexof(12345, 34)", "2"),
    ("indexof('abc', '')", "0"),
    ("indexof(list, 1)", UNDEFINED),
    ("indexof('1', list)", UNDEFINED),
    ("indexof(object, 'a')", "2"),
    ("length(list)", "3"),
    ("length(null)", UNDEFINED),
    ("numbytes(object)", "7"),
    ("substring('012345', 2.745)", '"2345"'),
    ("substring('012345', '1', '3.9')", '"12"'),
    ("substring('012345', 3, 1)", '""'),
    ("substring('012345', -1E247, 1E247)", '"012345"'),
    ("substring('012345', 9)", '""'),
    ("substring('012345', 1, nokey)", UNDEFINED),
    ("substring('012345', null)", UNDEFINED),
    ("substring('012345', yes)", UNDEFINED),
    ("substring('012345')", UNDEFINED),
    ("concat()", UNDEFINED),
    ("concat(null)", "null"),
    ("concat(1, 2)", UNDEFINED),
    ("concat('a', 1.50, true, list, object)", '["a",1.50,true,1,{"a":1}]'),
    ("concat('a', 1.50, true, object)", '"a1.50true{\\"a\\":1}"'),
    ("concat('a', null)", UNDEFINED),
    ("concat(list, [[2]], nokey, null)", "[1,[2],null]"),
    # Collections.
    ("get(list, 0)", "1"),
    ("get(list, '0')", "1"),
    ("get(list, yes)", UNDEFINED),
    ("get(list, 1)", UNDEFINED),
    ("get(list, -1)", UNDEFINED),
    ("get(word, 2)", '"c"'),
    ("get(word, 3)", UNDEFINED),
    ("get(object, 'a')", "1"),
    ("get(object, 0)", UNDEFINED),
    ("get(int, 0)", UNDEFINED),
    ("get(null, 0)", UNDEFINED),
    ("nanvl(nokey, 'd')", '"d"'),
    ("nanvl(null, 'd')", '"d"'),
    ("nanvl(word, 'd')", '"abc"'),
    ("nanvl(decimal, 'd')", "5.5"),
    ("get_or_default(null)", UNDEFINED),
    ("get_or_default(false, 1)", "false"),
    ("get_or_default(nokey, nokey)", UNDEFINED),
    ("isnull(null)", "true"),
    ("isnull(nokey)", "false"),
    ("isundefined(nokey)", "true"),
    ("isundefined(null)", "false"),
    ("isundefined(floor([1, 2, 3]))", "true"),
    # Encodings.
    ("encode(decimal, 'base64')", '"NS41"'),
    ("encode(null, 'base64')", UNDEFINED),
    ("encode(word, 'hex')", UNDEFINED),
    ("decode('eyJhIjpbMV19', 'base64').a", "[1]"),
    ("decode('YQ', 'base64')", '"a"'),
    ("decode('YWI', 'base64')", '"ab"'),
    ("decode('Y', 'base64')", "null"),
    ("decode('YQ=', 'base64')", "null"),
    ("decode(nokey, 'base64')", UNDEFINED),
    ("cast(0.12345678901234567890 as Double)", "0.12345678901234568"),
    ("cast('0.12345678901234567890' as Double)", "0.12345678901234568"),
    ("cast(0.12345678901234567890 as Decimal)", "0.12345678901234567890"),
    ("cast('1E400' as Double)", UNDEFINED),
    ("cast(2.0 as Double)", "2"),
    ("cast(9007199254740993 as Double)", "9007199254740993"),
    ("decode('NQ==', 'hex')", UNDEFINED),
    ("decode('NQ==')", UNDEFINED),
    # About the message.
    ("topic()", '"a/b/c"'),
    ("topic(1)", '"a"'),
    ("topic('3')", '"c"'),
    ("topic(1.9)", '"a"'),
    ("topic(0)", UNDEFINED),
    ("topic(4)", UNDEFINED),
    ("topic(nokey)", UNDEFINED),
    ("topic(word)", UNDEFINED),
    ("timestamp()", "1481825251155"),
    ("clientid()", '"n/a"'),
    ("traceid()", UNDEFINED),
    ("principal()", UNDEFINED),
    ("sourceip()", UNDEFINED),
    ("accountid()", '"123456789012"'),
    ("topic(1, 2)", UNDEFINED),
    ("timestamp(1)", UNDEFINED),
    ("get_mqtt_property('content_type')", UNDEFINED),
    ("get_mqtt_property('format_indicator')", '"UNSPECIFIED_BYTES"'),
    ("get_mqtt_property('no_such_property')", UNDEFINED),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), _ONES)
def test_single_rows(expression: str, expected: str) -> None:
    assert _value(expression) == expected


def test_the_payload_is_encoded_as_it_came() -> None:
    assert _value("encode(*, 'base64')", payload=b'{ "a" : 1.0 }') == '"eyAiYSIgOiAxLjAgfQ=="'
    assert _value("encode(*, 'base64')", payload=b"\x00\xff") == '"AP8="'


def test_user_properties() -> None:
    properties = Mqtt5Properties(user_properties=(("k", "1"), ("other", "2"), ("k", "3")))
    rows = {
        "get_user_properties('k')": '["1","3"]',
        "get_user_properties('none')": UNDEFINED,
        "get_user_properties()": '[{"k":"1"},{"other":"2"},{"k":"3"}]',
        "get_user_properties(nokey)": UNDEFINED,
        "get_user_properties(5)": UNDEFINED,
    }
    for expression, expected in rows.items():
        assert _value(expression, properties=properties) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("v", "-0.0"),
        ("0 * -1.5", "0.0"),
        ("v * 1", "0.0"),
        ("10.0", "10.0"),
        ("1.0 * 2", "2.0"),
        ("cast(5 as Double)", "5"),
        ("cast(true as Double)", "1.0"),
        ("sqrt(9)", "3.0"),
        ("abs(-5.0)", "5.0"),
        ("7.0 / 2", "3.5"),
        ("round(2.5)", "3"),
        ("'' + 5.0", '"5.0"'),
    ],
)
def test_whole_decimals_stay_decimals_in_2015(expression: str, expected: str) -> None:
    payload = b'{"v": -0.0}'
    assert _value(expression, "2015-10-08", payload) == (expected if expression != "v" else "0.0")


@pytest.mark.parametrize("version", ["2016-03-23", "beta"])
@pytest.mark.parametrize("number", ["-0.0", "0E50", "-0E-50", "0.000"])
def test_zero_is_an_int_in_2016(number: str, version: str) -> None:
    assert _value("v", version, f'{{"v": {number}}}'.encode()) == "0"


def test_halves_of_characters_become_question_marks() -> None:
    payload = rb'{"\ud800": ["a\udfffb", {"pair": "\ud83d\ude00"}]}'
    assert _value("*", payload=payload) == '{"?":["a?b",{"pair":"😀"}]}'


CASTS = {
    "decimal": ["5", "5.5", "1", UNDEFINED, "5.5", UNDEFINED, UNDEFINED, UNDEFINED, UNDEFINED],
    "int": ["5", "5", "1", UNDEFINED, "5", UNDEFINED, UNDEFINED, UNDEFINED, UNDEFINED],
    "boolean": ["true", "true", "true", UNDEFINED, UNDEFINED, UNDEFINED, UNDEFINED, UNDEFINED, UNDEFINED],
    "string": ['"5"', '"5.5"', '"true"', '"abc"', '"5.5"', '"[1]"', '"{\\"a\\":1}"', UNDEFINED, UNDEFINED],
}
SAME_CASTS = {"double": "decimal", "integer": "int", "bool": "boolean"}
SAME_CASTS |= dict.fromkeys(("nvarchar", "text", "ntext", "varchar"), "string")


@pytest.mark.parametrize("target", [*CASTS, *SAME_CASTS])
def test_casts(target: str) -> None:
    rows = CASTS[SAME_CASTS.get(target, target)]
    assert [_value(f"cast({name} as {target.upper()})") for name in (*PAYLOAD, "nokey")] == rows
    only_later = target in ("decimal", "bool", "boolean")
    if only_later:
        with pytest.raises(SqlError):
            _value(f"cast(int as {target})", "2015-10-08")
    else:
        assert _value(f"cast(int as {target})", "2015-10-08") == rows[0]


@pytest.mark.parametrize(
    ("text", "is_number"),
    [("0", True), ("-1.2", True), ("5E-12", True), ("5e12", True), ("007", True), ("-0", True)]
    + [
        (text, False)
        for text in ("", "-", "+1", ".5", "5.", "1E+3", " 1", "1 ", "1,5", "0x1", "NaN", "Infinity", "\u0661")
    ],
)
def test_which_strings_are_numbers(text: str, is_number: bool) -> None:
    assert (_value("abs(v)", payload={"v": text}) != UNDEFINED) is is_number


LOGICAL = [("true", True), ("false", False), ("'TRUE'", True), ("'False'", False)]
NO_BOOLEAN = ["int", "decimal", "word", "list", "object", "null", "nokey", "1", "0", "'yes'"]


def test_logical_operators() -> None:
    for left, one in LOGICAL:
        assert _value(f"NOT {left}") == json.dumps(not one)
        for right, other in LOGICAL:
            assert _value(f"{left} AND {right}") == json.dumps(one and other)
            assert _value(f"{left} OR {right}") == json.dumps(one or other)
        for right in NO_BOOLEAN:
            for operator in ("AND", "OR"):
                assert _value(f"{left} {operator} {right}") == _value(f"{right} {operator} {left}") == UNDEFINED
    for operand in NO_BOOLEAN:
        assert _value(f"NOT {operand}") == UNDEFINED


def test_equality() -> None:
    values = [
        "1",
        "1.0",
        "2.5",
        "'1'",
        "true",
        "'true'",
        "null",
        "[1, 'a']",
        "['a', 1]",
        "{'a': 1, 'b': 2}",
        "{}",
        "[]",
    ]
    same = {frozenset(("1", "1.0"))}
    for left in values:
        for right in values:
            is_equal = left == right or frozenset((left, right)) in same
            assert _value(f"{left} = {right}") == json.dumps(is_equal), (left, right)
            assert _value(f"{left} <> {right}") == json.dumps(not is_equal), (left, right)
            assert _value(f"{left} IN [0, {right}]") == json.dumps(is_equal), (left, right)
        assert _value(f"{left} = nokey") == _value(f"nokey <> {left}") == _value(f"{left} IN nokey") == UNDEFINED
    assert _value("{'a': 1, 'b': [2.0]} = {'b': [2], 'a': 1}") == "true"
    assert _value("nokey = nokey") == _value("nokey <> nokey") == UNDEFINED


def test_addition_and_concatenation() -> None:
    texts = {"5": "5", "5.50": "5.50", "true": "true", "[1]": "[1]", "{'a': 1}": '{"a":1}', "'b'": "b"}
    for operand, text in texts.items():
        assert _value(f"'a' + {operand}") == json.dumps(f"a{text}")
        assert _value(f"{operand} + 'a'") == json.dumps(f"{text}a")
    for operand in ("null", "nokey"):
        assert _value(f"'a' + {operand}") == _value(f"{operand} + 'a'") == UNDEFINED
    for operand in ("true", "[1]", "{'a': 1}", "null", "nokey"):
        assert _value(f"1 + {operand}") == _value(f"{operand} + {operand}") == UNDEFINED


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("CASE int WHEN 5.0 THEN 'a' ELSE 'b' END", '"a"'),
        ("CASE int WHEN '5' THEN 'a' ELSE 'b' END", '"b"'),
        ("CASE int WHEN nokey THEN 'a' WHEN 5 THEN 'c' END", '"c"'),
        ("CASE int WHEN 6 THEN 'a' END", UNDEFINED),
        ("CASE nokey WHEN nokey THEN 'a' ELSE 'b' END", UNDEFINED),
        ("CASE null WHEN NULL THEN 'a' ELSE 'b' END", '"a"'),
        ("CASE int WHEN 5 THEN nokey ELSE 'b' END", UNDEFINED),
        ("CASE list WHEN [1] THEN CASE 1 WHEN 1 THEN 'x' END END", '"x"'),
    ],
)
def test_case(expression: str, expected: str) -> None:
    assert _value(expression) == expected
