"""The emulator's side of a fork server: starts it, asks it for processes, hears of their ends."""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stepbridge.functions import fork_server
from stepbridge.functions.interpreters import Interpreter


class LaunchError(Exception):
    """No process could be started."""


@dataclass(frozen=True, slots=True)
class ProcessRequest:
    """What a process for an execution environment is to be.

    `environment` is its whole environment, `path` goes in front of the interpreter's module path, `command` is what
    runs the handler where that is not the interpreter itself, `data_limit` is how many bytes it may allocate, `output`
    is the descriptor that takes what it writes; it stays the caller's.  `temporary` is the folder that it sees as /tmp,
    where the system can do that.
    """

    environment: dict[str, str]
    working_directory: str
    path: list[str]
    command: list[str]
    handler: str
    data_limit: int
    output: int
    temporary: str


class Launcher:
    """One fork server, for the functions of one interpreter.

    `folder` is where the interpreter's packages are linked.  `on_shared_tmp` is called if the system cannot give each
    process a /tmp of its own.  The server is started when the first process is wanted, or by :meth:`warm_up` before.
    """

    def __init__(self, interpreter: Interpreter, folder: Path, on_shared_tmp: Callable[[], object]) -> None:
        self._interpreter = interpreter
        self._on_shared_tmp = on_shared_tmp
        self._folder = folder
        self._channel: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._next_id = 0
        self._asked: dict[int, tuple[asyncio.Future[int], Callable[[int], object]]] = {}
        self._exits: dict[int, Callable[[int], object]] = {}

    def warm_up(self) -> None:
        """Start the server now, so that the first environment need not wait for its imports."""
        self._connected()

    async def launch(self, request: ProcessRequest, on_exit: Callable[[int], object]) -> int:
        """Start a process; its id.  `on_exit` is called with its exit status, or minus the signal that killed it.

        Raises LaunchError if there is no server to start it.
        """
        channel = self._connected()
        self._next_id += 1
        line = json.dumps(
            {
                "id": self._next_id,
                "environment": request.environment,
                "working_directory": request.working_directory,
                "path": request.path,
                "command": request.command,
                "handler": request.handler,
                "data_limit": request.data_limit,
                "temporary": request.temporary,
            }
        )
        loop = asyncio.get_running_loop()
        launched: asyncio.Future[int] = loop.create_future()
        self._asked[self._next_id] = (launched, on_exit)
        data = line.encode() + b"\n"
        try:
            sent = socket.send_fds(channel, [data], [request.output])
            if sent < len(data):
                await loop.sock_sendall(channel, data[sent:])
        except OSError as error:
            raise LaunchError(f"The process that starts execution environments is gone: {error}") from error
        return await launched

    def close(self) -> None:
        """End the server, and with it every process it started."""
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
            self._channel = None
        if self._server is not None:
            if not self._exits:  # it may still be importing, and has no children to end
                self._server.kill()
            self._server.wait()
            self._server = None
        for launched, _ in self._asked.values():
            if not launched.done():
                launched.set_exception(LaunchError("The process that starts execution environments ended."))
        exits, self._exits = self._exits, {}
        self._asked = {}
        for on_exit in exits.values():
            on_exit(-9)

    def _connected(self) -> socket.socket:
        if self._channel is None:
            self._channel = self._start_server()
            asyncio.get_running_loop().add_reader(self._channel, self._receive, self._channel)
        return self._channel

    def _start_server(self) -> socket.socket:
        packages = self._interpreter.link_packages(self._folder)
        ours, theirs = socket.socketpair()
        command = [self._interpreter.executable, "-I", "-S", "-X", "utf8", fork_server.__file__]
        try:
            self._server = subprocess.Popen(
                [*command, str(theirs.fileno()), str(packages)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={"PATH": os.defpath, "LANG": "en_US.UTF-8", "TZ": ":UTC"},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise LaunchError(f"{self._interpreter.executable} cannot be started: {error}") from error
        finally:
            theirs.close()
        ours.setblocking(False)
        return ours

    def _receive(self, channel: socket.socket) -> None:
        try:
            data = channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "own_tmp" in message:
                if not message["own_tmp"]:
                    self._on_shared_tmp()
            elif "id" in message:
                launched, on_exit = self._asked.pop(message["id"])
                self._exits[message["process"]] = on_exit
                if not launched.done():
                    launched.set_result(message["process"])
            elif (ended := self._exits.pop(message["process"], None)) is not None:
                ended(message["status"])
