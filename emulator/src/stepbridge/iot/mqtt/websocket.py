"""The server's side of a WebSocket connection that carries MQTT (RFC 6455, MQTT 5.0 section 6), without I/O.

Theory of operation.  :class:`Handshake` collects bytes until the head of the client's HTTP request is complete and
says what it asks for; :func:`accepted` and :func:`refused` write the answer.  From then on :class:`FrameDecoder` turns
bytes into events.  MQTT packets need not align with frames (MQTT-6.0.0-4), so payload is passed on as it comes: nothing
is collected but the head of a frame and the few bytes of a control frame.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus

SUBPROTOCOL = "mqtt"
MAXIMUM_HEAD = 16 * 1024  # bytes of the HTTP request; a session token of STS alone may have 2 KB and more
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_MAXIMUM_CONTROL = 125  # bytes, RFC 6455 section 5.5


class Opcode(IntEnum):
    """Kinds of frames (RFC 6455 section 5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """Why a connection is closed (RFC 6455 section 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003


class HandshakeError(Exception):
    """The request is no WebSocket request that we take; `status` is the answer, the text says why."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """A well-formed request for MQTT over WebSocket.  `query` is what follows `?`, as it was sent."""

    path: str
    query: str
    headers: Mapping[str, str]
    key: str


class Handshake:
    """Collects the client's request."""

    __slots__ = ("_head",)

    def __init__(self) -> None:
        self._head = bytearray()

    def feed(self, data: bytes) -> tuple[UpgradeRequest, bytes] | None:
        """The request and what came after it, or None while it is incomplete.  Raises HandshakeError."""
        begin = max(0, len(self._head) - 3)
        self._head += data
        end = self._head.find(b"\r\n\r\n", begin)
        if end > MAXIMUM_HEAD or (end < 0 and len(self._head) > MAXIMUM_HEAD):
            raise HandshakeError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The request has more than {MAXIMUM_HEAD} bytes."
            )
        if end < 0:
            return None
        return _parse(bytes(self._head[:end]).decode("latin-1")), bytes(self._head[end + 4 :])


def _parse(head: str) -> UpgradeRequest:
    request_line, *lines = head.split("\r\n")
    words = request_line.split(" ")
    if len(words) != 3 or words[0] != "GET" or words[2] != "HTTP/1.1":
        raise HandshakeError(HTTPStatus.BAD_REQUEST, "A WebSocket begins with GET and HTTP/1.1.")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise HandshakeError(HTTPStatus.BAD_REQUEST, "A header of the request is malformed.")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path, _, query = words[1].partition("?")
    # RFC 6455 section 4.2.1
    if "websocket" not in _tokens(headers, "upgrade") or "upgrade" not in _tokens(headers, "connection"):
        raise HandshakeError(HTTPStatus.BAD_REQUEST, "The request does not ask to upgrade to WebSocket.")
    if headers.get("sec-websocket-version") != "13":
        raise HandshakeError(HTTPStatus.UPGRADE_REQUIRED, "Sec-WebSocket-Version must be 13.")
    key = headers.get("sec-websocket-key", "")
    if not _is_key(key):
        raise HandshakeError(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64.")
    if SUBPROTOCOL not in _tokens(headers, "sec-websocket-protocol"):
        raise HandshakeError(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Protocol must name mqtt (MQTT-6.0.0-3).")
    return UpgradeRequest(path, query, headers, key)


def _tokens(headers: Mapping[str, str], name: str) -> list[str]:
    return [each.strip().lower() for each in headers.get(name, "").split(",")]


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False


def accepted(request: UpgradeRequest) -> bytes:
    """The answer that opens the connection."""
    digest = hashlib.sha1((request.key + _GUID).encode(), usedforsecurity=False).digest()
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    ).encode()


def refused(status: HTTPStatus, text: str) -> bytes:
    """The answer that does not, with a sentence for the person who reads it."""
    body = f"{text}\n".encode()
    more = "Sec-WebSocket-Version: 13\r\n" if status is HTTPStatus.UPGRADE_REQUIRED else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n{more}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with a PONG of the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closing:
    """The client closes the connection; it has no more to say."""


class FrameError(Exception):
    """The client broke the protocol; `code` goes into the CLOSE frame."""

    def __init__(self, code: CloseCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class FrameDecoder:
    """Bytes of the client to payload (bytes), :class:`Ping` and :class:`Closing`."""

    __slots__ = ("_control", "_head", "_in_message", "_left", "_mask", "_opcode")

    def __init__(self) -> None:
        self._head = bytearray()  # of a frame that has not come whole
        self._control = bytearray()  # the payload of a control frame
        self._in_message = False  # a data frame without FIN has come
        self._opcode = Opcode.CONTINUATION
        self._left = 0  # bytes of the frame's payload that have not come
        self._mask = b""  # four bytes, turned so that the next byte of payload meets the first of them

    def feed(self, data: bytes) -> Iterator[bytes | Ping | Closing]:
        """What the bytes mean.  Raises FrameError; nothing may be fed after that or after Closing."""
        position = 0
        while position < len(data) or (self._left == 0 and self._mask):
            if not self._mask:
                position = self._read_head(data, position)
                continue
            piece = data[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            event = self._payload(_unmask(piece, self._mask))
            turn = len(piece) % 4
            self._mask = b"" if self._left == 0 else self._mask[turn:] + self._mask[:turn]
            if event:
                yield event

    def _payload(self, payload: bytes) -> bytes | Ping | Closing | None:
        if self._opcode <= Opcode.BINARY:
            return payload
        self._control += payload
        if self._left:
            return None
        whole = bytes(self._control)
        self._control.clear()
        if self._opcode is Opcode.PING:
            return Ping(whole)
        return Closing() if self._opcode is Opcode.CLOSE else None

    def _read_head(self, data: bytes, position: int) -> int:
        """Take what `data` has of the head of a frame; the answer is where the rest of it begins."""
        head = self._head
        while position < len(data):
            missing = _head_size(head) - len(head)
            head += data[position : position + missing]
            position += missing
            if len(head) == 2:
                self._check(head[0], head[1])
            if len(head) >= 2 and len(head) == _head_size(head):
                self._left = _payload_size(head)
                self._mask = bytes(head[-4:])
                head.clear()
                return position
        return len(data)

    def _check(self, first: int, second: int) -> None:
        final, size = first & 0x80, second & 0x7F
        if first & 0x70:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "it set a reserved bit of a frame (RFC 6455 section 5.2)")
        if not second & 0x80:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "it sent a frame without a mask (RFC 6455 section 5.1)")
        try:
            self._opcode = Opcode(first & 0x0F)
        except ValueError:
            raise FrameError(CloseCode.PROTOCOL_ERROR, f"it sent a frame of the unknown kind {first & 0x0F}") from None
        if self._opcode >= Opcode.CLOSE:
            if not final or size > _MAXIMUM_CONTROL:
                raise FrameError(
                    CloseCode.PROTOCOL_ERROR, "it sent a control frame in parts or too large (RFC 6455 section 5.5)"
                )
            return
        if self._opcode is Opcode.TEXT:
            raise FrameError(CloseCode.UNSUPPORTED_DATA, "it sent MQTT in a text frame (MQTT-6.0.0-1)")
        if (self._opcode is Opcode.CONTINUATION) is not self._in_message:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "it mixed up the frames of a message (RFC 6455 section 5.4)")
        self._in_message = not final


def _head_size(head: bytearray) -> int:
    """How many bytes the head of a frame has, as far as is known: with its mask once the first two are there."""
    if len(head) < 2:
        return 2
    return 6 + {126: 2, 127: 8}.get(head[1] & 0x7F, 0)


def _payload_size(head: bytearray) -> int:
    size = head[1] & 0x7F
    return int.from_bytes(head[2:-4], "big") if size >= 126 else size


def _unmask(data: bytes, mask: bytes) -> bytes:
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    # As two large numbers: the interpreter does it in one step.
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """A whole message in a frame, as a server sends it: without a mask."""
    size = len(payload)
    first = 0x80 | opcode
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: CloseCode) -> bytes:
    """The last frame."""
    return frame(Opcode.CLOSE, code.to_bytes(2, "big"))
