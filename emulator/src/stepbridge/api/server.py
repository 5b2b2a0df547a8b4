"""uvicorn on a socket of ours, inside a loop that is already running."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _WholeResponses:
    """A transport on which the head of a response goes out with the body.

    uvicorn writes them one after the other, each by a system call that wakes the client: for answers as small as
    those of AWS that is much of what they cost.  What is written waits for the next write, or the end of this turn of
    the event loop.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._call_soon = asyncio.get_running_loop().call_soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, or keep what may be a head."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head + data)
        else:
            self._head = data
            self._call_soon(self._flush)

    def close(self) -> None:
        """Close when all has been written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)


class _Protocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _WholeResponses(transport)))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the command's business, not the server's


class HttpServer:
    """Serves an ASGI application on bound sockets."""

    def __init__(self, application: ASGIApp, *listeners: socket.socket) -> None:
        config = uvicorn.Config(
            application,
            interface="asgi3",
            loop="none",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
        )
        self._server = _Server(config)
        self._listeners = listeners
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when connections are accepted (the sockets listen already, so none is refused before)."""
        self._task = asyncio.create_task(self._server.serve(sockets=list(self._listeners)))
        await self._server.ready.wait()

    async def stop(self, seconds: int) -> None:
        """Finish the requests in hand, for `seconds` at most, and close.  Requests that take longer are cancelled."""
        self._server.config.timeout_graceful_shutdown = seconds
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        if cancelled := list(self._server.server_state.tasks):
            await asyncio.wait(cancelled)  # their answers go out before anything else is gone


def listen(host: str, port: int) -> tuple[socket.socket, bool]:
    """A listening TCP socket on `host`, and whether it is on `port` or, that being taken, on another free one.

    `port` 0 means any.  Raises OSError when the address itself cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in (port, 0):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(2048)
        except OSError as error:
            listener.close()
            if candidate == 0 or error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            continue
        listener.setblocking(False)
        return listener, candidate == port
    raise AssertionError("unreachable")
