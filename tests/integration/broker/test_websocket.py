"""MQTT over WebSocket: who gets in, and how it ends."""

import base64
import hashlib
import json
import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from stepbridge.clock import ManualClock
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.codec import Decoder, encode
from stepbridge.iot.mqtt.websocket import Opcode

NOW = 1_700_000_000.0


class Client:
    """A WebSocket client that does what a test tells it to."""

    def __init__(self, world: Any, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", world.port), timeout=10)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.answer = ""
        self._received = b""
        self._decoder = Decoder(version=p.MQTT_5)
        self._packets: list[p.Packet] = []

    def upgrade(self, target: str, *, protocol: str = "mqtt") -> int:
        """Ask for `target`; the status of the answer."""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {protocol}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._received:
            self._received += self.socket.recv(65536)
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        self.answer = head.decode()
        status = int(self.answer.split()[1])
        if status == 101:
            digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
            assert f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}" in self.answer
        else:
            self.answer += (self._received or self.socket.recv(65536)).decode()
        return status

    def frame(self, opcode: int, payload: bytes) -> None:
        assert len(payload) < 126
        mask = os.urandom(4)
        body = bytes(each ^ mask[i % 4] for i, each in enumerate(payload))
        self.socket.sendall(bytes((0x80 | opcode, 0x80 | len(payload))) + mask + body)

    def send(self, *packets: p.Packet) -> None:
        self.frame(Opcode.BINARY, b"".join(encode(each, p.MQTT_5) for each in packets))

    def receive_frame(self) -> tuple[int, bytes] | None:
        """Opcode and payload of the next frame, None at the end of the connection."""
        while len(self._received) < 2 or len(self._received) < 2 + self._received[1]:
            assert len(self._received) < 2 or self._received[1] < 126
            data = self.socket.recv(65536)
            if not data:
                return None
            self._received += data
        size = self._received[1]
        opcode, payload = self._received[0] & 0x0F, self._received[2 : 2 + size]
        self._received = self._received[2 + size :]
        return opcode, payload

    def receive(self) -> p.Packet:
        while not self._packets:
            received = self.receive_frame()
            assert received is not None
            assert received[0] == Opcode.BINARY, received
            self._packets += self._decoder.feed(received[1])
        return self._packets.pop(0)

    def connect(self, client_id: str, **options: Any) -> p.Packet:
        self.send(p.Connect(client_id, p.MQTT_5, **options))
        return self.receive()


def signed(**changes: str | None) -> str:
    """The target of a request that is signed at NOW; None leaves a member out."""
    members = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "AKIAEXAMPLE/20231114/us-east-1/iotdevicegateway/aws4_request",
        "X-Amz-Date": "20231114T221320Z",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": "0123456789abcdef" * 4,
    }
    changed = members | {f"X-Amz-{name}": value for name, value in changes.items()}
    return f"/mqtt?{urlencode({name: value for name, value in changed.items() if value is not None})}"


@pytest.fixture
def clock(world: Any) -> ManualClock:
    """The broker's clock from here on, at NOW."""
    world.stop()
    clock = ManualClock(NOW)
    world.start(clock)
    return clock


@pytest.fixture
def clients(world: Any) -> Iterator[Any]:
    made: list[Client] = []

    def make(identity: Any = None, alpn: str | None = None) -> Client:
        made.append(Client(world, world.tls(identity, alpn)))
        return made[-1]

    yield make
    for client in made:
        client.socket.close()


def test_the_clock_of_the_signatures_is_that_of_the_tests() -> None:
    assert datetime.fromtimestamp(NOW, UTC).strftime("%Y%m%dT%H%M%SZ") == "20231114T221320Z"


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
def test_a_client_certificate_is_enough(world: Any, clients: Any, alpn: str | None) -> None:
    client = clients(world.device, alpn)
    assert client.upgrade("/mqtt") == 101
    assert "Sec-WebSocket-Protocol: mqtt" in client.answer
    answer = client.connect("ws")
    assert isinstance(answer, p.Connack)
    assert answer.code == 0
    identity = world.registry.asked[-1][0]
    assert (identity.principal, identity.signed) == (world.device.certificate_id, False)


def test_a_signature_is_enough(world: Any, clock: ManualClock, clients: Any) -> None:
    client = clients()
    assert client.upgrade(signed()) == 101
    client.connect("ws")
    client.send(p.Subscribe(1, (p.Subscription("a/b", 1),)))
    assert isinstance(client.receive(), p.Suback)
    client.send(p.Publish("a/b", b"hello", 1, False, False, 7))
    packets = {type(each): each for each in (client.receive(), client.receive())}
    assert packets[p.Puback] == p.Puback(7)
    assert packets[p.Publish].payload == b"hello"
    assert world.accepted[-1].principal == "AKIAEXAMPLE"
    identity = world.registry.asked[-1][0]
    assert (identity.principal, identity.signed) == ("AKIAEXAMPLE", True)


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/mqtt", 403, "not signed"),
        ("/other", 404, "There is /mqtt here"),
        (signed(Algorithm="AWS4-ECDSA"), 403, "X-Amz-Algorithm"),
        (signed(Credential="AKIAEXAMPLE/20231114/us-east-1/aws4_request"), 403, "X-Amz-Credential is not"),
        (signed(Credential="AKIAEXAMPLE/20231114/us-east-1/iotdata/aws4_request"), 403, "iotdevicegateway"),
        (signed(Credential="AKIAEXAMPLE/20231114/eu-west-1/iotdevicegateway/aws4_request"), 403, "eu-west-1"),
        (signed(Credential="AKIAEXAMPLE/20231113/us-east-1/iotdevicegateway/aws4_request"), 403, "20231113"),
        (signed(Signature="xyz"), 403, "64 hexadecimal digits"),
        (signed(Signature=None), 403, "X-Amz-Signature is missing"),
        (signed(Date="yesterday"), 403, "X-Amz-Date"),
        (signed(Date="20231114T220800Z"), 403, "has expired"),
        (signed(Date="20231114T221900Z"), 403, "not yet current"),
        (signed(Date="20231114T220800Z", Expires="86400"), 101, ""),
        (signed(Date="20231114T211320Z", Expires="3599"), 403, "has expired"),
        (signed(Expires="soon"), 403, "X-Amz-Expires"),
        (signed(SignedHeaders="x-amz-date"), 403, "does not name host"),
        (signed(**{"Security-Token": "abc"}), 101, ""),
    ],
)
def test_who_gets_in(world: Any, clock: ManualClock, clients: Any, target: str, status: int, text: str) -> None:
    client = clients()
    assert client.upgrade(target) == status
    assert text in client.answer
    if status != 101:
        assert text in world.told("connect-refused")
        assert client.socket.recv(1) == b""


def test_a_subprotocol_other_than_mqtt_is_refused(world: Any, clients: Any) -> None:
    client = clients(world.device)
    assert client.upgrade("/mqtt", protocol="mqttv3.1") == 400
    assert "must name mqtt" in client.answer


def test_pings_of_the_websocket_are_answered(world: Any, clients: Any) -> None:
    client = clients(world.device)
    client.upgrade("/mqtt")
    client.frame(Opcode.PING, b"there?")
    assert client.receive_frame() == (Opcode.PONG, b"there?")


def test_closing_the_websocket_is_as_good_as_disconnect(world: Any, clients: Any) -> None:
    watcher = world.connected("watcher")
    watcher.subscribe("gone/+", "$aws/events/presence/disconnected/+")
    client = clients(world.device)
    client.upgrade("/mqtt")
    client.connect("ws", will=p.Will("gone/closed", b"ws", 0, False))
    client.frame(Opcode.CLOSE, b"\x03\xe8")
    assert client.receive_frame() == (Opcode.CLOSE, b"\x03\xe8")
    assert client.receive_frame() is None
    event = json.loads(watcher.receive().payload)
    assert (event["disconnectReason"], event["clientInitiatedDisconnect"]) == ("CLIENT_INITIATED_DISCONNECT", True)
    assert "closed its WebSocket" in world.told("disconnect")
    client = clients(world.device)
    client.upgrade("/mqtt")
    client.connect("ws", will=p.Will("gone/lost", b"ws", 0, False))
    client.socket.close()
    assert {watcher.receive().topic, watcher.receive().topic} == {"gone/lost", "$aws/events/presence/disconnected/ws"}


def test_a_text_frame_ends_the_connection(world: Any, clients: Any) -> None:
    client = clients(world.device)
    client.upgrade("/mqtt")
    client.connect("ws")
    client.frame(Opcode.TEXT, b"hello")
    assert client.receive() == p.Disconnect(0x82)
    assert client.receive_frame() == (Opcode.CLOSE, (1003).to_bytes(2, "big"))
    assert "text frame (MQTT-6.0.0-1)" in world.told("disconnect")


def test_a_websocket_lasts_24_hours(world: Any, clock: ManualClock, clients: Any) -> None:
    def advance(seconds: float) -> None:
        async def move() -> None:
            clock.advance(seconds)

        world.call(move())

    events = world.connected("events")
    events.subscribe("$aws/events/presence/disconnected/ws")
    client = clients()
    client.upgrade(signed())
    client.connect("ws", keep_alive=1200)
    for _ in range(79):
        advance(1080)
        for each in (client, events):
            each.send(p.Pingreq())
            assert isinstance(each.receive(), p.Pingresp)
    advance(1079)
    for each in (client, events):
        each.send(p.Pingreq())
        assert isinstance(each.receive(), p.Pingresp)
    advance(1)
    assert client.receive() == p.Disconnect(0x98)
    assert client.receive_frame() == (Opcode.CLOSE, (1000).to_bytes(2, "big"))
    assert b'"WEBSOCKET_TTL_EXPIRATION"' in events.receive().payload


def test_a_connection_that_is_taken_over_is_told_in_its_websocket(world: Any, clients: Any) -> None:
    first = clients(world.device)
    first.upgrade("/mqtt")
    first.connect("same")
    world.connected("same")
    assert first.receive() == p.Disconnect(0x8E)
    assert first.receive_frame() == (Opcode.CLOSE, (1000).to_bytes(2, "big"))
