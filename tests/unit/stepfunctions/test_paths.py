"""Paths that do not fit the data: what the state fails with, as AWS words it."""

import json
from typing import Any

import pytest
from tests.unit.stepfunctions.replay import Execution

from stepbridge.stepfunctions import language

Json = Any
ITEMS = {
    "Type": "Map",
    "ItemProcessor": {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}},
    "Next": "End",
}
NULL_INPUT = "Unable to apply Path transformation to null or empty input."


def execute(state: dict[str, Any], value: Json) -> Execution:
    """An execution of the state, and of the state End unless it is a Fail."""
    states = {"S": state} if state["Type"] == "Fail" else {"S": state, "End": {"Type": "Succeed"}}
    return Execution(language.parse(json.dumps({"StartAt": "S", "States": states})), json.dumps(value))


def fails(state: dict[str, Any], value: Json) -> tuple[str | None, str]:
    """The error of an execution of the state alone, and its cause without what all causes begin with."""
    execution = execute(state, value)
    assert execution.finish is not None
    prefix = "An error occurred while executing the state 'S' (entered at the event id #2). "
    assert (execution.finish.status, (execution.finish.cause or "")[: len(prefix)]) == ("FAILED", prefix)
    return execution.finish.error, (execution.finish.cause or "")[len(prefix) :]


def puts(path: str) -> dict[str, Any]:
    return {"Type": "Pass", "Result": 1, "ResultPath": path, "Next": "End"}


@pytest.mark.parametrize(
    ("path", "value", "output"),
    [
        ("$.a.b", {"x": 0}, {"x": 0, "a": {"b": 1}}),
        ("$.a.b", {"a": None}, {"a": {"b": 1}}),
        ("$[1].a", [0, {"b": 2}], [0, {"b": 2, "a": 1}]),
        ("$.a[0]", {"a": [0, 2]}, {"a": [1, 2]}),
    ],
)
def test_a_result_is_put_where_its_path_leads(path: str, value: Json, output: Json) -> None:
    execution = execute(puts(path), value)
    assert execution.finish is not None
    assert execution.finish.output == output


@pytest.mark.parametrize("value", ["text", 5, True, None])
def test_a_result_cannot_be_put_into_what_is_no_object(value: Json) -> None:
    cause = f"Unable to apply ReferencePath $.a to input {json.dumps(value)}"
    assert fails(puts("$.a"), value) == ("States.ResultPathMatchFailure", cause)


@pytest.mark.parametrize(
    ("path", "value", "step"),
    [
        ("$.sum", [{"a": 1}], "sum"),
        ("$.a.b", {"a": [1]}, "b"),
        ("$.a[2]", {"a": [1]}, "2"),
        ("$[0]", {"a": 1}, "0"),
    ],
)
def test_a_step_of_a_result_path_conflicts_with_the_input(path: str, value: Json, step: str) -> None:
    text = json.dumps(value, separators=(",", ":"))
    cause = f'Unable to apply step "{step}" to input {text}'
    assert fails(puts(path), value) == ("States.ReferencePathConflict", cause)


@pytest.mark.parametrize(
    ("path", "value", "step"),
    [("$.chunks", {"key": 1}, "chunks"), ("$.found.objects", {"found": {"statusCode": 500}}, "objects")],
)
def test_items_that_are_not_there_are_a_conflict(path: str, value: Json, step: str) -> None:
    text = json.dumps(value, separators=(",", ":"))
    cause = f'Unable to apply step "{step}" to input {text}'
    assert fails({**ITEMS, "ItemsPath": path}, value) == ("States.ReferencePathConflict", cause)


def test_a_conflict_is_caught() -> None:
    state = {**puts("$.a"), "Type": "Map", "ItemProcessor": ITEMS["ItemProcessor"]}
    del state["Result"]
    state["Catch"] = [{"ErrorEquals": ["States.ReferencePathConflict"], "Next": "End"}]
    execution = execute(state, [1])
    assert execution.finish is not None
    assert execution.finish.output["Error"] == "States.ReferencePathConflict"


@pytest.mark.parametrize(
    "state",
    [
        {"Type": "Pass", "Parameters": {"all.$": "$"}, "Next": "End"},
        {"Type": "Pass", "Parameters": {"one.$": "$.a"}, "Next": "End"},
        {"Type": "Pass", "Parameters": {"text.$": "States.JsonToString($)"}, "Next": "End"},
        {"Type": "Pass", "InputPath": "$.a", "Next": "End"},
        {"Type": "Pass", "OutputPath": "$.a", "Next": "End"},
        {"Type": "Choice", "Choices": [{"Variable": "$", "IsString": True, "Next": "End"}]},
        {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": True, "Next": "End"}]},
        {"Type": "Fail", "CausePath": "$.a"},
    ],
)
def test_no_path_leads_anywhere_from_null(state: dict[str, Any]) -> None:
    assert fails(state, None) == ("States.Runtime", NULL_INPUT)


@pytest.mark.parametrize("state", [{"InputPath": "$"}, {"OutputPath": "$"}, {"Result": None}, {}])
def test_null_goes_through_where_no_path_is_applied_to_it(state: dict[str, Any]) -> None:
    execution = execute({"Type": "Pass", **state, "Next": "End"}, None)
    assert execution.finish is not None
    assert (execution.finish.status, execution.finish.output) == ("SUCCEEDED", None)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("$.a.b.c", "Missing property in path $['a']['b']"),
        ("$.a.none", "No results for path: $['a']['none']"),
        ("$['a', 'x'].v", "Multi properties can only be used as path leafs: $['a', 'x']"),
        ("$.a[0]", """Filter: [0] can only be applied to arrays. Current context is: {"v":1}"""),
        ("$.n[0]", "The path $['n'] is null"),
    ],
)
def test_why_a_path_leads_nowhere(path: str, problem: str) -> None:
    state = {"Type": "Pass", "InputPath": path, "Next": "End"}
    assert fails(state, {"a": {"v": 1}, "n": None}) == ("States.Runtime", f"Invalid path '{path}' : {problem}")
