"""Who a connection is, how long it lasts, and how it ends.

It ends by the client's farewell or silence, by its mistakes, by the gateway's will, or with the socket; all lead to
`_finish`, or to `lost` where there is no socket any more.  The session ends at once, and the client's will is
published; the socket closes when the client has taken the last bytes, or some time later.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING

from stepbridge.iot.access import Connection, Decision
from stepbridge.iot.broker.connection.stream import WRITE_BUFFER, Stream
from stepbridge.iot.broker.lifecycle import CLIENT_INITIATED, Client
from stepbridge.iot.broker.tls import Transport
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt import session as mqtt
from stepbridge.iot.mqtt.reason import ReasonCode

if TYPE_CHECKING:
    from stepbridge.iot.broker.gateway import Gateway

CONNECT_TIMEOUT = 30  # seconds for CONNECT
CLOSE_TIMEOUT = 10  # seconds for a client to take the last bytes


class Life(Stream):
    """The part of a connection that begins and ends."""

    __slots__ = (
        "_clean_farewell",
        "_client_events",
        "_server_name",
        "_signed",
        "_will",
        "address",
        "client_id",
        "disconnect_reason",
        "identity",
        "principal",
    )

    def __init__(self, gateway: "Gateway") -> None:
        super().__init__(gateway)
        self._will: mqtt.LastWill | None = None
        self._clean_farewell = False
        self._server_name: str | None = None
        self._signed = False
        self._client_events: Client | None = None  # whom lifecycle events tell of, once it is connected
        self.address = ""
        self.principal = ""
        self.client_id: str | None = None
        self.identity: Connection | None = None
        self.disconnect_reason = "CONNECTION_LOST"

    def __repr__(self) -> str:
        return f"<{self.client_id or 'client'} from {self.address}>"

    def begin(
        self, transport: Transport, address: str, principal: str, server_name: str | None, *, signed: bool = False
    ) -> None:
        """A client that has proven to be `principal`, and found us by `server_name`, speaks MQTT from here on."""
        self._transport = transport
        self.address = address
        self.principal = principal
        self._server_name = server_name
        self._signed = signed
        transport.set_write_buffer(WRITE_BUFFER)
        self._gateway.add(self)

    @abstractmethod
    def deliver(self, message: Message, qos: int, retain: bool, token: int) -> bool:
        """See :class:`~stepbridge.iot.broker.core.Subscriber`, which a connection is to its session."""

    # Keep-alive: see TimerWheel

    @property
    def deadline(self) -> float | None:
        if self._closing_at is not None:
            return self._closing_at + CLOSE_TIMEOUT
        if self._session.state is mqtt.State.CONNECTED:
            return self._last_activity + 1.5 * self._session.keep_alive
        return self._last_activity + CONNECT_TIMEOUT

    def fall_due(self) -> None:
        if self._closing_at is not None:
            self._transport.abort()
        elif self._session.state is mqtt.State.CONNECTED:
            text = f"nothing came from it in 1.5 times its keep-alive of {self._session.keep_alive} s"
            self.close(ReasonCode.KEEP_ALIVE_TIMEOUT, "MQTT_KEEP_ALIVE_TIMEOUT", text)
        else:
            self.close(ReasonCode.PROTOCOL_ERROR, "CLIENT_ERROR", f"it sent no CONNECT within {CONNECT_TIMEOUT} s")

    # The client or its socket ends it

    def hung_up(self) -> None:
        """The client has closed what carries MQTT: as good as DISCONNECT ("Lifecycle events"), so without its will."""
        self._go_on(to_the_end=True)
        if self._closing_at is None and self._core_session is not None:
            self._tell("disconnect", f"{self.client_id} closed its WebSocket")
        self._clean_farewell = True
        self._finish(CLIENT_INITIATED)

    def violated(self, text: str) -> None:
        """The client broke the rules of what carries MQTT."""
        self._tell_end(text)
        self._session.close(ReasonCode.PROTOCOL_ERROR)
        self._finish("CLIENT_ERROR")

    def lost(self) -> None:
        self._go_on(to_the_end=True)  # its farewell may be in what was held
        self._gateway.remove(self)
        self._end_session()

    def _disconnect(self, event: mqtt.Disconnecting) -> None:
        self._clean_farewell = not event.with_will
        self._tell("disconnect", f"{self.client_id} disconnected")
        self._finish(CLIENT_INITIATED)

    def _violation(self, event: mqtt.Violation) -> None:
        self._tell_end(f"{event.text} ({event.section})")
        self._finish("CLIENT_ERROR")

    # The gateway or the core ends it

    def abandon(self, reason: str) -> None:
        self.close(ReasonCode.SERVER_UNAVAILABLE, "SERVER_ERROR", reason)

    def close(self, code: ReasonCode, disconnect_reason: str, text: str) -> None:
        """End the connection from this side."""
        if self._closing_at is None:
            self._tell_end(text)
            self._session.close(code)
            self._finish(disconnect_reason)

    def discard(self, text: str, *, clean_session: bool, prevent_will: bool) -> None:
        """End the connection as DeleteConnection asks for it: without its session, without its will."""
        if clean_session:
            self._session.session_expiry = 0
        if prevent_will:
            self._will = None
        self.close(ReasonCode.ADMINISTRATIVE_ACTION, "API_INITIATED_DISCONNECT", text)

    def shut_down(self, text: str) -> None:
        """End the connection without waiting for the client."""
        self.close(ReasonCode.SERVER_SHUTTING_DOWN, "SERVER_INITIATED_DISCONNECT", text)
        self._transport.abandon()

    def _not_safe(self, error: BaseException) -> None:
        self._tell("server-error", f"{self.client_id} is disconnected, what it sent could not be stored: {error}")
        self._session.close(ReasonCode.UNSPECIFIED_ERROR)
        self._finish("SERVER_ERROR")

    # The end

    def _finish(self, disconnect_reason: str) -> None:
        """Send what is left and close the socket; the session ends at once, its will is published."""
        if self._closing_at is not None:
            return
        if self._session.output:
            self._write()
        self._closing_at = self._gateway.clock.now()
        self.disconnect_reason = disconnect_reason
        if self._is_held:
            self._transport.resume_reading()  # or its end would not be seen
        self._transport.close()
        self._gateway.wheel.watch(self)
        self._end_session()

    def _end_session(self) -> None:
        if self._closing_at is None:  # the client went without a word
            self._closing_at = self._gateway.clock.now()
            if self._core_session is not None:
                self._tell("disconnect", f"{self.client_id} is gone without DISCONNECT")
        self._gateway.forget(self)
        core_session, self._core_session = self._core_session, None
        if core_session is None:
            return
        will, self._will = self._will, None
        core_session.close(self, self._session.session_expiry)
        if self._client_events is not None:
            self._gateway.lifecycle.disconnected(
                self._client_events, self.disconnect_reason, self._session.session_expiry
            )
        if will is None or self._clean_farewell:
            return
        # No later than the end of the session (MQTT-3.1.3.2.2).
        delay = min(will.delay, self._session.session_expiry)
        if delay and self.client_id is not None:
            self._gateway.wills.delay(self.client_id, delay, lambda: self._publish_will(will))
        else:
            self._publish_will(will)

    def _publish_will(self, will: mqtt.LastWill) -> None:
        decision = self._decide_publish(will.topic, will.retain)
        if decision.allowed:
            self._gateway.accept(self._message(will.topic, will.payload, will.qos, will.retain, will), None)
        else:
            self._tell(
                "publish-refused",
                f"the last will of {self.client_id} may not be published to {will.topic}: {decision.reason}",
                topic=will.topic,
                reason=decision.reason,
            )

    # For the parts on top

    def _decide_publish(self, topic: str, retain: bool) -> Decision:
        identity = self.identity
        assert identity is not None  # noqa: S101 - nothing is published before CONNECT
        access = self._gateway.access
        decision = access.decide(identity, "iot:Publish", f"topic/{topic}")
        if decision.allowed and retain:
            decision = access.decide(identity, "iot:RetainPublish", f"topic/{topic}")
        return decision

    def _message(
        self, topic: str, payload: bytes, qos: int, retain: bool, event: mqtt.Publishing | mqtt.LastWill
    ) -> Message:
        return Message(
            topic=topic,
            payload=payload,
            qos=qos,
            retain=retain,
            time=self._gateway.clock.now(),
            client_id=self.client_id,
            principal=self.principal,
            source_ip=self.address,
            properties=event.properties,
        )

    def _tell_end(self, text: str) -> None:
        if self._core_session is None:
            who = f"{self._session.client_id} from {self.address}" if self._session.client_id else self.address
            self._tell("connect-refused", f"{who} is refused: {text}", reason=text)
        else:
            self._tell("disconnect", f"{self.client_id} is disconnected: {text}", reason=text)

    def _tell(self, event: str, text: str, **fields: object) -> None:
        self._gateway.tell(event, text, client_id=self.client_id, principal=self.principal, **fields)
