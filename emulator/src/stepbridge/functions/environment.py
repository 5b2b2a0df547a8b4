"""One execution environment: a process that runs a function's handler, one invocation at a time.

Its life, as on AWS (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html):

    starting ──runtime asks for the next invocation──► idle ──run──► busy ──answer, next──► idle …
        │ init error, exit, 10 s                        │ frozen       │ timeout, exit
        └────────────────────────────► ended ◄──────────┴──────────────┘

Between invocations the process is frozen (stopped by signal): what a handler leaves running in the background does
not run on, here as there.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stepbridge.clock import Clock, Timer, iso_timestamp
from stepbridge.functions import runtime_api
from stepbridge.functions.launcher import Launcher, LaunchError, ProcessRequest

INIT_TIMEOUT = 10.0  # seconds; https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
MAX_RESPONSE = 6_291_556  # bytes; the 6 MB of https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_LOG_TAIL = 4096

Answer = Callable[[Mapping[str, str], bytes], None]


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """What an environment runs and sees: all that follows from one version of a function.

    Two environments with equal plans are the same to an invocation.  `timeout` is in seconds, `memory` in MB,
    `variables` are the environment variables of the process but for those that differ between environments.
    """

    function: str
    version: str
    arn: str
    runtime: str
    handler: str
    role: str
    timeout: int
    memory: int
    code: Path
    log_group: str
    revision: str
    variables: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a handler."""

    request_id: str
    payload: bytes
    arn: str
    client_context: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended: `error` is None, `Unhandled`, or what the runtime called it; times in seconds."""

    payload: bytes
    error: str | None
    log_tail: bytes
    duration: float


class Environment:
    """One environment.

    `on_idle` is called each time it can take an invocation, `on_end` once when it is gone; `write_log` gets each
    line that goes to the function's log, and whether the handler wrote it.
    """

    def __init__(
        self,
        plan: EnvironmentPlan,
        launcher: Launcher,
        clock: Clock,
        host: str,
        credentials: Mapping[str, str],
        *,
        on_idle: Callable[["Environment"], object],
        on_end: Callable[["Environment"], object],
        write_log: Callable[["Environment", str, bool], object],
    ) -> None:
        self.plan = plan
        self.log_stream = f"{iso_timestamp(clock.now())[:10].replace('-', '/')}/[{plan.version}]{secrets.token_hex(16)}"
        self.idle_since = 0.0
        self.ended = False
        self._launcher = launcher
        self._clock = clock
        self._host = host
        self._credentials = credentials
        self._on_idle = on_idle
        self._on_end = on_end
        self._write_log = write_log
        self._process: int | None = None
        self._server: asyncio.Server | None = None
        self._answer: Answer | None = None
        self._initialized: asyncio.Future[Outcome | None] | None = None
        self._init_duration: float | None = None
        self._outcome: asyncio.Future[Outcome] | None = None
        self._invocation: Invocation | None = None
        self._began = 0.0
        self._timer: Timer | None = None
        self._log_descriptor = -1
        self._log_partial = b""
        self._tail = bytearray()
        self._temporary = ""

    # Starting

    async def start(self) -> Outcome | None:
        """Start the process and load the handler.  None when it is ready, else how the first invocation fails."""
        for limit in (INIT_TIMEOUT, float(self.plan.timeout)):
            began = self._clock.now()
            try:
                failure = await self._initialize(limit)
            except (LaunchError, OSError) as error:
                self.end()
                return Outcome(_error_document("Runtime.Unknown", str(error)), "Unhandled", b"", 0.0)
            if failure is None:
                self._init_duration = self._clock.now() - began
                return None
            if failure.error != "timeout":
                self.end()
                return failure
            # An init that is too slow is stopped and tried again under the function's own timeout.
            self._log(f"INIT_REPORT Init Duration: {limit * 1000:.2f} ms\tPhase: init\tStatus: timeout")
            self._stop_process()
        self.end()
        return Outcome(b"", "timeout", b"", float(self.plan.timeout))

    async def _initialize(self, limit: float) -> Outcome | None:
        self._initialized = initialized = asyncio.get_running_loop().create_future()
        self._server, address = await runtime_api.serve(self, self._host)
        self._temporary = tempfile.mkdtemp(prefix="stepbridge-lambda-")
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._log_descriptor = reading
        asyncio.get_running_loop().add_reader(reading, self._read_log)
        request = ProcessRequest(
            environment=self._variables(address),
            working_directory=str(self.plan.code),
            path=[str(self.plan.code)],
            handler=self.plan.handler,
            output=writing,
        )
        try:
            process = await self._launcher.launch(request, lambda status: self._on_exit(initialized, status))
        finally:
            os.close(writing)
        if self.ended or initialized.done():
            _kill(process)
            return await initialized if initialized.done() else Outcome(b"", "ended", b"", 0.0)
        self._process = process
        self._timer = self._clock.call_at(
            self._clock.now() + limit, lambda: self._initialize_done(Outcome(b"", "timeout", b"", limit))
        )
        return await initialized

    def _initialize_done(self, failure: Outcome | None) -> None:
        self._cancel_timer()
        if self._initialized is not None and not self._initialized.done():
            self._initialized.set_result(failure)

    def _variables(self, address: str) -> dict[str, str]:
        return {
            **self.plan.variables,
            **self._credentials,
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
            "HOME": self._temporary,
            "TMPDIR": self._temporary,
        }

    # Invoking

    async def run(self, invocation: Invocation) -> Outcome:
        """Run `invocation`; the environment must be idle.  Never raises for what the handler does."""
        assert self._answer is not None
        assert self._outcome is None
        answer, self._answer = self._answer, None
        self._outcome = outcome = asyncio.get_running_loop().create_future()
        self._invocation = invocation
        self._began = self._clock.now()
        deadline = self._began + self.plan.timeout
        self._tail.clear()
        self._log(f"START RequestId: {invocation.request_id} Version: {self.plan.version}")
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.arn,
            "Lambda-Runtime-Trace-Id": (
                f"Root=1-{int(self._began):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"
            ),
        }
        if invocation.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        self._timer = self._clock.call_at(deadline, self._on_timeout)
        self._signal(signal.SIGCONT)
        answer(headers, invocation.payload)
        return await outcome

    def _on_timeout(self) -> None:
        assert self._invocation is not None
        limit = f"{self.plan.timeout:.2f}"
        self._read_log()
        self._log(
            f"{iso_timestamp(self._clock.now())} {self._invocation.request_id} Task timed out after {limit} seconds\n"
        )
        payload = _error_document(
            "Sandbox.Timedout", f"RequestId: {self._invocation.request_id} Error: Task timed out after {limit} seconds"
        )
        self._finish(payload, "Unhandled", "Status: timeout")
        self.end()

    def _finish(self, payload: bytes, error: str | None, note: str = "") -> None:
        """Complete the running invocation."""
        invocation, outcome = self._invocation, self._outcome
        assert invocation is not None
        assert outcome is not None
        self._cancel_timer()
        self._invocation = self._outcome = None
        duration = self._clock.now() - self._began
        self._read_log()
        self._log(f"END RequestId: {invocation.request_id}")
        self._log(self._report(invocation.request_id, duration, note))
        if not outcome.done():
            outcome.set_result(Outcome(payload, error, bytes(self._tail[-_LOG_TAIL:]), duration))

    def _report(self, request_id: str, duration: float, note: str) -> str:
        init, self._init_duration = self._init_duration, None
        milliseconds = duration * 1000
        billed = -(-(milliseconds + (init or 0.0) * 1000) // 1)
        parts = [
            f"REPORT RequestId: {request_id}",
            f"Duration: {milliseconds:.2f} ms",
            f"Billed Duration: {billed:.0f} ms",
            f"Memory Size: {self.plan.memory} MB",
            f"Max Memory Used: {_peak_memory(self._process)} MB",
        ]
        if init is not None:
            parts.append(f"Init Duration: {init * 1000:.2f} ms")
        return "\t".join([*parts, note])

    # What the Runtime API tells

    def on_next(self, answer: Answer) -> None:
        """The runtime is ready for an invocation."""
        self._answer = answer
        self._read_log()
        self._signal(signal.SIGSTOP)
        self.idle_since = self._clock.now()
        if self._initialized is not None and not self._initialized.done():
            self._initialize_done(None)
        else:
            self._on_idle(self)

    def on_response(self, request_id: str, payload: bytes, error_type: str | None) -> bool:
        """The handler returned, or raised."""
        if self._invocation is None or self._invocation.request_id != request_id:
            return False
        if error_type is not None:
            # The handler's files lie in /var/task on AWS, and that is what its stack traces say there.
            payload = payload.replace(f"{self.plan.code}/".encode(), b"/var/task/")
            self._finish(payload, "Unhandled")
        elif len(payload) > MAX_RESPONSE:
            message = f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
            self._finish(_error_document("Function.ResponseSizeTooLarge", message), "Unhandled")
        else:
            self._finish(payload, None)
        return True

    def on_init_error(self, payload: bytes) -> None:
        """The handler could not be loaded."""
        self._read_log()
        payload = payload.replace(f"{self.plan.code}/".encode(), b"/var/task/")
        self._initialize_done(Outcome(payload, "Unhandled", bytes(self._tail[-_LOG_TAIL:]), 0.0))

    # Ending

    def end(self) -> None:
        """Kill the process and whatever it started.  An invocation that runs fails."""
        if self.ended:
            return
        self.ended = True
        if self._invocation is not None:
            self._fail_by_exit("exit status 1")
        self._initialize_done(Outcome(b"", "ended", b"", 0.0))
        self._stop_process()
        self._on_end(self)

    def _stop_process(self) -> None:
        self._cancel_timer()
        self._signal(signal.SIGKILL)
        self._process = None
        self._answer = None
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._log_descriptor >= 0:
            self._read_log()
            asyncio.get_running_loop().remove_reader(self._log_descriptor)
            os.close(self._log_descriptor)
            self._log_descriptor = -1
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = ""

    def _on_exit(self, initialized: "asyncio.Future[Outcome | None]", status: int) -> None:
        if self.ended or initialized is not self._initialized:  # killed by us
            return
        self._process = None
        how = f"exit status {status}" if status >= 0 else f"signal: {_signal_name(-status)}"
        if self._invocation is not None:
            self._fail_by_exit(how)
        elif not initialized.done():
            message = f"RequestId: {secrets.token_hex(16)} Error: Runtime exited with error: {how}"
            self._initialize_done(Outcome(_error_document("Runtime.ExitError", message), "Unhandled", b"", 0.0))
        self.end()

    def _fail_by_exit(self, how: str) -> None:
        assert self._invocation is not None
        request_id = self._invocation.request_id
        if how == "exit status 0":
            message = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
        else:
            message = f"RequestId: {request_id} Error: Runtime exited with error: {how}"
        self._finish(
            _error_document("Runtime.ExitError", message), "Unhandled", "Status: error\tError Type: Runtime.ExitError"
        )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process, number)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Logging

    def _read_log(self) -> None:
        while self._log_descriptor >= 0:
            try:
                data = os.read(self._log_descriptor, 65536)
            except BlockingIOError:
                return
            if not data:
                asyncio.get_running_loop().remove_reader(self._log_descriptor)
                return
            self._keep_tail(data)
            *lines, self._log_partial = (self._log_partial + data).split(b"\n")
            for line in lines:
                self._write_log(self, line.decode("utf-8", "replace"), True)

    def _log(self, line: str) -> None:
        if self._log_partial:
            self._write_log(self, self._log_partial.decode("utf-8", "replace"), True)
            self._log_partial = b""
            self._keep_tail(b"\n")
        self._keep_tail(line.encode() + b"\n")
        self._write_log(self, line, False)

    def _keep_tail(self, data: bytes) -> None:
        self._tail += data
        if len(self._tail) > 16 * _LOG_TAIL:
            del self._tail[:-_LOG_TAIL]


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def _signal_name(number: int) -> str:
    # As Go's syscall.Signal prints it, which is what Lambda shows.
    names = {signal.SIGKILL: "killed", signal.SIGSEGV: "segmentation fault", signal.SIGABRT: "aborted"}
    return names.get(signal.Signals(number), signal.Signals(number).name.lower())


def _error_document(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}, separators=(",", ":")).encode()


_PEAK = re.compile(rb"VmHWM:\s+(\d+) kB")


def _peak_memory(process: int | None) -> int:
    """Megabytes the process has had in memory at most; 0 where the system does not tell."""
    try:
        with open(f"/proc/{process}/status", "rb") as status:
            match = _PEAK.search(status.read())
    except OSError:
        return 0
    return -(-int(match[1]) // 1024) if match else 0
