"""The Lambda Runtime API, over which a runtime in an execution environment takes invocations and answers them.

One small HTTP server per environment, on a loopback port that only its process is told.  The runtime asks for the
next invocation and gets no answer until there is one.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import asyncio
import base64
from collections.abc import Callable, Mapping
from typing import Protocol, cast

import httptools

_PREFIX = "/2018-06-01/runtime/"
_ACCEPTED = b'{"status":"OK"}\n'


class Runtime(Protocol):
    """What the environment does with what its runtime tells it."""

    def on_next(self, answer: Callable[[Mapping[str, str], bytes], None]) -> None:
        """The runtime is ready; `answer` gives it the headers and the payload of an invocation."""

    def on_stream(self, request_id: str, content_type: str) -> Callable[[bytes], object] | None:
        """The handler begins to stream its answer: what takes the parts of it, None if they are to be put together."""

    def on_response(self, request_id: str, payload: bytes, *, error_type: str | None) -> bool:
        """The handler returned `payload`, or failed with it, if there is a type of error.

        False if no such invocation runs.
        """

    def on_init_error(self, payload: bytes) -> None:
        """The handler could not be loaded."""


async def serve(runtime: Runtime, host: str) -> tuple[asyncio.Server, str]:
    """Serve the Runtime API to one environment; the server and its address, as in AWS_LAMBDA_RUNTIME_API."""
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(runtime), host, 0)
    port = server.sockets[0].getsockname()[1]
    return server, f"{host}:{port}"


class _Connection(asyncio.Protocol):
    """One connection of the runtime: it keeps it open from one request to the next."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = ""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._take: Callable[[bytes], object] = self._body.append

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._path = ""
        self._headers = {}
        self._body = []
        self._take = self._body.append

    def on_url(self, url: bytes) -> None:
        self._path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._headers.get(b"lambda-runtime-function-response-mode") == b"streaming":
            request_id = self._path.removeprefix(_PREFIX).split("/")[1]
            content_type = self._headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
            self._take = self._runtime.on_stream(request_id, content_type) or self._take

    def on_body(self, body: bytes) -> None:
        self._take(body)

    def on_message_complete(self) -> None:
        payload = b"".join(self._body)
        if not self._path.startswith(_PREFIX):
            self._answer(b"404 Not Found", {}, b"")
            return
        match self._path.removeprefix(_PREFIX).split("/"):
            case ["invocation", "next"]:
                self._runtime.on_next(lambda headers, body: self._answer(b"200 OK", headers, body))
            case ["invocation", request_id, "response"]:
                # A runtime that streams its answer reports a failure midway in trailing headers.
                error_type = self._error_type()
                if error_type is not None:
                    payload = base64.b64decode(self._headers.get(b"lambda-runtime-function-error-body", b""))
                self._accept(self._runtime.on_response(request_id, payload, error_type=error_type))
            case ["invocation", request_id, "error"]:
                error_type = self._error_type() or "Unhandled"
                self._accept(self._runtime.on_response(request_id, payload, error_type=error_type))
            case ["init", "error"]:
                self._runtime.on_init_error(payload)
                self._accept(True)
            case ["restore", "next"]:
                self._answer(b"200 OK", {}, b"")
            case _:
                self._answer(b"404 Not Found", {}, b"")

    def _error_type(self) -> str | None:
        value = self._headers.get(b"lambda-runtime-function-error-type")
        return None if value is None else value.decode("latin-1")

    def _accept(self, known: bool) -> None:
        if known:
            self._answer(b"202 Accepted", {}, _ACCEPTED)
        else:
            message = b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}'
            self._answer(b"400 Bad Request", {}, message)

    def _answer(self, status: bytes, headers: Mapping[str, str], body: bytes) -> None:
        if self._transport is None:
            return
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
            % (status, len(body), lines.encode("latin-1"))
            + body
        )
