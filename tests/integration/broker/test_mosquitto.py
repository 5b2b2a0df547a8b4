"""The Mosquitto behind the gateway: how it is started and ended, and that nothing is lost when it is killed."""

import asyncio
import os
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from stepbridge.iot.broker.mosquitto_link import Endpoint, Link, Outgoing
from stepbridge.iot.broker.mosquitto_process import MosquittoProcess, client_context
from stepbridge.iot.mqtt import packets as p

from .conftest import World


@pytest.fixture
def world(tmp_path: Path) -> Any:
    world = World(tmp_path, "mosquitto")
    yield world
    world.close()


def process(world: World) -> MosquittoProcess:
    assert world.mosquitto is not None
    return world.mosquitto


def connect_again(world: World, client_id: str, **options: Any) -> tuple[Any, p.Connack]:
    """Until Mosquitto is back, as clients do."""
    while True:
        raw = world.raw()
        answer = raw.connect(client_id, **options)
        assert isinstance(answer, p.Connack)
        if answer.code == 0:
            return raw, answer
        assert answer.code == 3  # server unavailable
        raw.close()


def test_killed_mosquitto_loses_nothing_that_was_acknowledged(world: World) -> None:
    reader = world.connected("reader", clean_start=False)
    reader.subscribe("t/#")
    member = world.connected("member", clean_start=False)
    member.subscribe("$share/g/t/#")
    for raw in (reader, member):
        raw.send(p.Disconnect())
        assert raw.receive() is None
    idle = world.connected("idle", version=p.MQTT_5, will=p.Will("t/will", b"will", 1))
    writer = world.connected("writer")
    writer.send(p.Publish("t/kept", b"kept", 1, True, packet_id=1))
    assert writer.receive() == p.Puback(1)
    writer.send(*(p.Publish(f"t/{n}", b"%d" % n, 1, packet_id=n + 2) for n in range(200)))
    acknowledged = [writer.receive() for _ in range(100)]
    number = process(world).process_id
    assert number is not None
    os.kill(number, signal.SIGKILL)
    # What is not acknowledged now is when Mosquitto is back, or else its sender is disconnected and sends it again.
    while (packet := writer.receive()) is not None:
        acknowledged.append(packet)
    assert all(isinstance(each, p.Puback) for each in acknowledged)
    assert idle.receive() == p.Disconnect(0x82)  # AWS has no code of its own for a server that is unavailable
    world.told("mosquitto-ended", "SIGKILL")
    world.told("mosquitto-lost")
    world.told("mosquitto-back")
    for client_id in ("reader", "member"):
        raw, answer = connect_again(world, client_id, clean_start=False)
        assert answer.session_present
        got: dict[bytes, None] = {}
        while len(got) < len(acknowledged) + 2:
            packet = raw.receive()
            assert isinstance(packet, p.Publish), (client_id, len(got), len(acknowledged))
            got[packet.payload] = None
            raw.send(p.Puback(packet.packet_id))
        assert set(got) >= {b"kept", b"will", *(b"%d" % n for n in range(len(acknowledged)))}
    late, _ = connect_again(world, "late")
    assert late.subscribe("t/kept") == (1,)
    packet = late.receive()
    assert isinstance(packet, p.Publish)
    assert (packet.payload, packet.retain) == (b"kept", True)


def test_a_session_that_mosquitto_has_lost_is_not_resumed(world: World) -> None:
    raw = world.connected("x", clean_start=False)
    raw.subscribe("t")
    world.stop()
    world.call(process(world).stop())
    (world.folder / "mosquitto" / "mosquitto.db").unlink()
    world.call(process(world).start())
    world.start()
    raw = world.raw()
    assert raw.connect("x", clean_start=False) == p.Connack(0, session_present=False)
    raw.send(p.Publish("t", b"", 1, packet_id=1))
    assert raw.receive() == p.Puback(1)
    raw.send(p.Pingreq())
    assert raw.receive() == p.Pingresp()  # and nothing before it: the subscription is gone


def test_messages_that_others_put_on_mosquitto_reach_devices(world: World) -> None:
    raw = world.connected("x", version=p.MQTT_5)
    raw.subscribe("t/#")

    async def publish() -> None:
        link = await Link.open(process(world).endpoint, "else", clean_start=True, expiry=0, receive_maximum=1)
        done = asyncio.get_running_loop().create_future()
        link.publish(Outgoing(p.Publish("t/else", b"1", 1), done, lasts=False))
        await done
        link.disconnect()

    world.call(publish())
    packet = raw.receive()
    assert isinstance(packet, p.Publish)
    assert (packet.topic, packet.payload, packet.qos, packet.properties) == ("t/else", b"1", 1, {})


@pytest.mark.parametrize("certificate", [None, "device"])
def test_devices_have_no_way_around_the_gateway(world: World, certificate: str | None) -> None:
    endpoint = process(world).endpoint
    context = ssl.create_default_context(cafile=str(world.folder / "mosquitto" / "root-ca.pem"))
    if certificate is not None:
        context.load_cert_chain(world.device.certificate, world.device.key)
    with pytest.raises(ConnectionError, match=r"Mosquitto at mqtts://127\.0\.0\.1:\d+ (does not accept|closes|cannot)"):
        world.call(
            Link.open(
                Endpoint(endpoint.host, endpoint.port, context), "x", clean_start=True, expiry=0, receive_maximum=1
            )
        )


def test_private_files(world: World) -> None:
    folder = world.folder / "mosquitto"
    world.connected("x", clean_start=False).subscribe("t")
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir() if path.suffix in (".key", ".db")}
    assert modes == dict.fromkeys(("client.key", "root-ca.key", "server.key", "mosquitto.db"), 0o600)


def test_what_a_killed_emulator_left_is_ended_first(world: World) -> None:
    async def story() -> tuple[int | None, int | None]:
        first = process(world)
        second = MosquittoProcess(world.folder / "mosquitto", lambda event, text: None)
        assert first._supervisor is not None
        first._supervisor.cancel()
        await second.start()
        assert first._process is not None
        code = await first._process.wait()
        await second.stop()
        return code, second.process_id

    assert world.call(story()) == (0, None)
    world.mosquitto = None


def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, world: World) -> None:
    async def nothing() -> None:
        await MosquittoProcess(tmp_path / "nothing", lambda event, text: None, "no-such-mosquitto").start()

    with pytest.raises(RuntimeError, match=r"no-such-mosquitto is not on the PATH\. Install it .*--broker embedded"):
        world.call(nothing())

    async def open_link(endpoint: Endpoint) -> None:
        await Link.open(endpoint, "x", clean_start=True, expiry=0, receive_maximum=1)

    good = process(world).endpoint
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionError, match=f"Mosquitto at mqtts://127.0.0.1:{port} is not running"):
        world.call(open_link(Endpoint("127.0.0.1", port, good.context)))
    files = world.folder / "mosquitto"
    other = client_context(world.authority.path, files / "client.pem", files / "client.key")
    with pytest.raises(ConnectionError, match="presents a certificate that our CA does not vouch for"):
        world.call(open_link(Endpoint(good.host, good.port, other)))
