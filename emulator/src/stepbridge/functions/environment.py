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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stepbridge.clock import Clock, Timer, iso_timestamp
from stepbridge.functions import runtime_api
from stepbridge.functions.launcher import Launcher, LaunchError, ProcessRequest
from stepbridge.functions.response_streams import ResponseStream

# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html (Init phase)
INIT_TIMEOUT = 10.0  # seconds
PROVISIONED_INIT_TIMEOUT = 130.0  # seconds, or the function's own timeout if that is longer
MAX_RESPONSE = 6_291_556  # bytes; the 6 MB of https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_LOG_TAIL = 4096
# MB beyond a function's memory that its process may allocate (not all of that is ever in memory) before the system
# refuses: a handler that runs wild must not take the whole machine.
_MEMORY_MARGIN = 512

Answer = Callable[[Mapping[str, str], bytes], None]


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """What an environment runs and sees: all that follows from one version of a function.

    Two environments with equal plans are the same to an invocation.  `timeout` is in seconds, `memory` in MB, `code`
    is the folder of the handler's files, `path` all from which it imports, `command` what runs the handler (empty for
    Python, whose processes are ready to).  `variables` are the environment variables of the process but for those
    that differ between environments.  A `provisioned` one is started before an invocation asks for it.
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
    path: tuple[str, ...]
    command: tuple[str, ...]
    log_group: str
    revision: str
    variables: Mapping[str, str] = field(hash=False)
    provisioned: bool = False

    @property
    def as_provisioned(self) -> "EnvironmentPlan":
        """The same, for provisioned concurrency, which the function can tell by a variable.

        https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
        """
        variables = {**self.variables, "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"}
        return replace(self, provisioned=True, variables=variables)


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a handler; `stream` takes the answer of one that streams it, where that is wanted."""

    request_id: str
    payload: bytes
    arn: str
    client_context: str | None = None
    stream: ResponseStream | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended: `error` is None or `Unhandled`, `duration` in seconds.

    `error_type` is what the runtime called the error, if it told of one.
    """

    payload: bytes
    error: str | None
    log_tail: bytes
    duration: float
    error_type: str | None = None


class InitError(Exception):
    """A handler that could not be loaded.

    `document` is what the runtime reports of it; without one, `error_type` and `message` say it.
    """

    def __init__(self, error_type: str, message: str, *, document: bytes | None = None, log_tail: bytes = b"") -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.document = document
        self.log_tail = log_tail

    def outcome(self, request_id: str) -> Outcome:
        """How the invocation that the environment was started for fails."""
        document = self.document or error_document(self.error_type, f"RequestId: {request_id} Error: {self.message}")
        return Outcome(document, "Unhandled", self.log_tail, 0.0)


@dataclass(frozen=True, slots=True)
class _Running:
    """The invocation that an environment is busy with."""

    invocation: Invocation
    outcome: asyncio.Future[Outcome]
    began: float


class Environment:
    """One environment.

    `temporary` is the folder for the environments' /tmp.  `on_idle` is called each time it can take an invocation,
    `on_end` once when it is gone; `write_log` gets each line that goes to the function's log, and whether the handler
    wrote it.
    """

    def __init__(
        self,
        plan: EnvironmentPlan,
        launcher: Launcher,
        clock: Clock,
        host: str,
        temporary: Path,
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
        self._frozen = False
        self._peak = 0  # megabytes, as of the last answer
        self._initialized: asyncio.Future[None] | None = None
        self._init_duration: float | None = None
        self._running: _Running | None = None
        self._timer: Timer | None = None
        self._log_descriptor = -1
        self._log_partial = b""
        self._tail = bytearray()
        self._temporary = temporary / secrets.token_hex(8)

    # Starting

    async def start(self) -> None:
        """Start the process and load the handler.  Raises InitError; the environment has then ended."""
        began = self._clock.now()
        try:
            limit = max(PROVISIONED_INIT_TIMEOUT, self.plan.timeout) if self.plan.provisioned else INIT_TIMEOUT
            try:
                await self._initialize(limit)
            except TimeoutError:
                self._log(f"INIT_REPORT Init Duration: {limit * 1000:.2f} ms\tPhase: init\tStatus: timeout")
                if self.plan.provisioned:
                    raise
                # An init that is too slow is stopped, and tried again under the function's own timeout.
                self._stop_process()
                limit = self.plan.timeout
                await self._initialize(limit)
        except TimeoutError:
            self.end()
            raise InitError("Sandbox.Timedout", f"Task timed out after {limit:.2f} seconds") from None
        except (LaunchError, OSError) as error:
            self.end()
            raise InitError("Runtime.Unknown", str(error)) from error
        except BaseException:
            self.end()
            raise
        self._init_duration = self._clock.now() - began

    async def _initialize(self, limit: float) -> None:
        """Raises InitError, LaunchError, or TimeoutError when it takes longer than `limit` seconds."""
        self._initialized = initialized = asyncio.get_running_loop().create_future()
        self._server, address = await runtime_api.serve(self, self._host)
        self._temporary.mkdir(parents=True, mode=0o700)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._log_descriptor = reading
        asyncio.get_running_loop().add_reader(reading, self._read_log)
        request = ProcessRequest(
            environment=self._variables(address),
            working_directory=str(self.plan.code),
            path=list(self.plan.path),
            command=[*self.plan.command],
            handler=self.plan.handler,
            data_limit=(self.plan.memory + _MEMORY_MARGIN) * 1024 * 1024,
            output=writing,
            temporary=str(self._temporary.absolute()),
        )
        try:
            process = await self._launcher.launch(request, lambda status: self._on_exit(initialized, status))
        finally:
            os.close(writing)
        if self.ended:
            kill_group(process)
        else:
            self._process = process
            self._timer = self._clock.call_at(
                self._clock.now() + limit, lambda: self._initialization_ends(TimeoutError())
            )
        await initialized

    def _initialization_ends(self, error: Exception | None) -> None:
        if self._initialized is None or self._initialized.done():
            return
        self._cancel_timer()
        if error is None:
            self._initialized.set_result(None)
        else:
            self._initialized.set_exception(error)

    def _variables(self, address: str) -> dict[str, str]:
        temporary = str(self._temporary.absolute())
        return {
            "HOME": temporary,
            "TMPDIR": temporary,
            **self.plan.variables,
            **self._credentials,
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
        }

    # Invoking

    async def run(self, invocation: Invocation) -> Outcome:
        """Run `invocation`; the environment must be idle.  Never raises for what the handler does."""
        answer, self._answer = self._answer, None
        if answer is None or self._running is not None:
            raise RuntimeError("An execution environment takes one invocation at a time")
        began = self._clock.now()
        deadline = began + self.plan.timeout
        running = self._running = _Running(invocation, asyncio.get_running_loop().create_future(), began)
        self._tail.clear()
        self._log(f"START RequestId: {invocation.request_id} Version: {self.plan.version}")
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.arn,
            "Lambda-Runtime-Trace-Id": (
                f"Root=1-{int(began):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"
            ),
        }
        if invocation.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        self._timer = self._clock.call_at(deadline, lambda: self._on_timeout(running))
        if self._frozen:
            self._frozen = False
            self._signal(signal.SIGCONT)
        answer(headers, invocation.payload)
        return await running.outcome

    @property
    def finishing(self) -> bool:
        """Whether it has answered its invocation, and is about to ask for the next."""
        return not self.ended and self._running is None and self._answer is None

    def _on_timeout(self, running: _Running) -> None:
        if self._running is not running:  # it answered, but did not come back for more
            self.end()
            return
        request_id = running.invocation.request_id
        message = f"Task timed out after {self.plan.timeout:.2f} seconds"
        self._read_log()
        self._log(f"{iso_timestamp(self._clock.now())} {request_id} {message}\n")
        payload = error_document("Sandbox.Timedout", f"RequestId: {request_id} Error: {message}")
        self._peak = _peak_memory(self._process)
        self._finish(running, payload, "Unhandled", "Status: timeout")
        self.end()

    def _finish(
        self, running: _Running, payload: bytes, error: str | None, note: str = "", error_type: str | None = None
    ) -> None:
        """Complete the running invocation.  Its time limit holds until the runtime asks for the next."""
        self._running = None
        duration = self._clock.now() - running.began
        self._read_log()
        self._log(f"END RequestId: {running.invocation.request_id}")
        self._log(self._report(running.invocation.request_id, duration, note))
        if not running.outcome.done():
            log_tail = bytes(self._tail[-_LOG_TAIL:])
            running.outcome.set_result(Outcome(payload, error, log_tail, duration, error_type))

    def _report(self, request_id: str, duration: float, note: str) -> str:
        init, self._init_duration = self._init_duration, None
        milliseconds = duration * 1000
        billed = -(-(milliseconds + (init or 0.0) * 1000) // 1)
        parts = [
            f"REPORT RequestId: {request_id}",
            f"Duration: {milliseconds:.2f} ms",
            f"Billed Duration: {billed:.0f} ms",
            f"Memory Size: {self.plan.memory} MB",
            f"Max Memory Used: {min(self._peak, self.plan.memory)} MB",
        ]
        if init is not None:
            parts.append(f"Init Duration: {init * 1000:.2f} ms")
        return "\t".join([*parts, note])

    # What the Runtime API tells

    def on_next(self, answer: Answer) -> None:
        """The runtime is ready for an invocation."""
        self._cancel_timer()
        self._answer = answer
        self._read_log()
        self.idle_since = self._clock.now()
        if self._initialized is not None and not self._initialized.done():
            self._initialization_ends(None)
        else:
            self._on_idle(self)
        # Not before those who wait have had their turn: under load it goes on without a pause.
        asyncio.get_running_loop().call_soon(self._freeze)

    def _freeze(self) -> None:
        if self._answer is not None and not self._frozen:
            self._frozen = True
            self._signal(signal.SIGSTOP)

    def on_stream(self, request_id: str, content_type: str) -> Callable[[bytes], object] | None:
        """The handler begins to stream its answer: what takes the parts of it."""
        running = self._running
        if running is None or running.invocation.request_id != request_id or running.invocation.stream is None:
            return None
        running.invocation.stream.begin(content_type, self.plan.version)
        return running.invocation.stream.write

    def on_response(self, request_id: str, payload: bytes, *, error_type: str | None) -> bool:
        """The handler returned, or raised; False if no such invocation runs."""
        failed = error_type is not None
        running = self._running
        if running is None or running.invocation.request_id != request_id:
            return False
        self._peak = _peak_memory(self._process)
        if self._peak > self.plan.memory or (failed and _ran_out_of_memory(payload)):
            self._fail_by_memory(running)
        elif failed:
            self._finish(running, self._as_on_aws(payload), "Unhandled", error_type=error_type)
        elif len(payload) > MAX_RESPONSE:
            message = f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
            self._finish(running, error_document("Function.ResponseSizeTooLarge", message), "Unhandled")
        else:
            self._finish(running, payload, None)
        return True

    def _fail_by_memory(self, running: _Running) -> None:
        """The process has been larger than the function may be: Lambda would have killed it when it grew to that.

        Here that is seen when it answers, and its answer does not count.
        """
        message = f"RequestId: {running.invocation.request_id} Error: {_exit_message(-signal.SIGKILL)}"
        note = "Status: error\tError Type: Runtime.OutOfMemory"
        self._finish(running, error_document("Runtime.OutOfMemory", message), "Unhandled", note)
        self.end()

    def on_init_error(self, payload: bytes) -> None:
        """The handler could not be loaded."""
        self._read_log()
        document = self._as_on_aws(payload)
        self._initialization_ends(InitError("", "", document=document, log_tail=bytes(self._tail[-_LOG_TAIL:])))

    def _as_on_aws(self, payload: bytes) -> bytes:
        """A stack trace with the handler's files where they are on AWS."""
        return payload.replace(f"{self.plan.code}/".encode(), b"/var/task/")

    # Ending

    def end(self) -> None:
        """Kill the process and whatever it started.

        An invocation that runs then has no outcome, as after kill -9 of the emulator: it is ours that it ends, and
        the function has not failed.
        """
        if self.ended:
            return
        self.ended = True
        self._running = None
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
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _on_exit(self, initialized: asyncio.Future[None], status: int) -> None:
        if self.ended or initialized is not self._initialized:  # killed by us
            return
        self._process = None
        if self._running is not None:
            self._fail_by_exit(self._running, status)
        else:
            self._read_log()
            tail = bytes(self._tail[-_LOG_TAIL:])
            self._initialization_ends(InitError("Runtime.ExitError", _exit_message(status), log_tail=tail))
        self.end()

    def _fail_by_exit(self, running: _Running, status: int) -> None:
        message = f"RequestId: {running.invocation.request_id} Error: {_exit_message(status)}"
        note = "Status: error\tError Type: Runtime.ExitError"
        self._finish(running, error_document("Runtime.ExitError", message), "Unhandled", note)

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


def kill_group(process: int) -> None:
    """Kill a process and those it started; they are a group of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def error_document(error_type: str, message: str) -> bytes:
    """An error as Lambda itself reports it."""
    return json.dumps({"errorType": error_type, "errorMessage": message}, separators=(",", ":")).encode()


# Signals as Go prints them, in which Lambda's own part of the environment is written.
_SIGNAL_NAMES = {
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGKILL: "killed",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGTERM: "terminated",
}


def _exit_message(status: int) -> str:
    if status == 0:
        return "Runtime exited without providing a reason"
    if status > 0:
        return f"Runtime exited with error: exit status {status}"
    name = _SIGNAL_NAMES.get(signal.Signals(-status), signal.Signals(-status).name.lower())
    return f"Runtime exited with error: signal: {name}"


def _ran_out_of_memory(payload: bytes) -> bool:
    """Whether a handler failed because the system gave it no more memory: Lambda would have killed it."""
    try:
        return bool(json.loads(payload)["errorType"] == "MemoryError")
    except (ValueError, TypeError, KeyError):
        return False


_PEAK = re.compile(rb"VmHWM:\s+(\d+) kB")


def _peak_memory(process: int | None) -> int:
    """Megabytes the process has had in memory at most; 0 where the system does not tell."""
    try:
        status = os.open(f"/proc/{process}/status", os.O_RDONLY)
    except OSError:
        return 0
    try:
        match = _PEAK.search(os.read(status, 4096))
    except OSError:
        return 0
    finally:
        os.close(status)
    return -(-int(match[1]) // 1024) if match else 0
