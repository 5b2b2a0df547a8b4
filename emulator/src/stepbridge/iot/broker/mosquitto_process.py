"""A Mosquitto of our own: its configuration, its certificates, its life.

It listens on loopback and takes only clients with a certificate of its own CA, which signs for nobody else: a device's
certificate opens no way around the gateway.  It writes to disk after each change, before it looks at its sockets again
(`autosave_on_changes`); see :mod:`~stepbridge.iot.broker.mosquitto_link` for what follows from that.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from stepbridge.clock import SystemClock
from stepbridge.iot.broker.mosquitto_link import Endpoint
from stepbridge.iot.broker.mosquitto_standing import Tell
from stepbridge.iot.certificates import CertificateAuthority, IssuedKeys

_PR_SET_PDEATHSIG = 1
_START_TIMEOUT, _STOP_TIMEOUT = 10.0, 10.0  # seconds
_POLL = 0.01
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # seconds before a restart

# The limits are the gateway's business: AWS's are lower.
CONFIGURATION = """\
# Written by stepbridge at each start.
listener {port} 127.0.0.1
cafile {directory}/root-ca.pem
certfile {directory}/server.pem
keyfile {directory}/server.key
require_certificate true
allow_anonymous true
user {user}

persistence true
persistence_location {directory}/
autosave_on_changes true
autosave_interval 1

max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
sys_interval 0

log_dest stderr
log_type error
log_type warning
"""


def client_context(root: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """A TLS context for :class:`Endpoint`.  Raises OSError if a file cannot be used."""
    context = ssl.create_default_context(cafile=str(root))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


class MosquittoProcess:
    """A Mosquitto that runs in `directory` and is started again when it ends; in real time."""

    def __init__(self, directory: Path, tell: Tell, program: str = "mosquitto") -> None:
        self._directory = directory
        self._tell = tell
        self._program = program
        self._authority = CertificateAuthority(directory)
        self._clock = SystemClock()
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._certificate, self._key = directory / "client.pem", directory / "client.key"
        if not (self._certificate.exists() and self._key.exists()):
            self._write_client(self._authority.root.issue_keys())
        self._port = _free_port()
        context = client_context(self._authority.root.path, self._certificate, self._key)
        self.endpoint = Endpoint("127.0.0.1", self._port, context)

    @property
    def process_id(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it and wait until it listens.  Raises RuntimeError, with a sentence for the user."""
        path = shutil.which(self._program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
        if path is None:
            raise RuntimeError(
                f"{self._program} is not on the PATH. Install it (Debian: sudo apt-get install mosquitto; macOS: brew "
                "install mosquitto), or use --broker embedded"
            )
        await self._end_previous()
        await self._launch(path)
        self._supervisor = asyncio.ensure_future(self._supervise(path))

    async def stop(self) -> None:
        """End it; it writes what it has to disk first."""
        if self._supervisor is not None:
            self._supervisor.cancel()
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        timer = self._clock.call_at(self._clock.now() + _STOP_TIMEOUT, process.kill)
        await process.wait()
        timer.cancel()
        self._pid_file.unlink(missing_ok=True)

    @property
    def _pid_file(self) -> Path:
        return self._directory / "mosquitto.pid"

    @property
    def _log_file(self) -> Path:
        return self._directory / "mosquitto.log"

    async def _launch(self, path: str) -> None:
        configuration = self._directory / "mosquitto.conf"
        user = "root" if os.geteuid() == 0 else "mosquitto"  # as root it would change to a user that cannot read this
        configuration.write_text(CONFIGURATION.format(port=self._port, directory=self._directory, user=user))
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                path,
                "-c",
                str(configuration),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: it has to be there until all is sent
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        self._pid_file.write_text(f"{self._process.pid}\n")
        deadline = self._clock.now() + _START_TIMEOUT
        while not _listens(self._port):
            if self._process.returncode is not None or self._clock.now() > deadline:
                lines = self._log_file.read_text(errors="replace").strip().splitlines()
                raise RuntimeError(
                    f"{path} does not start: {lines[-1] if lines else 'it says nothing'} (see {self._log_file})"
                )
            await self._clock.sleep(_POLL)

    async def _supervise(self, path: str) -> None:
        pause = _FIRST_PAUSE
        while self._process is not None:
            started = self._clock.now()
            code = await self._process.wait()
            if self._clock.now() - started > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            self._tell("mosquitto-ended", f"Mosquitto {how}: it is started again (its log: {self._log_file})")
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                await self._launch(path)
            except (OSError, RuntimeError) as error:
                self._tell("mosquitto-ended", f"{error}; trying again")

    async def _end_previous(self) -> None:
        """End what a killed emulator may have left: two on the same files would destroy them."""
        try:
            previous = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return
        if str(self._directory) not in _command_of(previous):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(previous, signal.SIGTERM)
            deadline = self._clock.now() + _STOP_TIMEOUT
            while self._clock.now() < deadline:
                await self._clock.sleep(_POLL)
                os.kill(previous, 0)

    def _write_client(self, keys: IssuedKeys) -> None:
        descriptor = os.open(self._key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(keys.private_key)
        self._certificate.write_text(keys.certificate)


def _command_of(process_id: int) -> str:
    """The command line of a process; empty if there is none."""
    proc = Path(f"/proc/{process_id}/cmdline")
    if sys.platform == "linux":
        try:
            return proc.read_text()
        except OSError:
            return ""
    command = ["ps", "-o", "command=", "-p", str(process_id)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end_with_parent() -> None:
    """In the child: the kernel ends it, in good order, when the emulator is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
