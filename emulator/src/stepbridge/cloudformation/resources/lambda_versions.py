"""AWS::Lambda::Version and Alias, which may have provisioned concurrency."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, ClassVar

from stepbridge.cloudformation.errors import ResourceError
from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped
from stepbridge.cloudformation.resources.shapes import problems, shape_at, to_api

_POLL_SECONDS = 0.1


class _Provisioned(ResourceType):
    """What versions and aliases have in common: CloudFormation waits until what is provisioned is there.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-alias.html
    """

    service = "lambda"

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        if "ProvisionedConcurrencyConfig" in properties:
            path = "#/ProvisionedConcurrencyConfig"
            config = properties["ProvisionedConcurrencyConfig"]
            if not isinstance(config, dict) or set(config) != {_COUNT}:
                yield f"{path}: wants [{_COUNT}]"
            else:
                yield from problems(_count_shape(), config[_COUNT], f"{path}/{_COUNT}")

    async def provision(self, function: str, qualifier: str, old: Properties, new: Properties) -> None:
        """Have what `new` asks for, and wait for it.  Raises AwsError, ResourceError."""
        name = {"FunctionName": function, "Qualifier": qualifier}
        config = new.get("ProvisionedConcurrencyConfig")
        if config is None:
            return
        if config != old.get("ProvisionedConcurrencyConfig"):
            count = to_api(_count_shape(), config[_COUNT])
            await self.call("PutProvisionedConcurrencyConfig", **name, ProvisionedConcurrentExecutions=count)
        while (state := await self.call("GetProvisionedConcurrencyConfig", **name))["Status"] == "IN_PROGRESS":
            await self.clock.sleep(_POLL_SECONDS)
        if state["Status"] == "FAILED":
            raise ResourceError(
                'Resource handler returned message: "Provisioned Concurrency configuration failed to be applied. '
                f'Reason: {state["StatusReason"]}" (HandlerErrorCode: NotStabilized)'
            )


_COUNT = "ProvisionedConcurrentExecutions"


def _count_shape() -> Any:
    return shape_at("lambda", f"PutProvisionedConcurrencyConfig.{_COUNT}")


class Version(_Provisioned):
    """AWS::Lambda::Version: its Ref is the ARN with the version's number.  Nothing of it can change."""

    type_name = "AWS::Lambda::Version"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("PublishVersion", "FunctionName", required=True, replace=True),
        **shaped("PublishVersion", "CodeSha256", "Description", replace=True),
        "ProvisionedConcurrencyConfig": Property(kind=Kind.FREE, replace=True),
    }
    attributes = frozenset({"FunctionArn", "Version"})
    unsupported = frozenset({"FunctionScalingConfig", "RuntimePolicy"})

    async def create(self, properties: Properties) -> Made:
        function = properties["FunctionName"]
        before = {version async for version in self._versions(function)}
        published = await self.call("PublishVersion", **self.members(properties))
        arn, version = published["FunctionArn"], published["Version"]
        if version in before:
            raise ResourceError(
                f'Resource handler returned message: "A version for this Lambda function exists ( {version} ). Modify '
                'the function to create a new version." (HandlerErrorCode: AlreadyExists)'
            )
        return Made(arn, {"FunctionArn": arn, "Version": version})

    async def stabilize(self, made: Made, properties: Properties) -> None:
        await self.provision(properties["FunctionName"], made.attributes["Version"], {}, properties)

    async def _versions(self, function: str) -> AsyncIterator[str]:
        marker: dict[str, str] = {}
        while True:
            answer = await self.call("ListVersionsByFunction", FunctionName=function, **marker)
            for version in answer["Versions"]:
                yield version["Version"]
            if "NextMarker" not in answer:
                return
            marker = {"Marker": answer["NextMarker"]}

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        function, _, version = made.physical_id.rpartition(":")
        await self.call("DeleteFunction", FunctionName=function, Qualifier=version)


class Alias(_Provisioned):
    """AWS::Lambda::Alias: its Ref is the ARN with the alias's name."""

    type_name = "AWS::Lambda::Alias"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateAlias", "FunctionName", "Name", required=True, replace=True),
        **shaped("CreateAlias", "FunctionVersion", required=True),
        **shaped("CreateAlias", "Description"),
        "ProvisionedConcurrencyConfig": Property(kind=Kind.FREE),
        "RoutingConfig": Property(kind=Kind.FREE),
    }
    attributes = frozenset({"AliasArn"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        yield from _routing_problems(properties.get("RoutingConfig", {}))

    async def create(self, properties: Properties) -> Made:
        created = await self.call("CreateAlias", **self.members(properties), **self._routing(properties))
        return Made(created["AliasArn"], {"AliasArn": created["AliasArn"]})

    async def stabilize(self, made: Made, properties: Properties) -> None:
        await self.provision(properties["FunctionName"], properties["Name"], {}, properties)

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        members = {"Description": "", **self.members(new)}
        function, name = new["FunctionName"], new["Name"]
        if "ProvisionedConcurrencyConfig" in old and "ProvisionedConcurrencyConfig" not in new:
            await self.call("DeleteProvisionedConcurrencyConfig", FunctionName=function, Qualifier=name)
        await self.call(
            "UpdateAlias",
            **members,
            RoutingConfig={_WEIGHTS: {}, **self._routing(new).get("RoutingConfig", {})},
        )
        await self.provision(function, name, old, new)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteAlias", FunctionName=properties["FunctionName"], Name=properties["Name"])

    def _routing(self, properties: Properties) -> dict[str, Any]:
        weights = properties.get("RoutingConfig", {}).get(_WEIGHTS, [])
        if not weights:
            return {}
        routed = {weight["FunctionVersion"]: float(weight["FunctionWeight"]) for weight in weights}
        return {"RoutingConfig": {_WEIGHTS: routed}}


_WEIGHTS = "AdditionalVersionWeights"


def _routing_problems(config: Any) -> Iterator[str]:
    """The weights are a list in templates, and a map from versions in the API."""
    path = "#/RoutingConfig"
    weights = config.get(_WEIGHTS, []) if isinstance(config, dict) and not config.keys() - {_WEIGHTS} else None
    if not isinstance(weights, list):
        yield f"{path}: wants a list [{_WEIGHTS}]"
        return
    weight_shape: Any = shape_at("lambda", f"CreateAlias.RoutingConfig.{_WEIGHTS}")
    for index, weight in enumerate(weights):
        place = f"{path}/{_WEIGHTS}/{index}"
        if not isinstance(weight, dict) or set(weight) != {"FunctionVersion", "FunctionWeight"}:
            yield f"{place}: wants [FunctionVersion] and [FunctionWeight]"
        else:
            yield from problems(weight_shape.value, weight["FunctionWeight"], f"{place}/FunctionWeight")


TYPES = (Alias, Version)
