"""Express executions: short, kept only while they run, told of only by their logs and, started synchronously, by the
answer to the caller who waits for them.

https://docs.aws.amazon.com/step-functions/latest/dg/choosing-workflow-type.html
"""

import asyncio
import math
import uuid
from typing import Any

from stepbridge.api.service import Caller, Members
from stepbridge.stepfunctions.service.execution_operations import ExecutionOperations, type_not_supported
from stepbridge.stepfunctions.service.runner import Finished

_BILLED_MILLISECONDS = 100  # durations are rounded up to a multiple of this
_BILLED_MEGABYTES = 64


class ExpressOperations(ExecutionOperations):
    """StartSyncExecution, and the end of Express executions."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._waiting: dict[str, asyncio.Future[Members]] = {}
        self._runner.listeners.append(self._end_express)

    async def start_sync_execution(self, caller: Caller, request: Members) -> Members:
        machine = self._target(request["stateMachineArn"]).machine
        if machine.type != "EXPRESS":
            raise type_not_supported()
        name = request.get("name") or str(uuid.uuid4())
        text, trace_header = request.get("input", "{}"), request.get("traceHeader")
        ended: asyncio.Future[Members] = asyncio.get_running_loop().create_future()
        arn = ""

        def wait(started: str) -> None:
            nonlocal arn
            arn = started
            self._waiting[arn] = ended

        try:
            self._start(request["stateMachineArn"], name, text, trace_header, waiting=wait)
            answer = await ended
        finally:
            self._waiting.pop(arn, None)
        if request.get("includedData") == "METADATA_ONLY":
            for member in ("input", "output"):
                answer.pop(member)
                answer[f"{member}Details"] = {"included": False}
        return answer

    def _end_express(self, finished: Finished) -> None:
        if not finished.is_express:
            return
        row = self._store.query("SELECT * FROM executions WHERE id = ?", (finished.execution,))[0]
        self._store.execute("DELETE FROM executions WHERE id = ?", (finished.execution,))
        self._store.execute("DELETE FROM history WHERE execution = ?", (finished.execution,))
        waiting = self._waiting.get(finished.arn)
        if waiting is None or waiting.done():
            return
        duration = (row["stopped"] - row["started"]) * 1000
        waiting.set_result(
            {
                "executionArn": finished.arn,
                "stateMachineArn": row["machine"],
                "name": row["name"],
                "startDate": row["started"],
                "stopDate": row["stopped"],
                "status": row["status"],
                "error": row["error"],
                "cause": row["cause"],
                "input": row["input"],
                "inputDetails": {"included": True},
                "output": row["output"],
                "outputDetails": {"included": True} if row["output"] is not None else None,
                "traceHeader": row["trace_header"],
                "billingDetails": {
                    "billedMemoryUsedInMB": _BILLED_MEGABYTES,
                    "billedDurationInMilliseconds": _BILLED_MILLISECONDS
                    * max(1, math.ceil(duration / _BILLED_MILLISECONDS)),
                },
            }
        )
