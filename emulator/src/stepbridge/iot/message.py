"""A message that the broker has accepted, as the rest of IoT Core sees it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MessageProperties:
    """The MQTT 5 properties that travel with a message (MQTT 5.0 section 3.3.2.3)."""

    payload_is_utf8: bool | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    message_expiry: int | None = None  # seconds
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One accepted publish.

    `client_id` is None unless it came over MQTT.  `principal` is the certificate id of a device, or the user id of
    an IAM caller.  `time` is when it was accepted, in seconds since the epoch.  `republished` is how many rules in a
    row have published it again.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    time: float
    client_id: str | None = None
    principal: str | None = None
    source_ip: str | None = None
    trace_id: str | None = None
    properties: MessageProperties = field(default_factory=MessageProperties)
    republished: int = 0
