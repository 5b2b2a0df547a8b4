"""A connection to Mosquitto: a client's side of MQTT 5 over TLS, on our own codec.

A message is safe once Mosquitto has written it to disk.  After a change it does so before it looks at its sockets again
(`autosave_on_changes`, see :mod:`~stepbridge.iot.broker.mosquitto_process`), so whoever has the answer to a PINGREQ
knows that what was acknowledged before is on disk.  But Mosquitto does not count as a change what it hands to clients
that are connected; a retained message is one in any case.  So :meth:`Link.save` publishes one, on a topic that nobody
else uses, and then sends PINGREQ.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stepbridge.clock import SystemClock
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.codec import Decoder, encode
from stepbridge.iot.mqtt.packets import Property
from stepbridge.iot.mqtt.reason import ProtocolError, ReasonCode

_CONNECT_TIMEOUT = 10  # seconds until Mosquitto must have answered
_CLOSE_TIMEOUT = 5  # seconds for it to close a connection
_LARGEST_PACKET = 200_000  # bytes; a message of AWS IoT Core with what we add to it
_REFUSAL = 0x80
_CHANGE = p.Publish("$stepbridge/saved", b"-", retain=True)
_KEEP_ALIVE_PROBES = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where Mosquitto is; `context` has our certificate and knows its CA."""

    host: str
    port: int
    context: ssl.SSLContext

    def __str__(self) -> str:
        return f"mqtts://{self.host}:{self.port}"


Done = asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to Mosquitto.  With QoS 1, `done` gets its result when it is acknowledged, and saved if `lasts`."""

    packet: p.Publish
    done: Done
    lasts: bool


def finish(done: Done) -> None:
    """Set the result, unless somebody has given up waiting for it."""
    if not done.done():
        done.set_result(None)


class Link(asyncio.Protocol):
    """One connection, and the session that Mosquitto keeps for it.

    `arrived` is called with each message, `lost` with the reason when the connection ends and nobody asked for it.
    """

    def __init__(self, arrived: Callable[[p.Publish], object], lost: Callable[[str], object]) -> None:
        self._arrived = arrived
        self._lost = lost
        loop = asyncio.get_running_loop()
        self.closed: Done = loop.create_future()
        self.session_present = False
        self._loop = loop
        self._transport: Any = None
        self._decoder = Decoder(version=p.MQTT_5)
        self._connack: asyncio.Future[p.Connack] = loop.create_future()
        self._leaving = False
        self._reason = "it closed the connection"
        self._output: list[bytes] = []
        self._packet_id = 0
        self._answers: dict[int, Callable[[Sequence[int]], object]] = {}  # SUBSCRIBE and UNSUBSCRIBE
        self._window = 0
        self._unacknowledged: dict[int, Outgoing] = {}
        self._waiting: deque[Outgoing] = deque()  # for room in the window
        self._unsaved: list[Outgoing] = []  # acknowledged, and perhaps not on disk
        self._saving = False
        self._pings: deque[Callable[[], object]] = deque()

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        client_id: str,
        *,
        clean_start: bool,
        expiry: int,
        receive_maximum: int,
        arrived: Callable[[p.Publish], object] = lambda packet: None,
        lost: Callable[[str], object] = lambda reason: None,
    ) -> "Link":
        """Connect.  Raises ConnectionError, with a sentence for the user, if that fails.

        The time limit is real time whatever clock the emulator has: Mosquitto is another process.
        """
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        link = cls(arrived, lost)
        connecting = asyncio.ensure_future(
            loop.create_connection(lambda: link, endpoint.host, endpoint.port, ssl=endpoint.context)
        )

        def give_up() -> None:
            connecting.cancel()
            link.abort()

        timer = clock.call_at(clock.now() + _CONNECT_TIMEOUT, give_up)
        try:
            await connecting
            await link._begin(client_id, clean_start, expiry, receive_maximum)
        except asyncio.CancelledError:
            link.abort()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ConnectionError(f"Mosquitto at {endpoint} does not answer") from None
        except OSError as error:
            link.abort()
            raise ConnectionError(f"Mosquitto at {endpoint} {_explain(error)}") from error
        finally:
            timer.cancel()
        return link

    async def _begin(self, client_id: str, clean_start: bool, expiry: int, receive_maximum: int) -> None:
        properties = {Property.SESSION_EXPIRY_INTERVAL: expiry, Property.RECEIVE_MAXIMUM: receive_maximum}
        self._write(p.Connect(client_id, p.MQTT_5, clean_start, 0, properties=properties))
        connack = await self._connack
        limits = connack.properties
        if connack.code:
            name = ReasonCode(connack.code).name if connack.code in set(ReasonCode) else "refused"
            raise ConnectionError(f"refuses the connection (0x{connack.code:02X} {name})")
        if limits.get(Property.MAXIMUM_QOS, 2) < 1 or not limits.get(Property.RETAIN_AVAILABLE, 1):
            raise ConnectionError("must allow QoS 1 and retained messages: see max_qos and retain_available")
        if limits.get(Property.MAXIMUM_PACKET_SIZE, _LARGEST_PACKET) < _LARGEST_PACKET:
            raise ConnectionError(f"must take packets of {_LARGEST_PACKET} bytes: see max_packet_size")
        self.session_present = connack.session_present
        self._window = limits.get(Property.RECEIVE_MAXIMUM, 65_535)

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        plain = transport.get_extra_info("socket")
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE_PROBES:
            if hasattr(socket, name):  # macOS lacks some
                plain.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def data_received(self, data: bytes) -> None:
        try:
            for packet in self._decoder.feed(data):
                self._handle(packet)
        except ProtocolError as error:
            self._reason = f"it sent what is not MQTT: {error}"
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._reason = str(error)
        if not self._connack.done():
            self._connack.set_exception(error or ConnectionError("closes the connection"))
        elif not self._leaving:
            self._leaving = True
            self._lost(self._reason)
        finish(self.closed)

    # For whoever opened it

    def publish(self, message: Outgoing) -> None:
        """Send a message, after those before it."""
        if (message.packet.qos and len(self._unacknowledged) >= self._window) or self._waiting:
            self._waiting.append(message)
        else:
            self._send(message)

    def subscribe(
        self, subscriptions: Sequence[p.Subscription], identifier: int, answered: Callable[[Sequence[int]], object]
    ) -> None:
        """Subscribe; `answered` is called with the reason codes before anything that comes after the answer."""
        packet_id = self._next_packet_id()
        self._answers[packet_id] = answered
        properties = {Property.SUBSCRIPTION_IDENTIFIER: (identifier,)}
        self._write(p.Subscribe(packet_id, tuple(subscriptions), properties))

    def unsubscribe(self, topic_filters: Sequence[str], answered: Callable[[Sequence[int]], object]) -> None:
        """Unsubscribe; as :meth:`subscribe`."""
        packet_id = self._next_packet_id()
        self._answers[packet_id] = answered
        self._write(p.Unsubscribe(packet_id, tuple(topic_filters)))

    def acknowledge(self, packet_id: int) -> None:
        """The message with this packet identifier is done with."""
        self._write(p.Puback(packet_id))

    def ping(self, answered: Callable[[], object]) -> None:
        """Call `answered` when Mosquitto has worked off all that was sent before."""
        self._pings.append(answered)
        self._write(p.Pingreq())

    def save(self, saved: Callable[[], object]) -> None:
        """Call `saved` when all that Mosquitto has acknowledged is on its disk."""
        self._write(_CHANGE)
        self.ping(saved)

    def unsent(self) -> list[Outgoing]:
        """After a loss: the messages that may not have arrived, in order."""
        return [*self._unsaved, *self._unacknowledged.values(), *self._waiting]

    def disconnect(self, *, forget: bool = False) -> None:
        """Say farewell; with `forget`, Mosquitto is to drop the session.

        `closed` is done when Mosquitto has closed the connection, and so has worked off all that was sent.
        """
        if self._leaving:
            return
        self._leaving = True
        clock = SystemClock()
        timer = clock.call_at(clock.now() + _CLOSE_TIMEOUT, self.abort)
        self.closed.add_done_callback(lambda done: timer.cancel())
        self._write(p.Disconnect(0, {Property.SESSION_EXPIRY_INTERVAL: 0} if forget else p.NO_PROPERTIES))
        self._flush()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # Packets

    def _handle(self, packet: p.Packet) -> None:
        match packet:
            case p.Publish():
                if not self._leaving:
                    self._arrived(packet)
            case p.Puback():
                self._acknowledged(packet)
            case p.Pingresp() if self._pings:
                self._pings.popleft()()
            case p.Suback() | p.Unsuback():
                answered = self._answers.pop(packet.packet_id, None)
                if answered is not None:
                    answered(packet.codes)
            case p.Connack() if not self._connack.done():
                self._connack.set_result(packet)
            case p.Disconnect():
                self._reason = f"it disconnects us (0x{packet.code:02X})"

    def _acknowledged(self, packet: p.Puback) -> None:
        sent = self._unacknowledged.pop(packet.packet_id, None)
        if sent is None:
            return
        if packet.code >= _REFUSAL:
            if not sent.done.done():
                sent.done.set_exception(ConnectionError(f"Mosquitto refuses the message (0x{packet.code:02X})"))
        elif sent.lasts:
            self._unsaved.append(sent)
            self._save()
        else:
            finish(sent.done)
        while self._waiting and (not self._waiting[0].packet.qos or len(self._unacknowledged) < self._window):
            self._send(self._waiting.popleft())

    def _save(self) -> None:
        """Once for all that was acknowledged while the last time was on its way."""
        if self._saving:
            return
        self._saving = True
        count = len(self._unsaved)

        def saved() -> None:
            self._saving = False
            for each in self._unsaved[:count]:
                finish(each.done)
            del self._unsaved[:count]
            if self._unsaved:
                self._save()

        self.save(saved)

    def _send(self, message: Outgoing) -> None:
        packet = message.packet
        if packet.qos:
            packet = replace(packet, packet_id=self._next_packet_id())
            self._unacknowledged[packet.packet_id] = message
        self._write(packet)

    def _next_packet_id(self) -> int:
        while True:
            self._packet_id = self._packet_id % 65_535 + 1
            if self._packet_id not in self._unacknowledged and self._packet_id not in self._answers:
                return self._packet_id

    def _write(self, packet: p.Packet) -> None:
        if not self._output:
            self._loop.call_soon(self._flush)
        self._output.append(encode(packet, p.MQTT_5))

    def _flush(self) -> None:
        if self._output:
            with contextlib.suppress(OSError):  # connection_lost tells
                self._transport.write(b"".join(self._output))
            self._output.clear()


def _explain(error: OSError) -> str:
    """What went wrong, to follow the words "Mosquitto at …"."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"presents a certificate that our CA does not vouch for: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"does not accept our certificate, or speaks no TLS: {error.reason or error}"
    if isinstance(error, ConnectionRefusedError):
        return "is not running: nothing listens there"
    if type(error) is ConnectionError:
        return str(error)
    return f"cannot be reached: {error.strerror or error}"
