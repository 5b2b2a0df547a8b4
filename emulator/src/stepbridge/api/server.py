"""uvicorn on a socket of ours, inside a loop that is already running."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp


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
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=75,
        )
        self._server = _Server(config)
        self._listeners = listeners
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when connections are accepted (the sockets listen already, so none is refused before)."""
        self._task = asyncio.create_task(self._server.serve(sockets=list(self._listeners)))
        await self._server.ready.wait()

    async def stop(self) -> None:
        """Finish the requests in hand and close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


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
