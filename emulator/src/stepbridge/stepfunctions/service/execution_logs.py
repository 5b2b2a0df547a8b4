"""The logs that a state machine's loggingConfiguration sends to CloudWatch Logs.

https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock
from stepbridge.stepfunctions.interpreter import ExecutionContext
from stepbridge.stepfunctions.interpreter.messages import HistoryEvent
from stepbridge.stepfunctions.service.arns import machine_name
from stepbridge.stepfunctions.service.history import EXECUTION_DATA
from stepbridge.stepfunctions.service.integrations import AwsCalls
from stepbridge.stepfunctions.service.integrations.sdk_metadata import to_json
from stepbridge.trace import Trace

_FATAL = ("ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")
_MAXIMUM_BATCH = 500


class ExecutionLogs:
    """Sends events of executions to CloudWatch Logs, in their order, without anybody waiting for it."""

    def __init__(self, calls: AwsCalls | None, clock: Clock, trace: Trace) -> None:
        self._calls = calls
        self._clock = clock
        self._trace = trace
        self._pending: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self._streams: dict[tuple[str, str], str] = {}
        self._sending: dict[tuple[str, str], asyncio.Task[None]] = {}

    def write(
        self, configuration: dict[str, Any], machine: str, execution: ExecutionContext, events: Sequence[HistoryEvent]
    ) -> None:
        """Log those of `events` that the level of a loggingConfiguration asks for."""
        level = configuration["level"]
        if level == "OFF" or self._calls is None:
            return
        entries = [
            {
                "timestamp": round(event.time * 1000),
                "message": to_json(_entry(event, execution, data=configuration["includeExecutionData"])),
            }
            for event in events
            if _is_logged(event.type, level)
        ]
        group = configuration["destinations"][0]["cloudWatchLogsLogGroup"]["logGroupArn"].split(":")[6]
        key = (group, machine)
        if not entries:
            return
        self._pending[key] += entries
        if key not in self._sending:
            self._sending[key] = asyncio.get_running_loop().create_task(self._send(self._calls, key))

    async def close(self) -> None:
        """Send what is still to be sent."""
        await asyncio.gather(*self._sending.values())

    async def _send(self, calls: AwsCalls, key: tuple[str, str]) -> None:
        group, machine = key
        try:
            if key not in self._streams:
                minute = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%d-%H-%M")
                stream = f"states/{machine_name(machine)}/{minute}/{secrets.token_hex(4)}"
                await calls.call("logs", "CreateLogStream", logGroupName=group, logStreamName=stream)
                self._streams[key] = stream
            while batch := self._pending[key][:_MAXIMUM_BATCH]:
                await calls.call(
                    "logs",
                    "PutLogEvents",
                    logGroupName=group,
                    logStreamName=self._streams[key],
                    logEvents=batch,
                )
                del self._pending[key][: len(batch)]
        except AwsError as error:
            del self._pending[key]
            text = f"the log of {machine_name(machine)} could not be written to {group}: {error.message}"
            self._trace.emit("stepfunctions", "log-refused", text, log_group=group)
        finally:
            del self._sending[key]


def _is_logged(event_type: str, level: str) -> bool:
    if level == "ALL":
        return True
    if level == "FATAL":
        return event_type in _FATAL
    return event_type.endswith(("Failed", "Aborted", "TimedOut")) or event_type == "FailStateEntered"


def _entry(event: HistoryEvent, execution: ExecutionContext, *, data: bool) -> dict[str, Any]:
    details = event.details if data else {key: it for key, it in event.details.items() if key not in EXECUTION_DATA}
    return {
        "id": str(event.id),
        "type": event.type,
        "details": details,
        "previous_event_id": str(event.previous_event_id),
        "event_timestamp": str(round(event.time * 1000)),
        "execution_arn": execution.execution_arn,
        "redrive_count": str(execution.redrive_count),
    }
