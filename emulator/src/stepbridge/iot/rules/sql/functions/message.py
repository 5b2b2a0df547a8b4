"""Functions about the message and where it came from."""

from uuid import UUID

from stepbridge.iot.rules.sql.evaluation import Frame
from stepbridge.iot.rules.sql.values import UNDEFINED, Value, to_int


def timestamp(frame: Frame) -> Value:
    """Milliseconds since the epoch."""
    return frame.evaluation.input.timestamp


def newuuid(frame: Frame) -> Value:
    """A random UUID."""
    return str(UUID(int=frame.evaluation.random().getrandbits(128), version=4))


def accountid(frame: Frame) -> Value:
    """The account that the rule belongs to."""
    return frame.evaluation.input.account


def sql_version(frame: Frame) -> Value:
    """The version that the rule states."""
    return frame.evaluation.version


def topic(frame: Frame, *position: Value) -> Value:
    """The topic, or one of its levels counted from 1."""
    name = frame.evaluation.input.topic
    if not position:
        return name
    index = to_int(position[0])
    levels = name.split("/")
    return levels[index - 1] if index is not None and 1 <= index <= len(levels) else UNDEFINED


def clientid(frame: Frame) -> Value:
    """The MQTT client id, `n/a` if the message did not come over MQTT."""
    client = frame.evaluation.input.client_id
    return "n/a" if client is None else client


def traceid(frame: Frame) -> Value:
    """The trace id of the MQTT message."""
    return _or_undefined(frame.evaluation.input.trace_id)


def principal(frame: Frame) -> Value:
    """The certificate or IAM identity that published."""
    return _or_undefined(frame.evaluation.input.principal)


def sourceip(frame: Frame) -> Value:
    """The address that the message came from."""
    return _or_undefined(frame.evaluation.input.source_ip)


def get_mqtt_property(frame: Frame, name: Value) -> Value:
    """A property of the MQTT 5 message."""
    properties = frame.evaluation.input.properties
    if name == "format_indicator":
        return properties.format_indicator or "UNSPECIFIED_BYTES"
    if name in ("content_type", "response_topic", "correlation_data"):
        return _or_undefined(getattr(properties, str(name)))
    return UNDEFINED


def get_user_properties(frame: Frame, *key: Value) -> Value:
    """The values of a user property, or all user properties as `{key: value}` each."""
    properties = frame.evaluation.input.properties.user_properties
    if not key:
        return [{name: value} for name, value in properties] or UNDEFINED
    return [value for name, value in properties if name == key[0]] or UNDEFINED


def _or_undefined(value: str | None) -> Value:
    return UNDEFINED if value is None else value
