"""Fields that JSONata cannot compute: EvaluationFailed with the location of the field, and a cause in AWS's words."""

import json
from typing import Any

import pytest
from tests.unit.stepfunctions.replay import Execution

from stepbridge.stepfunctions import language

FUNCTION = {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f"}
PROCESSOR = {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}
DISTRIBUTED = {**PROCESSOR, "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}}
CONDITION = {"Type": "Choice", "Choices": [{"Condition": "{% 5 %}", "Next": "End"}]}
UNDEFINED = "The JSONata expression '$nope' specified for the field '{}' returned nothing (undefined)."


def typed(expression: str, field: str, expected: str, but_was: str, value: str) -> str:
    return (
        f"The JSONata expression '{expression}' specified for the field '{field}' returned an unexpected result type. "
        f"Expected '{expected}', but was '{but_was}' for value: {value}"
    )


@pytest.mark.parametrize(
    ("state", "location", "cause"),
    [
        (
            {**FUNCTION, "TimeoutSeconds": "{% 'x' %}"},
            "TimeoutSeconds",
            typed("'x'", "TimeoutSeconds", "number", "string", '"x"'),
        ),
        (
            {**FUNCTION, "HeartbeatSeconds": "{% 1.5 %}"},
            "HeartbeatSeconds",
            "The HeartbeatSeconds field must be an integer but was: 1.5",
        ),
        (
            {**FUNCTION, "TimeoutSeconds": "{% 0 %}"},
            "TimeoutSeconds",
            "TimeoutSeconds must be between 1 and 99999999 but was: 0",
        ),
        ({**FUNCTION, "Arguments": {"a": ["{% $nope %}"]}}, "Arguments/a[0]", UNDEFINED.format("Arguments/a[0]")),
        (
            {"Type": "Map", "Items": [1], "ItemProcessor": PROCESSOR, "MaxConcurrency": "{% -1 %}"},
            "MaxConcurrency",
            "Expected non-negative integer for MaxConcurrency, got '-1' instead.",
        ),
        (
            {"Type": "Map", "Items": [1], "ItemProcessor": DISTRIBUTED, "ToleratedFailurePercentage": "{% 101 %}"},
            "ToleratedFailurePercentage",
            "ToleratedFailurePercentage must be between 0 and 100.",
        ),
        (
            {"Type": "Map", "Items": [1], "ItemProcessor": PROCESSOR, "ItemSelector": {"a": "{% $nope %}"}},
            "ItemSelector/a",
            UNDEFINED.format("ItemSelector/a"),
        ),
        ({"Type": "Wait", "Seconds": "{% -1 %}"}, "Seconds", "The Seconds field must not be negative but was: -1"),
        ({"Type": "Wait", "Timestamp": "{% 5 %}"}, "Timestamp", typed("5", "Timestamp", "string", "number", "5")),
        ({"Type": "Fail", "Error": "{% 5 %}"}, "Error", typed("5", "Error", "string", "number", "5")),
        ({"Type": "Fail", "Cause": "{% $nope %}"}, "Cause", UNDEFINED.format("Cause")),
        (CONDITION, "Choices[0]/Condition", typed("5", "Choices[0]/Condition", "boolean", "number", "5")),
        ({"Type": "Pass", "Assign": {"a": 1}, "Output": "{% $nope %}"}, "Output", UNDEFINED.format("Output")),
    ],
)
def test_a_field_that_cannot_be_computed(state: dict[str, Any], location: str, cause: str) -> None:
    ends = state["Type"] in ("Fail", "Choice")
    states = {"S": state if ends else {**state, "Next": "End"}, "End": {"Type": "Succeed"}}
    if state["Type"] == "Fail":
        del states["End"]
    machine = {"QueryLanguage": "JSONata", "StartAt": "S", "States": states}

    execution = Execution(language.parse(json.dumps(machine)))

    failed = next(event for event in execution.history if event.type == "EvaluationFailed")
    assert failed.details == {
        "error": "States.QueryEvaluationError",
        "cause": f"An error occurred while executing the state 'S' (entered at the event id #2). {cause}",
        "location": location,
        "state": "S",
    }
    assert execution.finish is not None
    assert (execution.finish.error, execution.finish.cause) == (failed.details["error"], failed.details["cause"])
