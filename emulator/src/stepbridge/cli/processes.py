"""Child processes that do not outlive the command that started them."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from stepbridge.cli.errors import CommandError
from stepbridge.clock import SystemClock

_POLL_SECONDS = 0.02
_STOP_SECONDS = 15.0


class Process:
    """A command that runs while the context lasts, with its output in a log file.

    It gets a process group of its own: a Ctrl-C in the terminal reaches us alone, and we stop it in order.
    """

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._name = name
        self._command = command
        self._environment = environment
        self._log = log

    def __enter__(self) -> Self:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        """The child's process id, and that of its group."""
        return self._process.pid

    def await_condition(self, condition: Callable[[], bool], seconds: float) -> None:
        """Return when the condition holds.  Raises CommandError if the process ends or `seconds` pass before."""
        clock = SystemClock()
        deadline = clock.now() + seconds
        while not condition():
            try:
                status = self._process.wait(timeout=_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if clock.now() > deadline:
                    message = f"The {self._name} was not ready after {seconds:.0f} seconds: {self._last_words()}"
                    raise CommandError(message) from None
            else:
                raise CommandError(f"The {self._name} ended with {status}: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_STOP_SECONDS)
        finally:  # what it has not ended itself, even when we are interrupted here
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
