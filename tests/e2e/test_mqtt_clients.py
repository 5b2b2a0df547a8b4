"""What AWS IoT Core does, as real clients see it: one table of behaviours, and every client in it.

The clients are adapted in `clients/`; what cannot be told from one of them is said in `_UNKNOWABLE`.
"""

import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.clients.awscrt_client import (
    AwscrtClient,
    AwscrtClient5,
    AwscrtWebSocketClient,
    AwscrtWebSocketClient5,
)
from tests.e2e.clients.base import WAIT, Client, Endpoint, Received, RefusedError
from tests.e2e.clients.mosquitto_client import MosquittoClient, MosquittoClient5
from tests.e2e.clients.mqttjs_client import MqttJsClient, MqttJsClient5, MqttJsWebSocketClient
from tests.e2e.clients.paho_client import PahoClient, PahoClient5
from tests.e2e.harness import allow, create_device

from stepbridge.testing import EmulatorProcess

CLIENTS: list[type[Client]] = [
    PahoClient,
    PahoClient5,
    AwscrtClient,
    AwscrtClient5,
    AwscrtWebSocketClient,
    AwscrtWebSocketClient5,
    MosquittoClient,
    MosquittoClient5,
    MqttJsClient,
    MqttJsClient5,
    MqttJsWebSocketClient,
]


class Scene:
    """An emulator, and clients of one kind in front of it.  A name is a client's and a topic's own in each test."""

    def __init__(self, emulator: EmulatorProcess, endpoint: Endpoint, kind: type[Client]) -> None:
        self.emulator = emulator
        self.endpoint = endpoint
        self.kind = kind
        self.name = f"c-{uuid.uuid4().hex[:12]}"
        self.topic = f"ok/{self.name}"
        self._clients: list[Client] = []

    def client(self, client_id: str | None = None, kind: type[Client] | None = None, **options: Any) -> Client:
        self._clients.append((kind or self.kind)(self.endpoint, client_id or self.name, **options))
        return self._clients[-1]

    def observer(self) -> Client:
        """A client of a known kind, at the other end."""
        observer = self.client(f"{self.name}-observer", PahoClient)
        observer.connect()
        return observer

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture(scope="module", params=["embedded", "mosquitto"])
def emulator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An emulator on each of the message cores."""
    emulator = EmulatorProcess(tmp_path_factory.mktemp(request.param), "--memory", f"--broker={request.param}")
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture(scope="module")
def endpoint(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Endpoint:
    """A device that may connect as `c-…`, and do everything on `ok/…`."""
    return make_endpoint(emulator, tmp_path_factory.mktemp("clients"))


def make_endpoint(emulator: EmulatorProcess, folder: Path) -> Endpoint:
    policy = allow(
        emulator,
        Connect="client/c-*",
        Publish="topic/ok/*",
        RetainPublish="topic/ok/*",
        Subscribe="topicfilter/ok/*",
        Receive="topic/ok/*",
    )
    files = create_device(emulator, folder, policy)
    endpoints = emulator.endpoints
    return Endpoint(
        endpoints["mqtt_host"],
        endpoints["mqtt_port"],
        endpoints["region"],
        files["certificate"],
        files["key"],
        files["root"],
    )


def round_trip_with_qos_0(scene: Scene) -> None:
    client = scene.client()
    client.connect()
    client.subscribe(scene.topic, 0)
    client.publish(scene.topic, b"hello", 0)
    assert client.next() == Received(scene.topic, b"hello", False)


def round_trip_with_qos_1(scene: Scene) -> None:
    client = scene.client()
    assert not client.connect()
    client.subscribe(scene.topic + "/#", 1)
    for number in range(3):
        client.publish(f"{scene.topic}/{number}", b'{"a": "\xc3\xa4"}', 1)
    for number in range(3):
        assert client.next() == Received(f"{scene.topic}/{number}", b'{"a": "\xc3\xa4"}', False)


def retained_message(scene: Scene) -> None:
    writer = scene.client()
    writer.connect()
    writer.publish(scene.topic, b"kept", 1, retain=True)
    reader = scene.client(f"{scene.name}-reader")
    reader.connect()
    reader.subscribe(scene.topic, 1)
    assert reader.next() == Received(scene.topic, b"kept", True)


def persistent_session(scene: Scene) -> None:
    first = scene.client(clean=False)
    assert not first.connect()
    first.subscribe(scene.topic, 1)
    first.close()
    scene.observer().publish(scene.topic, b"while away", 1)
    second = scene.client(clean=False)
    assert second.connect(resumed=scene.topic) is not False
    assert second.next() == Received(scene.topic, b"while away", False)


def last_will(scene: Scene) -> None:
    observer = scene.observer()
    observer.subscribe(scene.topic, 1)
    client = scene.client(will=(scene.topic, b"gone"))
    client.connect()
    client.subscribe(f"{scene.topic}/other", 1)
    scene.emulator.client("iot-data").delete_connection(clientId=scene.name)
    assert observer.next() == Received(scene.topic, b"gone", False)


def no_will_after_a_farewell(scene: Scene) -> None:
    observer = scene.observer()
    observer.subscribe(scene.topic, 1)
    client = scene.client(will=(scene.topic, b"gone"))
    client.connect()
    client.subscribe(f"{scene.topic}/other", 1)
    client.close()
    observer.publish(scene.topic, b"not gone", 1)
    assert observer.next().payload == b"not gone"


def refused_connect(scene: Scene) -> None:
    client = scene.client(f"stranger-{scene.name}")
    with pytest.raises(RefusedError):
        client.connect(resumed=scene.topic)


def refused_subscribe(scene: Scene) -> None:
    client = scene.client()
    client.connect()
    with pytest.raises(RefusedError):
        client.subscribe(f"no/{scene.name}", 1)


def refused_publish(scene: Scene) -> None:
    client = scene.client()
    client.connect()
    with pytest.raises(RefusedError):
        client.publish(f"no/{scene.name}", b"hello", 1)
    assert client.ended.wait(WAIT), "an unauthorised PUBLISH closes the connection"


def takeover(scene: Scene) -> None:
    first = scene.client()
    first.connect()
    second = scene.client()
    second.connect()
    assert first.ended.wait(WAIT), "the newest connection with a client id wins"
    second.publish(scene.topic, b"still here", 1)


Behaviour = Callable[[Scene], None]
BEHAVIOURS: list[Behaviour] = [
    round_trip_with_qos_0,
    round_trip_with_qos_1,
    retained_message,
    persistent_session,
    last_will,
    no_will_after_a_farewell,
    refused_connect,
    refused_subscribe,
    refused_publish,
    takeover,
]

_SIGNED = (AwscrtWebSocketClient, AwscrtWebSocketClient5, MqttJsWebSocketClient)
_MOSQUITTO = (MosquittoClient, MosquittoClient5)
_UNKNOWABLE: dict[Behaviour, tuple[type[Client], ...]] = {
    # A user's own credentials are not restricted: there is nothing to refuse.
    refused_connect: _SIGNED,
    refused_subscribe: _SIGNED,
    refused_publish: _SIGNED,
    # With MQTT 5 and a will, mosquitto_sub's farewell is 0x04, "disconnect with will message".
    no_will_after_a_farewell: (MosquittoClient5,),
    # mosquitto_sub connects again at once, without a word: two of them would take over from each other for ever.
    takeover: _MOSQUITTO,
}


@pytest.mark.parametrize(
    ("kind", "behaviour"),
    [
        pytest.param(kind, behaviour, id=f"{kind.__name__}-{behaviour.__name__}")
        for kind in CLIENTS
        for behaviour in BEHAVIOURS
        if kind not in _UNKNOWABLE.get(behaviour, ())
    ],
)
def test_behaviour(emulator: EmulatorProcess, endpoint: Endpoint, kind: type[Client], behaviour: Behaviour) -> None:
    scene = Scene(emulator, endpoint, kind)
    try:
        behaviour(scene)
    finally:
        scene.close()


@pytest.fixture(scope="module")
def emulator_on_443(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An emulator that has been asked for port 443, if this process may have it."""
    try:
        socket.create_server(("127.0.0.1", 443)).close()
    except OSError as error:
        pytest.skip(f"port 443 cannot be had here: {error}")
    emulator = EmulatorProcess(tmp_path_factory.mktemp("port-443"), "--memory", "--port-443")
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.mark.parametrize("kind", [AwscrtClient, AwscrtClient5, AwscrtWebSocketClient, AwscrtWebSocketClient5])
def test_the_sdk_finds_port_443_by_itself(emulator_on_443: EmulatorProcess, tmp_path: Path, kind: type[Client]) -> None:
    assert "and 443" in emulator_on_443.log.read_text()
    endpoint = make_endpoint(emulator_on_443, tmp_path)
    scene = Scene(emulator_on_443, replace(endpoint, port=None), kind)
    try:
        round_trip_with_qos_1(scene)
    finally:
        scene.close()
