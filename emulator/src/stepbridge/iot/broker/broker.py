"""The message broker as the rest of the emulator sees it."""

import ssl
from collections.abc import Callable, Sequence

from stepbridge.clock import Clock
from stepbridge.iot.access import Access
from stepbridge.iot.broker.core import Core, CoreSession, Safe
from stepbridge.iot.broker.gateway import Gateway
from stepbridge.iot.broker.https import AnswerHttp
from stepbridge.iot.broker.lifecycle import EVENTS
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt.topics import basic_ingest_rule
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace


class Broker:
    """AWS IoT Core's message broker.

    `context` has the server's certificate; `more_ports` are listened on beside `settings.mqtt_port` (443, say).
    After :meth:`start`, `ports` are those listened on, the MQTT port first.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        trace: Trace,
        access: Access,
        core: Core,
        context: ssl.SSLContext,
        more_ports: Sequence[int] = (),
    ) -> None:
        self._settings = settings
        self._store = store
        self._trace = trace
        self._core = core
        self._more_ports = more_ports
        self._listeners: list[Callable[[Message], object]] = []
        self._gateway = Gateway(clock, trace, access, core, context, self._accept, settings.region)
        self.ports: list[int] = []
        access.on_revocation(self._gateway.revoke)

    async def start(self) -> None:
        """Take up what was stored, and listen.

        A port that is taken is replaced by a free one; `ports` tells which.  Raises OSError if the host is not ours.
        """
        await self._core.start()
        settings = self._settings
        self.ports = await self._gateway.start(
            settings.mqtt_host or settings.host, settings.mqtt_port, self._more_ports
        )

    async def stop(self) -> None:
        """Close all connections; what is acknowledged is stored."""
        await self._gateway.stop()
        await self._core.stop()

    def trust(self, certificate: str | bytes) -> None:
        """A certificate was registered (PEM or DER): let its holder through the TLS handshake.

        Also for a CA: then those it has signed come as far as :meth:`Access.admit`.
        """
        self._gateway.trust(certificate)

    def serve_http(self, answer: AnswerHttp) -> None:
        """Answer the HTTPS requests that come on the device port; `answer` never raises."""
        self._gateway.answer_http = answer

    def listen(self, listener: Callable[[Message], object]) -> None:
        """Call `listener` with each accepted message, from any source; it must only take note."""
        self._listeners.append(listener)

    def accept(self, message: Message) -> Safe:
        """Accept a message from inside at once; the answer is done, or None, when it is safe."""
        return self._accept(message, None)

    async def publish(self, message: Message) -> None:
        """Accept a message from inside (iot-data, the republish action); returns when it is safe."""
        safe = self.accept(message)
        if safe is not None:
            await safe
        await self._store.committed()

    def refused(self, who: str, topic: str, reason: str) -> None:
        """Tell that a message is not accepted, for whoever would have handed it to :meth:`publish`."""
        text = f"{who} may not publish to {topic}: {reason}"
        self._trace.emit("iot", "publish-refused", text, topic=topic, principal=who, reason=reason)

    def disconnect(self, client_id: str, *, clean_session: bool = False, prevent_will: bool = False) -> bool:
        """Close a client's connection, with `clean_session` also its session; whether it was connected."""
        return self._gateway.disconnect(client_id, clean_session=clean_session, prevent_will=prevent_will)

    async def retained(self, topic: str) -> Message | None:
        """The retained message of a topic."""
        return await self._core.retained(topic)

    async def retained_topics(self) -> list[tuple[str, int, int, float]]:
        """Topic, payload size in bytes, QoS and time (seconds since the epoch) of each retained message."""
        return await self._core.retained_topics()

    def _accept(self, message: Message, session: CoreSession | None) -> Safe:
        if not message.topic.startswith(EVENTS):  # what these tell has a line of its own
            self._tell(message)
        safe: Safe = None
        # Basic Ingest goes to the rule and to nobody else (AWS IoT developer guide, "Basic Ingest").
        if basic_ingest_rule(message.topic) is None:
            safe = self._core.publish(message) if session is None else session.publish(message)
        # After the subscribers: what a listener answers comes after what it answers to.  What it stores in this turn
        # of the loop is committed with the message.
        for listener in self._listeners:
            listener(message)
        return self._store.pending_commit() if safe is None else safe

    def _tell(self, message: Message) -> None:
        self._trace.emit(
            "iot",
            "publish",
            f"{message.client_id or message.principal or 'the emulator'} → {message.topic}, "
            f"{len(message.payload)} bytes",
            topic=message.topic,
            client_id=message.client_id,
            principal=message.principal,
            size=len(message.payload),
            qos=message.qos,
            retain=message.retain,
        )
