"""RedriveExecution: what failed goes on where it stopped, under the same name."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.integration.stepfunctions import machines
from tests.integration.stepfunctions.driving import Emulator, FunctionError, refused

from stepbridge.clock import ManualClock

DAY = 24 * 60 * 60


def run(path: Path, scenario: Callable[[Emulator], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Emulator(path / "emulator.db") as emulator:
            await scenario(emulator)

    asyncio.run(main())


def fails_until_mended(emulator: Emulator) -> Callable[[], None]:
    """A function `each` that fails for odd numbers, until what is given back is called."""
    broken = True

    async def each(event: Any) -> Any:
        if broken and event % 2:
            raise FunctionError(str(event))
        return event * 10

    def mend() -> None:
        nonlocal broken
        broken = False

    emulator.functions.by_name["each"] = each
    return mend


def distributed(execution_type: str, **fields: Any) -> dict[str, Any]:
    processor = {
        **machines.function("each"),
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": execution_type},
    }
    state = {"Type": "Map", "Label": "Items", "ItemProcessor": processor, "End": True, **fields}
    return {"StartAt": "All", "States": {"All": state}}


def test_a_failed_execution_goes_on(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        mend = fails_until_mended(emulator)
        execution = await emulator.run(await emulator.create(machines.function("each")), 1)
        answer = await emulator.ended(execution)
        assert (answer["status"], answer["redriveStatus"], answer["redriveCount"]) == ("FAILED", "REDRIVABLE", 0)
        mend()
        redriven = await emulator.call("redrive_execution", executionArn=execution, clientToken="once")
        answer = await emulator.ended(execution)
        assert (answer["status"], answer["output"]) == ("SUCCEEDED", "10")
        assert (answer["redriveCount"], answer["redriveDate"]) == (1, redriven["redriveDate"])
        assert answer["redriveStatus"] == "NOT_REDRIVABLE"
        assert answer["redriveStatusReason"] == "Execution is SUCCEEDED and cannot be redriven"
        assert "error" not in answer
        assert await emulator.types(execution) == [
            "ExecutionStarted", "TaskStateEntered", "LambdaFunctionScheduled", "LambdaFunctionStarted",
            "LambdaFunctionFailed", "ExecutionFailed", "ExecutionRedriven", "LambdaFunctionScheduled",
            "LambdaFunctionStarted", "LambdaFunctionSucceeded", "TaskStateExited", "ExecutionSucceeded",
        ]  # fmt: skip
        # The same client token asks for nothing new.
        again = await emulator.call("redrive_execution", executionArn=execution, clientToken="once")
        assert again == redriven

    run(tmp_path, scenario)


def test_a_stopped_callback_gets_a_new_token(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        async def dispatch(event: Any) -> None:
            """Answer at once."""

        emulator.functions.by_name["dispatch"] = dispatch
        execution = await emulator.run(await emulator.create(machines.callback()))
        old = await emulator.token()
        error = await refused(emulator.call("redrive_execution", executionArn=execution))
        assert (error.code, error.message) == (
            "ExecutionNotRedrivable",
            "Execution is RUNNING and cannot be redriven",
        )
        await emulator.call("stop_execution", executionArn=execution)
        await emulator.call("redrive_execution", executionArn=execution)
        new = await emulator.token(2)
        assert new != old
        error = await refused(emulator.call("send_task_success", taskToken=old, output="1"))
        assert error.code == "TaskTimedOut"
        await emulator.call("send_task_success", taskToken=new, output="2")
        assert json.loads((await emulator.ended(execution))["output"]) == {"lambdaOutput": 2}

    run(tmp_path, scenario)


def test_which_executions_cannot_be_redriven(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        fails_until_mended(emulator)
        machine = await emulator.create(machines.function("each"))
        execution = await emulator.run(machine, 1)
        await emulator.ended(execution)
        clock.advance(14 * DAY)
        error = await refused(emulator.call("redrive_execution", executionArn=execution))
        assert (error.code, error.message) == ("ExecutionNotRedrivable", "Execution redrivable period exceeded")
        assert (await emulator.ended(execution))["redriveStatusReason"] == "Execution redrivable period exceeded"
        execution = await emulator.run(machine, 1)
        await emulator.ended(execution)
        await emulator.call("delete_state_machine", stateMachineArn=machine)
        error = await refused(emulator.call("redrive_execution", executionArn=execution))
        assert (error.code, error.message) == ("ExecutionNotRedrivable", "State machine is in DELETING status")
        error = await refused(emulator.call("redrive_execution", executionArn=execution + "x"))
        assert error.code == "ExecutionDoesNotExist"

    run(tmp_path, scenario)


def test_a_map_run_is_redriven_with_its_parent(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        for execution_type in ("STANDARD", "EXPRESS"):
            mend = fails_until_mended(emulator)
            machine = await emulator.create(distributed(execution_type, MaxConcurrency=2), execution_type)
            execution = await emulator.run(machine, [0, 1, 2, 3])
            assert (await emulator.ended(execution))["error"] == "States.ExceedToleratedFailureThreshold"
            (summary,) = (await emulator.call("list_map_runs", executionArn=execution))["mapRuns"]
            map_run = summary["mapRunArn"]
            described = await emulator.call("describe_map_run", mapRunArn=map_run)
            assert (described["status"], described["redriveCount"]) == ("FAILED", 0)
            if execution_type == "STANDARD":
                failed = await emulator.call("list_executions", mapRunArn=map_run, statusFilter="FAILED")
                child = failed["executions"][-1]["executionArn"]
                assert (await emulator.ended(child))["redriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
                error = await refused(emulator.call("redrive_execution", executionArn=child))
                assert error.code == "ValidationException"
            mend()
            emulator.functions.calls.clear()
            await emulator.call("redrive_execution", executionArn=execution)
            answer = await emulator.ended(execution)
            assert (answer["status"], json.loads(answer["output"])) == ("SUCCEEDED", [0, 10, 20, 30])
            assert 0 not in [event for _, event in emulator.functions.calls]  # it had succeeded
            described = await emulator.call("describe_map_run", mapRunArn=map_run)
            assert (described["status"], described["redriveCount"]) == ("SUCCEEDED", 1)
            assert described["executionCounts"]["succeeded"] == described["executionCounts"]["total"] == 4
            if execution_type == "STANDARD":
                for redrive_filter, count in (("REDRIVEN", 1), ("NOT_REDRIVEN", 0)):
                    listed = await emulator.call("list_executions", mapRunArn=map_run, redriveFilter=redrive_filter)
                    assert listed["executions"]
                    assert {execution["redriveCount"] for execution in listed["executions"]} == {count}
                refusal = emulator.call("list_executions", stateMachineArn=machine, redriveFilter="REDRIVEN")
                assert (await refused(refusal)).code == "ValidationException"
                assert (await emulator.ended(child))["redriveCount"] == 1
                whose = await emulator.call("describe_state_machine_for_execution", executionArn=child)
                assert (whose["mapRunArn"], whose["label"]) == (map_run, "Items")
                assert whose["stateMachineArn"] == f"{machine}/Items"
                assert json.loads(whose["definition"]) == distributed("STANDARD")["States"]["All"]["ItemProcessor"]

    run(tmp_path, scenario)


def test_items_that_could_not_be_read_are_read_again(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        reader = {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Parameters": {"Bucket": "b", "Key": "k"},
        }
        machine = await emulator.create(distributed("STANDARD", ItemReader=reader))
        execution = await emulator.run(machine, [])
        assert (await emulator.ended(execution))["error"] == "States.ItemReaderFailed"
        await emulator.call("redrive_execution", executionArn=execution)
        assert (await emulator.ended(execution))["error"] == "States.ItemReaderFailed"
        types = await emulator.types(execution)
        assert types.count("MapRunStarted") == types.count("MapRunRedriven") == 1
        assert types.count("MapRunFailed") == 2

    run(tmp_path, scenario)


def test_a_redrive_survives_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with Emulator(tmp_path / "db") as emulator:
            fails_until_mended(emulator)
            execution = await emulator.run(await emulator.create(machines.function("each")), 1)
            await emulator.ended(execution)
        emulator = Emulator(tmp_path / "db")
        fails_until_mended(emulator)()
        async with emulator:
            await emulator.call("redrive_execution", executionArn=execution)
            assert (await emulator.ended(execution))["output"] == "10"

    asyncio.run(main())


def test_a_long_run_leaves_turns_to_others_and_survives_a_restart(tmp_path: Path) -> None:
    loop = {
        "StartAt": "Again",
        "States": {
            "Again": {"Type": "Pass", "Next": "Enough"},
            "Enough": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.enough", "IsPresent": True, "Next": "Done"}],
                "Default": "Again",
            },
            "Done": {"Type": "Succeed"},
        },
    }

    async def main() -> None:
        async with Emulator(tmp_path / "db") as emulator:
            execution = await emulator.run(await emulator.create(loop))
            newest = (await emulator.history(execution, reverseOrder=True, maxResults=1))[0]["id"]
            assert newest < 1000
            assert await emulator.status(execution) == "RUNNING"
        async with Emulator(tmp_path / "db") as emulator:
            answer = await emulator.ended(execution)
            assert answer["cause"] == "The execution reached the maximum number of history events (25000)."
            assert answer["redriveStatusReason"] == "Execution history event limit exceeded"

    asyncio.run(main())
