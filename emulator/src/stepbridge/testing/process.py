"""An emulator as a process of its own, the way users run it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from stepbridge.cli.connection import Connection
from stepbridge.testing.target import Emulator

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0


class EmulatorProcess(Emulator):
    """`stepbridge up` on free ports, with its data in `directory`.

    `start` returns when it is ready; `kill` is kill -9, after which `start` carries on with the same data.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__()
        self.directory = directory
        self.log = directory / "up.log"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoints: dict[str, Any] = {}

    def start(self) -> None:
        """Start it and wait until all its endpoints are ready.  Raises RuntimeError with its output if it ends."""
        self.directory.mkdir(parents=True, exist_ok=True)
        ready_file = self.directory / "ready.json"
        ready_file.unlink(missing_ok=True)
        # The same ports again after a restart: clients that reconnect find it where it was.
        ports = [
            f"--port={self.endpoints['http'].rpartition(':')[2] if self.endpoints else 0}",
            f"--mqtt-port={self.endpoints.get('mqtt_port', 0)}",
        ]
        command = [sys.executable, "-m", "stepbridge", "up", f"--data-dir={self.directory / 'data'}", *ports]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, f"--ready-file={ready_file}", *self._options],
                env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not ready_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"stepbridge up did not get ready; it printed:\n{self.log.read_text()}")
            time.sleep(0.02)
        self.endpoints = json.loads(ready_file.read_text())

    @property
    def connection(self) -> Connection:
        """Where it is."""
        if not self.endpoints:
            raise RuntimeError("The emulator has not been started.")
        return Connection.from_endpoints(self.endpoints["http"], self.endpoints)

    @property
    def pid(self) -> int:
        """The process id of `stepbridge up`."""
        if self._process is None:
            raise RuntimeError("The emulator has not been started.")
        return self._process.pid

    def close(self) -> None:
        """Stop it; with it goes what was made."""
        self.stop()

    def stop(self) -> int:
        """Stop it as Ctrl-C does; the exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def environment(self) -> dict[str, str]:
        """The environment in which boto3, the aws and the sam command lines talk to this emulator."""
        return {
            **os.environ,
            "AWS_ENDPOINT_URL": self.endpoints["http"],
            "AWS_ACCESS_KEY_ID": "stepbridge",
            "AWS_SECRET_ACCESS_KEY": "stepbridge",
            "AWS_DEFAULT_REGION": self.endpoints["region"],
            "AWS_REGION": self.endpoints["region"],
        }
