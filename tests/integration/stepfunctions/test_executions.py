"""StartExecution, DescribeExecution, ListExecutions, StopExecution, GetExecutionHistory."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.integration.stepfunctions import machines
from tests.integration.stepfunctions.driving import ROLE, Emulator, FunctionError, refused

from stepbridge.clock import ManualClock

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:machine:"


def run(scenario: Callable[[Emulator], Awaitable[None]], **functions: Any) -> None:
    async def main() -> None:
        async with Emulator(None) as emulator:
            emulator.functions.by_name.update(functions)
            await scenario(emulator)

    asyncio.run(main())


def test_a_finished_execution_is_described_and_leaves_no_state() -> None:
    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.PASS)
        execution = await emulator.run(machine, {"a": 1}, name="first")
        assert execution == EXECUTION + "first"
        answer = await emulator.ended(execution)
        assert answer == {
            "executionArn": execution,
            "stateMachineArn": machine,
            "name": "first",
            "status": "SUCCEEDED",
            "startDate": 1_700_000_000.0,
            "stopDate": 1_700_000_000.0,
            "input": '{"a": 1}',
            "inputDetails": {"included": True},
            "output": '{"done":true}',
            "outputDetails": {"included": True},
            "redriveCount": 0,
            "redriveStatus": "NOT_REDRIVABLE",
            "redriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
        }
        assert emulator.store.query("SELECT * FROM execution_states") == []

    run(scenario)


def test_a_function_by_its_arn() -> None:
    async def add(event: Any) -> Any:
        if "b" not in event:
            raise FunctionError("'b'")
        return {"result": event["a"] + event["b"]}

    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.function("add"))
        execution = await emulator.run(machine, {"a": 15, "b": 42})
        assert (await emulator.ended(execution))["output"] == '{"result":57}'
        assert (await emulator.types(execution))[2:5] == [
            "LambdaFunctionScheduled",
            "LambdaFunctionStarted",
            "LambdaFunctionSucceeded",
        ]
        answer = await emulator.ended(await emulator.run(machine, {"a": 15}))
        assert (answer["status"], answer["error"]) == ("FAILED", "ValueError")
        assert json.loads(answer["cause"]) == {"errorMessage": "'b'", "errorType": "ValueError", "stackTrace": []}

    run(scenario, add=add)


def test_starting_twice_by_name() -> None:
    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.wait(60))
        first = await emulator.run(machine, {"a": 1}, name="same")
        assert await emulator.run(machine, {"a": 1}, name="same") == first
        error = await refused(emulator.run(machine, {"a": 2}, name="same"))
        assert (error.code, error.message) == ("ExecutionAlreadyExists", f"Execution Already Exists: '{first}'")
        await emulator.call("stop_execution", executionArn=first)
        assert (await refused(emulator.run(machine, {"a": 1}, name="same"))).code == "ExecutionAlreadyExists"

    run(scenario)


@pytest.mark.parametrize(
    ("operation", "members", "code", "message"),
    [
        ("start_execution", {"name": "a b"}, "InvalidName", "Invalid Name: 'a b'"),
        ("start_execution", {"name": "a" * 81}, "InvalidName", f"Invalid Name: '{'a' * 81}'"),
        (
            "start_execution",
            {"input": "not some json"},
            "InvalidExecutionInput",
            (
                "Invalid State Machine Execution Input: 'Unrecognized token 'not': was expecting (JSON String, Number, "
                "Array, Object or token 'null', 'true' or 'false')'"
            ),
        ),
        (
            "start_execution",
            {"input": ""},
            "InvalidExecutionInput",
            "Invalid State Machine Execution Input: 'Invalid execution input.'",
        ),
        (
            "start_execution",
            {"stateMachineArn": "nonsense"},
            "InvalidArn",
            "Invalid Arn: 'Invalid ARN prefix: nonsense'",
        ),
        (
            "start_execution",
            {"stateMachineArn": EXECUTION + "x"},
            "InvalidArn",
            "Invalid Arn: 'Resource type not valid in this context: execution'",
        ),
        (
            "describe_execution",
            {"executionArn": EXECUTION + "none"},
            "ExecutionDoesNotExist",
            f"Execution Does Not Exist: '{EXECUTION}none'",
        ),
        ("get_execution_history", {"executionArn": EXECUTION + "none"}, "ExecutionDoesNotExist", None),
        ("stop_execution", {"executionArn": EXECUTION + "none"}, "ExecutionDoesNotExist", None),
        ("list_executions", {"nextToken": "nonsense"}, "InvalidToken", "Invalid Token: 'Invalid token'"),
    ],
)
def test_what_is_refused(operation: str, members: dict[str, str], code: str, message: str | None) -> None:
    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.PASS)
        given = {"stateMachineArn": machine, **members} if "executionArn" not in members else members
        error = await refused(emulator.call(operation, **given))
        assert error.code == code
        assert message is None or error.message == message
        assert (await emulator.call("list_executions", stateMachineArn=machine))["executions"] == []

    run(scenario)


def test_executions_are_listed_newest_first_in_pages() -> None:
    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.wait(60))
        for number in range(5):
            await emulator.run(machine, name=str(number))
        await emulator.call("stop_execution", executionArn=EXECUTION + "2")
        names: list[str] = []
        members: dict[str, Any] = {"stateMachineArn": machine, "maxResults": 2}
        while True:
            page = await emulator.call("list_executions", **members)
            names += [execution["name"] for execution in page["executions"]]
            if "nextToken" not in page:
                break
            members["nextToken"] = page["nextToken"]
        assert names == ["4", "3", "2", "1", "0"]
        running = await emulator.call("list_executions", stateMachineArn=machine, statusFilter="RUNNING")
        assert [execution["name"] for execution in running["executions"]] == ["4", "3", "1", "0"]
        other = {"stateMachineArn": machine, "statusFilter": "RUNNING", "nextToken": members["nextToken"]}
        assert (await refused(emulator.call("list_executions", **other))).code == "InvalidToken"

    run(scenario)


def test_history_in_pages_both_ways_and_without_data() -> None:
    async def answer(event: Any) -> Any:
        return event

    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.function("answer"))
        execution = await emulator.run(machine, {"secret": 1})
        await emulator.ended(execution)
        whole = await emulator.history(execution)
        assert [event["id"] for event in whole] == [1, 2, 3, 4, 5, 6, 7]
        for size in (1, 2, 3, 7):
            for reverse in (False, True):
                events, token = [], None
                while True:
                    more: dict[str, Any] = {"nextToken": token} if token else {}
                    page = await emulator.call(
                        "get_execution_history",
                        executionArn=execution,
                        maxResults=size,
                        reverseOrder=reverse,
                        **more,
                    )
                    assert len(page["events"]) <= size
                    events += page["events"]
                    token = page.get("nextToken")
                    if token is None:
                        break
                assert events == (whole[::-1] if reverse else whole)
        bare = await emulator.history(execution, includeExecutionData=False)
        assert [event["type"] for event in bare] == [event["type"] for event in whole]
        assert "secret" not in str(bare)

    run(scenario, answer=answer)


def test_a_wait_of_an_hour() -> None:
    async def scenario(emulator: Emulator) -> None:
        execution = await emulator.run(await emulator.create(machines.wait(3600)))
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        clock.advance(3599)
        assert await emulator.status(execution) == "RUNNING"
        clock.advance(1)
        assert await emulator.status(execution) == "SUCCEEDED"

    run(scenario)


def test_stopping_twice_answers_with_the_first_time() -> None:
    async def scenario(emulator: Emulator) -> None:
        execution = await emulator.run(await emulator.create(machines.wait(3600)))
        first = await emulator.call("stop_execution", executionArn=execution)
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        clock.advance(10)
        assert await emulator.call("stop_execution", executionArn=execution) == first

    run(scenario)


def test_an_execution_keeps_the_definition_it_started_with() -> None:
    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.wait(60))
        execution = await emulator.run(machine)
        await emulator.call("update_state_machine", stateMachineArn=machine, definition=json.dumps(machines.PASS))
        answer = await emulator.call("describe_state_machine_for_execution", executionArn=execution)
        assert json.loads(answer["definition"]) == machines.wait(60)
        assert answer["roleArn"] == ROLE
        assert "revisionId" not in answer
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        clock.advance(60)
        assert (await emulator.types(execution))[-2:] == ["WaitStateExited", "ExecutionSucceeded"]

    run(scenario)


def test_a_thousand_timers_ring_in_order_without_a_task_each() -> None:
    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.wait(60))
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        executions = []
        for number in range(1000):
            executions.append(await emulator.run(machine, name=str(number)))
            clock.advance(0.001)
        assert len(asyncio.all_tasks()) == 1
        clock.advance(120)
        ends = [await emulator.call("describe_execution", executionArn=execution) for execution in executions]
        assert {end["status"] for end in ends} == {"SUCCEEDED"}
        stops = [end["stopDate"] for end in ends]
        assert stops == sorted(stops)
        assert all(end["stopDate"] == pytest.approx(end["startDate"] + 60, abs=0.01) for end in ends)

    run(scenario)
