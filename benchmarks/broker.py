"""The message broker: QoS 1 messages per second and latency over TLS, and the memory of idle connections.

Each device publishes with QoS 1 to a topic of its own, subscribed with QoS 1: a delivery is PUBLISH, PUBACK, PUBLISH,
PUBACK.  `stepbridge up` runs as its users run it: on disk, with its policies and its trace.
"""

import contextlib
import json
import resource
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import systems
from benchmarks.devices import Address, flow, idle
from benchmarks.table import Table
from stepbridge.testing import EmulatorProcess

SECONDS = 5.0
IDLE = 10_000
MANY = 500


@dataclass(frozen=True)
class Broker:
    """A running broker; `files` is how many open files a connection takes of one of its processes."""

    name: str
    pid: int
    address: Address
    files: int = 1

    def memory(self) -> float:
        """The memory of its processes in MiB."""
        return systems.System(self.name, 0, self.pid).memory()


def main() -> None:
    """Print the figures."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    columns = ["1 connection, msg/s", "one at a time, p50 ms", f"{MANY} connections, msg/s", f"{MANY}, p50 ms"]
    table = Table("broker", [*columns, "idle connection, KiB"])
    for name, start in BROKERS.items():
        try:
            with start() as broker:
                table.add(name, measure(broker))
        except (OSError, RuntimeError, TimeoutError) as error:
            print(f"{name} is left out: {error}")
    table.show()


def measure(broker: Broker) -> list[float | None]:
    """The figures of one broker."""
    alone = flow(broker.address, 1, 50, SECONDS)
    slow = flow(broker.address, 1, 1, SECONDS / 2)
    many = flow(broker.address, MANY, 1, SECONDS)
    before = broker.memory()
    count = min(IDLE, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // broker.files)
    connections = idle(broker.address, count)
    after = broker.memory()
    for connection in connections:
        connection.close()
    print(f"{broker.name}: {after:,.0f} MiB with {count:,} idle connections, {before:,.0f} MiB before")
    return [alone.rate, slow.latency, many.rate, many.latency, (after - before) * 1024 / count]


def stepbridge(*options: str) -> AbstractContextManager[Broker]:
    """The emulator."""

    @contextlib.contextmanager
    def running() -> Iterator[Broker]:
        with tempfile.TemporaryDirectory() as folder:
            emulator = EmulatorProcess(Path(folder), *options)
            emulator.start()
            try:
                iot = emulator.client("iot")
                context = device(iot, Path(folder))
                context.load_verify_locations(emulator.endpoints["root_ca"])
                yield Broker(
                    " ".join(["stepbridge", *options]),
                    emulator.pid,
                    Address("localhost", emulator.endpoints["mqtt_port"], context),
                    files=2 if options else 1,  # with a session on Mosquitto for each
                )
            finally:
                emulator.stop()

    return running()


def device(iot: Any, folder: Path) -> ssl.SSLContext:
    """A device that may do everything, of any emulator of AWS's `iot`."""
    made = iot.create_keys_and_certificate(setAsActive=True)
    statement = {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iot.create_policy(policyName="bench", policyDocument=document)
    iot.attach_policy(policyName="bench", target=made["certificateArn"])
    (folder / "device.pem").write_text(made["certificatePem"])
    (folder / "device.key").write_text(made["keyPair"]["PrivateKey"])
    return client_context(folder)


def client_context(folder: Path) -> ssl.SSLContext:
    """TLS for the device whose files are in `folder`; whose server it is does not matter here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(folder / "device.pem", folder / "device.key")
    return context


def mosquitto() -> AbstractContextManager[Broker]:
    """Plain Mosquitto, with mutual TLS and persistence as its manual has it."""

    @contextlib.contextmanager
    def running() -> Iterator[Broker]:
        binary = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
        if binary is None:
            raise RuntimeError("mosquitto is not installed (apt-get install mosquitto)")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            certificates(folder)
            port = systems.free_port()
            (folder / "mosquitto.conf").write_text(
                f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
                f"cafile {folder}/device.pem\ncertfile {folder}/device.pem\nkeyfile {folder}/device.key\n"
                f"require_certificate true\npersistence true\npersistence_location {folder}/\nuser root\n"
            )
            with systems.process([binary, "-c", str(folder / "mosquitto.conf")], {}) as process:
                systems.wait_for(port, process)
                yield Broker("mosquitto", process.pid, Address("localhost", port, client_context(folder)))

    return running()


def certificates(folder: Path) -> None:
    """One self-signed certificate that is its own authority, for both ends."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    files = ["-keyout", str(folder / "device.key"), "-out", str(folder / "device.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)


def ministack() -> AbstractContextManager[Broker]:
    """ministack."""

    @contextlib.contextmanager
    def running() -> Iterator[Broker]:
        import boto3

        with systems.ministack() as system, tempfile.TemporaryDirectory() as folder:
            iot = boto3.client(
                "iot",
                endpoint_url=f"http://127.0.0.1:{system.port}",
                region_name="us-east-1",
                aws_access_key_id="bench",
                aws_secret_access_key="bench",
            )
            context = device(iot, Path(folder))
            systems.wait_for(system.mqtt_port)
            yield Broker("ministack", system.pid, Address("localhost", system.mqtt_port, context))

    return running()


BROKERS: dict[str, Callable[[], AbstractContextManager[Broker]]] = {
    "stepbridge": stepbridge,
    "on mosquitto": lambda: stepbridge("--broker", "mosquitto"),
    "mosquitto": mosquitto,
    "ministack": ministack,
}
