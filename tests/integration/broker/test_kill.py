"""`kill -9` in the middle of traffic: what was acknowledged is there afterwards."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from stepbridge.iot.mqtt import packets as p

# A broker in a process of its own that admits every certificate its CA has signed.
SERVER = """
import asyncio, ssl, sys
from pathlib import Path
from stepbridge.clock import SystemClock
from stepbridge.iot.access import Admission, Decision
from stepbridge.iot.broker import Broker
from stepbridge.iot.broker.cores import message_core
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

class Everybody:
    def admit(self, certificate_der): return Admission("0" * 64)
    def decide(self, connection, action, resource): return Decision(True, "")
    def exclusive_thing(self, principal): return None
    def on_revocation(self, callback): pass

async def main(folder, root, certificate, key, broker, *files):
    clock = SystemClock()
    store, trace = Store(folder / "killed.db"), Trace(clock)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    files = dict(zip(("broker_ca", "broker_cert", "broker_key"), map(Path, files)))
    settings = Settings(folder, mqtt_port=0, broker=broker, **files)
    core = message_core(settings, store, clock, trace)
    broker = Broker(settings, store, clock, trace, Everybody(), core, context)
    broker.trust(Path(root).read_bytes())
    await broker.start()
    print(broker.ports[0], flush=True)
    await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
"""


class Process:
    def __init__(self, world: Any, folder: Path) -> None:
        server = world.authority.issue("localhost")
        arguments = [folder, world.authority.path, server.certificate, server.key, "embedded"]
        if world.mosquitto is not None:
            files = world.folder / "mosquitto"
            names = ("root-ca.pem", "client.pem", "client.key")
            arguments[-1:] = [world.mosquitto.endpoint, *(files / name for name in names)]
        command = [sys.executable, "-c", SERVER, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def test_acknowledged_messages_survive(world: Any, tmp_path: Path) -> None:
    world.stop()
    first = Process(world, tmp_path)
    try:
        reader = world.raw(port=first.port)
        assert reader.connect("reader", clean_start=False) == p.Connack(0)
        assert reader.subscribe("t/#") == (1,)
        writer = world.raw(port=first.port)
        writer.connect("writer")
        writer.send(p.Publish("t/kept", b"retained", 1, True, packet_id=1))
        assert writer.receive() == p.Puback(1)
        # The reader acknowledges the first message and none of those that follow.
        packet = reader.receive()
        assert isinstance(packet, p.Publish)
        reader.send(p.Puback(packet.packet_id), p.Pingreq())
        assert reader.receive() == p.Pingresp()
        writer.send(*(p.Publish(f"t/{n}", b"%d" % n, 1, packet_id=n + 1) for n in range(1, 500)))
        acknowledged = [writer.receive() for _ in range(300)]
        assert all(isinstance(each, p.Puback) for each in acknowledged)
    finally:
        first.kill()
    second = Process(world, tmp_path)
    try:
        reader = world.raw(port=second.port)
        assert reader.connect("reader", clean_start=False) == p.Connack(0, session_present=True)
        got: list[int] = []
        while len(got) < 300:
            packet = reader.receive()
            assert isinstance(packet, p.Publish), got
            got.append(int(packet.payload))
            reader.send(p.Puback(packet.packet_id))
        assert got[:300] == list(range(1, 301))
        late = world.raw(port=second.port)
        late.connect("late")
        assert late.subscribe("t/kept") == (1,)
        kept = late.receive()
        assert isinstance(kept, p.Publish)
        assert (kept.payload, kept.retain) == (b"retained", True)
    finally:
        second.kill()
        world.start()
