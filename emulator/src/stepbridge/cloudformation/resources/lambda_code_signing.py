"""AWS::Lambda::CodeSigningConfig"""

from collections.abc import Mapping
from typing import ClassVar

from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped
from stepbridge.cloudformation.resources.lambda_ import change_tags


class CodeSigningConfig(ResourceType):
    """AWS::Lambda::CodeSigningConfig: its Ref is the ARN.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-codesigningconfig.html
    """

    type_name = "AWS::Lambda::CodeSigningConfig"
    service = "lambda"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateCodeSigningConfig", "AllowedPublishers", required=True),
        **shaped("CreateCodeSigningConfig", "CodeSigningPolicies", "Description"),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"CodeSigningConfigArn", "CodeSigningConfigId"})

    async def create(self, properties: Properties) -> Made:
        tags = {**self.tags(properties), **self.provenance()}
        made = await self.call("CreateCodeSigningConfig", Tags=tags, **self.members(properties))
        config = made["CodeSigningConfig"]
        return Made(config["CodeSigningConfigArn"], {name: config[name] for name in sorted(self.attributes)})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self.call(
            "UpdateCodeSigningConfig", CodeSigningConfigArn=made.physical_id, **{**_DEFAULTS, **self.members(new)}
        )
        await change_tags(self, made.physical_id, old, new)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteCodeSigningConfig", CodeSigningConfigArn=made.physical_id)


# What a property becomes when an update takes it out of the template.
_DEFAULTS = {"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"}, "Description": ""}

TYPES = (CodeSigningConfig,)
