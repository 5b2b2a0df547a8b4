"""Who may do what on the message broker: the question the device gateway asks, and the form of the answer.

The registry answers it (:mod:`stepbridge.iot.registry`); the gateway knows no more of certificates and policies than
is written here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to a client certificate: a principal, or the reason why there is none.

    `principal` is the certificate id (64 hexadecimal digits) of a registered and ACTIVE certificate, or the access key
    of a caller who has `signed` the request (Signature Version 4).
    """

    principal: str | None
    reason: str = ""
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Connection:
    """An MQTT connection as policies see it; for HTTPS requests and SigV4 callers `client_id` is None."""

    principal: str
    client_id: str | None
    source_ip: str
    persistent: bool = False  # CONNECT with clean session 0, or a session expiry above 0: iot:ConnectAttributes
    last_will_topic: str | None = None
    signed: bool = False  # by IAM credentials; `principal` is the access key then
    domain_name: str | None = None  # the name of ours that the client asked for in the TLS handshake


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an action is allowed, and a sentence that names the statement that decides or what is missing."""

    allowed: bool
    reason: str


class Access(Protocol):
    """What the gateway asks."""

    def admit(self, certificate_der: bytes | None) -> Admission:
        """Whether the holder of this client certificate (already proven by TLS) may go on to CONNECT."""
        ...

    def exclusive_thing(self, principal: str) -> str | None:
        """The thing that a certificate (by id) is attached to exclusively, if it is so to any."""
        ...

    def decide(self, connection: Connection, action: str, resource: str) -> Decision:
        """Whether `action` (`iot:Publish`, …) is allowed on `resource` (`topic/a/b`, `topicfilter/a/#`, `client/x`)."""
        ...

    async def prepare(self, access_key: str) -> None:
        """Return when `decide` can be asked about a caller who signs with this key."""
        ...

    def on_revocation(self, callback: Callable[[str], object]) -> None:
        """Call `callback` with a certificate id that has ceased to be valid, so that its connections are closed."""
        ...


class SignedCallers(Protocol):
    """What IAM callers may do on a connection, by their access keys: IAM's answer, not that of AWS IoT policies."""

    async def prepare(self, access_key: str) -> None:
        """See :meth:`Access.prepare`."""
        ...

    def decide(self, connection: Connection, action: str, resource: str) -> Decision:
        """Whether a caller may do `action` (`iot:Publish`) on the ARN `resource`."""
        ...
