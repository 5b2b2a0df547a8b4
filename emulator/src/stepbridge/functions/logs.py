"""What functions write, on its way to CloudWatch Logs.

Lines are collected and sent every few seconds, in the background: no invocation waits for its log.  Who reads logs gets
all there are, as they are sent before.
"""

import asyncio
import contextlib
from functools import partial

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock, Timer
from stepbridge.functions.aws_calls import RoleCalls
from stepbridge.iam import RoleSession
from stepbridge.trace import Trace

_DELAY = 5.0  # seconds: CloudWatch Logs takes much longer over a call than the emulator over an invocation
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
_MAX_EVENTS = 10_000
_MAX_BYTES = 1_048_576
_EVENT_OVERHEAD = 26
# What is kept when CloudWatch Logs cannot keep up, in lines: the oldest go first.
_MAX_PENDING = 100_000


class LogShipper:
    """Sends lines to log groups and streams, which it creates, in the role of the function that wrote them."""

    def __init__(self, calls: RoleCalls, clock: Clock, trace: Trace) -> None:
        self._calls = calls
        self._clock = clock
        self._trace = trace
        self._refused: set[str] = set()
        self._writers: dict[tuple[str, str], RoleSession] = {}
        self._pending: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self._count = 0
        self._known: set[tuple[str, str]] = set()
        self._timer: Timer | None = None
        self._sending: asyncio.Task[None] | None = None
        self._stopped = False
        self.dropped = 0

    def write(self, group: str, stream: str, writer: RoleSession, line: str) -> None:
        """Take one line, of now."""
        if not line or self._stopped:
            return  # CloudWatch Logs has no empty events
        if self._count >= _MAX_PENDING:
            self.dropped += 1
            return
        self._writers[group, stream] = writer
        self._pending.setdefault((group, stream), []).append((int(self._clock.now() * 1000), line))
        self._count += 1
        if self._timer is None and self._sending is None:
            self._wait()

    async def flush(self) -> None:
        """Return when all that was written until now is sent."""
        if self._sending is not None:
            await asyncio.wait([self._sending])
        if self._timer is not None:
            self._timer.cancel()
            self._start()
        if self._sending is not None:
            await asyncio.wait([self._sending])

    async def stop(self) -> None:
        """Send no more: log events are not kept over a restart, and to load moto for them would hold up the stop."""
        self._stopped = True
        if (sending := self._sending) is not None:
            sending.cancel()
            await asyncio.wait([sending])
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._timer = self._clock.call_at(self._clock.now() + _DELAY, self._start)

    def _start(self) -> None:
        self._timer = None
        self._sending = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        pending, self._pending, self._count = self._pending, {}, 0
        try:
            for (group, stream), events in pending.items():
                await self._send(group, stream, events)
        finally:
            self._sending = None
            if self._pending:
                self._wait()

    async def _send(self, group: str, stream: str, events: list[tuple[int, str]]) -> None:
        # A log is a convenience: what CloudWatch Logs refuses must not disturb the function.
        writer = self._writers[group, stream]
        try:
            await self._create(group, stream, writer)
            for batch in _batches(events):
                await self._calls.call(
                    writer,
                    "logs",
                    "PutLogEvents",
                    logGroupName=group,
                    logStreamName=stream,
                    logEvents=[{"timestamp": time, "message": line} for time, line in batch],
                )
        except AwsError as error:
            if group not in self._refused:
                self._refused.add(group)
                self._trace.emit("lambda", "log-refused", f"{group} is not written: {error.message}", log_group=group)

    async def _create(self, group: str, stream: str, writer: RoleSession) -> None:
        if (group, stream) in self._known:
            return
        create_stream = partial(
            self._calls.call, writer, "logs", "CreateLogStream", logGroupName=group, logStreamName=stream
        )
        try:
            await create_stream()
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                with contextlib.suppress(AwsError):  # the role may not be allowed to make one
                    await self._calls.call(writer, "logs", "CreateLogGroup", logGroupName=group)
                await create_stream()
            elif error.code != "ResourceAlreadyExistsException":
                raise
        self._known.add((group, stream))


def _batches(events: list[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    batches: list[list[tuple[int, str]]] = []
    size = _MAX_BYTES
    for event in events:
        length = len(event[1].encode()) + _EVENT_OVERHEAD
        if size + length > _MAX_BYTES or len(batches[-1]) >= _MAX_EVENTS:
            batches.append([])
            size = 0
        batches[-1].append(event)
        size += length
    return batches
