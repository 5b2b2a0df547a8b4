"""AWS::SNS::*"""

from collections.abc import Mapping
from typing import Any, ClassVar

from stepbridge.cloudformation.parameters import as_text
from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped
from stepbridge.cloudformation.resources.shapes import json_text

_TEXT_ATTRIBUTES = ("ContentBasedDeduplication", "DisplayName", "KmsMasterKeyId", "SignatureVersion", "TracingConfig")
_SUBSCRIPTION_JSON = ("DeliveryPolicy", "FilterPolicy", "RedrivePolicy")
_SUBSCRIPTION_TEXT = ("FilterPolicyScope", "RawMessageDelivery", "SubscriptionRoleArn")


class Topic(ResourceType):
    """AWS::SNS::Topic: its Ref is the ARN."""

    type_name = "AWS::SNS::Topic"
    service = "sns"
    properties: ClassVar[Mapping[str, Property]] = {
        "TopicName": Property("CreateTopic.Name", replace=True),
        "FifoTopic": Property(kind=Kind.TEXT, replace=True),
        **{name: Property(kind=Kind.TEXT) for name in _TEXT_ATTRIBUTES},
        "Subscription": Property(kind=Kind.FREE),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"TopicArn", "TopicName"})

    async def create(self, properties: Properties) -> Made:
        fifo = as_text(properties.get("FifoTopic", "false")) == "true"
        name = properties.get("TopicName") or (self.generated_name(250) + (".fifo" if fifo else ""))
        await self.refuse_taken(name, "GetTopicAttributes", TopicArn=self.stack.arn("sns", name))
        attributes = _attributes(properties) | ({"FifoTopic": "true"} if fifo else {})
        tags = {"Tags": self.tag_list(properties)} if self.tags(properties) else {}
        arn = (await self.call("CreateTopic", Name=name, Attributes=attributes, **tags))["TopicArn"]
        for subscription in properties.get("Subscription", []):
            await self.call("Subscribe", TopicArn=arn, **_inline(subscription))
        return Made(arn, {"TopicArn": arn, "TopicName": name})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        arn = made.physical_id
        before, after = _attributes(old), _attributes(new)
        for name in {*before, *after}:
            if before.get(name) != after.get(name):
                value = after.get(name, "")
                await self.call("SetTopicAttributes", TopicArn=arn, AttributeName=name, AttributeValue=value)
        if old.get("Subscription", []) != new.get("Subscription", []):
            await self._unsubscribe(
                arn, [each for each in old.get("Subscription", []) if each not in new.get("Subscription", [])]
            )
            for subscription in new.get("Subscription", []):
                await self.call("Subscribe", TopicArn=arn, **_inline(subscription))
        if removed := [key for key in self.tags(old) if key not in self.tags(new)]:
            await self.call("UntagResource", ResourceArn=arn, TagKeys=removed)
        if self.tags(new) and self.tags(old) != self.tags(new):
            await self.call("TagResource", ResourceArn=arn, Tags=self.tag_list(new))
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self._unsubscribe(made.physical_id, properties.get("Subscription", []))
        await self.call("DeleteTopic", TopicArn=made.physical_id)

    async def _unsubscribe(self, arn: str, unwanted: list[Mapping[str, Any]]) -> None:
        if not unwanted:
            return
        endpoints = {(each["Protocol"], each["Endpoint"]) for each in unwanted}
        for each in (await self.call("ListSubscriptionsByTopic", TopicArn=arn)).get("Subscriptions", []):
            if (each["Protocol"], each["Endpoint"]) in endpoints:
                await self.call("Unsubscribe", SubscriptionArn=each["SubscriptionArn"])


def _attributes(properties: Properties) -> dict[str, str]:
    return {name: as_text(properties[name]) for name in _TEXT_ATTRIBUTES if name in properties}


def _inline(subscription: Mapping[str, Any]) -> dict[str, Any]:
    return {"Protocol": subscription["Protocol"], "Endpoint": subscription["Endpoint"]}


class Subscription(ResourceType):
    """AWS::SNS::Subscription: its Ref is the ARN."""

    type_name = "AWS::SNS::Subscription"
    service = "sns"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("Subscribe", "Protocol", "TopicArn", required=True, replace=True),
        **shaped("Subscribe", "Endpoint", replace=True),
        **{name: Property(kind=Kind.JSON) for name in _SUBSCRIPTION_JSON},
        **{name: Property(kind=Kind.TEXT) for name in _SUBSCRIPTION_TEXT},
    }
    attributes = frozenset({"Arn"})

    async def create(self, properties: Properties) -> Made:
        answer = await self.call(
            "Subscribe", **self.members(properties), Attributes=_subscription(properties), ReturnSubscriptionArn=True
        )
        return Made(answer["SubscriptionArn"], {"Arn": answer["SubscriptionArn"]})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        before, after = _subscription(old), _subscription(new)
        for name in {*before, *after}:
            if before.get(name) != after.get(name):
                await self.call(
                    "SetSubscriptionAttributes",
                    SubscriptionArn=made.physical_id,
                    AttributeName=name,
                    AttributeValue=after.get(name, "false" if name == "RawMessageDelivery" else "{}"),
                )
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("Unsubscribe", SubscriptionArn=made.physical_id)


def _subscription(properties: Properties) -> dict[str, str]:
    documents = {name: json_text(properties[name]) for name in _SUBSCRIPTION_JSON if name in properties}
    return documents | {name: as_text(properties[name]) for name in _SUBSCRIPTION_TEXT if name in properties}


class TopicPolicy(ResourceType):
    """AWS::SNS::TopicPolicy: one policy put on each of its topics."""

    type_name = "AWS::SNS::TopicPolicy"
    service = "sns"
    properties: ClassVar[Mapping[str, Property]] = {
        "PolicyDocument": Property(kind=Kind.JSON, required=True),
        "Topics": Property(kind=Kind.FREE, required=True),
    }
    attributes = frozenset({"Id"})

    async def create(self, properties: Properties) -> Made:
        await self._put(properties)
        name = self.generated_name(128)
        return Made(name, {"Id": name})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self._reset([arn for arn in old["Topics"] if arn not in new["Topics"]])
        await self._put(new)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self._reset(properties["Topics"])

    async def _put(self, properties: Properties) -> None:
        document = json_text(properties["PolicyDocument"])
        for arn in properties["Topics"]:
            await self.call("SetTopicAttributes", TopicArn=arn, AttributeName="Policy", AttributeValue=document)

    async def _reset(self, topics: list[str]) -> None:
        """Give topics the policy that a topic has by default: all for its owner."""
        for arn in topics:
            owner = {
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["SNS:Publish", "SNS:Subscribe", "SNS:GetTopicAttributes", "SNS:SetTopicAttributes"],
                "Resource": arn,
                "Condition": {"StringEquals": {"AWS:SourceOwner": self.stack.account}},
            }
            document = json_text({"Version": "2008-10-17", "Statement": [owner]})
            await self.call("SetTopicAttributes", TopicArn=arn, AttributeName="Policy", AttributeValue=document)


TYPES = (Subscription, Topic, TopicPolicy)
