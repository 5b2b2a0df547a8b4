"""Messages: from the client to the core, and from the core to the client."""

import asyncio
from dataclasses import replace

from stepbridge.iot.broker.connection.life import Life
from stepbridge.iot.broker.connection.stream import WRITE_BUFFER
from stepbridge.iot.broker.embedded import expired
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt import session as mqtt
from stepbridge.iot.mqtt.reason import ReasonCode


class Messages(Life):
    """The part of a connection that publishes and delivers."""

    __slots__ = ()

    # From the client

    def _publish(self, event: mqtt.Publishing) -> None:
        topic = event.topic
        decision = self._decide_publish(topic, event.retain)
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

    def _safe(self, packet_id: int, done: "asyncio.Future[None] | None") -> None:
        if done is not None and (error := done.exception()) is not None:
            self._not_safe(error)
        elif self._closing_at is None:
            self._session.acknowledge(packet_id)
            self.flush_soon()

    def _acknowledged(self, token: int) -> None:
        if self._core_session is not None:
            self._core_session.acknowledge(token)
            # Not at each one: what waits is fetched for half a window at a time.
            if not self._slow and self._session.window_is_low:
                self._core_session.resume()

    # To the client

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
        if self._unwritten > WRITE_BUFFER:
            self._write()  # and learn that the client is slow, instead of collecting more
        else:
            self.flush_soon()
        return True

    def _skip(self, qos: int, token: int) -> None:
        """A QoS 1 message that this client will never get is done with."""
        if qos and self._core_session is not None:
            self._core_session.acknowledge(token)
