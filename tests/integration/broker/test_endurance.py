"""Clients that fall silent, that do not read, that hang up in the middle: the gateway outlives them all."""

import gc
import socket
import time
from typing import Any

import pytest

from stepbridge.clock import ManualClock
from stepbridge.iot.broker.connection import DeviceConnection
from stepbridge.iot.broker.tls import TlsConnection
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.codec import encode


@pytest.fixture
def clock(world: Any) -> ManualClock:
    """The world begins anew, on a clock that stands still."""
    clock = ManualClock()
    world.stop()
    world.start(clock)
    return clock


def advance(world: Any, clock: ManualClock, seconds: float) -> None:
    async def move() -> None:
        clock.advance(seconds)

    world.call(move())


def test_silent_client_is_disconnected_at_one_and_a_half_times_its_keep_alive(world: Any, clock: ManualClock) -> None:
    will = p.Will("wills", b"silent", 1)
    watcher = world.connected("watcher", keep_alive=0)
    watcher.subscribe("wills")
    quiet = world.connected("quiet", version=p.MQTT_5, keep_alive=30, will=will)
    advance(world, clock, 44)
    quiet.send(p.Pingreq())
    assert quiet.receive() == p.Pingresp()
    advance(world, clock, 44)
    quiet.send(p.Pingreq())
    assert quiet.receive() == p.Pingresp()
    advance(world, clock, 46)
    assert quiet.receive() == p.Disconnect(0x8D)
    assert quiet.receive() is None
    packet = watcher.receive()
    assert isinstance(packet, p.Publish)
    assert packet.payload == b"silent"
    assert "1.5 times its keep-alive of 30 s" in world.told("disconnect")


def test_who_never_sends_connect_is_disconnected(world: Any, clock: ManualClock) -> None:
    secured = world.raw()
    plain = socket.create_connection(("127.0.0.1", world.port), timeout=10)
    world.connected("x")  # so that the two before it have been accepted
    advance(world, clock, 32)
    assert secured.receive() is None
    assert plain.recv(1) == b""
    plain.close()
    world.told("connect-refused", "sent no CONNECT within")
    world.told("connect-refused", "did not finish the TLS handshake")


def test_bytes_that_complete_no_packet_keep_no_connection_open(world: Any, clock: ManualClock) -> None:
    connecting, idle, posting = world.raw(), world.connected("idle", version=p.MQTT_5, keep_alive=30), world.raw()
    begun = {
        connecting: encode(p.Connect("slow", keep_alive=30), p.MQTT_3_1_1),
        idle: encode(p.Publish("t", bytes(20)), p.MQTT_5),
        posting: b"POST /topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
    }
    for number in range(7):
        for client, data in begun.items():
            client.socket.sendall(data if client is posting and not number else data[number : number + 1])
        world.connected(f"time {number}")  # so that what was sent has come
        advance(world, clock, 10)
        if number == 3:
            assert connecting.receive() is None
            del begun[connecting]
        if number == 4:
            assert idle.receive() == p.Disconnect(0x8D)
            del begun[idle]
    assert posting.receive() is None
    world.told("connect-refused", "sent no CONNECT within 30 s")


def test_many_retained_messages_at_once_do_not_fill_the_memory(world: Any) -> None:
    writer = world.connected("writer")
    for number in range(8):
        writer.send(p.Publish(f"big/{number}", bytes(131_072), 1, retain=True, packet_id=1))
        assert writer.receive() == p.Puback(1)
    greedy = world.connected("greedy")
    filters = tuple(p.Subscription(f"big/{number}", 0) for number in range(8))
    greedy.send(*[p.Subscribe(1, filters) for _ in range(150)])
    assert "greedy does not keep up" in world.told("message-dropped")
    assert sum(hop.event == "deliver" for hop in world.hops) < 100


def test_a_client_that_does_not_close_is_cut_off(world: Any, clock: ManualClock) -> None:
    async def connections() -> int:
        return len(world.broker._gateway._connections)

    rude = world.connected("x")
    rude.send(b"\0\0")
    assert rude.receive() is None
    assert world.call(connections()) == 1
    advance(world, clock, 12)
    assert world.call(connections()) == 0


def test_who_has_gone_leaves_nothing_behind(world: Any) -> None:
    async def kept() -> int:
        gc.collect()
        return sum(isinstance(each, DeviceConnection | TlsConnection) for each in gc.get_objects())

    stays = world.connected("stays")
    before = world.call(kept())
    for number in range(20):
        client = world.connected(f"goes-{number}", keep_alive=1200)
        if number % 2:
            client.send(p.Disconnect())
            assert client.receive() is None
        client.close()
    deadline = time.monotonic() + 60
    while world.call(kept()) > before:
        assert time.monotonic() < deadline
    stays.send(p.Pingreq())
    assert stays.receive() == p.Pingresp()


def test_garbage_instead_of_tls(world: Any) -> None:
    with socket.create_connection(("127.0.0.1", world.port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while plain.recv(100):
            pass
    assert "it does not speak TLS" in world.told("connect-refused")
    with socket.create_connection(("127.0.0.1", world.port), timeout=10):
        pass
    world.told("connect-refused", "did not finish the handshake")
    assert world.raw().connect("x") == p.Connack(0)


def test_slow_reader_is_bounded_and_harms_nobody(world: Any) -> None:
    slow = world.connected("slow")
    slow.subscribe("t", qos=0)
    writer = world.connected("writer")
    for number in range(300):
        writer.send(p.Publish("t", bytes(100_000), 1, packet_id=number + 1))
        assert writer.receive() == p.Puback(number + 1)
    assert "slow does not keep up" in world.told("message-dropped")
    slow.send(p.Pingreq())
    received = 0
    while isinstance(slow.receive(), p.Publish):
        received += 1
    assert 0 < received < 300


@pytest.mark.parametrize("count", [3, 20_000])
def test_each_ping_is_answered(world: Any, count: int) -> None:
    raw = world.connected("x")
    raw.send(*[p.Pingreq()] * count)
    for _ in range(count):
        assert raw.receive() == p.Pingresp()


def test_what_was_held_is_heard_when_the_client_goes(world: Any) -> None:
    """A client that says all in one breath and hangs up has said it, its farewell too."""
    watcher = world.connected("watcher", keep_alive=0)
    watcher.subscribe("wills", "last")
    hasty = world.connected("hasty", clean_start=False, will=p.Will("wills", b"no", 1))
    subscriptions = [p.Subscribe(number, (p.Subscription(f"s/{number}", 1),)) for number in range(1, 9)]
    hasty.send(*subscriptions, p.Publish("last", b"word", 1, packet_id=9), p.Disconnect())
    hasty.close()
    packet = watcher.receive()
    assert isinstance(packet, p.Publish)
    assert (packet.topic, packet.payload) == ("last", b"word")
    world.told("disconnect", "hasty disconnected")
    again = world.raw()
    again.connect("hasty", clean_start=False)
    world.connected("writer").send(p.Publish("s/8", b"kept", 1, packet_id=1))
    packet = again.receive()
    assert isinstance(packet, p.Publish)
    assert packet.payload == b"kept"


def test_slow_reader_with_a_session_gets_everything(world: Any) -> None:
    slow = world.connected("slow", clean_start=False)
    slow.subscribe("t")
    writer = world.connected("writer")
    for number in range(150):
        writer.send(p.Publish("t", bytes(100_000), 1, packet_id=number + 1))
        assert writer.receive() == p.Puback(number + 1)
    for _ in range(150):
        packet = slow.receive()
        assert isinstance(packet, p.Publish)
        slow.send(p.Puback(packet.packet_id))


@pytest.mark.parametrize("version", [p.MQTT_3_1_1, p.MQTT_5])
def test_one_byte_at_a_time(world: Any, version: int) -> None:
    raw = world.raw(version=version)
    for byte in encode(p.Connect("x", version), version):
        raw.send(bytes((byte,)))
    answer = raw.receive()
    assert isinstance(answer, p.Connack)
    assert answer.code == 0
