"""The WebSocket codec, fed by the byte."""

import contextlib
import itertools
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.iot.mqtt.websocket import (
    CloseCode,
    Closing,
    FrameDecoder,
    FrameError,
    Handshake,
    HandshakeError,
    Opcode,
    Ping,
    UpgradeRequest,
    accepted,
    frame,
    refused,
)

# The example of RFC 6455 section 1.3.
REQUEST = (
    "GET /mqtt?X-Amz-Date=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: other, mqtt\r\n\r\n"
)
MASK = b"\x37\xfa\x21\x3d"


def masked(opcode: int, payload: bytes, *, final: bool = True, mask: bytes = MASK) -> bytes:
    size = len(payload)
    length = (
        bytes((0x80 | size,))
        if size < 126
        else b"\xfe" + size.to_bytes(2, "big")
        if size < 65536
        else b"\xff" + size.to_bytes(8, "big")
    )
    return bytes((0x80 * final | opcode,)) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def decode(*pieces: bytes) -> tuple[bytes, list[Any]]:
    """The payload, joined, and the other events."""
    decoder = FrameDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    payload = b"".join(event for event in events if isinstance(event, bytes))
    return payload, [event for event in events if not isinstance(event, bytes)]


def request(**changes: str | None) -> str:
    """REQUEST with headers changed; None leaves one out."""
    line, *headers = REQUEST.rstrip().split("\r\n")
    members = dict(header.split(": ", 1) for header in headers)
    for name, value in changes.items():
        members[name.replace("_", "-")] = value or ""
    kept = [f"{name}: {value}" for name, value in members.items() if changes.get(name.replace("-", "_"), value)]
    return "\r\n".join([line, *kept]) + "\r\n\r\n"


@given(st.lists(st.integers(0, len(REQUEST) + 3), max_size=5))
def test_a_request_may_come_in_any_pieces(cuts: list[int]) -> None:
    data = REQUEST.encode() + b"abc"
    handshake = Handshake()
    places = [0, *sorted(cuts), len(data)]
    answers = [handshake.feed(data[a:b]) for a, b in itertools.pairwise(places) if b <= len(REQUEST) - 1]
    assert not any(answers)
    fed = max([b for b in places if b <= len(REQUEST) - 1])
    answer = handshake.feed(data[fed:])
    assert answer is not None
    parsed, rest = answer
    assert (parsed.path, parsed.query, rest) == ("/mqtt", "X-Amz-Date=1", b"abc")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in accepted(parsed)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (REQUEST.replace("GET", "POST"), HTTPStatus.BAD_REQUEST),
        (REQUEST.replace("HTTP/1.1", "HTTP/1.0"), HTTPStatus.BAD_REQUEST),
        (request(Upgrade="h2c"), HTTPStatus.BAD_REQUEST),
        (request(Connection="close"), HTTPStatus.BAD_REQUEST),
        (request(Sec_WebSocket_Version="8"), HTTPStatus.UPGRADE_REQUIRED),
        (request(Sec_WebSocket_Key="c2hvcnQ="), HTTPStatus.BAD_REQUEST),
        (request(Sec_WebSocket_Key="%%%"), HTTPStatus.BAD_REQUEST),
        (request(Sec_WebSocket_Protocol="mqttv3.1"), HTTPStatus.BAD_REQUEST),
        (request(Sec_WebSocket_Protocol=None), HTTPStatus.BAD_REQUEST),
        (request(Host=None).replace("Upgrade:", "Upgrade :"), HTTPStatus.BAD_REQUEST),
        ("GET /mqtt HTTP/1.1\r\nnonsense\r\n\r\n", HTTPStatus.BAD_REQUEST),
        ("GET /" + "a" * 20_000, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ],
)
def test_a_request_that_is_none_of_ours_is_refused_in_words(text: str, status: HTTPStatus) -> None:
    with pytest.raises(HandshakeError) as caught:
        Handshake().feed(text.encode())
    assert caught.value.status is status
    answer = refused(caught.value.status, str(caught.value)).decode()
    assert answer.startswith(f"HTTP/1.1 {status.value} ")
    assert answer.endswith(f"\r\n\r\n{caught.value}\n")


@given(st.lists(st.binary(max_size=300), max_size=6), st.binary(min_size=4, max_size=4), st.integers(1, 40))
def test_payload_passes_whatever_its_frames_and_pieces(messages: list[bytes], mask: bytes, step: int) -> None:
    data = b"".join(
        masked(Opcode.BINARY, part[:50], final=False, mask=mask)
        + masked(Opcode.PING, b"still there?", mask=mask)
        + masked(Opcode.CONTINUATION, part[50:], mask=mask)
        for part in messages
    )
    payload, others = decode(*(data[start : start + step] for start in range(0, len(data), step)))
    assert payload == b"".join(messages)
    assert others == [Ping(b"still there?")] * len(messages)


def test_a_large_frame_is_not_collected() -> None:
    data = masked(Opcode.BINARY, b"x" * 70_000)
    decoder = FrameDecoder()
    events = [event for start in range(0, len(data), 10_000) for event in decoder.feed(data[start : start + 10_000])]
    pieces = [len(event) for event in events if isinstance(event, bytes)]
    assert sum(pieces) == 70_000
    assert max(pieces) <= 10_000


def test_close_and_pong() -> None:
    assert decode(masked(Opcode.PONG, b"") + masked(Opcode.CLOSE, b"\x03\xe8")) == (b"", [Closing()])
    assert decode(masked(Opcode.CLOSE, b"")) == (b"", [Closing()])


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (b"\x82\x01a", CloseCode.PROTOCOL_ERROR, "without a mask"),
        (masked(Opcode.TEXT, b"a"), CloseCode.UNSUPPORTED_DATA, "MQTT-6.0.0-1"),
        (masked(Opcode.CONTINUATION, b"a"), CloseCode.PROTOCOL_ERROR, "mixed up"),
        (masked(Opcode.BINARY, b"a", final=False) + masked(Opcode.BINARY, b"a"), CloseCode.PROTOCOL_ERROR, "mixed up"),
        (masked(Opcode.PING, b"a", final=False), CloseCode.PROTOCOL_ERROR, "control frame"),
        (masked(Opcode.CLOSE, b"a" * 126), CloseCode.PROTOCOL_ERROR, "control frame"),
        (masked(3, b"a"), CloseCode.PROTOCOL_ERROR, "unknown kind 3"),
        (masked(0x40 | Opcode.BINARY, b"a"), CloseCode.PROTOCOL_ERROR, "reserved bit"),
    ],
)
def test_frames_against_the_rules_are_refused(data: bytes, code: CloseCode, text: str) -> None:
    with pytest.raises(FrameError, match=text) as caught:
        decode(data)
    assert caught.value.code is code


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_no_bytes_are_too_much_for_the_decoder(pieces: list[bytes]) -> None:
    decoder = FrameDecoder()
    with contextlib.suppress(FrameError):
        for piece in pieces:
            assert sum(len(event) for event in decoder.feed(piece) if isinstance(event, bytes)) <= len(piece)


@given(st.binary(max_size=400))
def test_no_bytes_are_too_much_for_the_handshake(data: bytes) -> None:
    with contextlib.suppress(HandshakeError):
        answer = Handshake().feed(b"GET " + data + b"\r\n\r\n")
        assert answer is not None
        assert isinstance(answer[0], UpgradeRequest)


@pytest.mark.parametrize(
    ("size", "head"),
    [(0, b"\x82\x00"), (125, b"\x82\x7d"), (126, b"\x82\x7e\x00\x7e"), (65536, b"\x82\x7f\0\0\0\0\0\1\0\0")],
)
def test_frames_to_the_client_have_no_mask(size: int, head: bytes) -> None:
    assert frame(Opcode.BINARY, b"x" * size) == head + b"x" * size
