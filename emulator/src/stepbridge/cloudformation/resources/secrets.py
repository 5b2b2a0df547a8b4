"""AWS::SecretsManager::Secret and AWS::SSM::Parameter: what a program is configured with."""

import json
from collections.abc import Iterator, Mapping
from typing import ClassVar

from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped
from stepbridge.cloudformation.resources.shapes import problems, shape_at, to_api

_GENERATED = frozenset({"GenerateStringKey", "SecretStringTemplate"})


class Secret(ResourceType):
    """AWS::SecretsManager::Secret: its Ref is the ARN."""

    type_name = "AWS::SecretsManager::Secret"
    service = "secretsmanager"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateSecret", "Name", replace=True),
        **shaped("CreateSecret", "Description", "KmsKeyId", "SecretString"),
        "GenerateSecretString": Property(kind=Kind.FREE),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Id"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        if "SecretString" in properties and "GenerateSecretString" in properties:
            yield "#: only one of [SecretString] and [GenerateSecretString] can be given"
        generated = properties.get("GenerateSecretString")
        if isinstance(generated, dict):
            asked = {name: value for name, value in generated.items() if name not in _GENERATED}
            yield from problems(shape_at("secretsmanager", "GetRandomPassword"), asked, "#/GenerateSecretString")

    async def create(self, properties: Properties) -> Made:
        members = {"Name": self.generated_name(64), **self.members(properties)}
        if "GenerateSecretString" in properties:
            members["SecretString"] = await self._generated(properties)
        if self.tags(properties):
            members["Tags"] = self.tag_list(properties)
        arn = (await self.call("CreateSecret", **members))["ARN"]
        return Made(arn, {"Id": arn})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        members = self.members(new, without=frozenset({"Name"}))
        if "GenerateSecretString" in new and old.get("GenerateSecretString") != new["GenerateSecretString"]:
            members["SecretString"] = await self._generated(new)
        await self.call("UpdateSecret", SecretId=made.physical_id, **members)
        if removed := [key for key in self.tags(old) if key not in self.tags(new)]:
            await self.call("UntagResource", SecretId=made.physical_id, TagKeys=removed)
        if self.tags(new) and self.tags(old) != self.tags(new):
            await self.call("TagResource", SecretId=made.physical_id, Tags=self.tag_list(new))
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteSecret", SecretId=made.physical_id, ForceDeleteWithoutRecovery=True)

    async def _generated(self, properties: Properties) -> str:
        generated = properties["GenerateSecretString"]
        asked = {name: value for name, value in generated.items() if name not in _GENERATED}
        members = to_api(shape_at("secretsmanager", "GetRandomPassword"), asked)
        password: str = (await self.call("GetRandomPassword", **members))["RandomPassword"]
        if "GenerateStringKey" not in generated:
            return password
        return json.dumps({**json.loads(generated["SecretStringTemplate"]), generated["GenerateStringKey"]: password})


class Parameter(ResourceType):
    """AWS::SSM::Parameter: its Ref is the name."""

    type_name = "AWS::SSM::Parameter"
    service = "ssm"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("PutParameter", "Type", "Value", required=True),
        **shaped("PutParameter", "Name", replace=True),
        **shaped("PutParameter", "AllowedPattern", "DataType", "Description", "Policies", "Tier"),
        "Tags": Property(kind=Kind.TAG_MAP),
    }
    attributes = frozenset({"Type", "Value"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        if properties.get("Type") == "SecureString":
            yield "#/Type: #: SecureString is not a valid enum value"  # CloudFormation makes no secret parameters

    async def create(self, properties: Properties) -> Made:
        name = properties.get("Name") or f"CFN-{self.generated_name(200)}"
        members = {**self.members(properties), "Name": name}
        await self.call(
            "PutParameter", **members, **({"Tags": self.tag_list(properties)} if self.tags(properties) else {})
        )
        return self._made(name, properties)

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self.call("PutParameter", **{**self.members(new), "Name": made.physical_id}, Overwrite=True)
        resource = {"ResourceType": "Parameter", "ResourceId": made.physical_id}
        if removed := [key for key in self.tags(old) if key not in self.tags(new)]:
            await self.call("RemoveTagsFromResource", **resource, TagKeys=removed)
        if self.tags(new) and self.tags(old) != self.tags(new):
            await self.call("AddTagsToResource", **resource, Tags=self.tag_list(new))
        return self._made(made.physical_id, new)

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteParameter", Name=made.physical_id)

    def _made(self, name: str, properties: Properties) -> Made:
        return Made(name, {"Type": properties["Type"], "Value": str(properties["Value"])})


TYPES = (Parameter, Secret)
