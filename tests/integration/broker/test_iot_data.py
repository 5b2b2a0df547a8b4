"""The iot-data API on a broker with clients."""

import base64
from typing import Any

import pytest

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller
from stepbridge.clock import SystemClock
from stepbridge.iot.data import IotDataService
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.packets import Property

CALLER = Caller("123456789012", "us-east-1", access_key="AKIAEXAMPLE")


def call(world: Any, operation: str, **members: Any) -> Any:
    service = IotDataService(world.broker, SystemClock())
    return world.call(getattr(service, operation)(CALLER, members))


def test_publish_reaches_devices_with_all_properties(world: Any) -> None:
    raw = world.connected("x", version=p.MQTT_5)
    raw.subscribe("a")
    answer = call(
        world,
        "publish",
        topic="a",
        qos=1,
        payload=b"\0\xff",
        payloadFormatIndicator="UNSPECIFIED_BYTES",
        contentType="text/plain",
        responseTopic="b",
        correlationData=base64.b64encode(b"id").decode(),
        messageExpiry=1000,
        userProperties='[{"a": "1"}, {"b": ["2", "3"]}]',
    )
    assert answer == {}
    got = raw.receive()
    assert isinstance(got, p.Publish)
    assert (got.topic, got.payload, got.qos) == ("a", b"\0\xff", 1)
    assert got.properties.pop(Property.MESSAGE_EXPIRY_INTERVAL) in (999, 1000)  # type: ignore[attr-defined]
    assert got.properties == {
        Property.PAYLOAD_FORMAT_INDICATOR: 0,
        Property.CONTENT_TYPE: "text/plain",
        Property.RESPONSE_TOPIC: "b",
        Property.CORRELATION_DATA: b"id",
        Property.USER_PROPERTY: (("a", "1"), ("b", "2"), ("b", "3")),
    }
    message = world.accepted[0]
    assert (message.client_id, message.principal, message.source_ip) == (None, "AKIAEXAMPLE", "127.0.0.1")


def test_publish_without_payload(world: Any) -> None:
    call(world, "publish", topic="a")
    assert (world.accepted[0].payload, world.accepted[0].qos) == (b"", 0)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"topic": "a/+"}, "must not contain"),
        ({"topic": "/" * 8}, "slashes"),
        ({"topic": "x" * 257}, "257 bytes"),
        ({"topic": "$SYS/x"}, "reserved"),
        ({"topic": "$aws/rules/r/t", "retain": True}, "cannot be retained"),
        ({"topic": "a", "payload": bytes(131_073)}, "131073 bytes"),
        ({"topic": "a", "messageExpiry": 0}, "messageExpiry"),
        ({"topic": "a", "messageExpiry": 604_801}, "messageExpiry"),
        ({"topic": "a", "contentType": "x" * 257}, "contentType"),
        ({"topic": "a", "correlationData": "%"}, "base64"),
        ({"topic": "a", "responseTopic": "#"}, "responseTopic"),
        ({"topic": "a", "userProperties": '{"a": "1"}'}, "array"),
        ({"topic": "a", "userProperties": '[{"a": 1}]'}, "string"),
        ({"topic": "a", "userProperties": "["}, "JSON"),
    ],
)
def test_refused_publish(world: Any, members: dict[str, Any], says: str) -> None:
    with pytest.raises(AwsError) as caught:
        call(world, "publish", **members)
    assert caught.value.code == "InvalidRequestException"
    assert says in caught.value.message
    assert world.accepted == []
    assert says in world.told("publish-refused", f"AKIAEXAMPLE may not publish to {members['topic']}: ")


def test_retained_messages(world: Any) -> None:
    for number in range(3):
        call(world, "publish", topic=f"t/{number}", payload=b"x" * number, retain=True, qos=1)
    call(world, "publish", topic="t/3", payload=b"y", retain=True, userProperties='[{"k": "v"}]')
    got = call(world, "get_retained_message", topic="t/3")
    assert (got["topic"], got["payload"], got["qos"]) == ("t/3", b"y", 0)
    assert got["userProperties"] == b'[{"k":"v"}]'
    assert got["lastModifiedTime"] == int(world.accepted[3].time * 1000)
    first = call(world, "list_retained_messages", maxResults=2)
    assert [each["topic"] for each in first["retainedTopics"]] == ["t/1", "t/2"]  # t/0 was empty: that deletes
    assert [each["payloadSize"] for each in first["retainedTopics"]] == [1, 2]
    second = call(world, "list_retained_messages", maxResults=2, nextToken=first["nextToken"])
    assert [each["topic"] for each in second["retainedTopics"]] == ["t/3"]
    assert "nextToken" not in second
    with pytest.raises(AwsError, match="ResourceNotFoundException"):
        call(world, "get_retained_message", topic="t/0")
    with pytest.raises(AwsError, match="InvalidRequestException"):
        call(world, "list_retained_messages", nextToken="%%")
    with pytest.raises(AwsError, match="InvalidRequestException"):
        call(world, "list_retained_messages", nextToken="\xff")


@pytest.mark.parametrize(
    ("options", "stays"), [({}, True), ({"cleanSession": True, "preventWillMessage": True}, False)]
)
def test_delete_connection(world: Any, options: dict[str, Any], stays: bool) -> None:
    watcher = world.connected("watcher")
    watcher.subscribe("wills/#", qos=0)
    raw = world.connected("x", clean_start=False, will=p.Will("wills/x", b""))
    assert call(world, "delete_connection", clientId="x", **options) == {}
    assert raw.receive() is None
    watcher.send(p.Publish("wills/end", b""))
    first = watcher.receive()
    assert isinstance(first, p.Publish)
    assert first.topic == ("wills/x" if stays else "wills/end")
    assert world.raw().connect("x", clean_start=False) == p.Connack(0, session_present=stays)
    with pytest.raises(AwsError, match="ResourceNotFoundException"):
        call(world, "delete_connection", clientId="nobody")
