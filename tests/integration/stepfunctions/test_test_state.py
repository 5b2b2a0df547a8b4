"""TestState: with the real call, with a mock, and what it refuses."""

import asyncio
import json
from typing import Any

import pytest
from tests.integration.stepfunctions.driving import ROLE, Emulator, FunctionError, refused

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:double"
CALL: dict[str, Any] = {"Type": "Task", "Resource": FUNCTION, "ResultPath": "$.doubled", "Next": "After"}
START: dict[str, Any] = {"Type": "Task", "Parameters": {"StateMachineArn": "m"}, "End": True}
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


MAP: dict[str, Any] = {
    "Type": "Map",
    "ItemReader": {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON", "ItemsPointer": "/rows", "MaxItems": 3},
        "Parameters": {"Bucket": "b", "Key": "k"},
    },
    "ItemSelector": {"v.$": "$$.Map.Item.Value", "x.$": "$.x"},
    "ItemBatcher": {"MaxItemsPerBatch": 2},
    "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "I",
        "States": {"I": {"Type": "Pass", "End": True}},
    },
    "End": True,
}


def test_every_stage_of_a_map_is_told() -> None:
    answer = answer_of(
        MAP,
        input='{"x": 1}',
        mock={"result": "[]"},
        inspectionLevel="DEBUG",
        stateConfiguration={"mapItemReaderData": '{"rows": ["a", "b", "c", "d"]}'},
    )
    told = {name: json.loads(answer["inspectionData"][f"after{name}"]) for name in ("ItemsPointer", "ItemSelector")}
    selected = [{"v": item, "x": 1} for item in "abc"]
    assert told == {"ItemsPointer": ["a", "b", "c"], "ItemSelector": selected}
    batches = json.loads(answer["inspectionData"]["afterItemBatcher"])
    assert batches == [{"Items": selected[:2]}, {"Items": selected[2:]}]


def test_data_of_a_reader_are_as_in_the_file() -> None:
    reader = {**MAP["ItemReader"], "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}}
    state = {**MAP, "ItemReader": reader, "ItemSelector": {"v.$": "$$.Map.Item.Value.n"}}
    configuration = {"mapItemReaderData": "n,m\n1,2\n"}
    answer = answer_of(state, mock={"result": "[]"}, inspectionLevel="DEBUG", stateConfiguration=configuration)
    assert json.loads(answer["inspectionData"]["afterItemSelector"]) == [{"v": "1"}]


def test_variables_are_assigned() -> None:
    state = {"Type": "Pass", "Assign": {"a.$": "$.n", "b.$": "$given"}, "End": True}
    answer = answer_of(state, input='{"n": 1}', variables='{"given": 2}', inspectionLevel="DEBUG")
    assert json.loads(answer["inspectionData"]["variables"]) == {"given": 2, "a": 1, "b": 2}
    failing = {"Type": "Pass", "Assign": {"a.$": "$.nothing"}, "End": True}
    assert answer_of(failing)["status"] == "FAILED"


@pytest.mark.parametrize(
    ("state", "members", "message"),
    [
        (
            CALL,
            {"context": "{}", "roleArn": ROLE},
            "TestState does not support Context when a mock is not specified.",
        ),
        (
            CALL,
            {"mock": {"result": "1", "errorOutput": {"error": "E"}}},
            "A test mock should have only one of the following fields: [result, errorOutput].",
        ),
        (CALL, {"mock": {"result": "{"}}, "Mocked result must be valid JSON"),
        (
            {**MAP, "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b"}}},
            {"mock": {"result": "[]"}},
            "Mocked result must be a JSON object.",
        ),
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
        (
            {**CALL, "Resource": "arn:aws:states:::glue:startJobRun", "Parameters": {"JobName": "j"}},
            {"mock": {"result": '{"JobRunId": 1}'}},
            "Mock result schema validation error: Field 'JobRunId' must be a string",
        ),
        (
            {
                **CALL,
                "Resource": "arn:aws:states:::states:startExecution.sync:2",
                "Parameters": {"StateMachineArn": "m"},
            },
            {"mock": {"result": '{"Output": {}}', "fieldValidationMode": "PRESENT"}},
            "Mock result schema validation error: Field 'Output' must be a string",
        ),
        (
            {**START, "Resource": "arn:aws:states:::states:startExecution.sync"},
            {"mock": {"result": '{"StopDate": 1}', "fieldValidationMode": "PRESENT"}},
            "Mock result schema validation error: Field 'StopDate' must be a string",
        ),
        (
            {"Type": "Pass", "End": True},
            {"variables": "[]"},
            "Invalid variables provided: they must be a JSON object",
        ),
        (
            {
                "Type": "Map",
                "ItemProcessor": {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}},
                "End": True,
            },
            {
                "input": "[1, 2]",
                "mock": {"result": "[]"},
                "stateConfiguration": {"mapIterationFailureCount": 3},
            },
            "MapIterationFailureCount is 3, but the Map has 2 items",
        ),
    ],
)
def test_what_is_refused(state: dict[str, Any], members: dict[str, Any], message: str) -> None:
    async def main() -> None:
        async with Emulator(None) as emulator:
            error = await refused(emulator.call("test_state", definition=json.dumps(state), **members))
            assert (error.code, error.message) == ("ValidationException", message)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("resource", "parameters"),
    [
        ("arn:aws:states:us-east-1:123456789012:activity:a", {}),
        ("arn:aws:states:::states:startExecution.sync", {"StateMachineArn": "m"}),
        ("arn:aws:states:::sqs:sendMessage.waitForTaskToken", {"QueueUrl": "q", "MessageBody.$": "$$.Task.Token"}),
    ],
)
def test_what_would_have_to_be_waited_for_needs_a_mock(resource: str, parameters: dict[str, Any]) -> None:
    state = {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}

    async def main() -> None:
        async with Emulator(None) as emulator:
            error = await refused(emulator.call("test_state", definition=json.dumps(state), roleArn=ROLE))
            assert error.code == "InvalidDefinition"

    asyncio.run(main())
    answer = answer_of(state, mock={"result": "[1]", "fieldValidationMode": "NONE"})
    assert (answer["status"], answer["output"]) == ("SUCCEEDED", "[1]")


def test_what_a_callback_gives_is_no_apis_answer() -> None:
    parameters = {"QueueUrl": "q", "MessageBody.$": "$$.Task.Token"}
    resource = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
    state = {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}
    assert answer_of(state, mock={"result": "[1]"})["output"] == "[1]"


def test_a_role_must_be_one() -> None:
    async def main() -> None:
        async with Emulator(None) as emulator:
            state = json.dumps({"Type": "Pass", "End": True})
            error = await refused(emulator.call("test_state", definition=state, roleArn="role"))
            assert (error.code, error.message) == ("InvalidArn", "Invalid Arn: 'Invalid ARN prefix: role'")

    asyncio.run(main())
