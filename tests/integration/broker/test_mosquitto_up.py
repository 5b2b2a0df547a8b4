"""`stepbridge up --broker`: a Mosquitto that is started, and one that runs."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stepbridge.clock import SystemClock
from stepbridge.iot.broker.cores import message_core
from stepbridge.iot.broker.mosquitto_process import MosquittoProcess
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.testing import EmulatorProcess
from stepbridge.trace import Trace

from .conftest import World


def mosquittos(directory: Path) -> list[int]:
    """The process ids of Mosquittos that run on files in this directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if "mosquitto.conf" in command and str(directory) in command:
                found.append(int(entry.name))
    return found


def until_none_runs(directory: Path) -> None:
    deadline = time.monotonic() + 10
    while mosquittos(directory):
        assert time.monotonic() < deadline, "a Mosquitto was left behind"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_started_and_ended_with_the_emulator(tmp_path: Path) -> None:
    emulator = EmulatorProcess(tmp_path, "--broker=mosquitto")
    emulator.start()
    try:
        assert len(mosquittos(tmp_path)) == 1
        emulator.client("iot-data").publish(topic="kept", qos=1, retain=True, payload=b"1")
        emulator.kill()
        until_none_runs(tmp_path)  # a killed emulator leaves none either
        emulator.start()
        assert emulator.client("iot-data").get_retained_message(topic="kept")["payload"] == b"1"
    finally:
        emulator.stop()
    until_none_runs(tmp_path)


def test_one_that_runs(tmp_path: Path) -> None:
    world = World(tmp_path, "mosquitto")
    files = tmp_path / "mosquitto"
    try:
        assert isinstance(world.mosquitto, MosquittoProcess)
        world.stop()
        emulator = EmulatorProcess(
            tmp_path / "emulator",
            f"--broker={world.mosquitto.endpoint}",
            f"--broker-ca={files / 'root-ca.pem'}",
            f"--broker-cert={files / 'client.pem'}",
            f"--broker-key={files / 'client.key'}",
        )
        emulator.start()
        try:
            emulator.client("iot-data").publish(topic="kept", retain=True, payload=b"1")
            topics = emulator.client("iot-data").list_retained_messages()["retainedTopics"]
            assert [(each["topic"], each["payloadSize"], each["qos"]) for each in topics] == [("kept", 1, 0)]
        finally:
            emulator.stop()
        world.start()
        raw = world.connected("x")
        raw.subscribe("kept")
        assert raw.receive().payload == b"1"  # type: ignore[union-attr]
    finally:
        world.close()


@pytest.mark.parametrize(
    ("broker", "files", "says"),
    [
        ("mqtts://localhost:8883 ", None, "is none of embedded, mosquitto and mqtts://host:port"),
        ("mqtts://localhost:1", None, "mqtts://localhost:1 demands certificates: --broker-ca is missing"),
        ("mqtts://localhost:1", "/none", "there is no file /none, which --broker-ca names"),
        ("mqtts://localhost:1", __file__, "the certificates for mqtts://localhost:1 cannot be used"),
    ],
)
def test_refusals_are_one_sentence(tmp_path: Path, broker: str, files: str | None, says: str) -> None:
    path = None if files is None else Path(files)
    settings = Settings(tmp_path, broker=broker, broker_ca=path, broker_cert=path, broker_key=path)
    with pytest.raises(RuntimeError, match=re.escape(says)):
        message_core(settings, Store(None), SystemClock(), Trace(SystemClock()))


def test_refusals_on_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stepbridge", "up", f"--data-dir={tmp_path}", "--port=0", "--mqtt-port=0"]
    for broker, says in (("rabbit", "'rabbit' is not embedded"), ("mqtts://localhost:1", "--broker-ca is missing")):
        done = subprocess.run([*command, "--broker", broker], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert says in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
