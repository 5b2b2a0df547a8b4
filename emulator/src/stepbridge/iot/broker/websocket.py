"""MQTT over WebSocket: what stands between a TLS connection and a device's connection."""

from stepbridge.clock import Clock
from stepbridge.iot.broker.connection import DeviceConnection
from stepbridge.iot.broker.tls import TlsConnection
from stepbridge.iot.mqtt import websocket
from stepbridge.iot.mqtt.reason import ReasonCode

_LIFETIME = 24 * 3600  # seconds (AWS IoT Core quotas, "WebSocket connection duration")


class WebSocketConnection:
    """Both the application of a TLS connection and the transport of a device's connection.

    The handshake is done: see :class:`~stepbridge.iot.broker.entrance.Entrance`.
    """

    __slots__ = ("_close_code", "_connection", "_decoder", "_end_of_life", "_tls")

    def __init__(self, clock: Clock, tls: TlsConnection, connection: DeviceConnection) -> None:
        self._tls = tls
        self._connection = connection
        self._decoder = websocket.FrameDecoder()
        self._close_code = websocket.CloseCode.NORMAL
        self._end_of_life = clock.call_at(clock.now() + _LIFETIME, self._expire)

    # From the socket: see Application

    def received(self, data: bytes) -> None:
        try:
            for event in self._decoder.feed(data):
                match event:
                    case bytes():
                        self._connection.received(event)
                    case websocket.Ping():
                        self._tls.write(websocket.frame(websocket.Opcode.PONG, event.payload))
                    case websocket.Closing():
                        self._connection.hung_up()
                if self._tls.closing:
                    return
        except websocket.FrameError as error:
            self._close_code = error.code
            self._connection.violated(str(error))

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def lost(self) -> None:
        self._end_of_life.cancel()
        self._connection.lost()

    # For the device's connection: see Transport

    def write(self, data: bytes) -> None:
        self._tls.write(websocket.frame(websocket.Opcode.BINARY, data))

    def close(self) -> None:
        if not self._tls.closing:
            self._tls.write(websocket.close_frame(self._close_code))
            self._tls.close()

    def abandon(self) -> None:
        self._tls.abandon()

    def abort(self) -> None:
        self._tls.abort()

    def set_write_buffer(self, size: int) -> None:
        self._tls.set_write_buffer(size)

    def pause_reading(self) -> None:
        self._tls.pause_reading()

    def resume_reading(self) -> None:
        self._tls.resume_reading()

    def _expire(self) -> None:
        text = "a WebSocket connection lasts 24 hours at most"
        self._connection.close(ReasonCode.ADMINISTRATIVE_ACTION, "WEBSOCKET_TTL_EXPIRATION", text)
