"""TLS between a socket and a device's connection, on `ssl.SSLObject`.

Why not the event loop's own TLS: it gives each connection a read buffer of 256 KiB, runs a task for each handshake and
keeps silent about a handshake that fails.  Ten thousand idle devices must fit into a few hundred megabytes, and a
device that is refused must be told apart from one that never came.
"""

import asyncio
import contextlib
import ssl
from typing import Any, Protocol

# The memory buffers of OpenSSL grow to what is given to them at once, and never shrink.
_CHUNK = 16 * 1024  # a TLS record
_HANDSHAKE_CHUNK = 512  # a device's certificate comes once, its small packets after that


class NamedTls(ssl.SSLObject):
    """A server's end of TLS that remembers which name the client asked for (RFC 6066 section 3)."""

    server_name: str | None = None

    def remember(self, name: str | None, context: ssl.SSLContext) -> None:
        """The `sni_callback` of a context, which comes in the middle of the handshake."""
        self.server_name = name


class Transport(Protocol):
    """What carries a protocol's bytes to the client."""

    def write(self, data: bytes) -> None:
        """Send."""
        ...

    def close(self) -> None:
        """Send what is left, and the end; the client may then finish.  Whoever closes, aborts some time later."""
        ...

    def abandon(self) -> None:
        """Close without waiting for the client; what is written is still sent."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...

    def set_write_buffer(self, size: int) -> None:
        """Call pause_writing() when more than `size` bytes wait for the client."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Application(Protocol):
    """What stands on top of a TLS connection."""

    def received(self, data: bytes) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def lost(self) -> None:
        """The connection is gone."""
        ...


class Doorkeeper(Application, Protocol):
    """The first application of a connection; it may put another in its place once the handshake is done."""

    def accepted(self, transport: "TlsConnection", address: str) -> None:
        """A client has come; the handshake begins."""
        ...

    def secured(self, certificate_der: bytes | None) -> None:
        """The handshake is done."""
        ...

    def failed(self, error: Exception) -> None:
        """The handshake has failed; `lost` follows."""
        ...


class TlsConnection(asyncio.Protocol):
    """The server's end of one TLS connection; a :class:`Transport`."""

    __slots__ = (
        "_doorkeeper",
        "_gone",
        "_incoming",
        "_outgoing",
        "_paused",
        "_secured",
        "_socket",
        "_tls",
        "_unread",
        "application",
        "closing",
    )

    def __init__(self, context: ssl.SSLContext, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper: Doorkeeper | None = doorkeeper  # until the handshake is done
        self.application: Application = doorkeeper
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._socket: Any = None
        self._secured = False
        self._gone = False  # there is no socket any more
        self._paused = False  # nothing is to be read
        self._unread = b""  # what the socket had given us by then
        self.closing = False

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self._socket = transport
        peer = transport.get_extra_info("peername")
        assert self._doorkeeper is not None  # noqa: S101 - the handshake has not begun
        self._doorkeeper.accepted(self, peer[0] if peer else "?")

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return  # what still comes after the end is read and thrown away, or else the farewell might be lost
        if self._unread:
            self._unread += data
            return
        chunk = _CHUNK if self._secured else _HANDSHAKE_CHUNK
        if len(data) <= chunk:
            self._decrypt(data)
        else:
            for start in range(0, len(data), chunk):
                if self.closing:
                    break
                if self._paused:
                    self._unread = data[start:]
                    break
                self._decrypt(data[start : start + chunk])

    def eof_received(self) -> None:
        if self._doorkeeper is not None and not self.closing:
            self._doorkeeper.failed(ConnectionError("it hung up"))

    def pause_writing(self) -> None:
        self.application.pause_writing()

    def resume_writing(self) -> None:
        self.application.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True
        self._paused = False
        if self._unread:
            self._read_on()
        self.closing = True
        self.application.lost()

    # For the application

    @property
    def alpn(self) -> str | None:
        """The protocol that the client and we have agreed upon (RFC 7301), once the handshake is done."""
        return self._tls.selected_alpn_protocol()

    @property
    def server_name(self) -> str | None:
        """The name by which the client has found us, once the handshake is done; None if it has not said any."""
        return self._tls.server_name if isinstance(self._tls, NamedTls) else None

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if self._gone:
            return
        if len(data) <= _CHUNK:
            self._tls.write(data)
            self._socket.write(self._outgoing.read())
            return
        for start in range(0, len(data), _CHUNK):
            self._tls.write(data[start : start + _CHUNK])
            self._socket.write(self._outgoing.read())

    def close(self) -> None:
        """Send what is left, and the end; the client may then finish.  Whoever closes, aborts some time later."""
        if self.closing:
            return
        self.closing = True
        if self._secured:
            # SSLWantReadError: our close_notify is in `outgoing`, the client's is not waited for.
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
        if self._gone:
            return
        self._send()
        # Closing a socket on which there is something to be read would reset it, and the client might never see the
        # last packet.
        with contextlib.suppress(OSError):  # the client is gone already
            self._socket.write_eof()

    def abandon(self) -> None:
        """Close without waiting for the client; what is written is still sent."""
        self.closing = True
        self._socket.close()

    def abort(self) -> None:
        """Close at once."""
        self.closing = True
        self._socket.abort()

    def set_write_buffer(self, size: int) -> None:
        """Call pause_writing() when more than `size` bytes wait for the client."""
        self._socket.set_write_buffer_limits(high=size)

    def pause_reading(self) -> None:
        """Read nothing more, but for a rest of 16 KiB at most."""
        if not self._gone:
            self._paused = True
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Take up reading where it was left."""
        self._paused = False
        if self._unread and not self.closing:
            asyncio.get_running_loop().call_soon(self._read_on)
        elif not self._gone:
            self._socket.resume_reading()

    def _read_on(self) -> None:
        if self._paused and not self.closing:
            return
        data, self._unread = self._unread, b""
        self.data_received(data)
        if not self._gone and (not self._paused or self.closing):
            self._socket.resume_reading()

    def _decrypt(self, data: bytes) -> None:
        incoming, tls = self._incoming, self._tls
        incoming.write(data)
        try:
            if not self._secured and not self._handshake():
                return
            while (incoming.pending or tls.pending()) and not self.closing:
                plain = tls.read(_CHUNK)
                if not plain:
                    break
                self.application.received(plain)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:  # what came is not from the holder of the keys, or an alert
            self._fail(error)
            return
        if self._outgoing.pending:
            self._send()

    def _handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return False
        self._secured = True
        doorkeeper, self._doorkeeper = self._doorkeeper, None
        self._send()
        assert doorkeeper is not None  # noqa: S101 - there is one handshake
        doorkeeper.secured(self._tls.getpeercert(binary_form=True))
        return True

    def _fail(self, error: ssl.SSLError) -> None:
        if self._doorkeeper is not None:
            self._doorkeeper.failed(error)
        if not self.closing:
            self.closing = True
            self._send()  # the alert
            self._socket.close()

    def _send(self) -> None:
        data = self._outgoing.read()
        if data and not self._gone:
            self._socket.write(data)
