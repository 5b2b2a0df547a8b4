"""The iot-data API: publishing over HTTP, and the retained messages (AWS IoT Core data plane)."""

import base64
import binascii
import json
from typing import Any, ClassVar, NoReturn

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members, Service
from stepbridge.clock import Clock
from stepbridge.iot.broker import Broker
from stepbridge.iot.message import Message, MessageProperties
from stepbridge.iot.mqtt import topics
from stepbridge.iot.mqtt.properties import (
    MAXIMUM_CONTENT_TYPE,
    MAXIMUM_CORRELATION_DATA,
    MAXIMUM_MESSAGE_EXPIRY,
    MAXIMUM_USER_PROPERTIES,
)
from stepbridge.iot.mqtt.session import MAXIMUM_PAYLOAD
from stepbridge.iot.pages import read_token, write_token

_PAGE = 200  # retained topics in one answer, unless the caller wants fewer


class IotDataService(Service):
    """Publish, read retained messages, disconnect clients."""

    service_name: ClassVar[str] = "iot-data"

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock

    async def publish(self, caller: Caller, request: Members) -> Members:
        """Publish a message to the broker; answers when it is safe.  Raises InvalidRequestException."""
        try:
            message = self._message(caller, request)
        except AwsError as error:
            self._broker.refused(caller.principal or caller.source_ip, request["topic"], error.message)
            raise
        await self._broker.publish(message)
        return {}

    def _message(self, caller: Caller, request: Members) -> Message:
        topic: str = request["topic"]
        payload: bytes = request.get("payload", b"")
        retain: bool = request.get("retain", False)
        _check_topic(topic, "topic")
        if topic.startswith("$") and not topics.may_publish(topic):
            _invalid(f"The topic {topic} {topics.reservation(topic)}.")
        if retain and topic.startswith("$"):
            _invalid(f"A message on the reserved topic {topic} cannot be retained.")
        if len(payload) > MAXIMUM_PAYLOAD:
            _invalid(f"The payload has {len(payload)} bytes; the most is {MAXIMUM_PAYLOAD} (128 KB).")
        return Message(
            topic=topic,
            payload=payload,
            qos=request.get("qos", 0),
            retain=retain,
            time=self._clock.now(),
            principal=caller.principal,
            source_ip=caller.source_ip,
            properties=_properties(request),
        )

    async def delete_connection(self, caller: Caller, request: Members) -> Members:
        """Disconnect a client.  Raises ResourceNotFoundException if it is not connected."""
        found = self._broker.disconnect(
            request["clientId"],
            clean_session=request.get("cleanSession", False),
            prevent_will=request.get("preventWillMessage", False),
        )
        if not found:
            raise AwsError("ResourceNotFoundException", f"The client {request['clientId']} is not connected.")
        return {}

    async def get_retained_message(self, caller: Caller, request: Members) -> Members:
        """The retained message of a topic.  Raises ResourceNotFoundException."""
        message = await self._broker.retained(request["topic"])
        if message is None:
            raise AwsError("ResourceNotFoundException", f"No retained message found for topic {request['topic']}.")
        answer: Members = {
            "topic": message.topic,
            "payload": message.payload,
            "qos": message.qos,
            "lastModifiedTime": int(message.time * 1000),
        }
        if message.properties.user_properties:
            pairs = [{name: value} for name, value in message.properties.user_properties]
            answer["userProperties"] = json.dumps(pairs, separators=(",", ":")).encode()
        return answer

    async def list_retained_messages(self, caller: Caller, request: Members) -> Members:
        """The topics that have a retained message, by topic, a page at a time."""
        found = await self._broker.retained_topics()
        if (token := request.get("nextToken")) is not None:
            try:
                after = str(read_token(token))
            except ValueError:
                _invalid("The nextToken is not one that ListRetainedMessages has answered.")
            found = [each for each in found if each[0] > after]
        page = found[: request.get("maxResults", _PAGE)]
        answer: Members = {
            "retainedTopics": [
                {"topic": topic, "payloadSize": size, "qos": qos, "lastModifiedTime": int(time * 1000)}
                for topic, size, qos, time in page
            ]
        }
        if len(page) < len(found):
            answer["nextToken"] = write_token(page[-1][0])
        return answer


def _invalid(message: str) -> NoReturn:
    raise AwsError("InvalidRequestException", message)


def _check_topic(topic: str, what: str) -> None:
    if not topic:
        _invalid(f"The {what} is empty.")
    if topics.has_wildcard(topic) or "\0" in topic:
        _invalid(f"The {what} {topic} must not contain + or # or the null character.")
    if (fault := topics.limit_fault(topic)) is not None:
        _invalid(f"The {what} {topic} is not valid: {fault}.")


def _properties(request: Members) -> MessageProperties:
    content_type: str | None = request.get("contentType")
    if content_type is not None and len(content_type.encode()) > MAXIMUM_CONTENT_TYPE:
        _invalid(f"The contentType has more than {MAXIMUM_CONTENT_TYPE} bytes.")
    response_topic: str | None = request.get("responseTopic")
    if response_topic is not None:
        _check_topic(response_topic, "responseTopic")
    expiry: int | None = request.get("messageExpiry")
    if expiry is not None and not 1 <= expiry <= MAXIMUM_MESSAGE_EXPIRY:
        _invalid(f"The messageExpiry must be between 1 and {MAXIMUM_MESSAGE_EXPIRY} seconds.")
    indicator: str | None = request.get("payloadFormatIndicator")
    return MessageProperties(
        payload_is_utf8=None if indicator is None else indicator == "UTF8_DATA",
        content_type=content_type,
        response_topic=response_topic,
        correlation_data=_correlation_data(request.get("correlationData")),
        message_expiry=expiry,
        user_properties=_user_properties(request.get("userProperties")),
    )


def _correlation_data(encoded: str | None) -> bytes | None:
    if encoded is None:
        return None
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        _invalid("The correlationData is not base64.")
    if len(data) > MAXIMUM_CORRELATION_DATA:
        _invalid(f"The correlationData has more than {MAXIMUM_CORRELATION_DATA} bytes.")
    return data


def _user_properties(given: Any) -> tuple[tuple[str, str], ...]:
    """From a list of objects with one member each; the value of a member may be a list (one pair for each)."""
    if given is None:
        return ()
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            _invalid("The userProperties are not JSON.")
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        _invalid('The userProperties must be an array of objects, such as [{"name": "value"}].')
    pairs: list[tuple[str, str]] = []
    for each in given:
        for name, value in each.items():
            for single in value if isinstance(value, list) else [value]:
                if not isinstance(single, str):
                    _invalid(f"The value of the user property {name} must be a string.")
                pairs.append((name, single))
    if sum(len(name.encode()) + len(value.encode()) for name, value in pairs) > MAXIMUM_USER_PROPERTIES:
        _invalid(f"The userProperties have more than {MAXIMUM_USER_PROPERTIES} bytes.")
    return tuple(pairs)
