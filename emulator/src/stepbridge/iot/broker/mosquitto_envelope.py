"""How a message travels through Mosquitto, and back.

It goes as what it is, topic, payload and properties, with one more user property, the first: what the gateway must
know when Mosquitto hands the message out again, and what a receiver may not be told.  A message that somebody put on
Mosquitto directly has none and is taken as it comes.

Mosquitto refuses control characters and noncharacters in strings, which MQTT and AWS let through (MQTT 5.0 section
1.5.4 leaves it to the server): they are written as U+E000, their number and a semicolon.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from stepbridge.iot.message import Message
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.packets import Property
from stepbridge.iot.mqtt.properties import message_properties, publish_properties

_TAG = "stepbridge"
_PLANE_ENDS = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_REFUSED = re.compile(f"[\x01-\x1f\x7f-\x9f\ue000\ufdd0-\ufdef{_PLANE_ENDS}]")
_WRITTEN = re.compile("\ue000([0-9a-f]+);")
_STRINGS = (Property.CONTENT_TYPE, Property.RESPONSE_TOPIC)


def escape(text: str) -> str:
    """A string as Mosquitto takes it."""
    return _REFUSED.sub(lambda found: f"\ue000{ord(found[0]):x};", text)


def unescape(text: str) -> str:
    """The string that :func:`escape` was given."""
    return _WRITTEN.sub(lambda found: chr(int(found[1], 16)), text) if "\ue000" in text else text


def wire_filter(topic_filter: str) -> str:
    """A filter (without `$share/…`) that means to Mosquitto what `topic_filter` means to AWS.

    By MQTT `sensor/#` matches `sensor` too, on AWS it does not; `sensor/+/#` is what says that.
    """
    return escape(f"{topic_filter[:-1]}+/#" if topic_filter.endswith("/#") else topic_filter)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message from Mosquitto.  `number` tells the copies of one message from the next message; None: unknown."""

    message: Message
    number: str | None


def pack(message: Message, number: str, qos: int, retain: bool, topic: str | None = None) -> p.Publish:
    """The PUBLISH that carries `message`, on another `topic` if one is given; the packet identifier is not set."""
    properties = publish_properties(message.properties)
    for name in _STRINGS:
        if name in properties:
            properties[name] = escape(properties[name])
    tag = [
        number,
        message.time,
        message.qos,
        message.retain,
        message.properties.message_expiry,
        message.client_id,
        None if topic is None else message.topic,
    ]
    users = tuple((escape(name), escape(value)) for name, value in message.properties.user_properties)
    properties[Property.USER_PROPERTY] = ((_TAG, json.dumps(tag, separators=(",", ":"))), *users)
    return p.Publish(
        escape(message.topic) if topic is None else topic, message.payload, qos, retain, properties=properties
    )


def unpack(packet: p.Publish, now: Callable[[], float]) -> Arrival:
    """What `packet` carries."""
    users: tuple[tuple[str, str], ...] = packet.properties.get(Property.USER_PROPERTY, ())
    properties = dict(packet.properties)
    for name in _STRINGS:
        if name in properties:
            properties[name] = unescape(properties[name])
    carried = message_properties(properties)
    topic = unescape(packet.topic)
    if not users or users[0][0] != _TAG:
        return Arrival(Message(topic, packet.payload, packet.qos, packet.retain, now(), properties=carried), None)
    tag: list[Any] = json.loads(users[0][1])
    number, time, qos, retain, expiry, client_id, original = tag
    carried = replace(
        carried,
        message_expiry=expiry,
        user_properties=tuple((unescape(name), unescape(value)) for name, value in users[1:]),
    )
    message = Message(
        topic=topic if original is None else original,
        payload=packet.payload,
        qos=qos,
        retain=retain,
        time=time,
        client_id=client_id,
        properties=carried,
    )
    return Arrival(message, number)
