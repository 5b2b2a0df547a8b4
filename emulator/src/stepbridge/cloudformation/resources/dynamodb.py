"""AWS::DynamoDB::Table."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped


class Table(ResourceType):
    """AWS::DynamoDB::Table: its Ref is the name."""

    type_name = "AWS::DynamoDB::Table"
    service = "dynamodb"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateTable", "KeySchema", required=True, replace=True),
        **shaped("CreateTable", "TableName", "LocalSecondaryIndexes", replace=True),
        **shaped(
            "CreateTable", "AttributeDefinitions", "BillingMode", "DeletionProtectionEnabled",
            "GlobalSecondaryIndexes", "ProvisionedThroughput", "SSESpecification", "StreamSpecification", "TableClass",
        ),
        **shaped("UpdateTimeToLive", "TimeToLiveSpecification"),
        "PointInTimeRecoverySpecification": Property("UpdateContinuousBackups.PointInTimeRecoverySpecification"),
        "Tags": Property(kind=Kind.TAGS),
    }  # fmt: skip
    attributes = frozenset({"Arn", "StreamArn"})
    _APART = frozenset({"PointInTimeRecoverySpecification", "StreamSpecification", "TimeToLiveSpecification"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        # A table's stream is enabled by its view type; the API's own StreamEnabled is not a property.
        stream = properties.get("StreamSpecification")
        if isinstance(stream, dict):
            properties = {**properties, "StreamSpecification": {**stream, "StreamEnabled": True}}
            if "StreamEnabled" in stream:
                yield "#/StreamSpecification: extraneous key [StreamEnabled] is not permitted"
        yield from super().check(properties)
        if "AttributeDefinitions" not in properties:  # of the keys at least
            yield "#: required key [AttributeDefinitions] not found"

    async def create(self, properties: Properties) -> Made:
        members = {"TableName": self.generated_name(255), **self.members(properties, without=self._APART)}
        if "StreamSpecification" in properties:
            members["StreamSpecification"] = _stream(properties)
        if self.tags(properties):
            members["Tags"] = self.tag_list(properties)
        name = members["TableName"]
        description = (await self.call("CreateTable", **members))["TableDescription"]
        made = Made(name, {"Arn": description["TableArn"], "StreamArn": description.get("LatestStreamArn", "")})
        await self._settings_apart(name, {}, properties)
        return made

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        name = made.physical_id
        changed = {
            key: value
            for key, value in new.items()
            if old.get(key) != value
            and key
            in {"BillingMode", "DeletionProtectionEnabled", "ProvisionedThroughput", "SSESpecification", "TableClass"}
        }
        members = self.members(changed)
        if old.get("GlobalSecondaryIndexes") != new.get("GlobalSecondaryIndexes"):
            members["AttributeDefinitions"] = self.members(new)["AttributeDefinitions"]
            members["GlobalSecondaryIndexUpdates"] = self._index_updates(old, new)
        if old.get("StreamSpecification") != new.get("StreamSpecification"):
            enabled = "StreamSpecification" in new
            members["StreamSpecification"] = _stream(new) if enabled else {"StreamEnabled": False}
        attributes = dict(made.attributes)
        if members:
            description = (await self.call("UpdateTable", TableName=name, **members))["TableDescription"]
            attributes["StreamArn"] = description.get("LatestStreamArn", attributes.get("StreamArn", ""))
        await self._settings_apart(name, old, new)
        arn = attributes["Arn"]
        if removed := [key for key in self.tags(old) if key not in self.tags(new)]:
            await self.call("UntagResource", ResourceArn=arn, TagKeys=removed)
        if self.tags(new) and self.tags(old) != self.tags(new):
            await self.call("TagResource", ResourceArn=arn, Tags=self.tag_list(new))
        return Made(name, attributes)

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteTable", TableName=made.physical_id)

    async def _settings_apart(self, name: str, old: Properties, new: Properties) -> None:
        for operation, setting in (
            ("UpdateTimeToLive", "TimeToLiveSpecification"),
            ("UpdateContinuousBackups", "PointInTimeRecoverySpecification"),
        ):
            if setting in new and old.get(setting) != new[setting]:
                await self.call(operation, TableName=name, **self.members({setting: new[setting]}))

    def _index_updates(self, old: Properties, new: Properties) -> list[dict[str, object]]:
        before = {each["IndexName"]: each for each in self.members(old).get("GlobalSecondaryIndexes", [])}
        after = {each["IndexName"]: each for each in self.members(new).get("GlobalSecondaryIndexes", [])}
        removed: list[dict[str, object]] = [{"Delete": {"IndexName": name}} for name in before if name not in after]
        return removed + [{"Create": index} for name, index in after.items() if name not in before]


def _stream(properties: Properties) -> dict[str, object]:
    return {"StreamEnabled": True, "StreamViewType": properties["StreamSpecification"]["StreamViewType"]}


TYPES = (Table,)
