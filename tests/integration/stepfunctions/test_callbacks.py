"""Task tokens: the dispatch-callback task from StartExecution to its end."""

import asyncio
import json
import resource
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.stepfunctions import machines
from tests.integration.stepfunctions.driving import Emulator, FunctionError, eventually, refused

from stepbridge.clock import ManualClock

DAY = 86_400


async def accept(event: Any) -> None:
    """A dispatch function that has sent the job on."""


def run(path: Path, scenario: Callable[[Emulator], Awaitable[None]], **functions: Any) -> None:
    async def main() -> None:
        async with Emulator(path / "emulator.db") as emulator:
            emulator.functions.by_name.update({"dispatch": accept, **functions})
            await scenario(emulator)

    asyncio.run(main())


async def submitted(emulator: Emulator, execution: str) -> None:
    async def probe() -> bool | None:
        return True if "TaskSubmitted" in await emulator.types(execution) else None

    await eventually(probe)


def test_a_job_goes_out_and_its_answer_comes_back(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.callback())
        execution = await emulator.run(machine, {"a": 15, "b": 42})
        token = await emulator.token()
        await submitted(emulator, execution)
        await emulator.call("send_task_success", taskToken=token, output='{"result": 57}')
        answer = await emulator.call("describe_execution", executionArn=execution)
        assert answer["status"] == "SUCCEEDED"
        assert json.loads(answer["output"]) == {"a": 15, "b": 42, "lambdaOutput": {"result": 57}}
        assert await emulator.types(execution) == [
            "ExecutionStarted",
            "TaskStateEntered",
            "TaskScheduled",
            "TaskStarted",
            "TaskSubmitted",
            "TaskSucceeded",
            "TaskStateExited",
            "ExecutionSucceeded",
        ]
        details = (await emulator.history(execution))[4]["taskSubmittedEventDetails"]
        assert details["resource"] == "invoke.waitForTaskToken"
        output = json.loads(details["output"])
        assert output.keys() == {"ExecutedVersion", "Payload", "SdkHttpMetadata", "SdkResponseMetadata", "StatusCode"}
        assert (output["Payload"], output["StatusCode"]) == (None, 200)
        hops = [hop.event for hop in emulator.trace.recent if hop.fields.get("execution") == execution]
        assert hops == [
            "state-entered",
            "task-scheduled",
            "task-submitted",
            "callback",
            "task-succeeded",
            "execution-ended",
        ]
        assert not any(token in str(hop) for hop in emulator.trace.recent)

    run(tmp_path, scenario)


def test_an_answer_that_overtakes_the_call_waits_for_it(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        published = asyncio.Event()

        async def slow_to_return(event: Any) -> None:
            await published.wait()

        emulator.functions.by_name["dispatch"] = slow_to_return
        execution = await emulator.run(await emulator.create(machines.callback()))
        token = await emulator.token()
        await emulator.call("send_task_success", taskToken=token, output="1")
        assert (await refused(emulator.call("send_task_success", taskToken=token, output="2"))).code == "TaskTimedOut"
        assert await emulator.status(execution) == "RUNNING"
        published.set()
        assert json.loads((await emulator.ended(execution))["output"]) == {"lambdaOutput": 1}
        assert (await emulator.types(execution))[3:6] == ["TaskStarted", "TaskSubmitted", "TaskSucceeded"]

    run(tmp_path, scenario)


def test_a_failure_ends_the_execution_with_its_error_and_cause(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        execution = await emulator.run(await emulator.create(machines.callback()), {"a": 1})
        token = await emulator.token()
        await submitted(emulator, execution)
        await emulator.call("send_task_failure", taskToken=token, error="KeyError", cause="'b'")
        answer = await emulator.call("describe_execution", executionArn=execution)
        assert (answer["status"], answer["error"], answer["cause"]) == ("FAILED", "KeyError", "'b'")
        assert "output" not in answer

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("token", "output", "code", "message"),
    [
        ("AQCEAAAAKgAAAAMAAAAAAAAAAX", "1", "InvalidToken", "Invalid Token: 'Invalid token'"),
        ("%%%", "1", "InvalidToken", "Invalid Token: 'Invalid token'"),
        ("", "success", "InvalidOutput", "Invalid Output: 'Unrecognized token 'success': was expecting "),
        ("", "{'a': 1}", "InvalidOutput", "Invalid Output: 'Unexpected character (''' (code 39)): was expecting "),
        ("", "NaN", "InvalidOutput", "Invalid Output: '"),
        ("", "", "InvalidOutput", "Invalid Output: "),
        ("", '"' + "x" * 262_143 + '"', "InvalidOutput", "Invalid Output: "),
    ],
)
def test_what_is_no_answer_is_refused_and_the_task_waits_on(
    tmp_path: Path, token: str, output: str, code: str, message: str
) -> None:
    async def scenario(emulator: Emulator) -> None:
        execution = await emulator.run(await emulator.create(machines.callback()))
        good = await emulator.token()
        await submitted(emulator, execution)
        error = await refused(emulator.call("send_task_success", taskToken=token or good, output=output))
        assert error.code == code
        assert error.message.startswith(message)
        await emulator.call("send_task_success", taskToken=good, output="null")
        assert await emulator.status(execution) == "SUCCEEDED"

    run(tmp_path, scenario)


def test_a_used_token_counts_no_more(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        execution = await emulator.run(await emulator.create(machines.callback()))
        token = await emulator.token()
        await submitted(emulator, execution)
        await emulator.call("send_task_success", taskToken=token, output="1")
        for late in (
            emulator.call("send_task_success", taskToken=token, output="2"),
            emulator.call("send_task_failure", taskToken=token),
            emulator.call("send_task_heartbeat", taskToken=token),
        ):
            error = await refused(late)
            assert error.code == "TaskTimedOut"
            assert error.message == "Task Timed Out: 'Provided task does not exist anymore'"

    run(tmp_path, scenario)


def test_a_token_of_another_emulator_is_foreign(tmp_path: Path) -> None:
    async def main() -> None:
        tokens = []
        for name in ("one", "two"):
            async with Emulator(tmp_path / name) as emulator:
                emulator.functions.by_name["dispatch"] = accept
                await emulator.run(await emulator.create(machines.callback()))
                tokens.append(await emulator.token())
        async with Emulator(tmp_path / "two") as emulator:
            error = await refused(emulator.call("send_task_success", taskToken=tokens[0], output="1"))
            assert error.code == "InvalidToken"
            await emulator.call("send_task_success", taskToken=tokens[1], output="1")

    asyncio.run(main())


def test_a_retry_has_a_new_token_and_the_old_one_is_dead(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        retry = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 3, "MaxAttempts": 1}]
        execution = await emulator.run(await emulator.create(machines.callback(Retry=retry)))
        first = await emulator.token()
        await submitted(emulator, execution)
        await emulator.call("send_task_failure", taskToken=first, error="Busy")
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        clock.advance(2.9)
        await asyncio.sleep(0)
        assert len(emulator.functions.calls) == 1
        clock.advance(0.1)
        second = await emulator.token(2)
        assert second != first
        assert (await refused(emulator.call("send_task_success", taskToken=first, output="1"))).code == "TaskTimedOut"
        await emulator.call("send_task_success", taskToken=second, output="2")
        assert json.loads((await emulator.ended(execution))["output"]) == {"lambdaOutput": 2}

    run(tmp_path, scenario)


def test_a_job_that_nobody_answers_times_out_after_a_day(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        execution = await emulator.run(await emulator.create(machines.callback(TimeoutSeconds=DAY)))
        token = await emulator.token()
        await submitted(emulator, execution)
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        clock.advance(DAY - 1)
        assert await emulator.status(execution) == "RUNNING"
        clock.advance(1)
        answer = await emulator.call("describe_execution", executionArn=execution)
        assert (answer["status"], answer["error"]) == ("FAILED", "States.Timeout")
        assert answer["stopDate"] - answer["startDate"] == pytest.approx(DAY, abs=0.1)
        assert (await refused(emulator.call("send_task_heartbeat", taskToken=token))).code == "TaskTimedOut"

    run(tmp_path, scenario)


def test_a_heartbeat_puts_off_the_heartbeat_and_not_the_timeout(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        definition = machines.callback(TimeoutSeconds=100, HeartbeatSeconds=30)
        execution = await emulator.run(await emulator.create(definition))
        token = await emulator.token()
        await submitted(emulator, execution)
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        for _ in range(4):
            clock.advance(24)
            await emulator.call("send_task_heartbeat", taskToken=token)
        assert await emulator.status(execution) == "RUNNING"
        clock.advance(4)
        answer = await emulator.ended(execution)
        assert (answer["status"], answer["error"]) == ("FAILED", "States.Timeout")

        execution = await emulator.run(await emulator.create(definition))
        await submitted(emulator, execution)
        clock.advance(30)
        assert (await emulator.ended(execution))["error"] == "States.Timeout"  # so AWS calls it

    run(tmp_path, scenario)


def test_stopping_ends_the_wait_at_once_and_kills_the_token(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        execution = await emulator.run(await emulator.create(machines.callback(TimeoutSeconds=DAY)))
        token = await emulator.token()
        await submitted(emulator, execution)
        await emulator.call("stop_execution", executionArn=execution, error="Changed", cause="my mind")
        answer = await emulator.call("describe_execution", executionArn=execution)
        assert (answer["status"], answer["error"], answer["cause"]) == ("ABORTED", "Changed", "my mind")
        assert (await emulator.types(execution))[-1] == "ExecutionAborted"
        assert (await refused(emulator.call("send_task_success", taskToken=token, output="1"))).code == "TaskTimedOut"
        for table in ("tasks", "timers"):
            assert emulator.store.query(f"SELECT * FROM {table}") == [], table

    run(tmp_path, scenario)


def test_a_failing_dispatch_fails_the_task(tmp_path: Path) -> None:
    async def fail(event: Any) -> None:
        raise FunctionError("no broker")

    async def scenario(emulator: Emulator) -> None:
        caught = {"ErrorEquals": ["ValueError"], "ResultPath": "$.failure", "Next": "Handled"}
        definition = machines.callback(Catch=[caught])
        definition["States"]["Handled"] = {"Type": "Pass", "End": True}
        execution = await emulator.run(await emulator.create(definition))
        token = await emulator.token()
        output = json.loads((await emulator.ended(execution))["output"])
        assert output["failure"]["Error"] == "ValueError"
        assert json.loads(output["failure"]["Cause"])["errorMessage"] == "no broker"
        assert (await refused(emulator.call("send_task_success", taskToken=token, output="1"))).code == "TaskTimedOut"

    run(tmp_path, scenario, dispatch=fail)


def test_a_function_that_does_not_exist_fails_the_task(tmp_path: Path) -> None:
    async def scenario(emulator: Emulator) -> None:
        emulator.functions.by_name.clear()
        execution = await emulator.run(await emulator.create(machines.callback()))
        answer = await emulator.ended(execution)
        assert answer["error"] == "Lambda.ResourceNotFoundException"
        assert answer["cause"].startswith(
            "Function not found: dispatch (Service: AWSLambda; Status Code: 404; "
            "Error Code: ResourceNotFoundException; Request ID: "
        )

    run(tmp_path, scenario)


def test_an_answer_that_could_not_be_committed_can_be_given_again(tmp_path: Path) -> None:
    """The state of an execution in memory must not be ahead of the one in the file."""
    path = tmp_path / "emulator.db"

    async def scenario(emulator: Emulator) -> None:
        machine = machines.callback()
        machine["States"]["Dispatch"]["Next"] = "Pause"
        del machine["States"]["Dispatch"]["End"]
        machine["States"] |= machines.wait(5)["States"]
        execution = await emulator.run(await emulator.create(machine))
        token = await emulator.token()
        await submitted(emulator, execution)
        await emulator.store.committed()
        size = path.with_name("emulator.db-wal").stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # as good as a full disk
        try:
            with pytest.raises(sqlite3.OperationalError):
                await emulator.call("send_task_success", taskToken=token, output='"lost"')
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert await emulator.status(execution) == "RUNNING"
        await emulator.call("send_task_heartbeat", taskToken=token)
        await emulator.call("send_task_success", taskToken=token, output='"kept"')
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        clock.advance(5)
        assert json.loads((await emulator.ended(execution))["output"])["lambdaOutput"] == "kept"

    run(tmp_path, scenario)
