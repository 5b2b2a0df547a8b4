"""Mosquitto's own clients, mosquitto_pub and mosquitto_sub, as devices."""

import shutil
import subprocess
from typing import Any

import pytest


def command(world: Any, program: str, client_id: str, *arguments: str) -> list[str]:
    path = shutil.which(program)
    if path is None:
        pytest.fail(f"{program} is not installed (Debian: apt-get install mosquitto-clients)")
    identity = ["--cafile", world.authority.path, "--cert", world.device.certificate, "--key", world.device.key]
    return [path, "-h", "localhost", "-p", str(world.port), *map(str, identity), "-i", client_id, *arguments]


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_publish_and_subscribe(world: Any, version: str) -> None:
    arguments = ["-V", version, "-q", "1", "-t", "to/+", "-C", "2", "-W", "20", "-F", "%t %q %r %p"]
    subscriber = subprocess.Popen(command(world, "mosquitto_sub", "sub", *arguments), stdout=subprocess.PIPE, text=True)
    world.told("subscribe", "sub subscribed to to/+")
    for topic, payload in (("to/worker", '{"a": 1}'), ("to/none", "-"), ("else", "-"), ("to/worker", "last")):
        if topic == "to/none":
            world.registry.denied.add(("iot:Publish", "topic/to/none"))
        arguments = ["-V", version, "-q", "1", "-r", "-t", topic, "-m", payload]
        done = subprocess.run(command(world, "mosquitto_pub", "pub", *arguments), timeout=20, check=False)
        assert (done.returncode == 0) == (topic != "to/none")
    out, _ = subscriber.communicate(timeout=20)
    assert out.splitlines() == ['to/worker 1 0 {"a": 1}', "to/worker 1 0 last"]
    arguments = ["-V", version, "-q", "1", "-t", "to/worker", "-C", "1", "-W", "20", "-F", "%t %q %r %p"]
    late = subprocess.run(
        command(world, "mosquitto_sub", "late", *arguments), capture_output=True, text=True, timeout=30, check=True
    )
    assert late.stdout == "to/worker 1 1 last\n"
