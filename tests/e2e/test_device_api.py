"""The iot-data API on the device port: with a client certificate, judged by its policy, and signed."""

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import paho.mqtt.client as paho
import pytest
from botocore.exceptions import ClientError
from paho.mqtt.enums import CallbackAPIVersion
from tests.e2e.harness import allow, create_device, wait_until

from stepbridge.testing import EmulatorProcess

WAIT = 30


class Client:
    """An HTTPS client with a certificate, or without."""

    def __init__(self, emulator: EmulatorProcess, files: dict[str, str] | None, alpn: str = "x-amzn-http-ca") -> None:
        context = ssl.create_default_context(cafile=emulator.endpoints["root_ca"])
        context.set_alpn_protocols([alpn])
        if files is not None:
            context.load_cert_chain(files["certificate"], files["key"])
        self._connection = http.client.HTTPSConnection(
            emulator.endpoints["mqtt_host"], emulator.endpoints["mqtt_port"], context=context, timeout=WAIT
        )

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body=body, headers=names)
        answer = self._connection.getresponse()
        content = answer.read()
        is_json = answer.getheader("content-type", "").startswith("application/json")
        return answer.status, json.loads(content) if is_json and content else content

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def files(stepbridge: EmulatorProcess, tmp_path: Path) -> dict[str, str]:
    """A device whose policy allows this and that."""
    policy = allow(
        stepbridge,
        Connect="client/https-watcher",
        Subscribe="topicfilter/https/*",
        Receive="topic/https/*",
        Publish=["topic/https/*", "topic/$aws/things/https-thing/shadow/update"],
        RetainPublish="topic/https/kept",
        GetRetainedMessage="topic/https/kept",
        UpdateThingShadow=["thing/https-thing", "thing/https-thing/named"],
        GetThingShadow=["thing/https-thing", "thing/https-thing/named"],
        DeleteThingShadow="thing/https-thing",
    )
    policy["Statement"].append({"Effect": "Allow", "Action": "iot:ListNamedShadowsForThing", "Resource": "*"})
    return create_device(stepbridge, tmp_path, policy)


@pytest.fixture
def client(stepbridge: EmulatorProcess, files: dict[str, str]) -> Iterator[Client]:
    client = Client(stepbridge, files)
    yield client
    client.close()


def test_publish_reaches_subscribers(stepbridge: EmulatorProcess, files: dict[str, str], client: Client) -> None:
    messages: list[paho.MQTTMessage] = []
    arrived, subscribed = threading.Event(), threading.Event()
    watcher = paho.Client(CallbackAPIVersion.VERSION2, "https-watcher", protocol=paho.MQTTv5)
    watcher.tls_set(files["root"], files["certificate"], files["key"])
    watcher.on_subscribe = lambda *_: subscribed.set()

    def on_connect(client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        client.subscribe("https/+", 1)

    def on_message(client: Any, data: Any, message: paho.MQTTMessage) -> None:
        messages.append(message)
        if len(messages) == 2:
            arrived.set()

    watcher.on_connect = on_connect
    watcher.on_message = on_message
    watcher.connect(stepbridge.endpoints["mqtt_host"], stepbridge.endpoints["mqtt_port"])
    watcher.loop_start()
    assert subscribed.wait(WAIT)
    status, answer = client.send("POST", "/topics/https%2Fencoded?qos=1", b'{"n": 1}')
    assert (status, answer["message"]) == (200, "OK")
    assert len(answer["traceId"]) == 36
    # As the developer guide's own example sends it: the slashes of the topic as they are.
    status, _ = client.send(
        "POST", "/topics/https/plain?qos=0&contentType=text%2Fplain", b"\0\xff", x_amz_mqtt5_correlation_data="aWQ="
    )
    assert status == 200
    assert arrived.wait(WAIT)
    watcher.disconnect()
    watcher.loop_stop()
    assert [(m.topic, m.payload, m.qos) for m in messages] == [
        ("https/encoded", b'{"n": 1}', 1),
        ("https/plain", b"\0\xff", 0),
    ]
    properties: Any = messages[1].properties
    assert (properties.ContentType, properties.CorrelationData) == ("text/plain", b"id")


def test_retained_messages(client: Client) -> None:
    assert client.send("POST", "/topics/https/kept?retain=true&qos=1", b"kept")[0] == 200
    status, answer = client.send("GET", "/retainedMessage/https%2Fkept")
    assert (status, answer["topic"], answer["payload"], answer["qos"]) == (200, "https/kept", "a2VwdA==", 1)
    assert client.send("POST", "/topics/https/other?retain=true", b"x")[0] == 403  # iot:Publish is not enough
    assert client.send("GET", "/retainedMessage")[0] == 403


def test_shadows(client: Client) -> None:
    state = {"state": {"desired": {"on": True}}}
    status, answer = client.send("POST", "/things/https-thing/shadow", json.dumps(state).encode())
    assert (status, answer["state"], answer["version"]) == (200, state["state"], 1)
    assert client.send("POST", "/things/https-thing/shadow?name=named", json.dumps(state).encode())[0] == 200
    status, answer = client.send("GET", "/things/https-thing/shadow?name=named")
    assert (status, answer["state"]) == (200, {"desired": {"on": True}, "delta": {"on": True}})
    status, answer = client.send("GET", "/api/things/shadow/ListNamedShadowsForThing/https-thing")
    assert (status, answer["results"]) == (200, ["named"])
    status, answer = client.send("POST", "/things/https-thing/shadow", b'{"state": {}, "version": 7}')
    assert (status, answer["message"]) == (409, "Version conflict")
    assert client.send("DELETE", "/things/https-thing/shadow?name=named")[0] == 403
    assert client.send("DELETE", "/things/https-thing/shadow")[0] == 200
    assert client.send("GET", "/things/https-thing/shadow")[0] == 404
    # The shadow's topics, over HTTPS.
    assert (
        client.send("POST", "/topics/$aws/things/https-thing/shadow/update?qos=1", json.dumps(state).encode())[0] == 200
    )
    assert client.send("GET", "/things/https-thing/shadow")[1]["version"] == 2


def test_a_list_of_shadows_is_allowed_on_all_resources_or_none(stepbridge: EmulatorProcess, tmp_path: Path) -> None:
    policy = allow(stepbridge, ListNamedShadowsForThing="thing/https-thing")
    client = Client(stepbridge, create_device(stepbridge, tmp_path, policy))
    assert client.send("GET", "/api/things/shadow/ListNamedShadowsForThing/https-thing")[0] == 403
    client.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/topics/elsewhere", 403, "Forbidden"),
        ("GET", "/retainedMessage/https%2Fother", 403, "Forbidden"),
        ("GET", "/things/other/shadow", 403, "Forbidden"),
        ("POST", "/topics/https/a?qos=2", 400, "1 validation error detected: Value '2' at 'qos' failed"),
        ("POST", "/topics/https/+", 400, "The topic https/+ must not contain"),
        ("POST", "/topics/https/1/2/3/4/5/6/7/8", 400, "The topic https/1/2/3/4/5/6/7/8 is not valid"),
        ("GET", "/nothing", 404, "There is no operation at GET /nothing"),
        ("DELETE", "/connections/https-watcher", 403, "Forbidden"),
    ],
)
def test_refusals(client: Client, method: str, path: str, status: int, message: str) -> None:
    got, answer = client.send(method, path)
    assert (got, answer["message"][: len(message)]) == (status, message)
    assert len(answer["traceId"]) == 36


def test_a_payload_that_is_too_large(client: Client) -> None:
    assert client.send("POST", "/topics/https/large", bytes(131_072))[0] == 200
    assert client.send("POST", "/topics/https/large", bytes(131_073))[0] == 400


def test_only_active_certificates(
    stepbridge: EmulatorProcess, files: dict[str, str], client: Client, tmp_path: Path
) -> None:
    assert client.send("POST", "/topics/https/a")[0] == 200
    stepbridge.client("iot").update_certificate(certificateId=files["id"], newStatus="INACTIVE")
    status, answer = client.send("POST", "/topics/https/a")  # on the connection that is open
    assert (status, answer["message"]) == (403, "Forbidden")
    nobody = Client(stepbridge, None)
    assert nobody.send("POST", "/topics/https/a")[0] == 403
    nobody.close()
    stranger = Client(stepbridge, create_device(stepbridge, tmp_path / "stranger", None))  # has no policy
    assert stranger.send("POST", "/topics/https/a")[0] == 403
    stranger.close()


def test_rules_see_who_published(stepbridge: EmulatorProcess, files: dict[str, str], client: Client) -> None:
    iot, data = stepbridge.client("iot"), stepbridge.client("iot-data")
    iam = stepbridge.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName="https-rule", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    may = {"Effect": "Allow", "Action": "iot:Publish", "Resource": "*"}
    iam.put_role_policy(
        RoleName="https-rule",
        PolicyName="may",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [may]}),
    )
    sql = "SELECT clientid() AS state.reported.c, principal() AS state.reported.p FROM 'https/who'"
    iot.create_topic_rule(
        ruleName="https_who",
        topicRulePayload={
            "sql": sql,
            "awsIotSqlVersion": "2016-03-23",
            "actions": [{"republish": {"roleArn": role, "topic": "$$aws/things/who/shadow/update"}}],
        },
    )
    assert client.send("POST", "/topics/https/who?qos=1", b"{}")[0] == 200

    def reported() -> Any:
        try:
            return json.loads(data.get_thing_shadow(thingName="who")["payload"].read())["state"]["reported"]
        except data.exceptions.ResourceNotFoundException:
            return None

    assert wait_until(reported, "the rule") == {"c": "n/a", "p": files["id"]}
    iot.delete_topic_rule(ruleName="https_who")


def test_boto3_on_the_address_that_describe_endpoint_gives(stepbridge: EmulatorProcess) -> None:
    """As much code does it: the data endpoint from the registry, signed by the caller's credentials."""
    address = stepbridge.client("iot").describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    options: dict[str, Any] = {
        "region_name": stepbridge.endpoints["region"],
        "aws_access_key_id": "any",
        "aws_secret_access_key": "any",
    }
    data = boto3.client(
        "iot-data", endpoint_url=f"https://{address}", verify=stepbridge.endpoints["root_ca"], **options
    )
    data.publish(topic="https/signed", qos=1, payload=b"x")
    data.update_thing_shadow(thingName="signed", payload=b'{"state": {"reported": {"a": 1}}}')
    assert json.loads(data.get_thing_shadow(thingName="signed")["payload"].read())["version"] == 1
    with pytest.raises(ClientError, match="scoped to correct service"):
        boto3.client(
            "iot", endpoint_url=f"https://{address}", verify=stepbridge.endpoints["root_ca"], **options
        ).list_things()
