"""What the error action is told of actions that failed."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.iot.message import Message
from stepbridge.iot.rules.actions import ActionError, BatchError
from stepbridge.iot.rules.sql import Value


@dataclass(frozen=True, slots=True)
class Failure:
    """An action that failed, on a resource; the message is AWS's."""

    error: AwsError | ActionError
    action: str
    resource: str
    message: str

    def described(self) -> dict[str, Value]:
        """As the error action is told of it."""
        return {"failedAction": self.action, "failedResource": self.resource, "errorMessage": self.message}


def error_messages(rule: str, message: Message, failures: list[Failure]) -> Iterator[dict[str, Value]]:
    """What the error action of a rule gets when actions failed for a message.

    It is one message with all failures (developerguide/rule-error-handling.html).  The failures of a batch come with
    the last of its messages, in one message about all of them (developerguide/http_batching.html).
    """
    others = [failure.described() for failure in failures if not isinstance(failure.error, BatchError)]
    for failure in failures:
        if isinstance(failure.error, BatchError):
            settled = failure.error.batch.settle(failure.error.number, message, others)
            others = []  # told with the first batch
            if settled is not None:
                yield _of_batch(rule, failure, failure.error.batch.is_across_topics, settled)
    if others:
        yield {"ruleName": rule, "topic": message.topic, **_metadata(message), "failures": others}


def _of_batch(
    rule: str, failure: Failure, is_across_topics: bool, settled: list[tuple[int, Message, list[dict[str, Any]]]]
) -> dict[str, Value]:
    failures = [{"affectedIds": [number for number, _, _ in settled], **failure.described()}]
    failures += [{"affectedIds": [number], **other} for number, _, others in settled for other in others]
    return {
        "ruleName": rule,
        **({} if is_across_topics else {"topic": settled[0][1].topic}),
        "payloadsWithMetadata": [
            {"id": number, **({"topic": message.topic} if is_across_topics else {}), **_metadata(message)}
            for number, message, _ in settled
        ],
        "failures": failures,
    }


def _metadata(message: Message) -> dict[str, Value]:
    return {
        "cloudwatchTraceId": message.trace_id,
        "clientId": "n/a" if message.client_id is None else message.client_id,
        "sourceIp": "n/a" if message.source_ip is None else message.source_ip,
        "base64OriginalPayload": base64.b64encode(message.payload).decode(),
    }
