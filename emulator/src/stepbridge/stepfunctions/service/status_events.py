"""The events "Step Functions Execution Status Change" on the default bus of EventBridge.

https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

import asyncio
from collections import deque
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.stepfunctions.service.execution_operations import ExecutionOperations
from stepbridge.stepfunctions.service.integrations import AwsCalls
from stepbridge.stepfunctions.service.integrations.sdk_metadata import to_json

_MAXIMUM_BATCH = 10
_MAXIMUM_BYTES = 248 * 1024  # of input and output, escaped
_MEMBERS = (
    "executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate", "input", "output",
    "stateMachineVersionArn", "stateMachineAliasArn", "redriveCount", "redriveDate", "redriveStatus",
    "redriveStatusReason", "inputDetails", "outputDetails", "error", "cause",
)  # fmt: skip


class StatusEvents(ExecutionOperations):
    """Sends an event when a Standard execution begins, ends or is redriven, without anybody waiting for it.

    Nothing is made where EventBridge has no rule that could match.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._unsent: deque[dict[str, Any]] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._runner.status_listeners.append(self._status_changed)

    async def close_status_events(self) -> None:
        """Send what is still to be sent."""
        if self._sending is not None:
            await self._sending

    def _status_changed(self, execution: int) -> None:
        calls = self._integrations.calls
        if calls is None or not calls.has_event_rules():
            return
        row = self._store.query("SELECT arn, express FROM executions WHERE id = ?", (execution,))[0]
        if row["express"]:
            return
        self._unsent.append(
            {
                "Source": "aws.states",
                "DetailType": "Step Functions Execution Status Change",
                "Resources": [row["arn"]],
                "Time": self._clock.now(),
                "Detail": to_json(self._detail(row["arn"])),
            }
        )
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send(calls))

    def _detail(self, arn: str) -> dict[str, Any]:
        described = self._describe(arn)
        detail = {name: described.get(name) for name in _MEMBERS}
        for name in ("startDate", "stopDate", "redriveDate"):
            time = detail[name]
            detail[name] = None if time is None else round(time * 1000)
        output = len(to_json(detail["output"]).encode())
        if len(to_json(detail["input"]).encode()) + output > _MAXIMUM_BYTES:
            detail |= {"input": None, "inputDetails": {"included": False}}
        if output > _MAXIMUM_BYTES:
            detail |= {"output": None, "outputDetails": {"included": False}}
        return detail

    async def _send(self, calls: AwsCalls) -> None:
        try:
            while self._unsent:
                entries = [self._unsent.popleft() for _ in range(min(_MAXIMUM_BATCH, len(self._unsent)))]
                try:
                    await calls.call("events", "PutEvents", Entries=entries)
                except AwsError as error:
                    text = f"events of status changes could not be sent: {error.message}"
                    self._trace.emit("stepfunctions", "event-refused", text)
        finally:
            self._sending = None
