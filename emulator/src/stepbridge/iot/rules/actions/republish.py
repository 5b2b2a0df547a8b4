"""republish: publishes the output to another topic (developerguide/republish-rule-action.html)."""

import base64
import re
from collections.abc import Mapping

from stepbridge.iot.message import Message, MessageProperties
from stepbridge.iot.mqtt.topics import limit_fault
from stepbridge.iot.rules.actions.base import (
    Action,
    ActionError,
    Delivery,
    Members,
    RefusedMemberError,
    TemplateCompiler,
)

_JOBS = re.compile(r"\$aws/things/[^/]*/jobs/")
_MAX_EXPIRY = 604_800  # seconds
# Rules that republish to what they select from would go on for ever: on AWS too, where it is the bill that ends it.
_MAX_REPUBLISHED = 100


class RepublishAction(Action):
    """A reserved topic is written `$$aws/…`, since `$` begins a substitution template."""

    name = "republish"
    service = "AWSIoT"
    failure = "Failed to republish to topic"
    target_member = "topic"
    target_label = "Target Topic"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__(members, compile_template)
        text = self.target.text
        if text.startswith("$") and not text.startswith(("$$", "${")):
            raise RefusedMemberError("topic", f"a reserved topic is written with two dollars, ${text}")
        if self.target.is_constant and (fault := _topic_fault(_unescaped(text))):
            raise RefusedMemberError("topic", f"the topic {text!r} {fault}")
        headers = members.get("headers", {})
        self._headers = {
            name: compile_template(headers[name], f"headers.{name}") for name in headers if name != "userProperties"
        }
        self._user_properties = [
            (
                compile_template(item["key"], f"headers.userProperties[{index}].key"),
                compile_template(item["value"], f"headers.userProperties[{index}].value"),
            )
            for index, item in enumerate(headers.get("userProperties", []))
        ]

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises ActionError for a topic that cannot be published to and for headers that are not what they must be."""
        topic = _unescaped(await delivery.text(self.target))
        if fault := _topic_fault(topic):
            raise ActionError(f"the topic {topic!r} {fault}")
        if delivery.message.republished >= _MAX_REPUBLISHED:
            raise ActionError(
                f"rules have republished this message {_MAX_REPUBLISHED} times in a row; "
                "does one publish to a topic that it selects from?"
            )
        await self.authorize(delivery, "iot:Publish", delivery.arn("iot", f"topic/{topic}"))
        message = Message(
            topic=topic,
            payload=delivery.output.payload,
            qos=self.members.get("qos", 0),
            retain=False,
            time=delivery.clock.now(),
            client_id=delivery.message.client_id,
            principal=delivery.message.principal,
            trace_id=delivery.message.trace_id,
            properties=await self._properties(delivery),
            republished=delivery.message.republished + 1,
        )
        await delivery.services.publisher.publish(message)
        return {"RepublishTopic": topic}

    async def _properties(self, delivery: Delivery) -> MessageProperties:
        texts = {name: await delivery.text(template) for name, template in self._headers.items()}
        return MessageProperties(
            payload_is_utf8=_is_utf8(texts.get("payloadFormatIndicator")),
            content_type=texts.get("contentType"),
            response_topic=texts.get("responseTopic"),
            correlation_data=_decoded(texts.get("correlationData")),
            message_expiry=_seconds(texts.get("messageExpiry")),
            user_properties=tuple(
                [(await delivery.text(key), await delivery.text(value)) for key, value in self._user_properties]
            ),
        )


def _unescaped(topic: str) -> str:
    return topic[1:] if topic.startswith("$$") else topic


def _topic_fault(topic: str) -> str | None:
    """Why a message cannot be republished to `topic`, or None."""
    if not topic or "+" in topic or "#" in topic or "\0" in topic:
        return "is not one that can be published to"
    if _JOBS.match(topic):
        return "is of AWS IoT Jobs, which rules cannot publish to"
    limit = limit_fault(topic)
    return limit and f"cannot be published to: {limit}"


def _is_utf8(indicator: str | None) -> bool | None:
    if indicator is None:
        return None
    if indicator not in ("UNSPECIFIED_BYTES", "UTF8_DATA"):
        raise ActionError(f"payloadFormatIndicator is {indicator!r}, and not UNSPECIFIED_BYTES or UTF8_DATA")
    return indicator == "UTF8_DATA"


def _decoded(correlation_data: str | None) -> bytes | None:
    try:
        return None if correlation_data is None else base64.b64decode(correlation_data, validate=True)
    except ValueError as error:  # binascii.Error, or characters beyond ASCII
        raise ActionError(f"correlationData is not base64: {correlation_data!r}") from error


def _seconds(expiry: str | None) -> int | None:
    if expiry is None:
        return None
    if not expiry.isdecimal() or not 1 <= int(expiry[:7]) <= _MAX_EXPIRY:
        raise ActionError(f"messageExpiry is {expiry!r}, and not a number of seconds from 1 to {_MAX_EXPIRY}")
    return int(expiry)
