"""MQTT 3.1.1 over mutual TLS: who gets in, and what becomes of messages."""

import socket
import ssl
from typing import Any

import pytest
from tests.integration.broker.conftest import Raw

from stepbridge.iot.mqtt import packets as p


def test_publish_reaches_a_subscriber_and_the_listener(world: Any) -> None:
    subscriber, inbox = world.client("reader")
    assert world.subscribe(subscriber, "a/+", "b") == [1, 1]
    publisher, _ = world.client("writer")
    publisher.publish("a/x", b"one", qos=1).wait_for_publish(10)
    publisher.publish("b", b"two", qos=0)
    publisher.publish("c", b"three", qos=1).wait_for_publish(10)
    messages = inbox.wait(2)
    assert [(m.topic, m.payload, m.qos, m.retain) for m in messages] == [
        ("a/x", b"one", 1, False),
        ("b", b"two", 0, False),
    ]
    assert [(m.topic, m.client_id, m.principal) for m in world.accepted] == [
        (topic, "writer", world.device.certificate_id) for topic in ("a/x", "b", "c")
    ]
    assert "writer → a/x, 3 bytes" in world.told("publish")
    assert "a/x → reader" in world.told("deliver")


def test_self_signed_certificate_is_admitted_when_registered(world: Any) -> None:
    stranger = world.register(world.authority.issue("stranger", self_signed=True))
    answer = world.raw(stranger).connect("x")
    assert answer == p.Connack(0)


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("alpn", [None, "x-amzn-mqtt-ca"])
def test_tls_versions_and_alpn_on_both_ports(world: Any, maximum: ssl.TLSVersion, alpn: str | None) -> None:
    for port in world.broker.ports:
        context = world.tls(world.device, alpn)
        context.maximum_version = maximum
        raw = world.raw(context=context, port=port)
        assert raw.socket.selected_alpn_protocol() == alpn
        assert raw.connect("x") == p.Connack(0)


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", "no client certificate"),
        ("inactive", "INACTIVE"),
        ("unregistered, signed by our CA", "not registered"),
        ("unregistered, self-signed", "not registered"),
        ("expired", "certificate has expired"),
    ],
)
def test_refused_certificates(world: Any, kind: str, expected: str, maximum: ssl.TLSVersion) -> None:
    identity = None
    if kind != "none":
        identity = world.authority.issue(
            "intruder", self_signed="self-signed" in kind, days=-1 if kind == "expired" else 1
        )
    if kind == "expired":
        world.register(identity)
    if kind == "inactive":
        world.register(identity, active=False)
    context = world.tls(identity)
    context.maximum_version = maximum
    try:
        answer = world.raw(context=context).connect("intruder")
    except (ConnectionError, ssl.SSLError):
        answer = None
    assert answer is None
    assert expected in world.told("connect-refused")
    assert world.registry.asked == []


@pytest.mark.parametrize("name", ["localhost", "broker.example.test", None])
def test_the_policy_learns_by_which_name_the_client_has_found_us(world: Any, name: str | None) -> None:
    context = world.tls(world.device)
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", world.port), timeout=10) as plain:
        raw = Raw(context.wrap_socket(plain, server_hostname=name), p.MQTT_3_1_1)
        assert raw.connect("x") == p.Connack(0)
        raw.close()
    connection, action, _ = next(each for each in world.registry.asked if each[0].client_id == "x")
    assert (action, connection.domain_name) == ("iot:Connect", name)


def test_connect_outside_the_policy(world: Any) -> None:
    world.registry.denied.add(("iot:Connect", "client/other"))
    raw = world.raw()
    assert raw.connect("other") == p.Connack(5)
    assert raw.receive() is None
    assert "the test denies iot:Connect on client/other" in world.told("connect-refused")


def test_publish_outside_the_policy_closes_the_connection(world: Any) -> None:
    world.registry.denied.add(("iot:Publish", "topic/secret"))
    raw = world.connected("x")
    raw.send(p.Publish("secret", b"", 1, packet_id=1))
    assert raw.receive() is None
    assert world.accepted == []
    assert "may not publish to secret" in world.told("publish-refused")


def test_retain_needs_its_own_permission(world: Any) -> None:
    world.registry.denied.add(("iot:RetainPublish", "topic/a"))
    raw = world.connected("x")
    raw.send(p.Publish("a", b"1", 1, packet_id=1))
    assert raw.receive() == p.Puback(1)
    raw.send(p.Publish("a", b"1", 1, True, packet_id=2))
    assert raw.receive() is None


def test_subscribe_outside_the_policy_gets_0x80(world: Any) -> None:
    world.registry.denied.add(("iot:Subscribe", "topicfilter/secret/#"))
    raw = world.connected("x")
    assert raw.subscribe("secret/#", "open") == (0x80, 1)
    assert "secret/#" in world.told("subscribe-refused")


def test_receive_is_checked_at_each_delivery(world: Any) -> None:
    world.registry.denied.add(("iot:Receive", "topic/a/secret"))
    raw = world.connected("x")
    raw.subscribe("a/+")
    raw.send(p.Publish("a/secret", b"1", 1, packet_id=1), p.Publish("a/open", b"2", 1, packet_id=2))
    answers = [raw.receive() for _ in range(3)]
    assert [each.topic for each in answers if isinstance(each, p.Publish)] == ["a/open"]
    assert "may not receive on a/secret" in world.told("delivery-refused")


def test_another_connection_takes_the_client_id_over(world: Any) -> None:
    first = world.connected("x")
    second = world.connected("x")
    assert first.receive() is None
    second.send(p.Pingreq())
    assert second.receive() == p.Pingresp()


def test_revocation_closes_live_connections(world: Any) -> None:
    raw = world.connected("x")
    world.loop.call_soon_threadsafe(world.registry.revoked, world.device.certificate_id)
    assert raw.receive() is None


def test_persistent_session_gets_what_it_missed(world: Any) -> None:
    reader = world.connected("reader", clean_start=False)
    reader.subscribe("a")
    reader.close()
    world.told("disconnect", "reader")
    writer = world.connected("writer")
    for number in range(150):
        writer.send(p.Publish("a", b"%d" % number, 1, packet_id=number + 1))
        assert writer.receive() == p.Puback(number + 1)
    world.stop()
    world.start()
    reader = world.raw()
    assert reader.connect("reader", clean_start=False) == p.Connack(0, session_present=True)
    got: list[int] = []
    while len(got) < 150:
        packet = reader.receive()
        assert isinstance(packet, p.Publish)
        got.append(int(packet.payload))
        reader.send(p.Puback(packet.packet_id))
    assert got == list(range(150))
    reader.send(p.Disconnect())
    assert reader.receive() is None
    again = world.raw()
    assert again.connect("reader", clean_start=False) == p.Connack(0, session_present=True)
    again.send(p.Pingreq())
    assert again.receive() == p.Pingresp()  # and nothing before it


def test_clean_session_forgets(world: Any) -> None:
    reader = world.connected("reader", clean_start=False)
    reader.subscribe("a")
    assert world.connected("reader", clean_start=True)
    assert world.raw().connect("reader", clean_start=False) == p.Connack(0, session_present=False)


def test_last_will_when_the_client_goes_without_disconnect(world: Any) -> None:
    reader = world.connected("reader")
    reader.subscribe("wills/#")
    polite = world.connected("polite", will=p.Will("wills/polite", b"gone"))
    polite.send(p.Disconnect())
    assert polite.receive() is None
    world.registry.denied.add(("iot:Publish", "topic/wills/forbidden"))
    world.connected("forbidden", will=p.Will("wills/forbidden", b"gone")).close()
    world.told("publish-refused", "wills/forbidden")
    world.connected("rude", will=p.Will("wills/rude", b"gone", 1)).close()
    answer = reader.receive()
    assert isinstance(answer, p.Publish)
    assert (answer.topic, answer.payload, answer.qos) == ("wills/rude", b"gone", 1)


def test_retained_messages_go_to_exact_filters_only(world: Any) -> None:
    writer = world.connected("writer")
    writer.send(p.Publish("a/b", b"kept", 1, True, packet_id=1))
    assert writer.receive() == p.Puback(1)
    reader = world.connected("reader")
    assert reader.subscribe("a/+", "$share/g/a/b", "a/b") == (1, 1, 1)
    answer = reader.receive()
    assert isinstance(answer, p.Publish)
    assert (answer.topic, answer.payload, answer.retain) == ("a/b", b"kept", True)
    writer.send(p.Publish("a/b", b"", 1, True, packet_id=2))
    assert writer.receive() == p.Puback(2)
    late = world.connected("late")
    late.subscribe("a/b")
    late.send(p.Pingreq())
    assert late.receive() == p.Pingresp()


def test_reserved_topics_are_reserved_in_shared_subscriptions_too(world: Any) -> None:
    raw = world.connected("x")
    filters = ("$share/g/$aws/events/#", "$share/g/$SYS/#", "$share/g/$aws/rules/r", "$SYS/#", "#", "$share/g/#")
    assert raw.subscribe(*filters) == (1, 0x80, 0x80, 0x80, 1, 1)


def test_shared_subscription_gives_each_message_to_one(world: Any) -> None:
    members = [world.connected(f"m{number}") for number in range(2)]
    for member in members:
        assert member.subscribe("$share/group/jobs/#") == (1,)
    writer = world.connected("writer")
    for number in range(4):
        writer.send(p.Publish(f"jobs/{number}", b"", 1, packet_id=number + 1))
    got: list[str] = []
    for member in members:
        for _ in range(2):
            packet = member.receive()
            assert isinstance(packet, p.Publish)
            got.append(packet.topic)
    assert sorted(got) == ["jobs/0", "jobs/1", "jobs/2", "jobs/3"]


def test_basic_ingest_goes_to_the_listener_only(world: Any) -> None:
    raw = world.connected("x")
    raw.subscribe("#", "t")
    raw.send(p.Publish("$aws/rules/my_rule/t", b"1", 1, packet_id=7))
    assert raw.receive() == p.Puback(7)
    raw.send(p.Pingreq())
    assert raw.receive() == p.Pingresp()
    assert [m.topic for m in world.accepted] == ["$aws/rules/my_rule/t"]


@pytest.mark.parametrize(
    "packet",
    [
        p.Publish("a/b/c/d/e/f/g/h/i", b"", 1, packet_id=1),
        p.Publish("x" * 257, b"", 1, packet_id=1),
        p.Publish("a", bytes(131_073), 1, packet_id=1),
        p.Publish("$SYS/a", b"", 1, packet_id=1),
        p.Publish("$aws/rules/r/t", b"", 1, True, packet_id=1),
        p.Pubrel(1),
        b"\x30\x03\x00\x01#",
        b"\x30\xff\xff\xff\x7f",
        b"\xf0\x00",
        p.Connect("again"),
    ],
)
def test_what_ends_the_connection(world: Any, packet: p.Packet | bytes) -> None:
    raw = world.connected("x")
    raw.send(packet)
    assert raw.receive() is None
    world.told("disconnect", "x is disconnected: ")
    assert world.accepted == []


@pytest.mark.parametrize(
    "packet",
    [
        p.Publish("a/b/c/d/e/f/g/h", b"", 1, packet_id=1),
        p.Publish("x" * 256, b"", 1, packet_id=1),
        p.Publish("a", bytes(131_072), 1, packet_id=1),
        p.Publish("$aws/rules/r/" + "y" * 256, b"", 1, packet_id=1),
        p.Publish("$aws/rules/r/a/b/c/d/e/f/g/h", b"", 1, packet_id=1),
    ],
)
def test_what_is_just_allowed(world: Any, packet: p.Publish) -> None:
    raw = world.connected("x")
    raw.send(packet)
    assert raw.receive() == p.Puback(1)


def test_qos_2_is_left_unanswered(world: Any) -> None:
    raw = world.connected("x")
    raw.send(p.Publish("a", b"", 2, packet_id=1), p.Subscribe(2, (p.Subscription("a", 2),)), p.Pingreq())
    assert raw.receive() == p.Pingresp()
    assert world.accepted == []


def test_subscription_limits(world: Any) -> None:
    raw = world.connected("x")
    assert raw.subscribe(*(f"f{n}" for n in range(9))) == (*(1,) * 8, 0x80)
    for start in range(8, 48, 8):
        assert raw.subscribe(*(f"f{n}" for n in range(start, start + 8))) == (1,) * 8
    assert raw.subscribe("f48", "f49", "f50") == (1, 1, 0x80)
    assert raw.subscribe("f0") == (1,)  # replaces


@pytest.mark.parametrize(("client_id", "code"), [("x" * 128, 0), ("x" * 129, 2), ("", 2)])
def test_client_id(world: Any, client_id: str, code: int) -> None:
    assert world.raw().connect(client_id) == p.Connack(code)


def test_a_client_must_wait_for_the_connack(world: Any) -> None:
    raw = world.raw()
    raw.send(p.Connect("x"), p.Subscribe(1, (p.Subscription("a"),)))
    assert raw.receive() is None
    assert "before it had the CONNACK" in world.told("connect-refused")
