"""The first moments of a connection: the TLS handshake, and which protocol the client speaks.

AWS IoT Core tells the protocols on a port apart by ALPN.  Clients of MQTT over WebSocket offer `http/1.1` or nothing,
those of MQTT on port 8883 and of HTTPS on port 8443 offer nothing either.  The first byte tells MQTT from HTTP, and the
head of the first request a WebSocket from other requests.
"""

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from stepbridge.iot.broker.connection import CLOSE_TIMEOUT, DeviceConnection
from stepbridge.iot.broker.https import HttpsConnection, Visitor
from stepbridge.iot.broker.signature import SignatureError, is_signed, signer
from stepbridge.iot.broker.tls import TlsConnection
from stepbridge.iot.broker.trust import ALPN_MQTT, explain
from stepbridge.iot.broker.websocket import WebSocketConnection
from stepbridge.iot.mqtt import websocket

if TYPE_CHECKING:
    from stepbridge.iot.broker.gateway import Gateway

TIMEOUT = 30  # seconds for the TLS handshake and the first bytes
_PATH = "/mqtt"


class Entrance:
    """A client that has not said yet what it wants; see :class:`~stepbridge.iot.broker.tls.Application`."""

    __slots__ = (
        "_address",
        "_certificate",
        "_deadline",
        "_gateway",
        "_head",
        "_over",
        "_secured",
        "_transport",
        "_waiting",
    )

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._transport: TlsConnection
        self._address = ""
        self._deadline = gateway.clock.now() + TIMEOUT
        self._secured = False
        self._certificate: bytes | None = None
        self._head = bytearray()  # of the first HTTP request
        self._waiting: bytearray | None = None  # what came while a caller's key was looked up
        self._over = False  # another has taken the connection, or it is refused

    # From the socket: see Application

    def accepted(self, transport: TlsConnection, address: str) -> None:
        self._transport = transport
        self._address = address
        self._gateway.enter(self)

    def failed(self, error: Exception) -> None:
        self._tell(explain(error))

    def secured(self, certificate_der: bytes | None) -> None:
        self._secured = True
        self._certificate = certificate_der
        if self._transport.alpn == ALPN_MQTT:
            self._begin_mqtt()

    def received(self, data: bytes) -> None:
        if self._waiting is not None:
            self._waiting += data
            return
        if not self._head and not b"A" <= data[:1] <= b"Z":  # of a method; an MQTT client begins with 0x10
            if self._begin_mqtt():
                self._transport.application.received(data)
            return
        begin = max(0, len(self._head) - 3)
        self._head += data
        end = self._head.find(b"\r\n\r\n", begin)
        if end < 0 and len(self._head) <= websocket.MAXIMUM_HEAD:
            return
        first, self._head = bytes(self._head), bytearray()
        if end >= 0 and b"\r\nupgrade:" in first[:end].lower():
            self._begin_websocket(first)
        else:
            visitor = Visitor(self._address, self._certificate, self._transport.server_name)
            connection = HttpsConnection(self._gateway, self._transport, visitor, self._gateway.answer_http)
            self._hand_over(connection)
            connection.received(first)

    def _begin_websocket(self, head: bytes) -> None:
        try:
            parsed = websocket.Handshake().feed(head)
            if parsed is None:
                return
            request, rest = parsed
            principal, signed = self._websocket_principal(request)
        except websocket.HandshakeError as error:
            self._transport.write(websocket.refused(error.status, str(error)))
            self._refuse(f"its WebSocket request gets {error.status.value}: {error}")
            return
        if not signed:
            self._welcome(request, principal, rest, signed=False)
            return
        # What is behind the key must be learned first; what the client sends meanwhile waits.
        self._waiting = bytearray(rest)
        self._transport.pause_reading()
        preparing = asyncio.ensure_future(self._gateway.access.prepare(principal))
        preparing.add_done_callback(lambda done: self._prepared(done, request, principal))

    def _prepared(self, done: "asyncio.Future[None]", request: websocket.UpgradeRequest, principal: str) -> None:
        if self._over:
            return
        self._transport.resume_reading()
        if done.cancelled() or (error := done.exception()) is not None:
            text = "cancelled" if done.cancelled() else str(error)
            self._transport.write(websocket.refused(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal failure."))
            self._refuse(f"what its key {principal} may do cannot be learned: {text}")
            return
        self._welcome(request, principal, bytes(self._waiting or b""), signed=True)

    def _welcome(self, request: websocket.UpgradeRequest, principal: str, rest: bytes, *, signed: bool) -> None:
        self._transport.write(websocket.accepted(request))
        connection = DeviceConnection(self._gateway)
        through = WebSocketConnection(self._gateway.clock, self._transport, connection)
        self._hand_over(through)
        connection.begin(through, self._address, principal, self._transport.server_name, signed=signed)
        if rest:
            through.received(rest)

    def pause_writing(self) -> None:
        """Nothing is written here that could be held back."""

    def resume_writing(self) -> None:
        """See pause_writing."""

    def lost(self) -> None:
        self._leave()

    # Who it is

    def _begin_mqtt(self) -> bool:
        admission = self._gateway.access.admit(self._certificate)
        if admission.principal is None:
            self._refuse(admission.reason)
            return False
        connection = DeviceConnection(self._gateway)
        self._hand_over(connection)
        connection.begin(self._transport, self._address, admission.principal, self._transport.server_name)
        return True

    def _websocket_principal(self, request: websocket.UpgradeRequest) -> tuple[str, bool]:
        """The access key that has signed the request, or the certificate of the TLS connection; and which it is."""
        if request.path != _PATH:
            raise websocket.HandshakeError(HTTPStatus.NOT_FOUND, f"There is {_PATH} here, and not {request.path}.")
        if is_signed(request.query):
            try:
                return signer(request.query, self._gateway.region, self._gateway.clock.now()), True
            except SignatureError as error:
                raise websocket.HandshakeError(HTTPStatus.FORBIDDEN, str(error)) from None
        admission = self._gateway.access.admit(self._certificate)
        if admission.principal is None:
            raise websocket.HandshakeError(
                HTTPStatus.FORBIDDEN, f"The request is not signed (X-Amz-Algorithm, …), and {admission.reason}."
            )
        return admission.principal, False

    # The end

    def _hand_over(self, application: DeviceConnection | WebSocketConnection | HttpsConnection) -> None:
        self._leave()
        self._transport.application = application

    def _refuse(self, reason: str) -> None:
        self._tell(reason)
        self._over = True
        self._deadline = self._gateway.clock.now() + CLOSE_TIMEOUT
        self._gateway.wheel.watch(self)
        self._transport.close()

    def _leave(self) -> None:
        self._over = True
        self._deadline = 0.0
        self._gateway.leave(self)

    def _tell(self, reason: str) -> None:
        self._gateway.tell("connect-refused", f"{self._address} is refused: {reason}", address=self._address)

    def shut_down(self) -> None:
        """The emulator stops."""
        self._transport.abandon()

    # See TimerWheel

    @property
    def deadline(self) -> float | None:
        return self._deadline or None

    def fall_due(self) -> None:
        if self._over:
            self._transport.abort()
        else:
            missing = "sent no CONNECT" if self._secured else "did not finish the TLS handshake"
            self._refuse(f"it {missing} within {TIMEOUT} s")
