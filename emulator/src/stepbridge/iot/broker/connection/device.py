"""The whole of a connection: CONNECT, and which packet is whose business."""

import asyncio
import uuid
from typing import TYPE_CHECKING

from stepbridge.iot.access import Connection
from stepbridge.iot.broker.connection.messages import Messages
from stepbridge.iot.broker.connection.subscriptions import SubscriptionRequests
from stepbridge.iot.broker.core import CoreSession, Opening
from stepbridge.iot.broker.lifecycle import Client
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt import session as mqtt
from stepbridge.iot.mqtt.reason import ReasonCode

if TYPE_CHECKING:
    from stepbridge.iot.broker.gateway import Gateway


class DeviceConnection(Messages, SubscriptionRequests):
    """A client of the gateway; see :class:`~stepbridge.iot.broker.tls.Application`."""

    __slots__ = ("_pings",)

    def __init__(self, gateway: "Gateway") -> None:
        super().__init__(gateway)
        self._pings = 0  # that wait for their answers

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

    def _client(self, client_id: str) -> Client:
        thing = None if self._signed else self._gateway.access.exclusive_thing(self.principal)
        return Client(client_id, self.principal, self.address, thing)

    def _ping(self) -> None:
        self._pings += 1
        if self._pings == 1:
            self._answer_pings()

    def _answer_pings(self) -> None:
        """Answer when the core is done with what came before; pings that come meanwhile wait for the next time."""
        core_session, count = self._core_session, self._pings
        assert core_session is not None  # noqa: S101 - the session lets no PINGREQ through before CONNECT

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
