"""TestState: with the real call, with a mock, and what it refuses."""

import asyncio
import json
from typing import Any

import pytest
from tests.integration.stepfunctions.driving import ROLE, Emulator, FunctionError, refused

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:double"
CALL: dict[str, Any] = {"Type": "Task", "Resource": FUNCTION, "ResultPath": "$.doubled", "Next": "After"}
PUT: dict[str, Any] = {
    "Type": "Task",
    "Resource": "arn:aws:states:::dynamodb:putItem",
    "Parameters": {"TableName": "t", "Item": {}},
    "End": True,
}


def answer_of(state: dict[str, Any], **members: Any) -> Any:
    """What TestState answers."""

    async def double(event: Any) -> Any:
        if "n" not in event:
            raise FunctionError("'n'")
        return event["n"] * 2

    async def main() -> Any:
        async with Emulator(None) as emulator:
            emulator.functions.by_name["double"] = double
            return await emulator.call("test_state", definition=json.dumps(state), **members)

    return asyncio.run(main())


def test_the_call_is_really_made() -> None:
    answer = answer_of(CALL, roleArn=ROLE, input='{"n": 21}')
    assert answer == {"status": "SUCCEEDED", "output": '{"n":21,"doubled":42}', "nextState": "After"}


def test_a_failure_that_would_be_retried() -> None:
    retry = {**CALL, "Retry": [{"ErrorEquals": ["ValueError"]}]}
    answer = answer_of(retry, roleArn=ROLE, inspectionLevel="DEBUG")
    assert (answer["status"], answer["error"]) == ("RETRIABLE", "ValueError")
    assert answer["inspectionData"]["errorDetails"]["retryIndex"] == 0


def test_a_mock_stands_for_the_call() -> None:
    answer = answer_of(CALL, input='{"n": 1}', mock={"result": "7"}, inspectionLevel="DEBUG")
    assert answer["output"] == '{"n":1,"doubled":7}'
    assert answer["inspectionData"]["result"] == "7"


@pytest.mark.parametrize(
    ("state", "members", "message"),
    [
        (CALL, {}, "RoleArn must be specified when testing a Task state"),
        (
            {"Type": "Pass", "End": True},
            {"mock": {"result": "1"}},
            "State type 'Pass' is not supported when a mock is specified",
        ),
        (
            PUT,
            {"mock": {"result": '{"ConsumedCapacity": {"CapacityUnits": "1"}}'}},
            "Mock result schema validation error: Field 'CapacityUnits' must be a number",
        ),
    ],
)
def test_what_is_refused(state: dict[str, Any], members: dict[str, Any], message: str) -> None:
    async def main() -> None:
        async with Emulator(None) as emulator:
            error = await refused(emulator.call("test_state", definition=json.dumps(state), **members))
            assert (error.code, error.message) == ("ValidationException", message)

    asyncio.run(main())
