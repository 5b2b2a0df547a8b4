"""Data that grow with each round of a loop end the execution as a limit says, and nothing else."""

from typing import Any

import pytest
from tests.unit.stepfunctions.replay import execute

from stepbridge.stepfunctions.language import json_text

DEEPER = "{'a': " * 20 + "$states.input" + "}" * 20


VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


def loop(query_language: str, **state: Any) -> dict[str, Any]:
    """A loop through a Pass state with the fields `state`."""
    end: dict[str, Any] = {"Variable": "$.enough", "IsPresent": True, "Next": "Done"}
    if query_language == "JSONata":
        end = {"Condition": "{% $exists($states.input.enough) %}", "Next": "Done"}
    return {
        "QueryLanguage": query_language,
        "StartAt": "Again",
        "States": {
            "Again": {"Type": "Pass", "Next": "Enough", **state},
            "Enough": {"Type": "Choice", "Choices": [end], "Default": "Again"},
            "Done": {"Type": "Succeed"},
        },
    }


@pytest.mark.parametrize(
    ("query_language", "state", "error", "cause"),
    [
        ("JSONPath", {"Parameters": {"a.$": "$"}}, "States.Runtime", "nested more than 1000 levels deep"),
        ("JSONPath", {"Parameters": {"a.$": "States.Array($)"}}, "States.Runtime", "nested more than 1000 levels deep"),
        ("JSONPath", {"Parameters": {"a.$": "States.Array($, $)"}}, "States.DataLimitExceeded", "returned a result"),
        ("JSONata", {"Output": f"{{% {DEEPER} %}}"}, "States.Runtime", "nested more than 1000 levels deep"),
        (
            "JSONata",
            {"Output": "{% [$states.input, $states.input] %}"},
            "States.DataLimitExceeded",
            "returned a result",
        ),
        (
            "JSONata",
            {"Assign": {"v": "{% $exists($v) ? [$v, $v] : 1 %}"}},
            "States.DataLimitExceeded",
            "assigned variables",
        ),
        ("JSONPath", {}, "States.Runtime", "maximum number of history events (25000)"),
    ],
)
def test_a_loop_whose_data_grow(query_language: str, state: dict[str, Any], error: str, cause: str) -> None:
    execution = execute(loop(query_language, **state))
    assert execution.finish is not None
    assert (execution.finish.status, execution.finish.error) == ("FAILED", error)
    assert cause in str(execution.finish.cause)


def test_all_variables_together_have_a_limit() -> None:
    names = [f"v{number}" for number in range(50)]
    states: dict[str, Any] = {
        name: {"Type": "Pass", "Assign": {name: "{% $pad('', 250000, 'x') %}"}, "Next": f"v{number + 1}"}
        for number, name in enumerate(names)
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "v0", "States": {**states, "v50": {"Type": "Succeed"}}}
    execution = execute(definition)
    assert execution.finish is not None
    assert execution.finish.error == "States.DataLimitExceeded"
    assert execution.types.count("PassStateExited") == 41  # 10 MiB


@pytest.mark.parametrize(
    ("expression", "output"),
    [
        ("1/0", "Infinity"),
        ("[-1/0, 0/0, 1e308 * 10]", ["-Infinity", "NaN", "Infinity"]),
        ("$parseInteger('abc', '0')", "NaN"),
        ("$parse('9223372036854775807')", 2**63 - 1),
        ("$parse('9223372036854775808')", 9.223372036854776e18),
    ],
)
def test_numbers_that_are_not_finite_or_long_are_written_as_aws_writes_them(expression: str, output: Any) -> None:
    state = {"Type": "Pass", "Output": f"{{% {expression} %}}", "End": True}
    execution = execute({"QueryLanguage": "JSONata", "StartAt": "S", "States": {"S": state}})
    assert execution.finish is not None
    assert execution.finish.output == output


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("not a definition", f"Unrecognized token 'not': was expecting {VALUES}", "line: 1, column: 4]"),
        ('{"a":\n1 "b"}', "Unexpected character ('\"' (code 34)): was expecting comma to separate Object entries",
         "line: 2, column: 4]"),
        ("[1 2]", "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries",
         "line: 1, column: 5]"),
        ('{"a" 1}', "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value",
         "line: 1, column: 7]"),
        ('{"a":1,}', "Unexpected character ('}' (code 125)): was expecting double-quote to start field name",
         "line: 1, column: 9]"),
        ("[1,]", f"Unexpected character (']' (code 93)): expected a valid value {VALUES}", "line: 1, column: 5]"),
        ('{"a":1', ("Unexpected end-of-input: expected close marker for Object (start marker at "
                    '[Source: (String)"{"a":1"; line: 1, column: 1])'), "line: 1, column: 7]"),
        ("[1,", "Unexpected end-of-input within/between Array entries", "line: 1, column: 4]"),
        ('"abc', "Unexpected end-of-input: was expecting closing quote for a string value", "line: 1, column: 5]"),
        ("[1}", ("Unexpected close marker '}': expected ']' (for Array starting at "
                 '[Source: (String)"[1}"; line: 1, column: 1])'), "line: 1, column: 4]"),
        ("01", "Invalid numeric value: Leading zeroes not allowed", "line: 1, column: 3]"),
        ("-x", ("Unexpected character ('x' (code 120)) in numeric value: expected digit (0-9) to follow minus sign, "
                "for valid numeric value"), "line: 1, column: 3]"),
        ("[NaN]", "Non-standard token 'NaN': enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow",
         "line: 1, column: 5]"),
        ('"\x01"', ("Illegal unquoted character ((CTRL-CHAR, code 1)): has to be escaped using backslash to be "
                    "included in string value"), "line: 1, column: 3]"),
        (r'"\x"', "Unrecognized character escape 'x' (code 120)", "line: 1, column: 4]"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_told_in_jacksons_words(text: str, message: str, place: str) -> None:
    with pytest.raises(json_text.JsonError) as refused:
        json_text.parse(text)
    assert (refused.value.message, refused.value.location.endswith(place)) == (message, True), refused.value.location


def test_json_is_read_to_the_depth_that_aws_reads() -> None:
    assert json_text.parse("[" * 1000 + "]" * 1000)
    for depth in (1001, 500_000):
        with pytest.raises(json_text.JsonError, match=r"Document nesting depth \(1001\) exceeds the maximum"):
            json_text.parse("[" * depth + "]" * depth)
