"""AWS::Logs::LogGroup."""

from collections.abc import Mapping
from typing import ClassVar

from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped


class LogGroup(ResourceType):
    """AWS::Logs::LogGroup."""

    type_name = "AWS::Logs::LogGroup"
    service = "logs"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateLogGroup", "LogGroupName=logGroupName", "LogGroupClass=logGroupClass", replace=True),
        **shaped("CreateLogGroup", "KmsKeyId=kmsKeyId"),
        **shaped("PutRetentionPolicy", "RetentionInDays=retentionInDays"),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn"})

    async def create(self, properties: Properties) -> Made:
        members = self.members(properties)
        name = members.pop("logGroupName", None) or self.generated_name(512)
        retention = members.pop("retentionInDays", None)
        tags = {"tags": self.tags(properties)} if self.tags(properties) else {}
        await self.call("CreateLogGroup", logGroupName=name, **tags, **members)
        if retention is not None:
            await self.call("PutRetentionPolicy", logGroupName=name, retentionInDays=retention)
        return Made(name, {"Arn": self.stack.arn("logs", f"log-group:{name}:*")})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        name = made.physical_id
        if "RetentionInDays" in new:
            await self.call("PutRetentionPolicy", logGroupName=name, retentionInDays=int(new["RetentionInDays"]))
        elif "RetentionInDays" in old:
            await self.call("DeleteRetentionPolicy", logGroupName=name)
        if old.get("KmsKeyId") != new.get("KmsKeyId"):
            if "KmsKeyId" in new:
                await self.call("AssociateKmsKey", logGroupName=name, kmsKeyId=new["KmsKeyId"])
            else:
                await self.call("DisassociateKmsKey", logGroupName=name)
        before, after = self.tags(old), self.tags(new)
        if removed := [key for key in before if key not in after]:
            await self.call("UntagLogGroup", logGroupName=name, tags=removed)
        if after and before != after:
            await self.call("TagLogGroup", logGroupName=name, tags=after)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteLogGroup", logGroupName=made.physical_id)


TYPES = (LogGroup,)
