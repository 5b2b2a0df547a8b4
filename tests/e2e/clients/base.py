"""What a test asks of any MQTT client, whoever wrote it."""

import abc
import queue
import threading
from dataclasses import dataclass

WAIT = 30.0


class RefusedError(Exception):
    """The broker did not let the client do it, as this client tells its user."""


@dataclass(frozen=True)
class Endpoint:
    """Where the broker is, and the files of a device that it knows.  Without `port`, the client's own default."""

    host: str
    port: int | None
    region: str
    certificate: str
    key: str
    root: str


@dataclass(frozen=True)
class Received:
    """A message as the client's user gets it."""

    topic: str
    payload: bytes
    retain: bool


class Client(abc.ABC):
    """One connection of an MQTT client.  `clean` False asks for a session that outlives it."""

    def __init__(
        self, endpoint: Endpoint, client_id: str, *, clean: bool = True, will: tuple[str, bytes] | None = None
    ) -> None:
        self.endpoint = endpoint
        self.client_id = client_id
        self.clean = clean
        self.will = will
        self.inbox: queue.Queue[Received] = queue.Queue()
        self.ended = threading.Event()  # the connection is gone, and not because we closed it

    @abc.abstractmethod
    def connect(self, *, resumed: str | None = None) -> bool | None:
        """Connect; whether there was a session, None if this client does not tell.  Raises RefusedError.

        `resumed` is a filter that the session has already, for clients that cannot connect without naming one.
        """

    @abc.abstractmethod
    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Return when the broker has granted it.  Raises RefusedError."""

    @abc.abstractmethod
    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        """Publish; with QoS 1, return when it is acknowledged.  Raises RefusedError if the connection ends instead."""

    @abc.abstractmethod
    def close(self) -> None:
        """Disconnect as one should; also after a failure."""

    def next(self) -> Received:
        """The next message."""
        try:
            return self.inbox.get(timeout=WAIT)
        except queue.Empty:
            raise AssertionError(f"{self.client_id} got no message within {WAIT} s") from None
