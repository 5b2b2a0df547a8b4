"""The properties of MQTT 5 that travel with a message, to and from the form the rest of IoT Core knows."""

from typing import Any

from stepbridge.iot.message import MessageProperties
from stepbridge.iot.mqtt import topics
from stepbridge.iot.mqtt.packets import Properties, Property
from stepbridge.iot.mqtt.reason import ProtocolError, ReasonCode

MAXIMUM_USER_PROPERTIES = 8192  # bytes, names and values together
MAXIMUM_CORRELATION_DATA = 8192
MAXIMUM_CONTENT_TYPE = 256
MAXIMUM_MESSAGE_EXPIRY = 604_800  # seconds


def check_properties(properties: Properties) -> None:
    """Raise ProtocolError if the properties of a message exceed a limit of AWS IoT Core."""
    user_properties = properties.get(Property.USER_PROPERTY, ())
    sizes = (
        (
            "user properties",
            sum(len(k.encode()) + len(v.encode()) for k, v in user_properties),
            MAXIMUM_USER_PROPERTIES,
        ),
        ("correlation data", len(properties.get(Property.CORRELATION_DATA, b"")), MAXIMUM_CORRELATION_DATA),
        ("content type", len(properties.get(Property.CONTENT_TYPE, "").encode()), MAXIMUM_CONTENT_TYPE),
    )
    for name, size, most in sizes:
        if size > most:
            text = f"it published a message with {size} bytes of {name}, the most is {most}"
            raise ProtocolError(ReasonCode.QUOTA_EXCEEDED, "AWS IoT Core quotas", text)
    response_topic = properties.get(Property.RESPONSE_TOPIC)
    if response_topic is not None:
        fault = topics.limit_fault(response_topic)
        if fault is not None:
            text = f"the response topic {response_topic!r}: {fault}"
            raise ProtocolError(ReasonCode.TOPIC_NAME_INVALID, "AWS IoT Core quotas", text)


def message_properties(properties: Properties) -> MessageProperties:
    """From the wire; the message expiry is brought into the limits of AWS IoT Core (1 second to 7 days)."""
    payload_is_utf8 = properties.get(Property.PAYLOAD_FORMAT_INDICATOR)
    expiry = properties.get(Property.MESSAGE_EXPIRY_INTERVAL)
    return MessageProperties(
        payload_is_utf8=None if payload_is_utf8 is None else bool(payload_is_utf8),
        content_type=properties.get(Property.CONTENT_TYPE),
        response_topic=properties.get(Property.RESPONSE_TOPIC),
        correlation_data=properties.get(Property.CORRELATION_DATA),
        message_expiry=None if expiry is None else min(max(expiry, 1), MAXIMUM_MESSAGE_EXPIRY),
        user_properties=properties.get(Property.USER_PROPERTY, ()),
    )


def publish_properties(properties: MessageProperties) -> dict[Property, Any]:
    """To the wire."""
    values: dict[Property, Any] = {}
    if properties.payload_is_utf8 is not None:
        values[Property.PAYLOAD_FORMAT_INDICATOR] = int(properties.payload_is_utf8)
    if properties.message_expiry is not None:
        values[Property.MESSAGE_EXPIRY_INTERVAL] = properties.message_expiry
    if properties.content_type is not None:
        values[Property.CONTENT_TYPE] = properties.content_type
    if properties.response_topic is not None:
        values[Property.RESPONSE_TOPIC] = properties.response_topic
    if properties.correlation_data is not None:
        values[Property.CORRELATION_DATA] = properties.correlation_data
    if properties.user_properties:
        values[Property.USER_PROPERTY] = properties.user_properties
    return values
