"""Bytes in, bytes out, and who has to wait.

What comes is acted on one event after the other, each before the next is decoded.  Two things hold that up: a client
that does not take what is written to it, and a core that is not done with what the client sent before.  Meanwhile the
socket is not read, so that who sends too fast waits, and nobody else.

What is to be sent collects in the session's output and is written at the end of a turn of the event loop.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stepbridge.iot.broker.core import CoreSession, Safe
from stepbridge.iot.broker.tls import Transport
from stepbridge.iot.mqtt import session as mqtt

if TYPE_CHECKING:
    from stepbridge.iot.broker.gateway import Gateway

WRITE_BUFFER = 256 * 1024  # bytes; above it the client is too slow to be read from
_MOST_UNSETTLED = 256 * 1024  # bytes that the core may be working on for one client
_PACKET_COST = 256  # bytes that a packet counts for, beside its own


class Stream(ABC):
    """The part of a connection that reads and writes; `_closing_at` is when it ended, in seconds, None before that."""

    __slots__ = (
        "_busy",
        "_closing_at",
        "_core_session",
        "_events",
        "_gateway",
        "_last_activity",
        "_session",
        "_settling",
        "_slow",
        "_transport",
        "_unheard",
        "_unsettled",
        "_unwritten",
    )

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._session = mqtt.ServerSession()
        self._transport: Transport
        self._core_session: CoreSession | None = None
        self._last_activity = gateway.clock.now()
        self._closing_at: float | None = None
        self._slow = False
        self._events: Iterator[mqtt.Event] | None = None  # what has come and is being acted on
        self._unheard = b""  # what has come after that
        self._settling: Safe = None  # what the core has to be waited for
        self._unsettled = 0  # what has come since it did so the last time, in bytes
        self._busy = False  # output waits for the end of this turn of the loop
        self._unwritten = 0  # bytes of payload in that output

    @abstractmethod
    def _handle(self, event: mqtt.Event) -> None:
        """Act on what the client sent."""

    # From the socket: see Application

    def received(self, data: bytes) -> None:
        if self._events is not None:
            self._unheard += data
            return
        self._unsettled += len(data)
        self._events = self._session.receive(data)
        self._go_on()

    def _go_on(self, *, to_the_end: bool = False) -> None:
        """Act on what has come, until the client or the core has to be waited for."""
        packets = self._session.packets
        while self._events is not None and self._closing_at is None and (to_the_end or not self._is_held):
            event = next(self._events, None)
            if event is not None:
                self._handle(event)
                self._unsettled += _PACKET_COST
                if self._unsettled > _MOST_UNSETTLED:
                    self._settle()
                continue
            data, self._unheard = self._unheard, b""
            self._events = self._session.receive(data) if data else None
        # Bytes that complete no packet are no sign of life (MQTT-3.1.2-22), or one byte a minute would be enough.
        if self._session.packets != packets:
            self._last_activity = self._gateway.clock.now()
        if self._session.output:
            self.flush_soon()

    @property
    def _is_held(self) -> bool:
        return self._slow or self._settling is not None

    def _settle(self) -> None:
        """Let the core work off what came before more is read: who sends too fast waits, and nobody else."""
        self._unsettled = 0
        if self._core_session is not None:
            self._wait_for(self._core_session.synchronize())

    def _wait_for(self, safe: Safe) -> None:
        """Act on nothing more of this client until `safe` is done."""
        if safe is None or safe.done():
            return
        self._settling = safe
        self._transport.pause_reading()
        safe.add_done_callback(self._settled)

    def _settled(self, safe: "asyncio.Future[None]") -> None:
        if self._settling is safe:
            self._settling = None
            self._read_on()

    def _read_on(self) -> None:
        self._go_on()
        if self._closing_at is None and not self._is_held:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._slow = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._slow = False
        if self._closing_at is None:
            self._read_on()
            if self._core_session is not None:
                self._core_session.resume()

    # To the socket

    def flush_soon(self) -> None:
        """Write what has collected at the end of this turn of the loop: one TLS record for many packets."""
        if not self._busy:
            self._busy = True
            self._gateway.flush_later(self)

    def flush(self) -> None:
        self._busy = False
        if self._session.output and self._closing_at is None:
            self._write()

    def _write(self) -> None:
        output = self._session.output
        self._transport.write(output[0] if len(output) == 1 else b"".join(output))
        output.clear()
        self._unwritten = 0
