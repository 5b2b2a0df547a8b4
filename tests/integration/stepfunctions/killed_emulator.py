"""A Step Functions service in a process of its own, made to be killed.

`python -m …killed_emulator DATABASE COUNT` starts COUNT executions, each waiting for an answer or a timer, prints
a line of JSON with what was acknowledged, and waits to be killed.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.integration.stepfunctions import machines
from tests.integration.stepfunctions.driving import Emulator

from stepbridge.clock import SystemClock


async def main(database: Path, count: int) -> None:
    emulator = Emulator(database, SystemClock())

    async def dispatch(event: Any) -> None:
        if event["Input"]["a"] % 3 == 2:
            await asyncio.sleep(3600)  # killed in the middle of the call

    emulator.functions.by_name["dispatch"] = dispatch
    await emulator.service.start()
    machine = await emulator.create(machines.callback(TimeoutSeconds=3600))
    pausing = await emulator.create(machines.wait(2), "pausing")
    executions = [await emulator.run(machine, {"a": number}, name=f"job-{number}") for number in range(count)]
    pauses = [await emulator.run(pausing, name=f"pause-{number}") for number in range(count)]
    tokens: dict[int, str] = {}
    while len(tokens) < count:
        tokens = {event["Input"]["a"]: event["TaskToken"] for _, event in emulator.functions.calls}
        await asyncio.sleep(0.01)
    for number in range(0, count, 3):
        await emulator.call("send_task_success", taskToken=tokens[number], output=str(number))
    print(json.dumps({"executions": executions, "pauses": pauses, "tokens": tokens}), flush=True)
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
