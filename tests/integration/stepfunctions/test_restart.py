"""Killed at any moment and started again, the emulator has lost nothing that it acknowledged."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.stepfunctions import machines
from tests.integration.stepfunctions.driving import Emulator

from stepbridge.clock import ManualClock, SystemClock

ROOT = Path(__file__).parents[3]


def test_kill_nine_loses_nothing(tmp_path: Path) -> None:
    database = tmp_path / "emulator.db"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.stepfunctions.killed_emulator", str(database), "30"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    acknowledged = json.loads(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    asyncio.run(go_on(database, acknowledged))


async def go_on(database: Path, acknowledged: dict[str, Any]) -> None:
    async def dispatch(event: Any) -> None:
        """Answer at once."""

    emulator = Emulator(database, SystemClock())
    emulator.functions.by_name["dispatch"] = dispatch
    async with emulator:
        tokens = acknowledged["tokens"]
        for number, execution in enumerate(acknowledged["executions"]):
            if number % 3:
                assert await emulator.status(execution) == "RUNNING"
                await emulator.call("send_task_success", taskToken=tokens[str(number)], output=str(number))
            answer = await emulator.ended(execution)
            assert answer["status"] == "SUCCEEDED"
            assert json.loads(answer["output"]) == {"a": number, "lambdaOutput": number}
            types = await emulator.types(execution)
            assert types[3:6] == ["TaskStarted", "TaskSubmitted", "TaskSucceeded"], number
        # Only the calls that had not returned were made again, with the same tokens.
        again = {str(event["Input"]["a"]): event["TaskToken"] for _, event in emulator.functions.calls}
        assert again == {number: token for number, token in tokens.items() if int(number) % 3 == 2}
        for pause in acknowledged["pauses"]:
            assert (await emulator.ended(pause))["status"] == "SUCCEEDED"


def test_timers_that_came_due_while_it_was_down_fire_at_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with Emulator(tmp_path / "db", ManualClock(1000)) as emulator:
            execution = await emulator.run(await emulator.create(machines.wait(60)))
        clock = ManualClock(5000)
        async with Emulator(tmp_path / "db", clock) as emulator:
            clock.advance(0)
            assert (await emulator.ended(execution))["stopDate"] == 5000

    asyncio.run(main())
