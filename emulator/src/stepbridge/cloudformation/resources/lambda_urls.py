"""AWS::Lambda::Url"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from stepbridge.cloudformation.resources.base import Made, Properties, Property, ResourceType, shaped

_METHODS = frozenset({"GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"})


class Url(ResourceType):
    """AWS::Lambda::Url: its Ref is the ARN of the function, with the alias if there is one.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-url.html
    """

    type_name = "AWS::Lambda::Url"
    service = "lambda"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateFunctionUrlConfig", "TargetFunctionArn=FunctionName", required=True, replace=True),
        **shaped("CreateFunctionUrlConfig", "Qualifier", replace=True),
        **shaped("CreateFunctionUrlConfig", "AuthType", required=True),
        **shaped("CreateFunctionUrlConfig", "Cors", "InvokeMode"),
    }
    attributes = frozenset({"FunctionArn", "FunctionUrl"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        cors = properties.get("Cors")
        methods = cors.get("AllowMethods") if isinstance(cors, dict) else None
        for index, method in enumerate(methods if isinstance(methods, list) else []):
            if isinstance(method, str) and method not in _METHODS:
                yield f"#/Cors/AllowMethods/{index}: #: {method} is not a valid enum value"

    async def create(self, properties: Properties) -> Made:
        return _made(await self.call("CreateFunctionUrlConfig", **self.members(properties)))

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        defaults = {"Cors": {}, "InvokeMode": "BUFFERED"}
        return _made(await self.call("UpdateFunctionUrlConfig", **{**defaults, **self.members(new)}))

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteFunctionUrlConfig", FunctionName=made.physical_id)


def _made(config: Mapping[str, Any]) -> Made:
    arn = config["FunctionArn"]
    return Made(arn, {"FunctionArn": arn, "FunctionUrl": config["FunctionUrl"]})


TYPES = (Url,)
