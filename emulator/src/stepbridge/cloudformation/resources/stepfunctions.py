"""AWS::StepFunctions::*"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import yaml

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.errors import ResourceError
from stepbridge.cloudformation.parameters import as_text
from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, read_object, shaped

_DEFINITIONS = ("Definition", "DefinitionS3Location", "DefinitionString")


def substituted(definition: str, substitutions: Properties) -> str:
    """A definition with each `${name}` of its DefinitionSubstitutions replaced; other `${…}` stay as they are."""
    for name, value in substitutions.items():
        definition = definition.replace("${" + name + "}", as_text(value))
    return definition


class StateMachine(ResourceType):
    """AWS::StepFunctions::StateMachine: its Ref is the ARN."""

    type_name = "AWS::StepFunctions::StateMachine"
    service = "stepfunctions"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateStateMachine", "RoleArn=roleArn", required=True),
        **shaped("CreateStateMachine", "StateMachineName=name", "StateMachineType=type", replace=True),
        **shaped(
            "CreateStateMachine",
            "EncryptionConfiguration=encryptionConfiguration",
            "LoggingConfiguration=loggingConfiguration",
            "TracingConfiguration=tracingConfiguration",
        ),
        "Definition": Property(kind=Kind.FREE),
        "DefinitionS3Location": Property(kind=Kind.FREE),
        "DefinitionString": Property(kind=Kind.TEXT),
        "DefinitionSubstitutions": Property(kind=Kind.FREE),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn", "Name", "StateMachineRevisionId"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        given = [name for name in _DEFINITIONS if name in properties]
        if len(given) != 1:
            yield f"#: exactly one of [{', '.join(_DEFINITIONS)}] must be given, not {len(given)}"
        location = properties.get("DefinitionS3Location", {})
        if location and (
            not isinstance(location, dict) or not {"Bucket", "Key"} <= set(location) <= {"Bucket", "Key", "Version"}
        ):
            yield "#/DefinitionS3Location: the keys are [Bucket], [Key] and, if wanted, [Version]"
        if not isinstance(properties.get("Definition", {}), dict):
            yield "#/Definition: expected type: JSONObject, found: String"
        substitutions = properties.get("DefinitionSubstitutions", {})
        if not isinstance(substitutions, dict):
            yield "#/DefinitionSubstitutions: expected type: JSONObject, found: String"
            return
        for name, value in substitutions.items():
            if isinstance(value, (dict, list)):
                yield f"#/DefinitionSubstitutions/{name}: expected type: String, found: JSONObject"

    async def create(self, properties: Properties) -> Made:
        members = self.members(properties)
        name = members.pop("name", None) or self.generated_name(80)
        tags = self.tag_list(properties, "key", "value")
        if tags:
            members["tags"] = tags
        definition = await self._definition(properties)
        arn = self.stack.arn("states", f"stateMachine:{name}")
        await self.refuse_taken(name, "DescribeStateMachine", stateMachineArn=arn)
        created = await self.call("CreateStateMachine", name=name, definition=definition, **members)
        return self._made(created["stateMachineArn"], created)

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        members = self.members(new, without=frozenset({"StateMachineName", "StateMachineType"}))
        definition = await self._definition(new)
        arn = made.physical_id
        for name, off in _OFF.items():
            property_name = name[0].upper() + name[1:]
            if property_name in old and property_name not in new:
                members[name] = off
        updated = await self.call("UpdateStateMachine", stateMachineArn=arn, definition=definition, **members)
        before, after = self.tags(old), self.tags(new)
        if removed := [key for key in before if key not in after]:
            await self.call("UntagResource", resourceArn=arn, tagKeys=removed)
        if after and before != after:
            await self.call("TagResource", resourceArn=arn, tags=self.tag_list(new, "key", "value"))
        return self._made(arn, updated)

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteStateMachine", stateMachineArn=made.physical_id)

    def _made(self, arn: str, answer: dict[str, Any]) -> Made:
        revision = answer.get("revisionId", "INITIAL")
        return Made(arn, {"Arn": arn, "Name": arn.rpartition(":")[2], "StateMachineRevisionId": revision})

    async def _definition(self, properties: Properties) -> str:
        if "DefinitionS3Location" in properties:
            text = await self._from_s3(properties["DefinitionS3Location"])
        elif "Definition" in properties:
            text = json.dumps(properties["Definition"], ensure_ascii=False)
        else:
            text = properties["DefinitionString"]
        return substituted(text, properties.get("DefinitionSubstitutions", {}))

    async def _from_s3(self, location: Properties) -> str:
        place = f"s3://{location['Bucket']}/{location['Key']}"
        try:
            content = await read_object(self.calls, location["Bucket"], location["Key"], location.get("Version"))
            text = content.decode()
            return text if text.lstrip().startswith("{") else json.dumps(yaml.safe_load(text), ensure_ascii=False)
        except AwsError as error:
            raise ResourceError(f"Unable to read the definition {place}: {error.message}") from None
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise ResourceError(f"The definition {place} is neither JSON nor YAML: {error}") from None


# What a configuration becomes when an update takes it out of the template.
_OFF: dict[str, Any] = {
    "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
    "loggingConfiguration": {"level": "OFF", "includeExecutionData": False},
    "tracingConfiguration": {"enabled": False},
}


class StateMachineVersion(ResourceType):
    """AWS::StepFunctions::StateMachineVersion: its Ref is the version's ARN."""

    type_name = "AWS::StepFunctions::StateMachineVersion"
    service = "stepfunctions"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("PublishStateMachineVersion", "StateMachineArn=stateMachineArn", required=True, replace=True),
        **shaped(
            "PublishStateMachineVersion", "Description=description", "StateMachineRevisionId=revisionId", replace=True
        ),
    }
    attributes = frozenset({"Arn"})

    async def create(self, properties: Properties) -> Made:
        arn = (await self.call("PublishStateMachineVersion", **self.members(properties)))["stateMachineVersionArn"]
        return Made(arn, {"Arn": arn})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteStateMachineVersion", stateMachineVersionArn=made.physical_id)


class StateMachineAlias(ResourceType):
    """AWS::StepFunctions::StateMachineAlias: its Ref is the alias's ARN.

    A DeploymentPreference shifts traffic bit by bit; only ALL_AT_ONCE, which does not, is carried out.
    """

    type_name = "AWS::StepFunctions::StateMachineAlias"
    service = "stepfunctions"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateStateMachineAlias", "Name=name", replace=True),
        **shaped("CreateStateMachineAlias", "Description=description", "RoutingConfiguration=routingConfiguration"),
        "DeploymentPreference": Property(kind=Kind.FREE),
    }
    attributes = frozenset({"Arn"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        preference = properties.get("DeploymentPreference")
        if ("RoutingConfiguration" in properties) == (preference is not None):
            yield "#: one of [RoutingConfiguration] and [DeploymentPreference] must be given"
        if preference is None:
            return
        if not isinstance(preference, dict) or not {"Type", "StateMachineVersionArn"} <= set(preference):
            yield "#/DeploymentPreference: required keys [StateMachineVersionArn] and [Type] not found"
        elif preference["Type"] != "ALL_AT_ONCE":
            yield f"#/DeploymentPreference/Type: {preference['Type']} is not supported by stepbridge, ALL_AT_ONCE is"

    async def create(self, properties: Properties) -> Made:
        members = {"name": self.generated_name(80), **self.members(properties), **self._routing(properties)}
        arn = (await self.call("CreateStateMachineAlias", **members))["stateMachineAliasArn"]
        return Made(arn, {"Arn": arn})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        members = {"description": "", **self.members(new, without=frozenset({"Name"})), **self._routing(new)}
        await self.call("UpdateStateMachineAlias", stateMachineAliasArn=made.physical_id, **members)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteStateMachineAlias", stateMachineAliasArn=made.physical_id)

    def _routing(self, properties: Properties) -> dict[str, Any]:
        preference = properties.get("DeploymentPreference")
        if preference is None:
            return {}
        version = preference["StateMachineVersionArn"]
        return {"routingConfiguration": [{"stateMachineVersionArn": version, "weight": 100}]}


class Activity(ResourceType):
    """AWS::StepFunctions::Activity: its Ref is the ARN."""

    type_name = "AWS::StepFunctions::Activity"
    service = "stepfunctions"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateActivity", "Name=name", required=True, replace=True),
        **shaped("CreateActivity", "EncryptionConfiguration=encryptionConfiguration", replace=True),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn", "Name"})

    async def create(self, properties: Properties) -> Made:
        tags = {"tags": self.tag_list(properties, "key", "value")} if self.tags(properties) else {}
        name = properties["Name"]
        arn = self.stack.arn("states", f"activity:{name}")
        await self.refuse_taken(name, "DescribeActivity", activityArn=arn)
        arn = (await self.call("CreateActivity", **self.members(properties), **tags))["activityArn"]
        return Made(arn, {"Arn": arn, "Name": properties["Name"]})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        if removed := [key for key in self.tags(old) if key not in self.tags(new)]:
            await self.call("UntagResource", resourceArn=made.physical_id, tagKeys=removed)
        if self.tags(new):
            tags = self.tag_list(new, "key", "value")
            await self.call("TagResource", resourceArn=made.physical_id, tags=tags)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteActivity", activityArn=made.physical_id)


TYPES = (Activity, StateMachine, StateMachineAlias, StateMachineVersion)
