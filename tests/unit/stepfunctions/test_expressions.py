"""Paths, intrinsic functions, templates, conditions and JSONata, evaluated by themselves."""

import random
import re
from typing import Any

import pytest

from stepbridge.stepfunctions.language import intrinsics, jsonata_expression, jsonpath, templates, timestamps
from stepbridge.stepfunctions.language.conditions import OPERATORS
from stepbridge.stepfunctions.language.evaluation import EvaluationError, Scope

DOCUMENT = {
    "store": {
        "book": [
            {"category": "reference", "author": "Rees", "price": 8.95},
            {"category": "fiction", "author": "Waugh", "price": 12.99, "isbn": "1"},
            {"category": "fiction", "author": "Melville", "price": 8.99, "isbn": "2"},
        ],
        "bicycle": {"color": "red", "price": 19.95},
    },
    "n": [4, 1, 7],
    "nothing": None,
    "odd name": {"a.b": 1},
}


def scope(value: Any = DOCUMENT, **variables: Any) -> Scope:
    return Scope(value, lambda: {"State": {"Name": "S"}}, variables, random.Random(0).random, {"input": value}, now=1.5)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", DOCUMENT),
        ("$.store.bicycle.color", "red"),
        ("$['store']['bicycle']['color']", "red"),
        ('$["odd name"]["a.b"]', 1),
        ("$['odd name']['a.b']", 1),
        ("$.odd name", {"a.b": 1}),
        ("$.store.book[0].author", "Rees"),
        ("$.store.book[-1].author", "Melville"),
        ("$.store.book[*].author", ["Rees", "Waugh", "Melville"]),
        ("$..author", ["Rees", "Waugh", "Melville"]),
        ("$.store..price", [8.95, 12.99, 8.99, 19.95]),
        ("$..book[2].isbn", ["2"]),
        ("$.n[0,2]", [4, 7]),
        ("$.n[:2]", [4, 1]),
        ("$.n[1:]", [1, 7]),
        ("$.n[-2:]", [1, 7]),
        ("$.store.bicycle['color','price']", {"color": "red", "price": 19.95}),
        ("$.store.book[?(@.isbn)].author", ["Waugh", "Melville"]),
        ("$.store.book[?(!@.isbn)].author", ["Rees"]),
        ("$.store.book[?(@.price < 9)].author", ["Rees", "Melville"]),
        ("$.store.book[?(@.price < 9 && @.category == 'fiction')].author", ["Melville"]),
        ("$.store.book[?(@.author == 'Rees' || @.author == \"Waugh\")].price", [8.95, 12.99]),
        ("$.store.book[?(@.author =~ /.*ES/i)].author", ["Rees"]),
        ("$.store.book[?(@.category in ['fiction'])].author", ["Waugh", "Melville"]),
        ("$.store.book[?(@.price > $.n[2])].price", [8.95, 12.99, 8.99]),
        ("$.n[?(@ > 1)]", []),
        ("$.store.*.color", ["red"]),
        ("$.missing[*]", []),
        ("$.missing[1:2]", []),
        ("$.n.length()", 3),
        ("$.n.max()", 7.0),
        ("$.n.sum()", 12.0),
        ("$.store.keys()", ["book", "bicycle"]),
        ("$$.State.Name", "S"),
        ("$v.a[0]", 5),
        ("$.nothing", None),
    ],
)
def test_a_path_leads_to(path: str, expected: Any) -> None:
    found = jsonpath.parse(path).lookup(scope(v={"a": [5]}))
    assert found.missing is None
    assert found.value == expected


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("$.missing", "No results for path: $['missing']"),
        ("$.missing.deeper", "Missing property in path $['missing']"),
        ("$.n[9]", "No results for path: $['n'][9]"),
        ("$.nothing[0]", "The path $['nothing'] is null"),
    ],
)
def test_a_path_leads_nowhere(path: str, why: str) -> None:
    assert jsonpath.parse(path).lookup(scope()).missing == why


@pytest.mark.parametrize(
    "text", ["", "a", "$.", "$..", "$[", "$[a]", "$.a[1:2:3]", "$.a[?(@.b == )]", "$.a b[", "$a.b.", "$.a.length().b"]
)
def test_no_path(text: str) -> None:
    with pytest.raises(jsonpath.PathError):
        jsonpath.parse(text)


@pytest.mark.parametrize(
    ("path", "is_reference"),
    [
        ("$", True),
        ("$.a['b'][0]", True),
        ("$v.a", True),
        ("$.a[*]", False),
        ("$..a", False),
        ("$.a[0,1]", False),
        ("$.a.length()", False),
    ],
)
def test_reference_paths(path: str, is_reference: bool) -> None:
    assert jsonpath.parse(path).is_reference is is_reference


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("States.Format('{} and {}', $.n[0], 'x')", "4 and x"),
        (r"States.Format('\{\} {} it\'s', true)", "{} true it's"),
        ("States.Format('{}', $.store.bicycle)", "{color=red, price=19.95}"),
        ("States.StringToJson('{\"a\": [1]}')", {"a": [1]}),
        ("States.JsonToString($.n)", "[4,1,7]"),
        ("States.Array(1, 'a', null, States.Array())", [1, "a", None, []]),
        ("States.ArrayPartition($.n, 2)", [[4, 1], [7]]),
        ("States.ArrayContains($.n, 7)", True),
        ("States.ArrayContains($.n, true)", False),
        ("States.ArrayRange(1, 9, 2)", [1, 3, 5, 7, 9]),
        ("States.ArrayRange(3, 1, -1)", [3, 2, 1]),
        ("States.ArrayGetItem($.n, 2)", 7),
        ("States.ArrayLength($.n)", 3),
        ("States.ArrayUnique(States.Array(1, 1, true, 'a', 'a'))", [1, True, "a"]),
        ("States.Base64Encode('Data to encode')", "RGF0YSB0byBlbmNvZGU="),
        ("States.Base64Decode('RGF0YQ==')", "Data"),
        ("States.Hash('input data', 'SHA-1')", "aaff4a450a104cd177d28d18d74485e8cae074b7"),
        ("States.JsonMerge($.store.bicycle, $['odd name'], false)", {"color": "red", "price": 19.95, "a.b": 1}),
        ("States.MathAdd(-1.5, 3)", 2),
        ("States.StringSplit('1,2.3', ',.')", ["1", "2", "3"]),
        ("States.StringSplit('ab', '')", ["ab"]),
    ],
)
def test_an_intrinsic_function(call: str, expected: Any) -> None:
    assert intrinsics.parse(call).evaluate(scope()) == expected


def test_functions_of_chance() -> None:
    assert re.fullmatch(
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", intrinsics.parse("States.UUID()").evaluate(scope())
    )
    assert 1 <= intrinsics.parse("States.MathRandom(1, 9)").evaluate(scope()) < 9
    seeded = intrinsics.parse("States.MathRandom(1, 1000000, 7)")
    assert seeded.evaluate(scope()) == seeded.evaluate(scope())


@pytest.mark.parametrize(
    "call",
    [
        "States.Format('{} {}', 1)",
        "States.StringToJson('{')",
        "States.ArrayGetItem($.n, 3)",
        "States.ArrayPartition($.n, 0)",
        "States.ArrayRange(0, 5000, 1)",
        "States.Hash('a', 'CRC')",
        "States.JsonMerge($.store, $.store, true)",
        "States.MathAdd('1', 2)",
        "States.Base64Decode('***')",
    ],
)
def test_an_intrinsic_function_fails(call: str) -> None:
    with pytest.raises(EvaluationError) as failed:
        intrinsics.parse(call).evaluate(scope())
    assert failed.value.error == "States.IntrinsicFailure"
    assert failed.value.cause.startswith(f"The function '{call}' had the following error: ")


@pytest.mark.parametrize(
    ("argument", "field"),
    [("$.nope", "$.nope"), ("States.Array(States.JsonToString($.nope))", "$.nope"), ("$$.Nope.Deep", "$.Nope.Deep")],
)
def test_an_argument_that_is_not_there_is_told_of_with_the_whole_call(argument: str, field: str) -> None:
    call = f"States.Format('{{}}', {argument})"
    with pytest.raises(EvaluationError) as failed:
        intrinsics.parse(call).evaluate(scope())
    assert failed.value.error == "States.Runtime"
    told = f"The function '{call}' had the following error: The JsonPath argument for the field '{field}' could not be"
    assert failed.value.cause.startswith(f"{told} found in the input '{{")


@pytest.mark.parametrize(
    "text",
    [
        "States.Nothing()", "States.UUID(1)", "States.Array(", "States.Format('a\\n')", "States.Format(\"a\")",
        "States.UUID()[0]", "States.Array(1,)", "States.MathAdd(1)", "States.Array(a)",
    ],
)  # fmt: skip
def test_no_intrinsic_function(text: str) -> None:
    with pytest.raises(intrinsics.IntrinsicError):
        intrinsics.parse(text)


def test_a_template() -> None:
    template = templates.parse_jsonpath({"a.$": "$.n", "b": [{"c.$": "$v"}, 1], "past.$": "$.n[9]", "d": "$.n"})
    assert template.evaluate(scope(v=2)) == {"a": [4, 1, 7], "b": [{"c": 2}, 1], "past": None, "d": "$.n"}
    assert sorted(template.variables()) == ["v"]


def test_constant_templates_are_left_alone() -> None:
    value = {"a": [1, {"b": None}]}
    assert templates.parse_jsonpath(value).evaluate(scope()) is value


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{% $states.input.n %}", [4, 1, 7]),
        ("{% $states.input.nothing %}", None),
        ("{% $states.context.State.Name %}", "S"),
        ("{% $v + 1 %}", 3),
        ("{% 10 / 4 %}", 2.5),
        ("{% $partition($states.input.n, 2) %}", [[4, 1], [7]]),
        ("{% $range(0, 4, 2) %}", [0, 2, 4]),
        ("{% $hash('input data', 'SHA-1') %}", "aaff4a450a104cd177d28d18d74485e8cae074b7"),
        ("{% $parse('{\"a\": null}') %}", {"a": None}),
        ("{% $partition([1, 2, 3], 2.9) %}", [[1, 2], [3]]),
        ("{% $partition([1, 2]) %}", [[1, 2]]),
        ("{% $range(3, 3, 1) %}", 3),
        ("{% $range(-1.7, 1, 1) %}", [-1, 0, 1]),
        ("{% $range(5, 1, -2) %}", [5, 3, 1]),
        ("{% $map(['1', '2'], $parse) %}", [1, 2]),
        ("{% $random(42) %}", 0.7275636800328681),  # as java.util.Random
        ("{% $count(null) %}", 1),
        ("{% $string(1e20) & ' ' & 1e21 %}", "100000000000000000000 1e+21"),
        ("{% $string({'a': [0.1 + 0.2, null, 'é']}) %}", '{"a":[0.3,null,"é"]}'),
        ("{% $string([1, {}], true) %}", "[\n  1,\n  {}\n]"),
        ("{% [1..873782] ~> $count() %}", 873_782),
        (f"{{% {'+'.join(['1'] * 100)} %}}", 100),
        ("{% $length($uuid()) %}", 36),
        ("{% $millis() %}", 1500),
        ("{% $now() %}", "1970-01-01T00:00:01.500Z"),
        ("{% {'a': null, 'b': [null]} %}", {"a": None, "b": [None]}),
        ("plain", "plain"),
    ],
)
def test_a_jsonata_expression(expression: str, expected: Any) -> None:
    assert templates.parse_jsonata(expression, "Output").evaluate(scope(v=2)) == expected


@pytest.mark.parametrize(
    ("template", "cause", "location"),
    [
        ("{% $nothing %}",
         "The JSONata expression '$nothing' specified for the field 'Output' returned nothing (undefined).", "Output"),
        ({"a": [1, "{% $f(1) %}"]},
         ("The JSONata expression '$f(1)' specified for the field 'Output/a[1]' threw an error during evaluation. "
         "T1006: Attempted to invoke a non-function"), "Output/a[1]"),
        ("{% $partition([], 2) %}",
         ("The JSONata expression '$partition([], 2)' specified for the field 'Output' returned nothing (undefined)."),
         "Output"),
        ("{% $range(5, 1, 1) %}",
         ("The JSONata expression '$range(5, 1, 1)' specified for the field 'Output' returned nothing (undefined)."),
         "Output"),
        ("{% $hash('x', 'MD4') %}",
         ("The JSONata expression '$hash('x', 'MD4')' specified for the field 'Output' threw an error during "
          "evaluation. D3137: Hash algorithm 'MD4' must be one of SHA-1, SHA-384, SHA-256, SHA-512, MD5"), "Output"),
        ("{% $parse('{} {}') %}",
         ("The JSONata expression '$parse('{} {}')' specified for the field 'Output' threw an error during "
          "evaluation. D3137: Invalid JSON"), "Output"),
        ("{% $uuid(1) %}",
         ("The JSONata expression '$uuid(1)' specified for the field 'Output' threw an error during evaluation. "
          'T0410: Argument 1 of function "uuid" does not match function signature'), "Output"),
        ("{% $sum(['a']) %}",
         ("The JSONata expression '$sum(['a'])' specified for the field 'Output' threw an error during evaluation. "
          'T0412: Argument 1 of function "sum" must be an array of "numbers"'), "Output"),
        ("{% $number('a') %}",
         ("The JSONata expression '$number('a')' specified for the field 'Output' threw an error during evaluation. "
          'D3030: Unable to cast value to a number: "a"'), "Output"),
        ("{% $eval('1') %}",
         ("The JSONata expression '$eval('1')' specified for the field 'Output' threw an error during evaluation. "
         "T1006: Attempted to invoke a non-function"), "Output"),
    ],
)  # fmt: skip
def test_a_jsonata_expression_fails(template: Any, cause: str, location: str) -> None:
    with pytest.raises(EvaluationError) as failed:
        templates.parse_jsonata(template, "Output").evaluate(scope())
    assert (failed.value.error, failed.value.cause) == ("States.QueryEvaluationError", cause)
    assert failed.value.location == location


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("+".join(["1"] * 101), "Depth=101 max=100"),
        ("[1..873783] ~> $count()", "Expression evaluation memory limit exceeded: Check for excessive memory usage"),
        ("$range(1, 360146, 1)", "Expression evaluation memory limit exceeded: Check for excessive memory usage"),
    ],
)
def test_an_expression_is_bounded_as_on_aws(expression: str, message: str) -> None:
    with pytest.raises(EvaluationError) as failed:
        templates.parse_jsonata(f"{{% {expression} %}}", "Output").evaluate(scope())
    assert failed.value.cause.endswith(message)


@pytest.mark.parametrize("call", ["$f($x) + 1", "$f($x)"])
def test_a_runaway_expression_ends(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonata_expression, "TIME_LIMIT_MILLISECONDS", 100)
    expression = f"{{% ($f := function($x) {{ {call} }}; $f(1)) %}}"
    with pytest.raises(EvaluationError):
        templates.parse_jsonata(expression, "Output").evaluate(scope())


@pytest.mark.parametrize(
    ("operator", "value", "operand", "holds"),
    [
        ("StringEquals", "a", "a", True),
        ("StringLessThan", "a", "b", True),
        ("StringGreaterThanEquals", "b", 1, False),
        ("StringMatches", "log-1.txt", "log-*.txt", True),
        ("StringMatches", "a*b", r"a\*b", True),
        ("StringMatches", "axb", r"a\*b", False),
        ("StringMatches", "a\\b", r"a\\b", True),
        ("NumericEquals", 1, 1.0, True),
        ("NumericEquals", True, 1, False),
        ("NumericGreaterThan", "2", 1, False),
        ("BooleanEquals", True, True, True),
        ("BooleanEquals", 1, True, False),
        ("TimestampLessThan", "2016-01-01T00:00:00Z", "2016-01-01T01:00:00+00:30", True),
        ("TimestampEquals", "yesterday", "2016-01-01T00:00:00Z", False),
        ("IsNull", None, True, True),
        ("IsNull", 0, False, True),
        ("IsNumeric", True, True, False),
        ("IsTimestamp", "2016-01-01T00:00:00.123Z", True, True),
        ("IsString", "a", False, False),
    ],
)
def test_a_comparison(operator: str, value: Any, operand: Any, holds: bool) -> None:
    assert OPERATORS[operator].test(value, operand) is holds


@pytest.mark.parametrize(
    "text", ["2016-03-14 01:59:00Z", "2016-03-14T01:59:00", "2016-03-14T25:59:00Z", "2016-02-30T00:00:00Z", 5, None]
)
def test_no_timestamp(text: Any) -> None:
    assert timestamps.parse(text) is None
