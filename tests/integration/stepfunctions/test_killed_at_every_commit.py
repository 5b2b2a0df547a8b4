"""Killed after any of its commits and started again, the emulator comes to the same end, and calls nothing in vain.

The database is copied at each commit of a run: a copy is what a process that was killed then leaves.
"""

import asyncio
import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.stepfunctions import machines
from tests.integration.stepfunctions.driving import Emulator, FunctionError

from stepbridge.api.errors import AwsError
from stepbridge.clock import ManualClock

START = 1000.0

CHILD = {
    "StartAt": "Rest",
    "States": {
        "Rest": {"Type": "Wait", "Seconds": 5, "Next": "Work"},
        "Work": machines.function("work", Parameters={"task": "child"})["States"]["Call"],
    },
}


def _flow(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": name, "States": {name: {**state, "End": True}}}


def definition(child: str) -> dict[str, Any]:
    """Callback, retry, wait, Map, child execution and map run, side by side and one after the other."""
    work = machines.function("work")["States"]["Call"]
    flaky = {
        **work,
        "Parameters": {"task.$": "States.Format('flaky-{}', $$.State.RetryCount)"},
        "Retry": [{"ErrorEquals": ["ValueError"], "IntervalSeconds": 3}],
    }
    item = {**work, "Parameters": {"task.$": "States.Format('item-{}', $)"}}
    wait = {"Type": "Wait", "Seconds": 7, "Next": "After"}
    child_task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": child},
        "ResultSelector": {"output.$": "$.Output"},
    }
    each = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **_flow("Each", item)}
    branches = [
        machines.callback(TimeoutSeconds=1000),
        _flow("Flaky", flaky),
        {"StartAt": "Wait", "States": {"Wait": wait, "After": {"Type": "Pass", "Result": "waited", "End": True}}},
        _flow("Items", {"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 1, "ItemProcessor": _flow("I", item)}),
        _flow("Child", child_task),
        _flow("Run", {"Type": "Map", "ItemsPath": "$.more", "MaxConcurrency": 2, "ItemProcessor": each}),
    ]
    return {
        "StartAt": "All",
        "States": {
            "All": {"Type": "Parallel", "Branches": branches, "ResultSelector": {"all.$": "$"}, "Next": "Last"},
            "Last": {**work, "Parameters": {"task": "last"}, "ResultPath": "$.last", "End": True},
        },
    }


INPUT = {"items": [1, 2], "more": [3, 4, 5]}
WORK = ["flaky-0", "flaky-1", "item-1", "item-2", "item-3", "item-4", "item-5", "child", "last"]


@dataclass
class Copy:
    """What a process killed at some commit leaves: its database, and the tokens that the world had been given."""

    path: Path
    now: float
    tokens: list[str]


class Run:
    """One life of an emulator, with functions that answer at once and a worker that answers every token."""

    def __init__(self, path: Path, now: float, tokens: list[str]) -> None:
        self.clock = ManualClock(now)
        self.emulator = Emulator(path, self.clock)
        self.tokens = list(tokens)
        self.answered: set[str] = set()
        self.work: Counter[str] = Counter()
        self.emulator.functions.by_name |= {"work": self._work, "dispatch": self._dispatch}

    async def _work(self, event: Any) -> Any:
        for _ in range(sum(event["task"].encode()) % 23):  # so that no two end in the same turn, and commit
            await asyncio.sleep(0)
        self.work[event["task"]] += 1
        if event["task"] == "flaky-0":
            raise FunctionError("the first time")
        return f"done {event['task']}"

    async def _dispatch(self, event: Any) -> None:
        if event["TaskToken"] not in self.tokens:
            self.tokens.append(event["TaskToken"])

    async def to_the_end(self, execution: str) -> Any:
        """The output of the execution, once the world has done all it has to do."""
        for _ in range(200):
            for _ in range(30):
                await asyncio.sleep(0)
            for token in [token for token in self.tokens if token not in self.answered]:
                self.answered.add(token)
                try:
                    await self.emulator.call("send_task_success", taskToken=token, output='"called back"')
                except AwsError as error:  # it was answered before the kill
                    if error.code != "TaskTimedOut":
                        raise
            answer = await self.emulator.call("describe_execution", executionArn=execution)
            if answer["status"] != "RUNNING":
                assert answer["status"] == "SUCCEEDED", answer
                return json.loads(answer["output"])
            self.clock.advance(1)
        raise AssertionError(f"the execution does not end: {await self.emulator.types(execution)}")


async def copied_run(folder: Path) -> tuple[str, Any, list[Copy], Counter[str]]:
    """Run once, copying the database at each commit from the start of the execution on."""
    run = Run(folder / "whole.db", START, [])
    copies: list[Copy] = []
    store = run.emulator.store
    end = store._end

    def end_and_copy() -> None:
        end()
        path = folder / f"copy-{len(copies)}.db"
        target = sqlite3.connect(path)
        store._connection.backup(target)
        target.close()
        copies.append(Copy(path, run.clock.now(), list(run.tokens)))

    async with run.emulator as emulator:
        child = await emulator.create(CHILD, "child")
        machine = await emulator.create(definition(child))
        store._end = end_and_copy  # type: ignore[method-assign]
        execution = await emulator.run(machine, INPUT, name="one")
        output = await run.to_the_end(execution)
        store._end = end  # type: ignore[method-assign]
    return execution, output, copies, run.work


def committed_work(path: Path) -> Counter[str]:
    """The calls of `work` whose end is in the histories of a copy."""
    done: Counter[str] = Counter()
    connection = sqlite3.connect(path)
    for (execution,) in connection.execute("SELECT DISTINCT execution FROM history").fetchall():
        events: dict[int, Any] = {}
        for (text,) in connection.execute("SELECT events FROM history WHERE execution = ?", (execution,)):
            events |= {event["id"]: event for event in json.loads(text)}
        for event in events.values():
            if event["type"] in ("LambdaFunctionSucceeded", "LambdaFunctionFailed"):
                while event["type"] != "LambdaFunctionScheduled":
                    event = events[event["previousEventId"]]
                done[json.loads(event["lambdaFunctionScheduledEventDetails"]["input"])["task"]] += 1
    connection.close()
    return done


def test_the_end_is_the_same_after_a_kill_at_any_commit(tmp_path: Path) -> None:
    async def main() -> None:
        execution, output, copies, work = await copied_run(tmp_path)
        assert output["last"] == "done last"
        assert output["all"] == [
            {**INPUT, "lambdaOutput": "called back"}, "done flaky-1", "waited", ["done item-1", "done item-2"],
            {"output": "done child"}, ["done item-3", "done item-4", "done item-5"],
        ]  # fmt: skip
        assert work == Counter(WORK)
        assert len(copies) >= 12
        for copy in copies:
            before = committed_work(copy.path)
            run = Run(copy.path, copy.now, copy.tokens)
            async with run.emulator:
                assert await run.to_the_end(execution) == output, copy
            # What had returned is not called again; all else is called once.
            assert before + run.work == Counter(WORK), copy

    asyncio.run(main())
