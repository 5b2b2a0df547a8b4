"""Shadows as devices and applications meet them: paho over mutual TLS, and boto3."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from botocore.exceptions import ClientError
from paho.mqtt.enums import CallbackAPIVersion
from tests.e2e.harness import allow, create_device, wait_until

from stepbridge.testing import EmulatorProcess

WAIT = 15


class Device:
    """A paho client that collects what comes on its shadows' topics."""

    def __init__(self, emulator: EmulatorProcess, folder: Path, thing: str) -> None:
        topics = f"$aws/things/{thing}/shadow/*"
        policy = allow(
            emulator,
            Connect=f"client/{thing}",
            Publish=f"topic/{topics}",
            Receive=f"topic/{topics}",
            Subscribe=f"topicfilter/{topics}",
        )
        self.files = create_device(emulator, folder, policy)
        self.thing = thing
        self._told = threading.Condition()
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, thing, protocol=paho.MQTTv311)
        self._client.tls_set(self.files["root"], self.files["certificate"], self.files["key"])
        self._client.on_message = self._on_message
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_connect = self._on_connect
        self._client.connect(emulator.endpoints["mqtt_host"], emulator.endpoints["mqtt_port"])
        self._client.loop_start()
        assert subscribed.wait(WAIT), "no SUBACK"

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        client.subscribe(f"$aws/things/{self.thing}/shadow/#", 1)

    def _on_message(self, client: Any, data: Any, message: paho.MQTTMessage) -> None:
        if message.topic.rpartition("/")[2] in ("accepted", "rejected", "delta", "documents"):
            with self._told:
                self._messages.append((message.topic.partition("/shadow/")[2], json.loads(message.payload)))
                self._told.notify_all()

    def send(self, topic: str, payload: str = "") -> None:
        self._client.publish(f"$aws/things/{self.thing}/shadow/{topic}", payload, 1).wait_for_publish(WAIT)

    def receive(self, *topics: str) -> list[Any]:
        """The next messages, which come on these topics in this order."""
        with self._told:
            assert self._told.wait_for(lambda: len(self._messages) >= len(topics), WAIT), self._messages
            taken, self._messages = self._messages[: len(topics)], self._messages[len(topics) :]
        assert [topic for topic, _ in taken] == list(topics)
        return [message for _, message in taken]

    def close(self) -> None:
        with self._told:
            assert self._messages == []
        self.stop()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def device(stepbridge: EmulatorProcess, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Device]:
    device = Device(stepbridge, tmp_path, f"thing-{request.node.name.rpartition('_')[2]}")
    yield device
    device.close()


def load(answer: Any) -> Any:
    return json.loads(answer["payload"].read())


def test_get_update_delete_over_mqtt(device: Device) -> None:
    device.send("get", '{"clientToken": "t"}')
    missing = {"code": 404, "message": f"No shadow exists with name: '{device.thing}'", "clientToken": "t"}
    assert device.receive("get/rejected") == [missing]
    device.send("update", '{"state": {"desired": {"led": "on"}}, "clientToken": "u"}')
    accepted, delta, documents = device.receive("update/accepted", "update/delta", "update/documents")
    now = accepted["timestamp"]
    times = {"led": {"timestamp": now}}
    assert accepted == {
        "state": {"desired": {"led": "on"}},
        "metadata": {"desired": times},
        "version": 1,
        "timestamp": now,
        "clientToken": "u",
    }
    assert delta == {"version": 1, "timestamp": now, "state": {"led": "on"}, "metadata": times, "clientToken": "u"}
    current = {"state": {"desired": {"led": "on"}}, "metadata": {"desired": times}, "version": 1}
    assert documents == {"current": current, "timestamp": now, "clientToken": "u"}
    device.send("update", '{"state": {"reported": {"led": "on"}}, "version": 1}')
    documents = device.receive("update/accepted", "update/documents")[1]  # in step: no delta
    assert (documents["previous"], documents["current"]["version"]) == (current, 2)
    device.send("get")
    [got] = device.receive("get/accepted")
    assert (got["state"], got["version"]) == ({"desired": {"led": "on"}, "reported": {"led": "on"}}, 2)
    device.send("delete")
    [deleted] = device.receive("delete/accepted")
    assert deleted["version"] == 2
    device.send("delete")
    assert device.receive("delete/rejected")[0]["code"] == 404
    device.send("update", '{"state": {"reported": {"led": "off"}}}')
    accepted, _ = device.receive("update/accepted", "update/documents")
    assert accepted["version"] == 3  # the version outlives the shadow


def test_rejected_updates_over_mqtt(device: Device) -> None:
    for payload, code, message in (
        ("{", 400, "Invalid JSON"),
        ("{}", 400, "Missing required node: state"),
        ('{"state": {}, "version": 7}', 409, "Version conflict"),
        (json.dumps({"state": {"desired": {"x": "x" * 9000}}}), 413, "The payload exceeds the maximum size allowed"),
    ):
        device.send("update", payload)
        assert device.receive("update/rejected") == [{"code": code, "message": message}]


def test_named_shadows_in_both_ways(device: Device, stepbridge: EmulatorProcess) -> None:
    data = stepbridge.client("iot-data")
    state = json.dumps({"state": {"desired": {"on": True}}})
    for number, name in enumerate(("one", "two", "three")):
        answer = load(data.update_thing_shadow(thingName=device.thing, shadowName=name, payload=state))
        assert answer["version"] == 1
        delta = device.receive(*(f"name/{name}/update/{kind}" for kind in ("accepted", "delta", "documents")))[1]
        assert delta["state"] == {"on": True}
        listed = data.list_named_shadows_for_thing(thingName=device.thing)
        assert len(listed["results"]) == number + 1
    first = data.list_named_shadows_for_thing(thingName=device.thing, pageSize=2)
    second = data.list_named_shadows_for_thing(thingName=device.thing, pageSize=2, nextToken=first["nextToken"])
    assert (first["results"], second["results"]) == (["one", "three"], ["two"])
    assert "nextToken" not in second
    device.send("name/two/update", '{"state": {"reported": {"on": true}}}')
    device.receive("name/two/update/accepted", "name/two/update/documents")
    got = load(data.get_thing_shadow(thingName=device.thing, shadowName="two"))
    assert got["state"] == {"desired": {"on": True}, "reported": {"on": True}}
    assert load(data.delete_thing_shadow(thingName=device.thing, shadowName="two"))["version"] == 2
    device.receive("name/two/delete/accepted")
    assert data.list_named_shadows_for_thing(thingName=device.thing)["results"] == ["one", "three"]
    device.send("name/two/get")
    assert device.receive("name/two/get/rejected") == [
        {"code": 404, "message": f"No shadow exists with name: '{device.thing}~two'"}
    ]


@pytest.mark.parametrize(
    ("operation", "members", "code", "status", "message"),
    [
        ("get_thing_shadow", {}, "ResourceNotFoundException", 404, "No shadow exists with name: 'nothing'"),
        (
            "get_thing_shadow",
            {"shadowName": "n"},
            "ResourceNotFoundException",
            404,
            "No shadow exists with name: 'nothing~n'",
        ),
        ("delete_thing_shadow", {}, "ResourceNotFoundException", 404, "No shadow exists with name: 'nothing'"),
        ("update_thing_shadow", {"payload": b"{"}, "InvalidRequestException", 400, "Invalid JSON"),
        (
            "update_thing_shadow",
            {"payload": b'{"state": {}, "version": 7}'},
            "ConflictException",
            409,
            "Version conflict",
        ),
        (
            "update_thing_shadow",
            {"payload": b"\xff"},
            "UnsupportedDocumentEncodingException",
            415,
            "Unsupported documented encoding; supported encoding is UTF-8",
        ),
        (
            "update_thing_shadow",
            {"payload": json.dumps({"state": {"desired": {"x": "x" * 9000}}})},
            "RequestEntityTooLargeException",
            413,
            "The payload exceeds the maximum size allowed",
        ),
        ("list_named_shadows_for_thing", {"nextToken": "\xff"}, "InvalidRequestException", 400, "The nextToken is"),
    ],
)
def test_errors_of_the_api(
    stepbridge: EmulatorProcess, operation: str, members: dict[str, Any], code: str, status: int, message: str
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(stepbridge.client("iot-data"), operation)(thingName="nothing", **members)
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert error["Error"]["Message"].startswith(message)


def test_rules_hear_of_shadows_and_read_them(stepbridge: EmulatorProcess) -> None:
    """A rule on the delta of a shadow, whose statement reads the shadow, republishes to where we can look."""
    iot, data, iam = (stepbridge.client(name) for name in ("iot", "iot-data", "iam"))
    trust = {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName="shadow-reader", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    may = {"Effect": "Allow", "Action": ["iot:GetThingShadow", "iot:Publish", "iot:RetainPublish"], "Resource": "*"}
    iam.put_role_policy(
        RoleName="shadow-reader",
        PolicyName="may",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [may]}),
    )
    # A rule may update a shadow by republishing.
    iot.create_topic_rule(
        ruleName="on_delta",
        topicRulePayload={
            "sql": "SELECT state AS state.reported, get_thing_shadow('ruled', '"
            + role
            + "').version AS state.reported.v"
            " FROM '$aws/things/ruled/shadow/update/delta'",
            "awsIotSqlVersion": "2016-03-23",
            "actions": [{"republish": {"roleArn": role, "topic": "$$aws/things/mirror/shadow/update", "qos": 1}}],
        },
    )
    data.update_thing_shadow(thingName="ruled", payload=json.dumps({"state": {"desired": {"speed": 5}}}))

    def mirrored() -> Any:
        try:
            return load(data.get_thing_shadow(thingName="mirror"))
        except data.exceptions.ResourceNotFoundException:
            return None

    assert wait_until(mirrored, "the rule")["state"]["reported"] == {"speed": 5, "v": 1}
    iot.delete_topic_rule(ruleName="on_delta")


def test_a_shadow_survives_kill(tmp_path: Path) -> None:
    emulator = EmulatorProcess(tmp_path / "emulator")
    emulator.start()
    try:
        device = Device(emulator, tmp_path / "device", "lamp")
        device.send("update", '{"state": {"reported": {"led": "on"}}}')  # returns with the PUBACK
        emulator.kill()
        emulator.start()
        got = load(emulator.client("iot-data").get_thing_shadow(thingName="lamp"))
        assert (got["state"], got["version"]) == ({"reported": {"led": "on"}}, 1)
        device.stop()
    finally:
        emulator.kill()
