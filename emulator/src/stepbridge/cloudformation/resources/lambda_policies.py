"""AWS::Lambda::ResourcePolicy"""

from collections.abc import Mapping
from typing import ClassVar

from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped
from stepbridge.cloudformation.resources.shapes import json_text


class ResourcePolicy(ResourceType):
    """AWS::Lambda::ResourcePolicy: the whole policy of a function, version or alias.  Its Ref is the ARN of that.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-resourcepolicy.html
    """

    type_name = "AWS::Lambda::ResourcePolicy"
    service = "lambda"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("PutResourcePolicy", "ResourceArn", required=True, replace=True),
        "PolicyDocument": Property(kind=Kind.JSON, required=True),
    }

    async def create(self, properties: Properties) -> Made:
        arn = properties["ResourceArn"]
        await self._put(properties)
        return Made(arn)

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self._put(new)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteResourcePolicy", ResourceArn=made.physical_id)

    async def _put(self, properties: Properties) -> None:
        policy = json_text(properties["PolicyDocument"])
        await self.call("PutResourcePolicy", ResourceArn=properties["ResourceArn"], Policy=policy)


TYPES = (ResourcePolicy,)
