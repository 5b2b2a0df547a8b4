"""Devices for the broker's benchmark: as little MQTT 3.1.1 as does it, so that the broker is what is measured."""

import asyncio
import socket
import ssl
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

PAYLOAD = 100  # bytes, the time it was sent among them


@dataclass(frozen=True)
class Address:
    """Where devices connect."""

    host: str
    port: int
    context: ssl.SSLContext


@dataclass(frozen=True)
class Flow:
    """Deliveries per second, and the median time from PUBLISH to delivery in ms."""

    rate: float
    latency: float


def packet(first: int, body: bytes) -> bytes:
    """A packet with its remaining length, of less than 16 KiB."""
    size = len(body)
    length = bytes((size,)) if size < 128 else bytes((size & 0x7F | 0x80, size >> 7))
    return bytes((first,)) + length + body


def text(value: str) -> bytes:
    """A string as MQTT writes it."""
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def connect_packet(client_id: str) -> bytes:
    """CONNECT with a clean session and the longest keep-alive of AWS IoT Core."""
    return packet(0x10, text("MQTT") + b"\x04\x02" + (1200).to_bytes(2, "big") + text(client_id))


class Device(asyncio.Protocol):
    """Publishes to its own topic with QoS 1 and gets it back; up to `window` messages without PUBACK."""

    def __init__(self, client_id: str, window: int) -> None:
        self._client_id = client_id
        self._topic = f"bench/{client_id}"
        self._window = window
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._next = 0
        self._running = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.write(connect_packet(self._client_id))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(error or ConnectionError("the broker closed the connection"))
        self._running = False

    def run(self) -> None:
        """Begin to publish."""
        self._running = True
        self._transport.write(b"".join(self._message() for _ in range(self._window)))

    def stop(self) -> None:
        """Publish no more."""
        self._running = False

    def close(self) -> None:
        """Disconnect."""
        self._transport.write(b"\xe0\x00")
        self._transport.close()

    def _message(self) -> bytes:
        self._next = self._next % 65535 + 1
        sent = f"{time.perf_counter():<{PAYLOAD}.9f}".encode()
        return packet(0x32, text(self._topic) + self._next.to_bytes(2, "big") + sent)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        answers: list[bytes] = []
        position = 0
        while len(buffer) - position >= 2:
            size, head = buffer[position + 1], 2
            if size & 0x80:
                if len(buffer) - position < 3:
                    break
                size, head = size & 0x7F | buffer[position + 2] << 7, 3
            end = position + head + size
            if end > len(buffer):
                break
            self._take(buffer[position] >> 4, buffer[position + head : end], answers)
            position = end
        del buffer[:position]
        if answers:
            self._transport.write(b"".join(answers))

    def _take(self, kind: int, body: bytearray, answers: list[bytes]) -> None:
        if kind == 4:  # PUBACK
            if self._running:
                answers.append(self._message())
        elif kind == 3:  # PUBLISH
            topic_size = int.from_bytes(body[:2], "big")
            answers.append(b"\x40\x02" + body[2 + topic_size : 4 + topic_size])
            self.latencies.append(time.perf_counter() - float(body[4 + topic_size :]))
        elif kind == 2:  # CONNACK
            if body[1]:
                raise ConnectionRefusedError(f"CONNACK {body[1]}")
            answers.append(packet(0x82, b"\x00\x01" + text(self._topic) + b"\x01"))
        elif kind == 9:  # SUBACK
            self.ready.set_result(None)


def flow(address: Address, connections: int, window: int, seconds: float) -> Flow:
    """Let `connections` devices talk to themselves; the first second does not count."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_flow(address, connections, window, seconds))


async def _flow(address: Address, connections: int, window: int, seconds: float) -> Flow:
    loop = asyncio.get_running_loop()
    devices: list[Device] = []
    for first in range(0, connections, 20):
        batch = [Device(f"bench-{number}", window) for number in range(first, min(first + 20, connections))]
        for device in batch:
            await loop.create_connection(
                _returning(device), address.host, address.port, ssl=address.context, server_hostname=address.host
            )
        await asyncio.wait_for(asyncio.gather(*(device.ready for device in batch)), 60)
        devices += batch
    for device in devices:
        device.run()
    await asyncio.sleep(1)
    for device in devices:
        device.latencies.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - began
    latencies = [latency for device in devices for latency in device.latencies]
    for device in devices:
        device.stop()
    await asyncio.sleep(0.2)
    for device in devices:
        device.close()
    return Flow(len(latencies) / elapsed, statistics.median(latencies) * 1000)


def _returning(device: Device) -> Callable[[], Device]:
    return lambda: device


def idle(address: Address, count: int) -> list[ssl.SSLSocket]:
    """`count` connections that say nothing after their CONNECT; the caller closes them."""

    def one(number: int) -> ssl.SSLSocket:
        plain = socket.create_connection((address.host, address.port), timeout=60)
        connection = address.context.wrap_socket(plain, server_hostname=address.host)
        connection.sendall(connect_packet(f"idle-{number}"))
        if connection.recv(4)[3:] != b"\x00":
            raise ConnectionRefusedError(f"no CONNACK for connection {number}")
        return connection

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(count)))
