"""A broker on real TLS sockets, with a registry that a test fills by hand."""

import asyncio
import atexit
import datetime
import functools
import hashlib
import shutil
import ssl
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties

from stepbridge.clock import Clock, SystemClock
from stepbridge.iot.access import Admission, Connection, Decision
from stepbridge.iot.broker import Broker, EmbeddedCore
from stepbridge.iot.broker.core import Core
from stepbridge.iot.broker.mosquitto import MosquittoCore
from stepbridge.iot.broker.mosquitto_process import MosquittoProcess
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.codec import Decoder, encode
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Hop, Trace

T = TypeVar("T")
TIMEOUT = 30


class Registry:
    """An Access whose certificates and denials are plain attributes."""

    def __init__(self) -> None:
        self.active: set[str] = set()
        self.inactive: set[str] = set()
        self.denied: set[tuple[str, str]] = set()
        self.things: dict[str, str] = {}
        self.asked: list[tuple[Connection, str, str]] = []
        self.revoked: Callable[[str], object] = lambda principal: None

    def admit(self, certificate_der: bytes | None) -> Admission:
        if certificate_der is None:
            return Admission(None, "it presented no client certificate")
        certificate_id = hashlib.sha256(certificate_der).hexdigest()
        if certificate_id in self.active:
            return Admission(certificate_id)
        state = "INACTIVE" if certificate_id in self.inactive else "not registered"
        return Admission(None, f"its certificate {certificate_id} is {state}")

    def decide(self, connection: Connection, action: str, resource: str) -> Decision:
        self.asked.append((connection, action, resource))
        if (action, resource) in self.denied:
            return Decision(False, f"the test denies {action} on {resource}")
        return Decision(True, "the test allows it")

    def exclusive_thing(self, principal: str) -> str | None:
        return self.things.get(principal)

    async def prepare(self, access_key: str) -> None:
        """Every key will do."""

    def on_revocation(self, callback: Callable[[str], object]) -> None:
        self.revoked = callback


@dataclass
class Identity:
    """A certificate and its key, in files."""

    certificate_id: str
    certificate: Path
    key: Path


class Authority:
    """A CA; also signs certificates by themselves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test CA {folder.name}")])
        self.certificate = self._build(self._name, self._key.public_key(), self._name, self._key, ca=True)
        self.path = folder / "root.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _build(
        self, subject: Any, public: Any, issuer: Any, signer: Any, *, ca: bool, days: int = 1
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=10))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        return builder.sign(signer, hashes.SHA256())

    def issue(self, name: str, *, self_signed: bool = False, days: int = 1) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signer = (subject, key) if self_signed else (self._name, self._key)
        certificate = self._build(subject, key.public_key(), issuer, signer, ca=False, days=days)
        stem = f"{name}-{certificate.serial_number:x}"
        identity = Identity(
            certificate.fingerprint(hashes.SHA256()).hex(),
            self.folder / f"{stem}.pem",
            self.folder / f"{stem}.key",
        )
        identity.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        identity.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return identity


class Raw:
    """A client that sends what a test tells it to, well-formed or not."""

    def __init__(self, socket: ssl.SSLSocket, version: int) -> None:
        self.socket = socket
        self.version = version
        self._decoder = Decoder(version=version)
        self._packets: list[p.Packet] = []

    def send(self, *packets: p.Packet | bytes) -> None:
        self.socket.sendall(b"".join(x if isinstance(x, bytes) else encode(x, self.version) for x in packets))

    def receive(self) -> p.Packet | None:
        """The next packet, or None at the end of the connection."""
        while not self._packets:
            try:
                data = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return None
            if not data:
                return None
            self._packets += self._decoder.feed(data)
        return self._packets.pop(0)

    def connect(self, client_id: str, **options: Any) -> p.Packet | None:
        self.send(p.Connect(client_id, self.version, **options))
        return self.receive()

    def subscribe(self, *filters: str, qos: int = 1) -> tuple[int, ...]:
        self.send(p.Subscribe(1, tuple(p.Subscription(each, qos) for each in filters)))
        answer = self.receive()
        assert isinstance(answer, p.Suback), answer
        return answer.codes

    def close(self) -> None:
        self.socket.close()


@dataclass
class Inbox:
    """What a paho client has been told."""

    connected: threading.Event = field(default_factory=threading.Event)
    disconnected: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    messages: list[paho.MQTTMessage] = field(default_factory=list)
    reason: Any = None
    flags: Any = None

    def wait(self, count: int) -> list[paho.MQTTMessage]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.messages) >= count, TIMEOUT), (
                f"{len(self.messages)} of {count} messages came"
            )
            return list(self.messages)


class World:
    """A broker in a loop of its own thread, and what a test needs to meet it.

    `core` is the message core behind it: "embedded" or "mosquitto", which is then a Mosquitto of this world's own.
    """

    def __init__(self, folder: Path, core: str) -> None:
        self.core = core
        self.folder = folder
        self.mosquitto: MosquittoProcess | None = None
        self.authority = Authority(folder)
        self.registry = Registry()
        self.accepted: list[Message] = []
        self.hops: list[Hop] = []
        self.database = folder / "broker.db"
        self._server = self.authority.issue("localhost")
        self._told = threading.Condition()
        self._clients: list[paho.Client] = []
        self._sockets: list[Raw] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        if core == "mosquitto":
            self.call(self._start_mosquitto())
        self.start()
        self.device = self.register(self.authority.issue("device"))

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(TIMEOUT)

    async def _start_mosquitto(self) -> None:
        credentials = self.folder / "mosquitto"
        shutil.copytree(_mosquitto_credentials(), credentials)
        self.mosquitto = MosquittoProcess(credentials, lambda event, text: self._hop(Hop(0, "iot", event, text)))
        await self.mosquitto.start()

    def start(self, clock: Clock | None = None) -> None:
        async def begin() -> None:
            time = clock or SystemClock()
            self.store = Store(self.database)
            trace = Trace(time)
            trace.listen(self._hop)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._server.certificate, self._server.key)
            core: Core = EmbeddedCore(self.store, time, trace)
            if self.mosquitto is not None:
                core = MosquittoCore(self.store, time, trace, self.mosquitto.endpoint)
            settings = Settings(self.database.parent, mqtt_port=0)
            self.broker = Broker(settings, self.store, time, trace, self.registry, core, context, more_ports=(0,))
            self.broker.trust(self.authority.path.read_bytes())
            self.broker.listen(self._accept)
            await self.broker.start()

        self.call(begin())
        self.port = self.broker.ports[0]

    def stop(self) -> None:
        async def end() -> None:
            await self.broker.stop()
            self.store.close()

        self.call(end())

    def close(self) -> None:
        for client in self._clients:
            client.disconnect()
            client.loop_stop()
        for raw in self._sockets:
            raw.close()
        self.stop()
        if self.mosquitto is not None:
            self.call(self.mosquitto.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(TIMEOUT)
        self.loop.close()

    def register(self, identity: Identity, *, active: bool = True) -> Identity:
        (self.registry.active if active else self.registry.inactive).add(identity.certificate_id)
        pem = identity.certificate.read_bytes()
        self.loop.call_soon_threadsafe(self.broker.trust, pem)
        return identity

    def _accept(self, message: Message) -> None:
        if not message.topic.startswith("$aws/events/"):
            self.accepted.append(message)

    def _hop(self, hop: Hop) -> None:
        with self._told:
            self.hops.append(hop)
            self._told.notify_all()

    def told(self, event: str, containing: str = "") -> str:
        """The text of the first hop of this kind that contains a string; waits for it."""

        def find() -> str | None:
            return next((h.text for h in self.hops if h.event == event and containing in h.text), None)

        with self._told:
            text = self._told.wait_for(find, TIMEOUT)
            assert text, f"no {event} with {containing!r} among {[(h.event, h.text) for h in self.hops]}"
            return text

    def tls(self, identity: Identity | None, alpn: str | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.path))
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.key)
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        return context

    def raw(
        self,
        identity: Identity | None = None,
        *,
        version: int = p.MQTT_3_1_1,
        context: ssl.SSLContext | None = None,
        port: int | None = None,
    ) -> Raw:
        import socket

        plain = socket.create_connection(("127.0.0.1", port or self.port), timeout=TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wrapped = (context or self.tls(identity or self.device)).wrap_socket(plain, server_hostname="localhost")
        raw = Raw(wrapped, version)
        self._sockets.append(raw)
        return raw

    def connected(self, client_id: str, *, version: int = p.MQTT_3_1_1, **options: Any) -> Raw:
        """A raw client that has its CONNACK."""
        raw = self.raw(version=version)
        answer = raw.connect(client_id, **options)
        assert isinstance(answer, p.Connack), answer
        assert answer.code == 0, answer
        return raw

    def client(
        self,
        client_id: str,
        *,
        version: int = p.MQTT_3_1_1,
        clean: bool = True,
        connect_properties: Properties | None = None,
        prepare: Callable[[paho.Client], object] = lambda client: None,
    ) -> tuple[paho.Client, Inbox]:
        """A paho client that is connected."""
        inbox = Inbox()
        options: dict[str, Any] = {} if version == p.MQTT_5 else {"clean_session": clean}
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=version, **options)  # type: ignore[arg-type]
        client.tls_set_context(self.tls(self.device))

        def on_connect(client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
            inbox.reason, inbox.flags = reason, flags
            inbox.connected.set()

        def on_message(client: Any, data: Any, message: paho.MQTTMessage) -> None:
            with inbox.arrived:
                inbox.messages.append(message)
                inbox.arrived.notify_all()

        client.on_connect = on_connect
        client.on_message = on_message
        client.on_disconnect = lambda *arguments: inbox.disconnected.set()
        prepare(client)
        if version == p.MQTT_5:
            client.connect("localhost", self.port, clean_start=clean, properties=connect_properties)
        else:
            client.connect("localhost", self.port)
        client.loop_start()
        self._clients.append(client)
        assert inbox.connected.wait(TIMEOUT), "no CONNACK"
        return client, inbox

    def subscribe(self, client: paho.Client, *filters: str, qos: int = 1) -> list[int]:
        """Subscribe with paho and wait for the SUBACK; its codes."""
        done = threading.Event()
        codes: list[int] = []

        def on_subscribe(client: Any, data: Any, mid: int, reasons: Any, properties: Any) -> None:
            codes.extend(each.value for each in reasons)
            done.set()

        client.on_subscribe = on_subscribe
        client.subscribe([(each, qos) for each in filters])
        assert done.wait(TIMEOUT), "no SUBACK"
        return codes


@functools.cache
def _mosquitto_credentials() -> Path:
    """The certificates of all Mosquittos of this run of the tests: RSA keys take their time."""
    folder = Path(tempfile.mkdtemp(prefix="stepbridge-test-"))
    atexit.register(shutil.rmtree, folder)
    MosquittoProcess(folder, lambda event, text: None)
    return folder


@pytest.fixture(params=["embedded", "mosquitto"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, request.param)
    yield world
    world.close()
