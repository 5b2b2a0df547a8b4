"""AWS::Lambda::*"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped

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
        **shaped("CreateFunction", "Role", required=True),
        **shaped(
            "CreateFunction", "Architectures", "CodeSigningConfigArn", "DeadLetterConfig", "Description", "Environment",
            "EphemeralStorage", "FileSystemConfigs", "Handler", "ImageConfig", "Layers", "LoggingConfig",
            "MemorySize", "Runtime", "SnapStart", "Timeout", "TracingConfig", "VpcConfig", "KmsKeyArn=KMSKeyArn",
        ),
        **shaped("PutFunctionConcurrency", "ReservedConcurrentExecutions"),
        "Code": Property(kind=Kind.FREE, required=True),
        "Tags": Property(kind=Kind.TAGS),
    }  # fmt: skip
    attributes = frozenset({"Arn"})
    _APART = frozenset({"ReservedConcurrentExecutions"})
    _CODE = frozenset({"S3Bucket", "S3Key", "S3ObjectVersion", "ZipFile", "ImageUri", "SourceKMSKeyArn"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        code = properties.get("Code", {})
        if not isinstance(code, dict):
            yield "#/Code: expected type: JSONObject, found: String"
            return
        for name in code:
            if name not in cls._CODE:
                yield f"#/Code: extraneous key [{name}] is not permitted"
        if not {"S3Bucket", "ZipFile", "ImageUri"} & set(code):
            yield "#/Code: required key [S3Bucket], [ZipFile] or [ImageUri] not found"

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
        return Made(name, {"Arn": created["FunctionArn"]})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        name = made.physical_id
        members = self.members(
            new, without=self._APART | {"FunctionName", "Architectures", "PackageType", "CodeSigningConfigArn"}
        )
        if self._code(old) != self._code(new) or old.get("Architectures") != new.get("Architectures"):
            architectures = {"Architectures": new["Architectures"]} if "Architectures" in new else {}
            await self.call("UpdateFunctionCode", FunctionName=name, **self._code(new), **architectures)
        apart = {"Code", "Tags", "Architectures", *self._APART}
        if {key: value for key, value in old.items() if key not in apart} != {
            key: value for key, value in new.items() if key not in apart
        }:
            for property_name, default in _DEFAULTS.items():
                if property_name in old and property_name not in new:
                    members[property_name] = default
            await self.call("UpdateFunctionConfiguration", FunctionName=name, **members)
        await self._settings_apart(name, old, new)
        before, after = self.tags(old), self.tags(new)
        if before != after:
            arn = made.attributes["Arn"]
            if removed := [key for key in before if key not in after]:
                await self.call("UntagResource", Resource=arn, TagKeys=removed)
            if after:
                await self.call("TagResource", Resource=arn, Tags=after)
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


# What a property becomes when an update takes it out of the template.
_DEFAULTS: dict[str, Any] = {
    "DeadLetterConfig": {"TargetArn": ""},
    "Description": "",
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "Layers": [],
    "MemorySize": 128,
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
}


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
        **shaped("CreateEventSourceMapping", "StartingPosition", "StartingPositionTimestamp", replace=True),
        **shaped(
            "CreateEventSourceMapping", "BatchSize", "BisectBatchOnFunctionError", "DestinationConfig", "Enabled",
            "FilterCriteria", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", "MaximumRecordAgeInSeconds",
            "MaximumRetryAttempts", "ParallelizationFactor", "ScalingConfig", "TumblingWindowInSeconds",
        ),
        "Tags": Property(kind=Kind.TAGS),
    }  # fmt: skip
    attributes = frozenset({"Id", "EventSourceMappingArn"})

    async def create(self, properties: Properties) -> Made:
        tags = {"Tags": self.tags(properties)} if self.tags(properties) else {}
        created = await self.call("CreateEventSourceMapping", **self.members(properties), **tags)
        mapping = created["UUID"]
        arn = self.stack.arn("lambda", f"event-source-mapping:{mapping}")
        return Made(mapping, {"Id": mapping, "EventSourceMappingArn": arn})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        fixed = frozenset({"EventSourceArn", "StartingPosition", "StartingPositionTimestamp"})
        await self.call("UpdateEventSourceMapping", UUID=made.physical_id, **self.members(new, without=fixed))
        return made

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
