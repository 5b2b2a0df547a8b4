"""The systems that are measured: stepbridge and its peers, each as a process of its own on a free port."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.wire import Wire
from stepbridge.testing import EmulatorProcess

PEERS = Path(__file__).parents[1] / ".venv" / "peers" / "bin"


@dataclass(frozen=True)
class System:
    """A running system."""

    name: str
    port: int
    pid: int
    mqtt_port: int = 0
    root_ca: Path = Path()

    def connect(self) -> Wire:
        """A connection to its AWS API."""
        return Wire("127.0.0.1", self.port)

    def memory(self) -> float:
        """The resident memory of its process tree in MiB, shared pages divided among those who share them."""
        return sum(_proportional_set_size(pid) for pid in process_tree(self.pid)) / 1024


def process_tree(root: int) -> list[int]:
    """`root` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _proportional_set_size(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass  # it has ended
    return 0


def of(emulator: EmulatorProcess) -> System:
    """A running emulator as a system to measure."""
    endpoints = emulator.endpoints
    port = int(endpoints["http"].rpartition(":")[2])
    return System("stepbridge", port, emulator.pid, endpoints["mqtt_port"], Path(endpoints["root_ca"]))


@contextlib.contextmanager
def stepbridge(*options: str) -> Iterator[System]:
    """The emulator, on disk as users run it."""
    with tempfile.TemporaryDirectory() as folder:
        emulator = EmulatorProcess(Path(folder), *options)
        emulator.start()
        try:
            yield of(emulator)
        finally:
            emulator.stop()


@contextlib.contextmanager
def moto() -> Iterator[System]:
    """moto_server, with its Step Functions engine on, and functions in its own process."""
    with _peer("moto", ["moto_server", "-p", "{port}"], {}) as system:
        wire = system.connect()
        wire.post(
            "/moto-api/config", b'{"stepfunctions": {"execute_state_machine": true}, "lambda": {"use_docker": false}}'
        )
        yield system


@contextlib.contextmanager
def ministack() -> Iterator[System]:
    """ministack."""
    environment = {"GATEWAY_PORT": "{port}", "IOT_MTLS_PORT": "{mqtt_port}"}
    with _peer("ministack", ["ministack"], environment) as system, tempfile.TemporaryDirectory() as folder:
        root_ca = Path(folder) / "root-ca.pem"
        root_ca.write_bytes(system.connect().get("/_ministack/iot/ca.pem"))
        yield replace(system, root_ca=root_ca)


@contextlib.contextmanager
def _peer(name: str, command: list[str], environment: dict[str, str]) -> Iterator[System]:
    port, mqtt_port = free_port(), free_port()
    words = [str(PEERS / command[0]), *(word.format(port=port) for word in command[1:])]
    filled = {key: value.format(port=port, mqtt_port=mqtt_port) for key, value in environment.items()}
    with process(words, filled) as running:
        wait_for(port, running)
        yield System(name, port, running.pid, mqtt_port)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def process(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process, and whatever it starts, killed at the end."""
    running = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield running
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def wait_for(port: int, running: "subprocess.Popen[bytes] | None" = None) -> None:
    """Return when `port` is listened on.  Raises RuntimeError if the process ends, or after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if running is not None and running.poll() is not None:
            raise RuntimeError("it ended at once; make bench installs the peers in .venv/peers")
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on port {port}")
