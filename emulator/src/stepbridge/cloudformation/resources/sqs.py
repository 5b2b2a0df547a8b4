"""AWS::SQS::*"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from stepbridge.cloudformation.parameters import as_text
from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped
from stepbridge.cloudformation.resources.shapes import json_text

_ATTRIBUTES = (
    "ContentBasedDeduplication", "DeduplicationScope", "DelaySeconds", "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds", "KmsMasterKeyId", "MaximumMessageSize", "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds", "SqsManagedSseEnabled", "VisibilityTimeout",
)  # fmt: skip
# What an attribute becomes when an update takes it out of the template.
_DEFAULTS = {
    "DelaySeconds": "0", "KmsMasterKeyId": "", "MaximumMessageSize": "262144", "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0", "RedriveAllowPolicy": "", "RedrivePolicy": "", "VisibilityTimeout": "30",
}  # fmt: skip


class Queue(ResourceType):
    """AWS::SQS::Queue: its Ref is the URL."""

    type_name = "AWS::SQS::Queue"
    service = "sqs"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateQueue", "QueueName", replace=True),
        "FifoQueue": Property(kind=Kind.TEXT, replace=True),
        **{name: Property(kind=Kind.TEXT) for name in _ATTRIBUTES},
        "RedriveAllowPolicy": Property(kind=Kind.JSON),
        "RedrivePolicy": Property(kind=Kind.JSON),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn", "QueueName", "QueueUrl"})

    async def create(self, properties: Properties) -> Made:
        fifo = as_text(properties.get("FifoQueue", "false")) == "true"
        name = properties.get("QueueName") or (self.generated_name(75) + ".fifo" if fifo else self.generated_name(80))
        await self.refuse_taken(name, "GetQueueUrl", QueueName=name)
        attributes = _queue_attributes(properties) | ({"FifoQueue": "true"} if fifo else {})
        tags = {"tags": self.tags(properties)} if self.tags(properties) else {}
        url = (await self.call("CreateQueue", QueueName=name, Attributes=attributes, **tags))["QueueUrl"]
        return Made(url, {"Arn": self.stack.arn("sqs", name), "QueueName": name, "QueueUrl": url})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        before, after = _queue_attributes(old), _queue_attributes(new)
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        changed |= {name: _DEFAULTS[name] for name in before if name not in after and name in _DEFAULTS}
        if changed:
            await self.call("SetQueueAttributes", QueueUrl=made.physical_id, Attributes=changed)
        if removed := [key for key in self.tags(old) if key not in self.tags(new)]:
            await self.call("UntagQueue", QueueUrl=made.physical_id, TagKeys=removed)
        if self.tags(new) and self.tags(old) != self.tags(new):
            await self.call("TagQueue", QueueUrl=made.physical_id, Tags=self.tags(new))
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteQueue", QueueUrl=made.physical_id)


def _queue_attributes(properties: Properties) -> dict[str, str]:
    plain = {name: as_text(properties[name]) for name in _ATTRIBUTES if name in properties}
    documents = {
        name: json_text(properties[name]) for name in ("RedriveAllowPolicy", "RedrivePolicy") if name in properties
    }
    return plain | documents


class QueuePolicy(ResourceType):
    """AWS::SQS::QueuePolicy: one policy put on each of its queues."""

    type_name = "AWS::SQS::QueuePolicy"
    service = "sqs"
    properties: ClassVar[Mapping[str, Property]] = {
        "PolicyDocument": Property(kind=Kind.JSON, required=True),
        "Queues": Property(kind=Kind.FREE, required=True),
    }
    attributes = frozenset({"Id"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        if not isinstance(properties.get("Queues", []), list):
            yield "#/Queues: expected type: JSONArray, found: String"

    async def create(self, properties: Properties) -> Made:
        await self._put(properties["Queues"], json_text(properties["PolicyDocument"]))
        name = self.generated_name(128)
        return Made(name, {"Id": name})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self._put([url for url in old["Queues"] if url not in new["Queues"]], "")
        await self._put(new["Queues"], json_text(new["PolicyDocument"]))
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self._put(properties["Queues"], "")

    async def _put(self, queues: list[str], policy: str) -> None:
        for url in queues:
            await self.call("SetQueueAttributes", QueueUrl=url, Attributes={"Policy": policy})


TYPES = (Queue, QueuePolicy)
