"""AWS's own device client in place of our worker, and clients that must not get in; all over real TLS."""

import json
import socket
import ssl
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from awscrt import io, mqtt
from awsiot import mqtt_connection_builder
from tests.e2e.harness import Deployment, allow, create_device, ended

from stepbridge.testing import EmulatorProcess

WAIT = 30


def awscrt_connection(emulator: EmulatorProcess, files: dict[str, str], client_id: str) -> mqtt.Connection:
    return mqtt_connection_builder.mtls_from_path(
        endpoint=emulator.endpoints["mqtt_host"],
        port=emulator.endpoints["mqtt_port"],
        cert_filepath=files["certificate"],
        pri_key_filepath=files["key"],
        ca_filepath=files["root"],
        client_id=client_id,
        clean_session=False,
        keep_alive_secs=30,
    )


def test_the_loop_with_awsiotsdk_as_the_worker(
    stepbridge: EmulatorProcess, deployment: Deployment, tmp_path: Path
) -> None:
    client_id, submit = deployment.outputs["ClientId"], deployment.outputs["SubmitTopic"]
    files = create_device(stepbridge, tmp_path, None)
    stepbridge.client("iot").attach_policy(policyName=deployment.outputs["WorkerPolicyName"], target=files["arn"])
    connection = awscrt_connection(stepbridge, files, client_id)
    connection.connect().result(WAIT)
    answered = threading.Event()

    def on_message(topic: str, payload: bytes, **_: Any) -> None:
        del topic
        job = json.loads(payload)
        answer = {"result": job["Input"]["a"] + job["Input"]["b"], "TaskToken": job["TaskToken"]}
        connection.publish(submit, json.dumps(answer), mqtt.QoS.AT_LEAST_ONCE)
        answered.set()

    connection.subscribe(deployment.outputs["SubscribeTopic"], mqtt.QoS.AT_LEAST_ONCE, on_message)[0].result(WAIT)
    execution = stepbridge.client("stepfunctions").start_execution(
        stateMachineArn=deployment.state_machine, input='{"a": 15, "b": 42}'
    )["executionArn"]
    assert answered.wait(WAIT)
    assert json.loads(ended(stepbridge, execution)["output"])["lambdaOutput"] == {"result": 57}
    connection.disconnect().result(WAIT)


def test_the_alpn_that_awscrt_offers_on_port_443_is_taken(
    stepbridge: EmulatorProcess, deployment: Deployment, tmp_path: Path
) -> None:
    """Given port 443, or none, awscrt sends ALPN x-amzn-mqtt-ca; the gateway must choose it."""
    assert io.is_alpn_available()
    files = create_device(stepbridge, tmp_path, None)
    stepbridge.client("iot").attach_policy(policyName=deployment.outputs["WorkerPolicyName"], target=files["arn"])
    with tls_socket(stepbridge, files, alpn=["x-amzn-mqtt-ca"]) as connection:
        assert connection.selected_alpn_protocol() == "x-amzn-mqtt-ca"
        assert connack(connection, deployment.outputs["ClientId"]) == 0


def tls_socket(emulator: EmulatorProcess, files: dict[str, str] | None, alpn: list[str] | None = None) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=emulator.endpoints["root_ca"])
    if files is not None:
        context.load_cert_chain(files["certificate"], files["key"])
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    host, port = emulator.endpoints["mqtt_host"], emulator.endpoints["mqtt_port"]
    return context.wrap_socket(socket.create_connection((host, port), timeout=WAIT), server_hostname=host)


def connack(connection: ssl.SSLSocket, client_id: str) -> int | None:
    """The return code of CONNACK to an MQTT 3.1.1 CONNECT, or None if the connection was closed without one."""
    name = client_id.encode()
    variable = b"\x00\x04MQTT\x04\x02\x00\x3c" + struct.pack("!H", len(name)) + name
    try:
        connection.sendall(bytes([0x10, len(variable)]) + variable)
        answer = connection.recv(4)
    except (ssl.SSLError, ConnectionError):
        return None
    return answer[3] if len(answer) == 4 else None


def refuses(emulator: EmulatorProcess, files: dict[str, str] | None, client_id: str) -> bool:
    try:
        with tls_socket(emulator, files) as connection:
            return connack(connection, client_id) != 0
    except (ssl.SSLError, ConnectionError):
        return True


@pytest.fixture
def device(stepbridge: EmulatorProcess, tmp_path: Path) -> dict[str, str]:
    """A device that may connect as `device-1`, publish on `up/device-1` and subscribe to `down/device-1`."""
    return create_device(
        stepbridge,
        tmp_path,
        allow(
            stepbridge,
            Connect="client/device-1",
            Publish="topic/up/device-1",
            Subscribe="topicfilter/down/device-1",
            Receive="topic/down/device-1",
        ),
    )


def test_a_registered_active_certificate_is_admitted(stepbridge: EmulatorProcess, device: dict[str, str]) -> None:
    with tls_socket(stepbridge, device) as connection:
        assert connack(connection, "device-1") == 0


def test_no_certificate_no_connection(stepbridge: EmulatorProcess) -> None:
    assert refuses(stepbridge, None, "device-1")


def test_an_unknown_certificate_is_refused(stepbridge: EmulatorProcess, device: dict[str, str]) -> None:
    iot = stepbridge.client("iot")
    iot.update_certificate(certificateId=device["id"], newStatus="INACTIVE")
    for policy in iot.list_attached_policies(target=device["arn"])["policies"]:
        iot.detach_policy(policyName=policy["policyName"], target=device["arn"])
    iot.delete_certificate(certificateId=device["id"])
    assert refuses(stepbridge, device, "device-1")


@pytest.mark.parametrize("status", ["INACTIVE", "REVOKED"])
def test_a_certificate_that_is_not_active_is_refused(
    stepbridge: EmulatorProcess, device: dict[str, str], status: str
) -> None:
    stepbridge.client("iot").update_certificate(certificateId=device["id"], newStatus=status)
    assert refuses(stepbridge, device, "device-1")


def test_another_client_id_is_refused(stepbridge: EmulatorProcess, device: dict[str, str]) -> None:
    with tls_socket(stepbridge, device) as connection:
        assert connack(connection, "device-2") == 5


def test_a_publish_outside_the_policy_closes_the_connection(
    stepbridge: EmulatorProcess, device: dict[str, str]
) -> None:
    with tls_socket(stepbridge, device) as connection:
        assert connack(connection, "device-1") == 0
        connection.sendall(publish("up/device-1", 1))
        assert connection.recv(4) == b"\x40\x02\x00\x01"
        connection.sendall(publish("up/device-2", 2))
        assert connection.recv(4) == b""


def test_a_subscribe_outside_the_policy_is_refused_in_the_suback(
    stepbridge: EmulatorProcess, device: dict[str, str]
) -> None:
    with tls_socket(stepbridge, device) as connection:
        assert connack(connection, "device-1") == 0
        topics = [b"down/device-1", b"down/device-2"]
        filters = b"".join(struct.pack("!H", len(topic)) + topic + b"\x01" for topic in topics)
        connection.sendall(bytes([0x82, 2 + len(filters)]) + b"\x00\x07" + filters)
        assert connection.recv(16) == b"\x90\x04\x00\x07\x01\x80"


def publish(topic: str, packet_id: int) -> bytes:
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name + struct.pack("!H", packet_id) + b"{}"
    return bytes([0x32, len(body)]) + body
