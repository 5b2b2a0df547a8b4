"""One device's connection: from the bytes of its socket to decisions, and back.

The protocol is :class:`~stepbridge.iot.mqtt.session.ServerSession`'s business, storage and fan-out the core's.  What
is done here is what AWS IoT Core's device gateway does: ask whether the policy allows it, tell the trace, and do it.
"""

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stepbridge.iot.access import Connection
from stepbridge.iot.broker.core import CoreSession, Opening, Safe
from stepbridge.iot.broker.embedded import expired
from stepbridge.iot.broker.lifecycle import CLIENT_INITIATED, Client
from stepbridge.iot.broker.tls import Transport
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt import session as mqtt
from stepbridge.iot.mqtt import topics
from stepbridge.iot.mqtt.reason import ReasonCode

if TYPE_CHECKING:
    from stepbridge.iot.broker.gateway import Gateway

CONNECT_TIMEOUT = 30  # seconds for CONNECT
CLOSE_TIMEOUT = 10  # seconds for a client to take the last bytes
_WRITE_BUFFER = 256 * 1024  # bytes; above it the client is too slow to be read from
_MOST_UNSETTLED = 256 * 1024  # bytes that the core may be working on for one client
_PACKET_COST = 256  # bytes that a packet counts for, beside its own


class DeviceConnection:
    """A client of the gateway; see :class:`~stepbridge.iot.broker.tls.Application`."""

    __slots__ = (
        "_busy",
        "_clean_farewell",
        "_client_events",
        "_closing_at",
        "_core_session",
        "_events",
        "_gateway",
        "_last_activity",
        "_pings",
        "_server_name",
        "_session",
        "_settling",
        "_signed",
        "_slow",
        "_transport",
        "_unheard",
        "_unsettled",
        "_unwritten",
        "_will",
        "address",
        "client_id",
        "disconnect_reason",
        "identity",
        "principal",
    )

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._session = mqtt.ServerSession()
        self._transport: Transport
        self._core_session: CoreSession | None = None
        self._will: mqtt.LastWill | None = None
        self._last_activity = gateway.clock.now()
        self._closing_at: float | None = None
        self._slow = False
        self._events: Iterator[mqtt.Event] | None = None  # what has come and is being acted on
        self._unheard = b""  # what has come after that
        self._settling: Safe = None  # what the core has to be waited for
        self._unsettled = 0  # what has come since it did so the last time, in bytes
        self._pings = 0  # that wait for their answers
        self._busy = False  # output waits for the end of this turn of the loop
        self._unwritten = 0  # bytes of payload in that output
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

    # From the socket: see Application

    def begin(
        self, transport: Transport, address: str, principal: str, server_name: str | None, *, signed: bool = False
    ) -> None:
        """A client that has proven to be `principal`, and found us by `server_name`, speaks MQTT from here on."""
        self._transport = transport
        self.address = address
        self.principal = principal
        self._server_name = server_name
        self._signed = signed
        transport.set_write_buffer(_WRITE_BUFFER)
        self._gateway.add(self)

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

    def lost(self) -> None:
        self._go_on(to_the_end=True)  # its farewell may be in what was held
        self._gateway.remove(self)
        self._end_session()

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

    # What the client sent

    def _handle(self, event: mqtt.Event) -> None:
        match event:
            case mqtt.Publishing():
                self._publish(event)
            case mqtt.Acknowledged():
                self._acknowledged(event.token)
            case mqtt.Connecting():
                self._connect(event)
            case mqtt.Subscribing():
                self._subscribe(event)
            case mqtt.Unsubscribing():
                self._unsubscribe(event)
            case mqtt.Pinging():
                self._ping()
            case mqtt.Ignored():
                self._tell("ignored", f"{self.client_id} gets no answer: {event.text}")
            case mqtt.Disconnecting():
                self._disconnect(event)
            case mqtt.Violation():
                self._violation(event)

    def _connect(self, event: mqtt.Connecting) -> None:
        assigned = None if event.client_id else f"$GEN/{uuid.uuid4()}"
        client_id = event.client_id or assigned or ""
        self.client_id = client_id
        self.identity = Connection(
            self.principal,
            client_id,
            self.address,
            persistent=event.session_expiry > 0 or not event.clean_start,
            last_will_topic=None if event.will is None else event.will.topic,
            signed=self._signed,
            domain_name=self._server_name,
        )
        decision = self._gateway.access.decide(self.identity, "iot:Connect", f"client/{client_id}")
        if not decision.allowed:
            self._tell("connect-refused", f"{client_id} may not connect: {decision.reason}", reason=decision.reason)
            self._session.refuse(ReasonCode.NOT_AUTHORIZED)
            self._finish("AUTH_ERROR")
            self._gateway.lifecycle.connect_failed(self._client(client_id))
            return
        self._will = event.will
        self._gateway.take_over(client_id, self)
        opening = Opening(client_id, event.version, event.clean_start, event.session_expiry)
        opened = self._gateway.core.open(opening, self)
        # Never in this turn of the loop: what the client sends along with CONNECT comes before its CONNACK.
        opened.add_done_callback(lambda done: self._opened(done, assigned))

    def _opened(self, opened: "asyncio.Future[CoreSession]", assigned: str | None) -> None:
        if (error := opened.exception()) is not None:
            self._tell("connect-refused", f"{self.client_id} cannot be served: {error}")
            self._session.refuse(ReasonCode.SERVER_UNAVAILABLE)
            self._finish("SERVER_ERROR")
            return
        core_session = opened.result()
        if self._closing_at is not None:
            core_session.close(self, self._session.session_expiry)
            return
        self._core_session = core_session
        self._gateway.wills.settle(self.client_id or "", resumed=core_session.present)
        self._session.accept(session_present=core_session.present, assigned_client_id=assigned)
        version = "5" if self._session.version == p.MQTT_5 else "3.1.1"
        resumed = ", session resumed" if core_session.present else ""
        self._tell("connect", f"{self.client_id} connected from {self.address} (MQTT {version}{resumed})")
        self._gateway.wheel.watch(self)
        core_session.resume()
        self._client_events = self._client(self.client_id or "")
        self._gateway.lifecycle.connected(self._client_events)
        self.flush_soon()

    def _publish(self, event: mqtt.Publishing) -> None:
        identity, topic = self.identity, event.topic
        assert identity is not None  # noqa: S101 - the session lets no PUBLISH through before CONNECT
        access = self._gateway.access
        decision = access.decide(identity, "iot:Publish", f"topic/{topic}")
        if decision.allowed and event.retain:
            decision = access.decide(identity, "iot:RetainPublish", f"topic/{topic}")
        if not decision.allowed:
            self._tell(
                "publish-refused",
                f"{self.client_id} may not publish to {topic}, its connection is closed: {decision.reason}",
                topic=topic,
                reason=decision.reason,
            )
            self._session.close(ReasonCode.NOT_AUTHORIZED)
            self._finish("FORBIDDEN_ACCESS")
            return
        message = self._message(topic, event.payload, event.qos, event.retain, event)
        safe = self._gateway.accept(message, self._core_session)
        if event.qos:
            packet_id = event.packet_id
            if safe is None or safe.done():
                self._safe(packet_id, safe)
            else:
                safe.add_done_callback(lambda done: self._safe(packet_id, done))

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

    def _safe(self, packet_id: int, done: "asyncio.Future[None] | None") -> None:
        if done is not None and (error := done.exception()) is not None:
            self._not_safe(error)
        elif self._closing_at is None:
            self._session.acknowledge(packet_id)
            self.flush_soon()

    def _not_safe(self, error: BaseException) -> None:
        self._tell("server-error", f"{self.client_id} is disconnected, what it sent could not be stored: {error}")
        self._session.close(ReasonCode.UNSPECIFIED_ERROR)
        self._finish("SERVER_ERROR")

    def _acknowledged(self, token: int) -> None:
        if self._core_session is not None:
            self._core_session.acknowledge(token)
            # Not at each one: what waits is fetched for half a window at a time.
            if not self._slow and self._session.window_is_low:
                self._core_session.resume()

    def _subscribe(self, event: mqtt.Subscribing) -> None:
        core_session, identity = self._core_session, self.identity
        assert core_session is not None  # noqa: S101 - as in _publish
        assert identity is not None  # noqa: S101
        existing = set(core_session.topic_filters)
        codes: list[int] = []
        granted: list[tuple[p.Subscription, bool]] = []
        for number, subscription in enumerate(event.subscriptions, start=1):
            replaced = subscription.topic_filter in existing
            refusal = self._refuse_subscription(identity, subscription.topic_filter, number, replaced, len(existing))
            if refusal is None:
                existing.add(subscription.topic_filter)
                granted.append((subscription, replaced))
                codes.append(subscription.qos)
                self._tell(
                    "subscribe",
                    f"{self.client_id} subscribed to {subscription.topic_filter}",
                    topic_filter=subscription.topic_filter,
                    qos=subscription.qos,
                )
                continue
            code, text = refusal
            self._tell(
                "subscribe-refused",
                f"{self.client_id} may not subscribe to {subscription.topic_filter}: {text}",
                topic_filter=subscription.topic_filter,
                reason=text,
            )
            codes.append(code)
        safe = core_session.subscribe([subscription for subscription, _ in granted])

        def answer(done: "asyncio.Future[None] | None") -> None:
            if done is not None and (error := done.exception()) is not None:
                self._not_safe(error)
            elif self._closing_at is None:
                self._session.suback(event.packet_id, tuple(codes))
                core_session.send_retained(granted)
                self.flush_soon()
                if granted:
                    self._tell_subscriptions("subscribed", [each.topic_filter for each, _ in granted])

        if safe is None:
            answer(None)
        else:
            safe.add_done_callback(answer)
            self._wait_for(safe)  # eight retained messages have a megabyte

    def _refuse_subscription(
        self, identity: Connection, topic_filter: str, number: int, replaced: bool, count: int
    ) -> tuple[ReasonCode, str] | None:
        if (fault := topics.filter_fault(topic_filter)) is not None:
            return ReasonCode.TOPIC_FILTER_INVALID, fault
        if (fault := topics.limit_fault(topic_filter)) is not None:
            return ReasonCode.TOPIC_FILTER_INVALID, fault
        if topics.is_reserved(topic_filter) and not topics.may_subscribe(topic_filter):
            return ReasonCode.TOPIC_FILTER_INVALID, f"it {topics.reservation(topic_filter)}"
        if number > mqtt.MAXIMUM_FILTERS:
            return (
                ReasonCode.QUOTA_EXCEEDED,
                f"a SUBSCRIBE may have {mqtt.MAXIMUM_FILTERS} filters, this is no. {number}",
            )
        if not replaced and count >= mqtt.MAXIMUM_SUBSCRIPTIONS:
            return ReasonCode.QUOTA_EXCEEDED, f"a connection may have {mqtt.MAXIMUM_SUBSCRIPTIONS} subscriptions"
        decision = self._gateway.access.decide(identity, "iot:Subscribe", f"topicfilter/{topic_filter}")
        return None if decision.allowed else (ReasonCode.NOT_AUTHORIZED, decision.reason)

    def _unsubscribe(self, event: mqtt.Unsubscribing) -> None:
        core_session = self._core_session
        assert core_session is not None  # noqa: S101 - as in _publish
        existing = set(core_session.topic_filters)
        # AWS IoT Core does not send 0x11 (No subscription existed): "MQTT reason codes supported by AWS IoT".
        codes = tuple(
            ReasonCode.SUCCESS
            if each in existing or topics.filter_fault(each) is None
            else ReasonCode.TOPIC_FILTER_INVALID
            for each in event.topic_filters
        )
        self._tell("unsubscribe", f"{self.client_id} unsubscribed from {', '.join(event.topic_filters)}")
        safe = core_session.unsubscribe(event.topic_filters)

        def answer(done: "asyncio.Future[None] | None") -> None:
            if done is not None and (error := done.exception()) is not None:
                self._not_safe(error)
            elif self._closing_at is None:
                self._session.unsuback(event.packet_id, codes)
                self.flush_soon()
                self._tell_subscriptions("unsubscribed", event.topic_filters)

        if safe is None:
            answer(None)
        else:
            safe.add_done_callback(answer)

    def _ping(self) -> None:
        self._pings += 1
        if self._pings == 1:
            self._answer_pings()

    def _answer_pings(self) -> None:
        """Answer when the core is done with what came before; pings that come meanwhile wait for the next time."""
        core_session, count = self._core_session, self._pings
        assert core_session is not None  # noqa: S101 - as in _publish

        def answer(done: "asyncio.Future[None] | None") -> None:
            if self._closing_at is None:
                for _ in range(count):
                    self._session.pong()
                self.flush_soon()
                self._pings -= count
                if self._pings:
                    self._answer_pings()

        safe = core_session.synchronize()
        if safe is None:
            answer(None)
        else:
            safe.add_done_callback(answer)

    def _tell_subscriptions(self, event: str, topic_filters: Sequence[str]) -> None:
        if self._client_events is not None:
            self._gateway.lifecycle.subscriptions(event, self._client_events, topic_filters)

    def _client(self, client_id: str) -> Client:
        thing = None if self._signed else self._gateway.access.exclusive_thing(self.principal)
        return Client(client_id, self.principal, self.address, thing)

    def _disconnect(self, event: mqtt.Disconnecting) -> None:
        self._clean_farewell = not event.with_will
        self._tell("disconnect", f"{self.client_id} disconnected")
        self._finish(CLIENT_INITIATED)

    def _violation(self, event: mqtt.Violation) -> None:
        self._tell_end(f"{event.text} ({event.section})")
        self._finish("CLIENT_ERROR")

    def _tell_end(self, text: str) -> None:
        if self._core_session is None:
            who = f"{self._session.client_id} from {self.address}" if self._session.client_id else self.address
            self._tell("connect-refused", f"{who} is refused: {text}", reason=text)
        else:
            self._tell("disconnect", f"{self.client_id} is disconnected: {text}", reason=text)

    # What the core and the gateway want

    def deliver(self, message: Message, qos: int, retain: bool, token: int) -> bool:
        if self._closing_at is not None:
            return False
        if self._slow or (qos and self._session.window_is_full):
            if not qos:
                self._tell("message-dropped", f"{self.client_id} does not keep up, QoS 0 on {message.topic} is dropped")
            return False
        identity = self.identity
        assert identity is not None  # noqa: S101 - the core knows only connected clients
        decision = self._gateway.access.decide(identity, "iot:Receive", f"topic/{message.topic}")
        if not decision.allowed:
            self._tell(
                "delivery-refused",
                f"{self.client_id} may not receive on {message.topic}: {decision.reason}",
                topic=message.topic,
                reason=decision.reason,
            )
            self._skip(qos, token)
            return True
        properties = message.properties
        if properties.message_expiry is not None:
            now = self._gateway.clock.now()
            if expired(message, now):
                self._skip(qos, token)
                return True
            left = max(1, int(message.time + properties.message_expiry - now))
            properties = replace(properties, message_expiry=left)
        sending = self._session.send(message.topic, message.payload, qos, retain, properties, token)
        self._unwritten += len(message.payload)
        if sending is mqtt.Sending.TOO_LARGE:
            self._tell("delivery-refused", f"{self.client_id} takes no packet as large as the one on {message.topic}")
            self._skip(qos, token)
            return True
        self._gateway.tell(
            "deliver",
            f"{message.topic} → {self.client_id}, {len(message.payload)} bytes",
            topic=message.topic,
            client_id=self.client_id,
            size=len(message.payload),
            qos=qos,
        )
        if self._unwritten > _WRITE_BUFFER:
            self._write()  # and learn that the client is slow, instead of collecting more
        else:
            self.flush_soon()
        return True

    def _skip(self, qos: int, token: int) -> None:
        """A QoS 1 message that this client will never get is done with."""
        if qos and self._core_session is not None:
            self._core_session.acknowledge(token)

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
        identity = self.identity
        assert identity is not None  # noqa: S101 - there is a will, so there was a CONNECT
        access = self._gateway.access
        decision = access.decide(identity, "iot:Publish", f"topic/{will.topic}")
        if decision.allowed and will.retain:
            decision = access.decide(identity, "iot:RetainPublish", f"topic/{will.topic}")
        if decision.allowed:
            self._gateway.accept(self._message(will.topic, will.payload, will.qos, will.retain, will), None)
        else:
            self._tell(
                "publish-refused",
                f"the last will of {self.client_id} may not be published to {will.topic}: {decision.reason}",
                topic=will.topic,
                reason=decision.reason,
            )

    def _tell(self, event: str, text: str, **fields: object) -> None:
        self._gateway.tell(event, text, client_id=self.client_id, principal=self.principal, **fields)
