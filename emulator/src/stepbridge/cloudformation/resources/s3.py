"""AWS::S3::Bucket and BucketPolicy."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.resources.base import (
    Kind,
    Made,
    Properties,
    Property,
    ResourceType,
    shaped,
)
from stepbridge.cloudformation.resources.shapes import json_text, problems, shape_at, to_api

# Each configuration of a bucket: the operations that put and remove it, and the member its value is.
_CONFIGURATIONS = {
    "BucketEncryption": ("PutBucketEncryption", "DeleteBucketEncryption", "ServerSideEncryptionConfiguration"),
    "OwnershipControls": ("PutBucketOwnershipControls", "DeleteBucketOwnershipControls", "OwnershipControls"),
    "PublicAccessBlockConfiguration": (
        "PutPublicAccessBlock", "DeletePublicAccessBlock", "PublicAccessBlockConfiguration",
    ),
    "VersioningConfiguration": ("PutBucketVersioning", "", "VersioningConfiguration"),
    "NotificationConfiguration": ("PutBucketNotificationConfiguration", "", "NotificationConfiguration"),
}  # fmt: skip
_NOTIFICATIONS = {
    "LambdaConfigurations": ("LambdaFunctionConfigurations", "Function", "LambdaFunctionArn"),
    "QueueConfigurations": ("QueueConfigurations", "Queue", "QueueArn"),
    "TopicConfigurations": ("TopicConfigurations", "Topic", "TopicArn"),
}


class Bucket(ResourceType):
    """AWS::S3::Bucket.  A bucket with objects in it is not deleted, as on AWS."""

    type_name = "AWS::S3::Bucket"
    service = "s3"
    properties: ClassVar[Mapping[str, Property]] = {
        "BucketName": Property("CreateBucket.Bucket", replace=True),
        **shaped("PutBucketOwnershipControls", "OwnershipControls"),
        **shaped("PutPublicAccessBlock", "PublicAccessBlockConfiguration"),
        **shaped("PutBucketVersioning", "VersioningConfiguration"),
        "BucketEncryption": Property(kind=Kind.FREE),
        "NotificationConfiguration": Property(kind=Kind.FREE),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn", "DomainName", "DualStackDomainName", "RegionalDomainName", "WebsiteURL"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        encryption = properties.get("BucketEncryption")
        if encryption is not None:
            if set(encryption) != {"ServerSideEncryptionConfiguration"}:
                yield "#/BucketEncryption: the key is [ServerSideEncryptionConfiguration]"
            else:
                yield from problems(
                    shape_at("s3", "PutBucketEncryption.ServerSideEncryptionConfiguration"),
                    _encryption(encryption),
                    "#/BucketEncryption",
                )
        for kind, entries in properties.get("NotificationConfiguration", {}).items():
            if kind not in _NOTIFICATIONS:
                yield f"#/NotificationConfiguration: extraneous key [{kind}] is not permitted"
                continue
            target = _NOTIFICATIONS[kind][1]
            for index, entry in enumerate(entries):
                if not {"Event", target} <= set(entry) <= {"Event", "Filter", target}:
                    yield f"#/NotificationConfiguration/{kind}/{index}: the keys are [Event], [{target}] and [Filter]"

    async def create(self, properties: Properties) -> Made:
        name = properties.get("BucketName") or self.generated_name(63, lower=True)
        region = self.stack.region
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        await self.refuse_taken(name, "HeadBucket", Bucket=name)
        await self.call("CreateBucket", Bucket=name, **place)
        try:
            await self._configure(name, {}, properties)
        except AwsError:
            await self.call("DeleteBucket", Bucket=name)
            raise
        return Made(
            name,
            {
                "Arn": f"arn:aws:s3:::{name}",
                "DomainName": f"{name}.s3.amazonaws.com",
                "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
                "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
                "WebsiteURL": f"http://{name}.s3-website-{region}.amazonaws.com",
            },
        )

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self._configure(made.physical_id, old, new)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteBucket", Bucket=made.physical_id)

    async def _configure(self, name: str, old: Properties, new: Properties) -> None:
        for property_name, (put, remove, member) in _CONFIGURATIONS.items():
            if old.get(property_name) == new.get(property_name):
                continue
            if property_name in new:
                request: dict[str, Any] = {member: self._configuration(property_name, new[property_name])}
                await self.call(put, Bucket=name, **request)
            elif remove:
                await self.call(remove, Bucket=name)
            else:
                empty: dict[str, Any] = {"Status": "Suspended"} if property_name == "VersioningConfiguration" else {}
                await self.call(put, Bucket=name, **{member: empty})
        if self.tags(new) and self.tags(old) != self.tags(new):
            await self.call("PutBucketTagging", Bucket=name, Tagging={"TagSet": self.tag_list(new)})
        elif self.tags(old) and not self.tags(new):
            await self.call("DeleteBucketTagging", Bucket=name)

    def _configuration(self, property_name: str, value: Any) -> Any:
        if property_name == "BucketEncryption":
            return to_api(shape_at("s3", "PutBucketEncryption.ServerSideEncryptionConfiguration"), _encryption(value))
        if property_name != "NotificationConfiguration":
            return self.members({property_name: value})[property_name]
        result: dict[str, Any] = {}
        for kind, (member, target, arn) in _NOTIFICATIONS.items():
            for entry in value.get(kind, []):
                converted = {arn: entry[target], "Events": [entry["Event"]]}
                if "Filter" in entry:
                    rules = entry["Filter"]["S3Key"]["Rules"]
                    converted["Filter"] = {"Key": {"FilterRules": rules}}
                result.setdefault(member, []).append(converted)
        return result


def _encryption(value: Any) -> dict[str, Any]:
    """A BucketEncryption as the API spells it."""
    return {
        "Rules": [
            {("Apply" + name if name == "ServerSideEncryptionByDefault" else name): each for name, each in rule.items()}
            for rule in value["ServerSideEncryptionConfiguration"]
        ]
    }


class BucketPolicy(ResourceType):
    """AWS::S3::BucketPolicy: its Ref is the bucket's name."""

    type_name = "AWS::S3::BucketPolicy"
    service = "s3"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("PutBucketPolicy", "Bucket", required=True, replace=True),
        "PolicyDocument": Property(kind=Kind.JSON, required=True),
    }

    async def create(self, properties: Properties) -> Made:
        await self.call("PutBucketPolicy", Bucket=properties["Bucket"], Policy=json_text(properties["PolicyDocument"]))
        return Made(properties["Bucket"])

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        return await self.create(new)

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call_unless_gone("DeleteBucketPolicy", Bucket=properties["Bucket"])


TYPES = (Bucket, BucketPolicy)
