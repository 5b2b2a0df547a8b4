"""HTTPS on the device port: the requests of one connection, one after the other.

The protocol is h11's business, what a request means that of whom :meth:`Broker.serve_http` has named.
See "HTTPS publish" in the AWS IoT developer guide.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.iot.broker.tls import TlsConnection

if TYPE_CHECKING:
    from stepbridge.iot.broker.gateway import Gateway

_IDLE = 60  # seconds without a request, and for one to come whole
_CLOSE_TIMEOUT = 10  # seconds for a client to take the last bytes
_WRITE_BUFFER = 256 * 1024  # bytes; above it no further request is read
_MAXIMUM_BODY = 256 * 1024  # bytes; the largest payload has 128 KiB
_CONNECTION_HEADERS = frozenset({"content-length", "connection", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sends a request: from where, the certificate that TLS has proven, and the name it found us by, if any."""

    address: str
    certificate_der: bytes | None
    server_name: str | None = None


AnswerHttp = Callable[[HttpRequest, Visitor], Awaitable[HttpResponse]]


class HttpsConnection:
    """A client that speaks HTTP/1.1; see :class:`~stepbridge.iot.broker.tls.Application`."""

    def __init__(self, gateway: "Gateway", transport: TlsConnection, visitor: Visitor, answer: AnswerHttp) -> None:
        self._gateway = gateway
        self._transport = transport
        self._visitor = visitor
        self._answer = answer
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._deadline: float = gateway.clock.now() + _IDLE
        self._closed = False
        self._begun = False  # a request has begun to come
        self._slow = False  # the client does not take its answers
        transport.set_write_buffer(_WRITE_BUFFER)
        gateway.enter(self)

    # From the socket: see Application

    def received(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            self._deadline = self._gateway.clock.now() + _IDLE
        self._http.receive_data(data)
        self._read()

    def pause_writing(self) -> None:
        self._slow = True

    def resume_writing(self) -> None:
        self._slow = False
        self._go_on()

    def lost(self) -> None:
        self._closed = True
        self._gateway.leave(self)

    # Requests

    def _read(self) -> None:
        """Take events until a request is complete, or more bytes are needed."""
        try:
            while self._answering is None and not self._closed and not self._slow:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    if self._http.they_are_waiting_for_100_continue:
                        self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    return
                if isinstance(event, h11.Request):
                    self._request = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > _MAXIMUM_BODY:
                        self._refuse(413, f"A request may have {_MAXIMUM_BODY} bytes.")
                elif isinstance(event, h11.EndOfMessage):
                    self._transport.pause_reading()
                    self._answering = asyncio.ensure_future(self._respond())
                else:  # the client has closed, or may say no more
                    self._close()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))

    async def _respond(self) -> None:
        request = self._request
        assert request is not None  # noqa: S101 - its end has come
        path, _, query = request.target.decode("latin-1").partition("?")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        body = bytes(self._body)
        self._body.clear()
        try:
            answer = await self._answer(HttpRequest(request.method.decode(), path, query, headers, body), self._visitor)
        finally:
            self._answering = None
        if self._closed:
            return
        self._write(answer)
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._deadline = self._gateway.clock.now() + _IDLE
            self._begun = bool(self._http.trailing_data[0])
            self._go_on()
        else:
            self._close()

    def _go_on(self) -> None:
        """Take up reading, and what has come meanwhile, unless an answer is due first."""
        if self._answering is None and not self._slow and not self._closed:
            self._transport.resume_reading()
            self._read()

    def _write(self, answer: HttpResponse) -> None:
        headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in _CONNECTION_HEADERS]
        headers.append(("content-length", str(len(answer.body))))
        self._send(h11.Response(status_code=answer.status, headers=headers))
        if answer.body and (self._request is None or self._request.method != b"HEAD"):
            self._send(h11.Data(data=answer.body))
        self._send(h11.EndOfMessage())

    def _send(self, event: h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage) -> None:
        data = self._http.send(event)
        if data:
            self._transport.write(data)

    def _refuse(self, status: int, text: str) -> None:
        """Answer a request that cannot be read, and close."""
        self._gateway.tell("request-refused", f"{self._visitor.address} gets {status}: {text}", reason=text)
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"message": text}).encode()
            self._write(HttpResponse(status, {"content-type": "application/json", "connection": "close"}, body))
        self._close()

    # The end

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._deadline = self._gateway.clock.now() + _CLOSE_TIMEOUT
        self._gateway.wheel.watch(self)
        self._transport.resume_reading()  # or the client's end would not be seen
        self._transport.close()

    def shut_down(self) -> None:
        """The emulator stops."""
        if self._answering is not None:
            self._answering.cancel()
        self._closed = True
        self._transport.abandon()

    # See TimerWheel

    @property
    def deadline(self) -> float | None:
        return self._deadline

    def fall_due(self) -> None:
        if self._closed:
            self._transport.abort()
        elif self._answering is not None:
            self._deadline = self._gateway.clock.now() + _IDLE
            self._gateway.wheel.watch(self)
        else:
            self._close()


async def nothing_here(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The answer while nobody serves HTTP."""
    del request, visitor
    return HttpResponse(404, {"content-type": "application/json"}, b'{"message":"Not Found"}')
