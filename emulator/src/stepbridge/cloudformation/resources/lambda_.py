"""AWS::Lambda::*"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped
from stepbridge.cloudformation.resources.shapes import problems, shape_at

# A Python function whose code stands in the template may import this: it answers a custom resource's request.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-lambda-function-code-cfnresponsemodule.html
_CFN_RESPONSE = """\
import json
import urllib.request

SUCCESS = "SUCCESS"
FAILED = "FAILED"


def send(event, context, responseStatus, responseData, physicalResourceId=None, noEcho=False, reason=None):
    body = json.dumps({
        "Status": responseStatus,
        "Reason": reason or f"See the details in CloudWatch Log Stream: {context.log_stream_name}",
        "PhysicalResourceId": physicalResourceId or context.log_stream_name,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "NoEcho": noEcho,
        "Data": responseData,
    }).encode()
    request = urllib.request.Request(event["ResponseURL"], data=body, method="PUT", headers={"Content-Type": ""})
    urllib.request.urlopen(request).close()
"""


def inline_package(source: str, runtime: str) -> bytes:
    """The zip that Lambda makes of code written in a template: `index.py` or `index.js`."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
        files = (
            {"index.py": source, "cfnresponse.py": _CFN_RESPONSE}
            if runtime.startswith("python")
            else {"index.js": source}
        )
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)  # a fixed date: the same source is the same package
            entry.external_attr = 0o644 << 16
            package.writestr(entry, text)
    return archive.getvalue()


class Function(ResourceType):
    """AWS::Lambda::Function.  Its Ref is the name, its Arn the ARN without a qualifier."""

    type_name = "AWS::Lambda::Function"
    service = "lambda"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateFunction", "FunctionName", "PackageType", replace=True),
        **shaped("PutFunctionConcurrency", "ReservedConcurrentExecutions"),
        **shaped("PutFunctionRecursionConfig", "RecursiveLoop"),
        **shaped("CreateFunction", "Role", required=True),
        **shaped(
            "CreateFunction", "Architectures", "CodeSigningConfigArn", "DeadLetterConfig", "Description", "Environment",
            "EphemeralStorage", "Handler", "Layers", "LoggingConfig", "MemorySize", "Runtime", "SnapStart", "Timeout",
            "TracingConfig", "VpcConfig", "KmsKeyArn=KMSKeyArn",
        ),
        "Code": Property(kind=Kind.FREE, required=True),
        "RuntimeManagementConfig": Property(kind=Kind.FREE),
        "Tags": Property(kind=Kind.TAGS),
    }  # fmt: skip
    attributes = frozenset(
        {"Arn", "SnapStartResponse", "SnapStartResponse.ApplyOn", "SnapStartResponse.OptimizationStatus"}
    )
    unsupported = frozenset(
        {
            "CapacityProviderConfig",
            "DurableConfig",
            "FileSystemConfigs",
            "FunctionScalingConfig",
            "ImageConfig",
            "PublishToLatestPublished",
            "TenancyConfig",
        }
    )
    # What has operations of its own.
    _APART = frozenset({"RecursiveLoop", "ReservedConcurrentExecutions"})
    _CODE = frozenset({"S3Bucket", "S3Key", "S3ObjectStorageMode", "S3ObjectVersion", "SourceKMSKeyArn", "ZipFile"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        if properties.get("PackageType") == "Image":
            yield "#/PackageType: Image is not supported by stepbridge, Zip is"
        snap_start = properties.get("SnapStart")
        if isinstance(snap_start, dict) and snap_start.get("ApplyOn") == "PublishedVersions":
            yield "#/SnapStart/ApplyOn: PublishedVersions is not supported by stepbridge, None is"
        if "RuntimeManagementConfig" in properties:
            yield from cls._check_runtime_management(properties["RuntimeManagementConfig"])
        code = properties.get("Code", {})
        if not isinstance(code, dict):
            yield "#/Code: expected type: JSONObject, found: String"
            return
        if "ImageUri" in code:
            yield "#/Code/ImageUri: is not supported by stepbridge, zip archives are"
        for name in code:
            if name not in {*cls._CODE, "ImageUri"}:
                yield f"#/Code: extraneous key [{name}] is not permitted"
        if not {"S3Bucket", "ZipFile", "ImageUri"} & set(code):
            yield "#/Code: required key [S3Bucket], [ZipFile] or [ImageUri] not found"

    @classmethod
    def _check_runtime_management(cls, config: Any) -> Iterator[str]:
        path = "#/RuntimeManagementConfig"
        if not isinstance(config, dict):
            yield f"{path}: expected type: JSONObject, found: {type(config).__name__}"
            return
        if "UpdateRuntimeOn" not in config:
            yield f"{path}: required key [UpdateRuntimeOn] not found"
        for name, value in config.items():
            if name not in {"RuntimeVersionArn", "UpdateRuntimeOn"}:
                yield f"{path}: extraneous key [{name}] is not permitted"
            else:
                shape = shape_at(cls.service, f"PutRuntimeManagementConfig.{name}")
                yield from problems(shape, value, f"{path}/{name}")

    async def create(self, properties: Properties) -> Made:
        members = self.members(properties, without=self._APART)
        name = members.pop("FunctionName", None) or self.generated_name(64)
        created = await self.call(
            "CreateFunction",
            FunctionName=name,
            Code=self._code(properties),
            Tags={**self.tags(properties), **self.provenance()},
            **members,
        )
        try:
            await self._settings_apart(name, {}, properties)
        except AwsError:
            await self.call("DeleteFunction", FunctionName=name)
            raise
        snap_start = {f"SnapStartResponse.{key}": value for key, value in created["SnapStart"].items()}
        return Made(
            name, {"Arn": created["FunctionArn"], "SnapStartResponse": dict(created["SnapStart"]), **snap_start}
        )

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        name = made.physical_id
        members = self.members(
            new, without=self._APART | {"FunctionName", "Architectures", "PackageType", "CodeSigningConfigArn"}
        )
        await self._sign(name, old, new)
        if self._code(old) != self._code(new) or old.get("Architectures") != new.get("Architectures"):
            architectures = {"Architectures": new["Architectures"]} if "Architectures" in new else {}
            await self.call("UpdateFunctionCode", FunctionName=name, **self._code(new), **architectures)
        apart = {"Code", "Tags", "Architectures", "CodeSigningConfigArn", "RuntimeManagementConfig", *self._APART}
        if {key: value for key, value in old.items() if key not in apart} != {
            key: value for key, value in new.items() if key not in apart
        }:
            members |= {
                self.properties[removed].shape.rpartition(".")[2]: default
                for removed, default in _defaults(name).items()
                if removed in old and removed not in new
            }
            await self.call("UpdateFunctionConfiguration", FunctionName=name, **members)
        await self._settings_apart(name, old, new)
        await change_tags(self, made.attributes["Arn"], old, new)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteFunction", FunctionName=made.physical_id)

    def _code(self, properties: Properties) -> dict[str, Any]:
        code = dict(properties["Code"])
        if "ZipFile" in code:
            code["ZipFile"] = inline_package(code["ZipFile"], properties.get("Runtime", ""))
        return code

    async def _settings_apart(self, name: str, old: Properties, new: Properties) -> None:
        if old.get("ReservedConcurrentExecutions") != new.get("ReservedConcurrentExecutions"):
            if "ReservedConcurrentExecutions" in new:
                await self.call(
                    "PutFunctionConcurrency",
                    FunctionName=name,
                    ReservedConcurrentExecutions=int(new["ReservedConcurrentExecutions"]),
                )
            else:
                await self.call("DeleteFunctionConcurrency", FunctionName=name)
        if old.get("RecursiveLoop") != new.get("RecursiveLoop"):
            loop = new.get("RecursiveLoop", "Terminate")
            await self.call("PutFunctionRecursionConfig", FunctionName=name, RecursiveLoop=loop)
        if old.get("RuntimeManagementConfig") != new.get("RuntimeManagementConfig"):
            config = new.get("RuntimeManagementConfig", {"UpdateRuntimeOn": "Auto"})
            await self.call("PutRuntimeManagementConfig", FunctionName=name, **config)

    async def _sign(self, name: str, old: Properties, new: Properties) -> None:
        """Before the code is changed, so that it is the new configuration that this is checked by."""
        if old.get("CodeSigningConfigArn") == new.get("CodeSigningConfigArn"):
            return
        if "CodeSigningConfigArn" in new:
            arn = new["CodeSigningConfigArn"]
            await self.call("PutFunctionCodeSigningConfig", FunctionName=name, CodeSigningConfigArn=arn)
        else:
            await self.call("DeleteFunctionCodeSigningConfig", FunctionName=name)


def _defaults(function: str) -> dict[str, Any]:
    """What a property of a function becomes when an update takes it out of the template."""
    return {
        "DeadLetterConfig": {"TargetArn": ""},
        "Description": "",
        "Environment": {"Variables": {}},
        "EphemeralStorage": {"Size": 512},
        "KmsKeyArn": "",
        "Layers": [],
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{function}"},
        "MemorySize": 128,
        "Timeout": 3,
        "TracingConfig": {"Mode": "PassThrough"},
        "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
    }


async def change_tags(resource: ResourceType, arn: str, old: Properties, new: Properties) -> None:
    """Change the tags of a resource of Lambda from those of `old` to those of `new`."""
    before, after = resource.tags(old), resource.tags(new)
    if removed := [key for key in before if key not in after]:
        await resource.call("UntagResource", Resource=arn, TagKeys=removed)
    if after != before and after:
        await resource.call("TagResource", Resource=arn, Tags=after)


class Permission(ResourceType):
    """AWS::Lambda::Permission.  Any change is a new statement."""

    type_name = "AWS::Lambda::Permission"
    service = "lambda"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("AddPermission", "Action", "FunctionName", "Principal", required=True, replace=True),
        **shaped(
            "AddPermission", "EventSourceToken", "FunctionUrlAuthType", "InvokedViaFunctionUrl", "PrincipalOrgID",
            "SourceAccount", "SourceArn", replace=True,
        ),
    }  # fmt: skip
    attributes = frozenset({"Id"})

    async def create(self, properties: Properties) -> Made:
        statement_id = self.generated_name(100)
        await self.call("AddPermission", StatementId=statement_id, **self.members(properties))
        return Made(statement_id, {"Id": statement_id})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("RemovePermission", FunctionName=properties["FunctionName"], StatementId=made.physical_id)


class EventSourceMapping(ResourceType):
    """AWS::Lambda::EventSourceMapping."""

    type_name = "AWS::Lambda::EventSourceMapping"
    service = "lambda"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateEventSourceMapping", "FunctionName", required=True),
        **shaped("CreateEventSourceMapping", "EventSourceArn", replace=True),
        **shaped(
            "CreateEventSourceMapping", "BatchSize", "Enabled", "FilterCriteria", "FunctionResponseTypes",
            "MaximumBatchingWindowInSeconds", "ScalingConfig",
        ),
        "Tags": Property(kind=Kind.TAGS),
    }  # fmt: skip
    attributes = frozenset({"Id", "EventSourceMappingArn"})
    # Of other sources than queues, or not offered.
    unsupported = frozenset(
        {
            "AmazonManagedKafkaEventSourceConfig",
            "BisectBatchOnFunctionError",
            "DestinationConfig",
            "DocumentDBEventSourceConfig",
            "KmsKeyArn",
            "LoggingConfig",
            "MaximumRecordAgeInSeconds",
            "MaximumRetryAttempts",
            "MetricsConfig",
            "ParallelizationFactor",
            "ProvisionedPollerConfig",
            "Queues",
            "SelfManagedEventSource",
            "SelfManagedKafkaEventSourceConfig",
            "SourceAccessConfigurations",
            "StartingPosition",
            "StartingPositionTimestamp",
            "Topics",
            "TumblingWindowInSeconds",
        }
    )

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        service = str(properties.get("EventSourceArn", "")).split(":")[2:3]
        if service not in ([], ["sqs"]):
            yield f"#/EventSourceArn: sources of {service[0]} are not supported by stepbridge, those of sqs are"

    async def create(self, properties: Properties) -> Made:
        tags = {"Tags": self.tags(properties)} if self.tags(properties) else {}
        created = await self.call("CreateEventSourceMapping", **self.members(properties), **tags)
        mapping = created["UUID"]
        arn = self.stack.arn("lambda", f"event-source-mapping:{mapping}")
        return Made(mapping, {"Id": mapping, "EventSourceMappingArn": arn})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        members = self.members(new, without=frozenset({"EventSourceArn"}))
        removed = {name: default for name, default in self._DEFAULTS.items() if name in old and name not in new}
        await self.call("UpdateEventSourceMapping", UUID=made.physical_id, **members, **removed)
        await change_tags(self, made.attributes["EventSourceMappingArn"], old, new)
        return made

    # What a property becomes when an update takes it out of the template.
    _DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "BatchSize": 10,
        "Enabled": True,
        "FilterCriteria": {},
        "FunctionResponseTypes": [],
        "MaximumBatchingWindowInSeconds": 0,
        "ScalingConfig": {},
    }

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteEventSourceMapping", UUID=made.physical_id)


class EventInvokeConfig(ResourceType):
    """AWS::Lambda::EventInvokeConfig."""

    type_name = "AWS::Lambda::EventInvokeConfig"
    service = "lambda"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("PutFunctionEventInvokeConfig", "FunctionName", "Qualifier", required=True, replace=True),
        **shaped(
            "PutFunctionEventInvokeConfig", "DestinationConfig", "MaximumEventAgeInSeconds", "MaximumRetryAttempts"
        ),
    }

    async def create(self, properties: Properties) -> Made:
        await self.call("PutFunctionEventInvokeConfig", **self.members(properties))
        return Made(f"{properties['FunctionName']}|{properties['Qualifier']}")

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self.call("PutFunctionEventInvokeConfig", **self.members(new))
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        function, qualifier = made.physical_id.split("|")
        await self.call("DeleteFunctionEventInvokeConfig", FunctionName=function, Qualifier=qualifier)


class LayerVersion(ResourceType):
    """AWS::Lambda::LayerVersion: its Ref is the version's ARN.  Nothing of it can change."""

    type_name = "AWS::Lambda::LayerVersion"
    service = "lambda"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("PublishLayerVersion", "Content", required=True, replace=True),
        **shaped(
            "PublishLayerVersion", "CompatibleArchitectures", "CompatibleRuntimes", "Description", "LayerName",
            "LicenseInfo", replace=True,
        ),
    }  # fmt: skip
    attributes = frozenset({"LayerVersionArn"})

    async def create(self, properties: Properties) -> Made:
        members = self.members(properties)
        name = members.pop("LayerName", None) or self.generated_name(140)
        arn = (await self.call("PublishLayerVersion", LayerName=name, **members))["LayerVersionArn"]
        return Made(arn, {"LayerVersionArn": arn})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        layer, _, version = made.physical_id.rpartition(":")
        await self.call("DeleteLayerVersion", LayerName=layer, VersionNumber=int(version))


class LayerVersionPermission(ResourceType):
    """AWS::Lambda::LayerVersionPermission.  Any change is a new statement."""

    type_name = "AWS::Lambda::LayerVersionPermission"
    service = "lambda"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("AddLayerVersionPermission", "Action", "Principal", required=True, replace=True),
        **shaped("AddLayerVersionPermission", "OrganizationId", replace=True),
        "LayerVersionArn": Property(kind=Kind.TEXT, required=True, replace=True),
    }
    attributes = frozenset({"Id"})

    async def create(self, properties: Properties) -> Made:
        statement_id = self.generated_name(100)
        await self.call(
            "AddLayerVersionPermission",
            StatementId=statement_id,
            **_layer_version(properties["LayerVersionArn"]),
            **self.members(properties),
        )
        return Made(f"{properties['LayerVersionArn']}#{statement_id}", {"Id": statement_id})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        statement_id = made.attributes["Id"]
        layer_version = _layer_version(properties["LayerVersionArn"])
        await self.call_unless_gone("RemoveLayerVersionPermission", StatementId=statement_id, **layer_version)


def _layer_version(arn: str) -> dict[str, Any]:
    layer, _, version = arn.rpartition(":")
    return {"LayerName": layer, "VersionNumber": int(version) if version.isdecimal() else 0}


TYPES = (EventInvokeConfig, EventSourceMapping, Function, LayerVersion, LayerVersionPermission, Permission)
