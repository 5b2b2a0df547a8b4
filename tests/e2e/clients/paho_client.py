"""paho-mqtt, with MQTT 3.1.1 and 5, over TLS."""

import threading
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.e2e.clients.base import WAIT, Client, Received, RefusedError


class PahoClient(Client):
    """The base of both versions."""

    version = paho.MQTTv311

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        kept: dict[str, Any] = {} if self.version == paho.MQTTv5 else {"clean_session": self.clean}
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self.client_id,
            protocol=self.version,
            reconnect_on_failure=False,
            **kept,
        )
        self._client.tls_set(self.endpoint.root, self.endpoint.certificate, self.endpoint.key)
        if self.will is not None:
            self._client.will_set(self.will[0], self.will[1], qos=1)
        self._changed = threading.Condition()
        self._connack: tuple[bool, bool] | None = None  # refused, session present
        self._subacks: dict[int, bool] = {}
        self._published: set[int] = set()
        self._closing = False
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    def connect(self, *, resumed: str | None = None) -> bool | None:
        options: dict[str, Any] = {}
        if self.version == paho.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0 if self.clean else 3600
            options = {"clean_start": self.clean, "properties": properties}
        self._client.connect(self.endpoint.host, self.endpoint.port or 8883, **options)
        self._client.loop_start()
        with self._changed:
            assert self._changed.wait_for(lambda: self._connack is not None or self.ended.is_set(), WAIT), "no CONNACK"
        if self._connack is None or self._connack[0]:
            raise RefusedError(self.client_id)
        return self._connack[1]

    def subscribe(self, topic_filter: str, qos: int) -> None:
        _, number = self._client.subscribe(topic_filter, qos)
        assert number is not None
        with self._changed:
            assert self._changed.wait_for(lambda: number in self._subacks, WAIT), "no SUBACK"
        if not self._subacks[number]:
            raise RefusedError(topic_filter)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        number = self._client.publish(topic, payload, qos, retain).mid
        with self._changed:
            assert self._changed.wait_for(lambda: number in self._published or self.ended.is_set(), WAIT), "no PUBACK"
        if number not in self._published:
            raise RefusedError(topic)

    def close(self) -> None:
        self._closing = True
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._changed:
            self._connack = (reason.is_failure, flags.session_present)
            self._changed.notify_all()

    def _on_subscribe(self, client: Any, data: Any, number: int, reasons: Any, properties: Any) -> None:
        with self._changed:
            self._subacks[number] = not reasons[0].is_failure
            self._changed.notify_all()

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        with self._changed:
            self._published.add(number)
            self._changed.notify_all()

    def _on_message(self, client: Any, data: Any, message: paho.MQTTMessage) -> None:
        self.inbox.put(Received(message.topic, bytes(message.payload), message.retain))

    def _on_disconnect(self, *arguments: Any) -> None:
        if not self._closing:
            with self._changed:
                self.ended.set()
                self._changed.notify_all()


class PahoClient5(PahoClient):
    """MQTT 5."""

    version = paho.MQTTv5
