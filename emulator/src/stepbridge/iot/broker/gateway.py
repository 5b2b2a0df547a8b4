"""The device gateway: listens with mutual TLS, and knows who is connected."""

import asyncio
import errno
import ssl
from collections.abc import Callable, Sequence

from stepbridge.clock import Clock
from stepbridge.iot.access import Access
from stepbridge.iot.broker.connection.life import Life
from stepbridge.iot.broker.connection.stream import Stream
from stepbridge.iot.broker.core import Core, CoreSession, Safe
from stepbridge.iot.broker.entrance import Entrance
from stepbridge.iot.broker.https import AnswerHttp, HttpsConnection, nothing_here
from stepbridge.iot.broker.lifecycle import Lifecycle
from stepbridge.iot.broker.tls import TlsConnection
from stepbridge.iot.broker.trust import prepare, trust
from stepbridge.iot.broker.wheel import TimerWheel
from stepbridge.iot.broker.wills import DelayedWills
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt.reason import ReasonCode
from stepbridge.trace import Trace

_BACKLOG = 1024
_UNAVAILABLE = (errno.EADDRINUSE, errno.EACCES)

Accept = Callable[[Message, CoreSession | None], Safe]


def _why_not(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return (
            "only root may listen on ports below 1024, or on Linux everybody after "
            "`sudo sysctl net.ipv4.ip_unprivileged_port_start=443`"
        )
    return "another program listens there" if error.errno == errno.EADDRINUSE else str(error)


class Gateway:
    """Accepts devices and keeps track of their connections.

    `accept` is what to do with a message that a device may publish, and on which session it came.
    """

    def __init__(
        self,
        clock: Clock,
        trace: Trace,
        access: Access,
        core: Core,
        context: ssl.SSLContext,
        accept: Accept,
        region: str,
    ) -> None:
        self.clock = clock
        self.region = region
        self.access = access
        self.core = core
        self.accept = accept
        self.wheel = TimerWheel(clock)
        self.wills = DelayedWills(clock)
        self.lifecycle = Lifecycle(clock, lambda message: accept(message, None))
        self._trace = trace
        self._context = context
        self.answer_http: AnswerHttp = nothing_here
        self._guests: set[Entrance | HttpsConnection] = set()  # who has no MQTT connection
        self._connections: set[Life] = set()
        self._by_client_id: dict[str, Life] = {}
        self._to_flush: list[Stream] = []
        self._servers: list[asyncio.Server] = []
        prepare(context)

    def trust(self, certificate: str | bytes) -> None:
        """Let holders of this certificate (PEM or DER), or of one it signed, through the TLS handshake."""
        trust(self._context, certificate)

    async def start(self, host: str, port: int, more_ports: Sequence[int]) -> list[int]:
        """Listen; the answer is the ports that are listened on.

        If `port` is taken, a free one is used instead; those of `more_ports` that cannot be had are left out.  The
        trace tells both.  Raises OSError if `host` is no address of this machine.
        """
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._new_connection, host, port, backlog=_BACKLOG)
        except OSError as error:
            if error.errno not in _UNAVAILABLE:
                raise
            server = await loop.create_server(self._new_connection, host, 0, backlog=_BACKLOG)
            instead = server.sockets[0].getsockname()[1]
            self.tell("port-taken", f"MQTT port {port} is not available ({error.strerror}): using {instead} instead")
        self._servers.append(server)
        for each in more_ports:
            try:
                self._servers.append(await loop.create_server(self._new_connection, host, each, backlog=_BACKLOG))
            except OSError as error:
                self.tell("port-refused", f"MQTT is not offered on port {each}: {_why_not(error)}")
        return [server.sockets[0].getsockname()[1] for server in self._servers]

    async def stop(self) -> None:
        """Tell every client that the server shuts down, and close all."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for guest in list(self._guests):
            guest.shut_down()
        for connection in list(self._connections):
            connection.shut_down("the emulator stops")
        self.wheel.stop()
        self.wills.stop()

    def _new_connection(self) -> TlsConnection:
        return TlsConnection(self._context, Entrance(self))

    # For the connections

    def tell(self, event: str, text: str, **fields: object) -> None:
        self._trace.emit("iot", event, text, **fields)

    def enter(self, guest: Entrance | HttpsConnection) -> None:
        self._guests.add(guest)
        self.wheel.watch(guest)

    def leave(self, guest: Entrance | HttpsConnection) -> None:
        self._guests.discard(guest)
        self.wheel.forget(guest)

    def add(self, connection: Life) -> None:
        self._connections.add(connection)
        self.wheel.watch(connection)

    def remove(self, connection: Life) -> None:
        self._connections.discard(connection)
        self.wheel.forget(connection)

    def take_over(self, client_id: str, connection: Life) -> None:
        """The newest connection with a client id wins (MQTT-3.1.4-3)."""
        previous = self._by_client_id.get(client_id)
        if previous is not None:
            text = f"another connection, from {connection.address}, uses its client id"
            previous.close(ReasonCode.SESSION_TAKEN_OVER, "DUPLICATE_CLIENTID", text)
        self._by_client_id[client_id] = connection

    def forget(self, connection: Life) -> None:
        """The session of this connection is over."""
        client_id = connection.client_id
        if client_id is not None and self._by_client_id.get(client_id) is connection:
            del self._by_client_id[client_id]

    def flush_later(self, connection: Stream) -> None:
        if not self._to_flush:
            asyncio.get_running_loop().call_soon(self._flush)
        self._to_flush.append(connection)

    def _flush(self) -> None:
        connections, self._to_flush = self._to_flush, []
        for connection in connections:
            connection.flush()

    # For the broker

    def disconnect(self, client_id: str, *, clean_session: bool, prevent_will: bool) -> bool:
        """Close the connection of a client; whether there was one."""
        connection = self._by_client_id.get(client_id)
        if connection is None:
            return False
        connection.discard("DeleteConnection asks for it", clean_session=clean_session, prevent_will=prevent_will)
        return True

    def revoke(self, principal: str) -> None:
        """Close every connection made with this certificate."""
        for connection in [each for each in self._connections if each.principal == principal]:
            text = "its certificate is no longer active and attached"
            connection.close(ReasonCode.NOT_AUTHORIZED, "FORBIDDEN_ACCESS", text)
