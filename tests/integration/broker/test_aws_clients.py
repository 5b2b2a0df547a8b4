"""AWS's own device client (awscrt), as the AWS IoT Device SDKs use it."""

import threading
from concurrent.futures import Future
from typing import Any

import pytest
from awscrt import mqtt, mqtt5
from awsiot import mqtt5_client_builder, mqtt_connection_builder

TIMEOUT = 30


def options(world: Any, identity: Any) -> dict[str, Any]:
    return {
        "endpoint": "localhost",
        "port": world.port,
        "cert_filepath": str(identity.certificate),
        "pri_key_filepath": str(identity.key),
        "ca_filepath": str(world.authority.path),
    }


def test_mqtt_3_client(world: Any) -> None:
    arrived: Future[tuple[str, bytes]] = Future()
    connection = mqtt_connection_builder.mtls_from_path(
        **options(world, world.device), client_id="crt", clean_session=False, keep_alive_secs=30
    )
    assert connection.connect().result(TIMEOUT) == {"session_present": False}

    def on_message(topic: str, payload: bytes, **rest: Any) -> None:
        arrived.set_result((topic, payload))

    subscribed, _ = connection.subscribe("to/worker", mqtt.QoS.AT_LEAST_ONCE, on_message)
    assert subscribed.result(TIMEOUT)["qos"] == mqtt.QoS.AT_LEAST_ONCE
    published, _ = connection.publish("to/worker", b"{}", mqtt.QoS.AT_LEAST_ONCE)
    published.result(TIMEOUT)
    assert arrived.result(TIMEOUT) == ("to/worker", b"{}")
    world.registry.denied.add(("iot:Subscribe", "topicfilter/secret"))
    refused, _ = connection.subscribe("secret", mqtt.QoS.AT_LEAST_ONCE)
    with pytest.raises(mqtt.SubscribeError):
        refused.result(TIMEOUT)
    connection.disconnect().result(TIMEOUT)
    assert "crt connected from 127.0.0.1 (MQTT 3.1.1)" in world.told("connect")


def test_mqtt_5_client(world: Any) -> None:
    connected: Future[Any] = Future()
    arrived: Future[Any] = Future()
    stopped = threading.Event()
    client = mqtt5_client_builder.mtls_from_path(
        **options(world, world.device),
        client_id="crt5",
        on_lifecycle_connection_success=connected.set_result,
        on_publish_received=lambda data: arrived.set_result(data.publish_packet),
        on_lifecycle_stopped=lambda data: stopped.set(),
    )
    client.start()
    negotiated = connected.result(TIMEOUT).negotiated_settings
    assert negotiated.receive_maximum_from_server == 100
    assert negotiated.maximum_packet_size_to_server == 149_504
    assert negotiated.topic_alias_maximum_to_server == 8
    assert negotiated.server_keep_alive_sec == 1200
    assert not negotiated.subscription_identifiers_available
    world.registry.denied.add(("iot:Subscribe", "topicfilter/secret"))
    suback = client.subscribe(
        mqtt5.SubscribePacket(
            [mqtt5.Subscription("t", mqtt5.QoS.AT_LEAST_ONCE), mqtt5.Subscription("secret", mqtt5.QoS.AT_MOST_ONCE)]
        )
    ).result(TIMEOUT)
    assert suback.reason_codes == [mqtt5.SubackReasonCode.GRANTED_QOS_1, mqtt5.SubackReasonCode.NOT_AUTHORIZED]
    publish = mqtt5.PublishPacket(
        topic="t",
        payload=b"{}",
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        response_topic="answers",
        user_properties=[mqtt5.UserProperty("k", "v")],
    )
    completion = client.publish(publish).result(TIMEOUT)
    assert completion.puback.reason_code == mqtt5.PubackReasonCode.SUCCESS
    got = arrived.result(TIMEOUT)
    assert (got.topic, got.payload, got.response_topic) == ("t", b"{}", "answers")
    assert [(each.name, each.value) for each in got.user_properties] == [("k", "v")]
    client.stop()
    assert stopped.wait(TIMEOUT)


def test_the_sdk_is_told_no(world: Any) -> None:
    stranger = world.authority.issue("stranger", self_signed=True)
    connection = mqtt_connection_builder.mtls_from_path(
        **options(world, stranger), client_id="crt", clean_session=True, keep_alive_secs=30
    )
    with pytest.raises(Exception, match=r"AWS_ERROR|AWS_IO|TLS"):
        connection.connect().result(TIMEOUT)
    assert "not registered" in world.told("connect-refused")
