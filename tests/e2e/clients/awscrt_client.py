"""AWS's own: awscrt as the AWS IoT Device SDK for Python builds its clients, over TLS and over WebSocket with SigV4."""

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from awscrt import auth, exceptions, mqtt, mqtt5
from awsiot import mqtt5_client_builder, mqtt_connection_builder
from tests.e2e.clients.base import WAIT, Client, Endpoint, Received, RefusedError


def _reach(endpoint: Endpoint) -> dict[str, Any]:
    return {"endpoint": endpoint.host, "port": endpoint.port, "ca_filepath": endpoint.root}


def _certificate(endpoint: Endpoint) -> dict[str, Any]:
    return {**_reach(endpoint), "cert_filepath": endpoint.certificate, "pri_key_filepath": endpoint.key}


def _signing(endpoint: Endpoint) -> dict[str, Any]:
    provider = auth.AwsCredentialsProvider.new_static("AKIAIOSFODNN7EXAMPLE", "secret", "session")
    return {**_reach(endpoint), "region": endpoint.region, "credentials_provider": provider}


class AwscrtClient(Client):
    """MQTT 3.1.1 over TLS."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connection = self._build(
            client_id=self.client_id,
            clean_session=self.clean,
            keep_alive_secs=60,
            reconnect_min_timeout_secs=60,  # it always tries again; not in the time of a test
            on_connection_interrupted=lambda **rest: self.ended.set(),
            will=mqtt.Will(self.will[0], mqtt.QoS.AT_LEAST_ONCE, self.will[1], False) if self.will else None,
        )
        self._connection.on_message(self._on_message)
        self._open = False

    def _build(self, **options: Any) -> mqtt.Connection:
        return mqtt_connection_builder.mtls_from_path(**_certificate(self.endpoint), **options)

    def connect(self, *, resumed: str | None = None) -> bool | None:
        try:
            present = bool(self._connection.connect().result(WAIT)["session_present"])
        except exceptions.AwsCrtError as error:
            raise RefusedError(str(error)) from error
        self._open = True
        return present

    def subscribe(self, topic_filter: str, qos: int) -> None:
        try:
            self._connection.subscribe(topic_filter, mqtt.QoS(qos))[0].result(WAIT)
        except mqtt.SubscribeError as error:
            raise RefusedError(str(error)) from error

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        sent = self._connection.publish(topic, payload, mqtt.QoS(qos), retain)[0]
        _acknowledged(sent, self.ended)

    def close(self) -> None:
        if self._open:
            self._open = False
            closed = self._connection.disconnect()
            if not self.ended.is_set():  # else it is between two attempts to connect, and answers when the next fails
                closed.result(WAIT)

    def _on_message(self, topic: str, payload: bytes, dup: bool, qos: Any, retain: bool, **rest: Any) -> None:
        self.inbox.put(Received(topic, payload, retain))


class AwscrtWebSocketClient(AwscrtClient):
    """MQTT 3.1.1 over WebSocket."""

    def _build(self, **options: Any) -> mqtt.Connection:
        return mqtt_connection_builder.websockets_with_default_aws_signing(**_signing(self.endpoint), **options)


class AwscrtClient5(Client):
    """MQTT 5 over TLS."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connected: Future[bool] = Future()
        self._stopped = threading.Event()
        will = mqtt5.PublishPacket(topic=self.will[0], payload=self.will[1], qos=1) if self.will else None
        self._client = self._build(
            client_options=mqtt5.ClientOptions(
                host_name=self.endpoint.host,
                port=self.endpoint.port,
                session_behavior=mqtt5.ClientSessionBehaviorType.CLEAN
                if self.clean
                else mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS,
                min_reconnect_delay_ms=60_000,  # it always tries again; not in the time of a test
                max_reconnect_delay_ms=60_000,
                connect_options=mqtt5.ConnectPacket(
                    client_id=self.client_id, session_expiry_interval_sec=0 if self.clean else 3600, will=will
                ),
                on_lifecycle_event_connection_success_fn=self._on_success,
                on_lifecycle_event_connection_failure_fn=self._on_failure,
                on_lifecycle_event_disconnection_fn=lambda data: self.ended.set(),
                on_lifecycle_event_stopped_fn=lambda data: self._stopped.set(),
                on_publish_callback_fn=self._on_publish,
            )
        )

    def _build(self, **options: Any) -> mqtt5.Client:
        return mqtt5_client_builder.mtls_from_path(**_certificate(self.endpoint), **options)

    def connect(self, *, resumed: str | None = None) -> bool | None:
        self._client.start()
        return self._connected.result(WAIT)

    def subscribe(self, topic_filter: str, qos: int) -> None:
        packet = mqtt5.SubscribePacket([mqtt5.Subscription(topic_filter, mqtt5.QoS(qos))])
        (code,) = self._client.subscribe(packet).result(WAIT).reason_codes
        if code >= 0x80:
            raise RefusedError(str(code))

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        packet = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS(qos), retain=retain)
        _acknowledged(self._client.publish(packet), self.ended)

    def close(self) -> None:
        self._client.stop(mqtt5.DisconnectPacket())
        assert self._stopped.wait(WAIT)

    def _on_success(self, data: Any) -> None:
        self._connected.set_result(data.connack_packet.session_present)

    def _on_failure(self, data: Any) -> None:
        if not self._connected.done():
            self._connected.set_exception(RefusedError(str(data.exception)))

    def _on_publish(self, data: Any) -> None:
        packet = data.publish_packet
        self.inbox.put(Received(packet.topic, bytes(packet.payload or b""), packet.retain))


class AwscrtWebSocketClient5(AwscrtClient5):
    """MQTT 5 over WebSocket."""

    def _build(self, **options: Any) -> mqtt5.Client:
        return mqtt5_client_builder.websockets_with_default_aws_signing(**_signing(self.endpoint), **options)


def _acknowledged(sent: "Future[Any]", ended: threading.Event) -> None:
    """Wait for the PUBACK.  A connection that ends has the client keep the message for the next one."""
    settled = threading.Event()
    sent.add_done_callback(lambda done: settled.set())
    for _ in range(int(WAIT / 0.05)):
        if settled.wait(0.05):
            try:
                sent.result()
            except exceptions.AwsCrtError as error:
                raise RefusedError(str(error)) from error
            return
        if ended.is_set():
            raise RefusedError("the connection ended before the PUBACK")
    raise FutureTimeoutError("no PUBACK")
