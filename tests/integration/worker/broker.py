"""An MQTT broker that does what a test tells it: real TLS sockets, one client at a time, and no will of its own."""

import contextlib
import queue
import socket
import ssl
import struct
import threading
from dataclasses import dataclass

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Packet:
    """A packet as it came: its type, the flags of its first byte, the rest."""

    kind: int
    flags: int
    body: bytes

    @property
    def packet_id(self) -> int:
        """Of a PUBACK, a SUBSCRIBE, or a PUBLISH with QoS 1."""
        at = 2 + struct.unpack_from(">H", self.body)[0] if self.kind == PUBLISH else 0
        number: int = struct.unpack_from(">H", self.body, at)[0]
        return number

    @property
    def topic(self) -> str:
        """Of a PUBLISH."""
        return self.body[2 : 2 + struct.unpack_from(">H", self.body)[0]].decode()

    @property
    def payload(self) -> bytes:
        """Of a PUBLISH with QoS 1."""
        return self.body[4 + struct.unpack_from(">H", self.body)[0] :]


class Broker:
    """Answers CONNECT, SUBSCRIBE and PINGREQ by itself; publishes, confirms and hangs up when told."""

    def __init__(self, context: ssl.SSLContext, port: int = 0) -> None:
        self.connack_code = 0
        self.suback_code = 1
        self.packets: queue.SimpleQueue[Packet] = queue.SimpleQueue()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._client: ssl.SSLSocket | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening, and hang up; the second time nothing."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the client's connection without a word."""
        if self._client is not None:
            with contextlib.suppress(OSError):  # gone already
                self._client.shutdown(socket.SHUT_RDWR)

    def expect(self, kind: int) -> Packet:
        """The next packet that is not a ping, which must be of this kind."""
        while (packet := self.packets.get(timeout=PATIENCE_SECONDS)).kind == PINGREQ != kind:
            pass
        assert packet.kind == kind, packet
        return packet

    def expect_connected(self) -> None:
        """The client connects and subscribes."""
        self.expect(CONNECT)
        self.expect(SUBSCRIBE)

    def publish(self, payload: bytes, packet_id: int, *, duplicate: bool = False) -> None:
        """Deliver a message with QoS 1."""
        topic = b"jobs"
        body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", packet_id) + payload
        self._send(PUBLISH, 0b1010 if duplicate else 0b0010, body)

    def confirm(self, answer: Packet) -> None:
        """Acknowledge a message of the client's."""
        self._send(PUBACK, 0, struct.pack(">H", answer.packet_id))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                self._client = self._context.wrap_socket(connection, server_side=True)
                self._serve(self._client)
            except (OSError, EOFError):
                pass
            connection.close()

    def _serve(self, client: ssl.SSLSocket) -> None:
        stream = client.makefile("rb")

        def read(size: int) -> bytes:
            data = stream.read(size)
            if len(data) < size:
                raise EOFError
            return data

        while True:
            first = read(1)[0]
            length = shift = 0
            while True:
                byte = read(1)[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            packet = Packet(first >> 4, first & 0x0F, read(length))
            if packet.kind == CONNECT:
                self._send(CONNACK, 0, bytes([0, self.connack_code]))
            elif packet.kind == SUBSCRIBE:
                self._send(SUBACK, 0, packet.body[:2] + bytes([self.suback_code]))
            elif packet.kind == PINGREQ:
                self._send(PINGRESP, 0, b"")
            self.packets.put(packet)

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        assert self._client is not None
        length, rest = bytearray(), len(body)
        while True:
            rest, digit = divmod(rest, 128)
            length.append(digit | (0x80 if rest else 0))
            if not rest:
                break
        self._client.sendall(bytes([kind << 4 | flags]) + bytes(length) + body)
