"""AWS::IoT::*"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.resources.base import Kind, Made, Properties, Property, ResourceType, shaped
from stepbridge.cloudformation.resources.shapes import json_text


class Thing(ResourceType):
    """AWS::IoT::Thing."""

    type_name = "AWS::IoT::Thing"
    service = "iot"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateThing", "ThingName=thingName", replace=True),
        **shaped("CreateThing", "AttributePayload=attributePayload"),
    }
    attributes = frozenset({"Arn", "Id"})

    async def create(self, properties: Properties) -> Made:
        members = self.members(properties)
        name = members.pop("thingName", None) or self.generated_name(128)
        await self.refuse_taken(name, "DescribeThing", thingName=name)
        created = await self.call("CreateThing", thingName=name, **members)
        return Made(name, {"Arn": created["thingArn"], "Id": created["thingId"]})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        attributes = self.members(new).get("attributePayload", {}).get("attributes", {})
        await self.call(
            "UpdateThing", thingName=made.physical_id, attributePayload={"attributes": attributes, "merge": False}
        )
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteThing", thingName=made.physical_id)


class ThingType(ResourceType):
    """AWS::IoT::ThingType.  IoT lets a type be deleted five minutes after its deprecation and not before."""

    type_name = "AWS::IoT::ThingType"
    service = "iot"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateThingType", "ThingTypeName=thingTypeName", replace=True),
        **shaped("CreateThingType", "ThingTypeProperties=thingTypeProperties", replace=True),
        "DeprecateThingType": Property("DeprecateThingType.undoDeprecate"),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn", "Id"})

    async def create(self, properties: Properties) -> Made:
        members = self.members(properties)
        name = members.pop("thingTypeName", None) or self.generated_name(128)
        deprecated = members.pop("undoDeprecate", False)
        tags = {"tags": self.tag_list(properties)} if self.tags(properties) else {}
        await self.refuse_taken(name, "DescribeThingType", thingTypeName=name)
        created = await self.call("CreateThingType", thingTypeName=name, **tags, **members)
        if deprecated:
            await self.call("DeprecateThingType", thingTypeName=name)
        return Made(name, {"Arn": created["thingTypeArn"], "Id": created["thingTypeId"]})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        deprecated = self.members(new).get("undoDeprecate", False)
        await self.call("DeprecateThingType", thingTypeName=made.physical_id, undoDeprecate=not deprecated)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        description = await self.call("DescribeThingType", thingTypeName=made.physical_id)
        metadata = description.get("thingTypeMetadata", {})
        if not metadata.get("deprecated"):
            await self.call("DeprecateThingType", thingTypeName=made.physical_id)
        since = metadata.get("deprecationDate", self.clock.now())
        await self.clock.sleep(max(0.0, since + 300 - self.clock.now()))
        await self.call("DeleteThingType", thingTypeName=made.physical_id)


class ThingGroup(ResourceType):
    """AWS::IoT::ThingGroup.  Dynamic groups, those with a QueryString, are not supported."""

    type_name = "AWS::IoT::ThingGroup"
    service = "iot"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateThingGroup", "ThingGroupName=thingGroupName", "ParentGroupName=parentGroupName", replace=True),
        **shaped("CreateThingGroup", "ThingGroupProperties=thingGroupProperties"),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn", "Id"})

    async def create(self, properties: Properties) -> Made:
        members = self.members(properties)
        name = members.pop("thingGroupName", None) or self.generated_name(128)
        await self.refuse_taken(name, "DescribeThingGroup", thingGroupName=name)
        tags = {"tags": self.tag_list(properties)} if self.tags(properties) else {}
        created = await self.call("CreateThingGroup", thingGroupName=name, **tags, **members)
        return Made(name, {"Arn": created["thingGroupArn"], "Id": created["thingGroupId"]})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        changed = self.members(new).get("thingGroupProperties", {})
        await self.call("UpdateThingGroup", thingGroupName=made.physical_id, thingGroupProperties=changed)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteThingGroup", thingGroupName=made.physical_id)


class Policy(ResourceType):
    """AWS::IoT::Policy.  A changed document becomes the default version."""

    type_name = "AWS::IoT::Policy"
    service = "iot"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreatePolicy", "PolicyName=policyName", replace=True),
        "PolicyDocument": Property(kind=Kind.JSON, required=True),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn", "Id"})

    async def create(self, properties: Properties) -> Made:
        name = self.members(properties).get("policyName") or self.generated_name(128)
        tags = {"tags": self.tag_list(properties)} if self.tags(properties) else {}
        document = json_text(properties["PolicyDocument"])
        created = await self.call("CreatePolicy", policyName=name, policyDocument=document, **tags)
        return Made(name, {"Arn": created["policyArn"], "Id": name})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        name = made.physical_id
        if old["PolicyDocument"] != new["PolicyDocument"]:
            versions = (await self.call("ListPolicyVersions", policyName=name))["policyVersions"]
            if len(versions) >= 5:  # the most that IoT keeps
                oldest = min((each for each in versions if not each["isDefaultVersion"]), key=_version_number)
                await self.call("DeletePolicyVersion", policyName=name, policyVersionId=oldest["versionId"])
            document = json_text(new["PolicyDocument"])
            await self.call("CreatePolicyVersion", policyName=name, policyDocument=document, setAsDefault=True)
        await _retag(self, made.attributes["Arn"], old, new)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        for version in (await self.call("ListPolicyVersions", policyName=made.physical_id))["policyVersions"]:
            if not version["isDefaultVersion"]:
                await self.call(
                    "DeletePolicyVersion", policyName=made.physical_id, policyVersionId=version["versionId"]
                )
        await self.call("DeletePolicy", policyName=made.physical_id)


def _version_number(version: dict[str, Any]) -> int:
    return int(version["versionId"])


class Certificate(ResourceType):
    """AWS::IoT::Certificate: from a signing request or a certificate made elsewhere.  Its Ref is the id."""

    type_name = "AWS::IoT::Certificate"
    service = "iot"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateCertificateFromCsr", "CertificateSigningRequest=certificateSigningRequest", replace=True),
        **shaped(
            "RegisterCertificate", "CertificatePem=certificatePem", "CACertificatePem=caCertificatePem", replace=True
        ),
        **shaped("UpdateCertificate", "Status=newStatus", required=True),
        "CertificateMode": Property(kind=Kind.TEXT, replace=True),
    }
    attributes = frozenset({"Arn", "Id"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        if ("CertificateSigningRequest" in properties) == ("CertificatePem" in properties):
            yield "#: one of [CertificateSigningRequest] and [CertificatePem] must be given"

    async def create(self, properties: Properties) -> Made:
        status = properties["Status"]
        if "CertificateSigningRequest" in properties:
            created = await self.call(
                "CreateCertificateFromCsr",
                certificateSigningRequest=properties["CertificateSigningRequest"],
                setAsActive=status == "ACTIVE",
            )
            if status not in {"ACTIVE", "INACTIVE"}:
                await self.call("UpdateCertificate", certificateId=created["certificateId"], newStatus=status)
        else:
            without_authority = properties.get("CertificateMode") == "SNI_ONLY"
            operation = "RegisterCertificateWithoutCA" if without_authority else "RegisterCertificate"
            created = await self.call(
                operation, status=status, **self.members(properties, without=frozenset({"Status"}))
            )
        return Made(created["certificateId"], {"Arn": created["certificateArn"], "Id": created["certificateId"]})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self.call("UpdateCertificate", certificateId=made.physical_id, newStatus=new["Status"])
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("UpdateCertificate", certificateId=made.physical_id, newStatus="INACTIVE")
        await self.call("DeleteCertificate", certificateId=made.physical_id)


class PolicyPrincipalAttachment(ResourceType):
    """AWS::IoT::PolicyPrincipalAttachment."""

    type_name = "AWS::IoT::PolicyPrincipalAttachment"
    service = "iot"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("AttachPolicy", "PolicyName=policyName", "Principal=target", required=True, replace=True),
    }

    async def create(self, properties: Properties) -> Made:
        await self.call("AttachPolicy", **self.members(properties))
        return Made(f"{properties['PolicyName']}|{properties['Principal']}")

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DetachPolicy", **self.members(properties))


class ThingPrincipalAttachment(ResourceType):
    """AWS::IoT::ThingPrincipalAttachment."""

    type_name = "AWS::IoT::ThingPrincipalAttachment"
    service = "iot"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("AttachThingPrincipal", "ThingName=thingName", "Principal=principal", required=True, replace=True),
        **shaped("AttachThingPrincipal", "ThingPrincipalType=thingPrincipalType", replace=True),
    }

    async def create(self, properties: Properties) -> Made:
        await self.call("AttachThingPrincipal", **self.members(properties))
        return Made(f"{properties['ThingName']}|{properties['Principal']}")

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        members = self.members(properties, without=frozenset({"ThingPrincipalType"}))
        await self.call("DetachThingPrincipal", **members)


class TopicRule(ResourceType):
    """AWS::IoT::TopicRule."""

    type_name = "AWS::IoT::TopicRule"
    service = "iot"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateTopicRule", "RuleName=ruleName", replace=True),
        **shaped("CreateTopicRule", "TopicRulePayload=topicRulePayload", required=True),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn"})

    async def create(self, properties: Properties) -> Made:
        members = self.members(properties)
        # the name of a rule has no hyphens
        name = members.pop("ruleName", None) or self.generated_name(128, separator="_").replace("-", "_")
        if tags := self.tags(properties):
            members["tags"] = "&".join(f"{key}={value}" for key, value in tags.items())
        await self.call("CreateTopicRule", ruleName=name, **members)
        return Made(name, {"Arn": self.stack.arn("iot", f"rule/{name}")})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        payload = self.members(new)["topicRulePayload"]
        await self.call("ReplaceTopicRule", ruleName=made.physical_id, topicRulePayload=payload)
        await _retag(self, made.attributes["Arn"], old, new)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteTopicRule", ruleName=made.physical_id)


class TopicRuleDestination(ResourceType):
    """AWS::IoT::TopicRuleDestination: its Ref is the ARN."""

    type_name = "AWS::IoT::TopicRuleDestination"
    service = "iot"
    properties: ClassVar[Mapping[str, Property]] = {
        "HttpUrlProperties": Property(
            "CreateTopicRuleDestination.destinationConfiguration.httpUrlConfiguration", replace=True
        ),
        "VpcProperties": Property("CreateTopicRuleDestination.destinationConfiguration.vpcConfiguration", replace=True),
        **shaped("UpdateTopicRuleDestination", "Status=status"),
    }
    attributes = frozenset({"Arn", "StatusReason"})

    async def create(self, properties: Properties) -> Made:
        configuration = self.members(properties, without=frozenset({"Status"}))
        created = await self.call("CreateTopicRuleDestination", destinationConfiguration=configuration)
        destination = created["topicRuleDestination"]
        made = Made(
            destination["arn"], {"Arn": destination["arn"], "StatusReason": destination.get("statusReason", "")}
        )
        if "Status" in properties:
            try:
                await self.update(made, {}, properties)
            except AwsError:
                await self.delete(made, properties)
                raise
        return made

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self.call("UpdateTopicRuleDestination", arn=made.physical_id, status=new.get("Status", "DISABLED"))
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self.call("DeleteTopicRuleDestination", arn=made.physical_id)


async def _retag(resource: ResourceType, arn: str, old: Properties, new: Properties) -> None:
    before, after = resource.tags(old), resource.tags(new)
    if removed := [key for key in before if key not in after]:
        await resource.call("UntagResource", resourceArn=arn, tagKeys=removed)
    if after and before != after:
        await resource.call("TagResource", resourceArn=arn, tags=resource.tag_list(new))


TYPES = (
    Certificate,
    Policy,
    PolicyPrincipalAttachment,
    Thing,
    ThingGroup,
    ThingPrincipalAttachment,
    ThingType,
    TopicRule,
    TopicRuleDestination,
)
