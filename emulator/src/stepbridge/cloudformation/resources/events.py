"""AWS::Events::Rule and AWS::Scheduler::*"""

from collections.abc import Mapping
from typing import Any, ClassVar

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped
from stepbridge.cloudformation.resources.shapes import json_text


class Rule(ResourceType):
    """AWS::Events::Rule: its Ref is the name, on another bus than the default one `bus|name`."""

    type_name = "AWS::Events::Rule"
    service = "events"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("PutRule", "Name", "EventBusName", replace=True),
        **shaped("PutRule", "Description", "RoleArn", "ScheduleExpression", "State"),
        **shaped("PutTargets", "Targets"),
        "EventPattern": Property(kind=Kind.JSON),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn"})

    async def create(self, properties: Properties) -> Made:
        name = properties.get("Name") or self.generated_name(64)
        await self.refuse_taken(name, "DescribeRule", Name=name, **_bus(properties))
        arn = await self._put(name, properties)
        bus = properties.get("EventBusName", "default")
        made = Made(name if bus == "default" else f"{bus}|{name}", {"Arn": arn})
        try:
            await self._put_targets(name, properties)
        except AwsError:
            await self.delete(made, {**properties, "Targets": []})
            raise
        return made

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        name = made.physical_id.rpartition("|")[2]
        await self._put(name, new)
        kept = {target["Id"] for target in new.get("Targets", [])}
        await self._remove_targets(name, new, [each["Id"] for each in old.get("Targets", []) if each["Id"] not in kept])
        await self._put_targets(name, new)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        name = made.physical_id.rpartition("|")[2]
        await self._remove_targets(name, properties, [target["Id"] for target in properties.get("Targets", [])])
        await self.call("DeleteRule", Name=name, **_bus(properties))

    async def _put(self, name: str, properties: Properties) -> str:
        members = self.members(properties, without=frozenset({"Name", "Targets"}))
        if "EventPattern" in properties:
            members["EventPattern"] = json_text(properties["EventPattern"])
        if self.tags(properties):
            members["Tags"] = self.tag_list(properties)
        arn: str = (await self.call("PutRule", Name=name, **members))["RuleArn"]
        return arn

    async def _put_targets(self, name: str, properties: Properties) -> None:
        if targets := self.members(properties).get("Targets"):
            await self.call("PutTargets", Rule=name, Targets=targets, **_bus(properties))

    async def _remove_targets(self, name: str, properties: Properties, ids: list[str]) -> None:
        if ids:
            await self.call("RemoveTargets", Rule=name, Ids=ids, **_bus(properties))


def _bus(properties: Properties) -> dict[str, Any]:
    return {"EventBusName": properties["EventBusName"]} if "EventBusName" in properties else {}


class Schedule(ResourceType):
    """AWS::Scheduler::Schedule: its Ref is the name."""

    type_name = "AWS::Scheduler::Schedule"
    service = "scheduler"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateSchedule", "FlexibleTimeWindow", "ScheduleExpression", "Target", required=True),
        **shaped("CreateSchedule", "GroupName", "Name", replace=True),
        **shaped(
            "CreateSchedule", "Description", "EndDate", "KmsKeyArn", "ScheduleExpressionTimezone", "StartDate", "State"
        ),
    }
    attributes = frozenset({"Arn"})

    async def create(self, properties: Properties) -> Made:
        members = {"Name": self.generated_name(64), **self.members(properties)}
        created = await self.call("CreateSchedule", **members)
        return Made(members["Name"], {"Arn": created["ScheduleArn"]})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self.call("UpdateSchedule", **{**self.members(new), "Name": made.physical_id})
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        group = {"GroupName": properties["GroupName"]} if "GroupName" in properties else {}
        await self.call("DeleteSchedule", Name=made.physical_id, **group)


class ScheduleGroup(ResourceType):
    """AWS::Scheduler::ScheduleGroup: its Ref is the name."""

    type_name = "AWS::Scheduler::ScheduleGroup"
    service = "scheduler"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateScheduleGroup", "Name", replace=True),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn"})

    async def create(self, properties: Properties) -> Made:
        name = properties.get("Name") or self.generated_name(64)
        tags = {"Tags": self.tag_list(properties)} if self.tags(properties) else {}
        created = await self.call("CreateScheduleGroup", Name=name, **tags)
        return Made(name, {"Arn": created["ScheduleGroupArn"]})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        arn = made.attributes["Arn"]
        if removed := [key for key in self.tags(old) if key not in self.tags(new)]:
            await self.call("UntagResource", ResourceArn=arn, TagKeys=removed)
        if self.tags(new):
            await self.call("TagResource", ResourceArn=arn, Tags=self.tag_list(new))
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteScheduleGroup", Name=made.physical_id)


TYPES = (Rule, Schedule, ScheduleGroup)
