"""AWS::IAM::Role, Policy and ManagedPolicy."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.resources.base import (
    Kind,
    Made,
    Properties,
    Property,
    ResourceType,
    shaped,
)
from stepbridge.cloudformation.resources.shapes import json_text

# The principals a policy can be put on: the property that lists them, and how the operations call one.
_HOLDERS = {"Roles": ("Role", "RoleName"), "Users": ("User", "UserName"), "Groups": ("Group", "GroupName")}


class Role(ResourceType):
    """AWS::IAM::Role."""

    type_name = "AWS::IAM::Role"
    service = "iam"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("CreateRole", "RoleName", "Path", replace=True),
        **shaped("CreateRole", "Description", "MaxSessionDuration", "PermissionsBoundary"),
        "AssumeRolePolicyDocument": Property(kind=Kind.JSON, required=True),
        "ManagedPolicyArns": Property(kind=Kind.FREE),
        "Policies": Property(kind=Kind.FREE),
        "Tags": Property(kind=Kind.TAGS),
    }
    attributes = frozenset({"Arn", "RoleId"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        for name in ("ManagedPolicyArns", "Policies"):
            if not isinstance(properties.get(name, []), list):
                yield f"#/{name}: expected type: JSONArray, found: {type(properties[name]).__name__}"
                return
        for index, policy in enumerate(properties.get("Policies", [])):
            if not isinstance(policy, dict) or set(policy) != {"PolicyName", "PolicyDocument"}:
                yield f"#/Policies/{index}: the keys are [PolicyName] and [PolicyDocument]"

    async def create(self, properties: Properties) -> Made:
        members = self.members(properties)
        name = members.pop("RoleName", None) or self.generated_name(64)
        tags = {"Tags": self.tag_list(properties)} if self.tags(properties) else {}
        trust = json_text(properties["AssumeRolePolicyDocument"])
        created = await self.call("CreateRole", RoleName=name, AssumeRolePolicyDocument=trust, **tags, **members)
        made = Made(name, {"Arn": created["Role"]["Arn"], "RoleId": created["Role"]["RoleId"]})
        try:
            await self._policies(name, {}, properties)
        except AwsError:
            await self.delete(made, properties)
            raise
        return made

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        name = made.physical_id
        if old["AssumeRolePolicyDocument"] != new["AssumeRolePolicyDocument"]:
            trust = json_text(new["AssumeRolePolicyDocument"])
            await self.call("UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=trust)
        members = self.members(new, without=frozenset({"RoleName", "Path", "PermissionsBoundary"}))
        await self.call("UpdateRole", RoleName=name, **{"Description": "", "MaxSessionDuration": 3600, **members})
        if old.get("PermissionsBoundary") != new.get("PermissionsBoundary"):
            if "PermissionsBoundary" in new:
                boundary = new["PermissionsBoundary"]
                await self.call("PutRolePermissionsBoundary", RoleName=name, PermissionsBoundary=boundary)
            else:
                await self.call("DeleteRolePermissionsBoundary", RoleName=name)
        await self._policies(name, old, new)
        before, after = self.tags(old), self.tags(new)
        if removed := [key for key in before if key not in after]:
            await self.call("UntagRole", RoleName=name, TagKeys=removed)
        if after and before != after:
            await self.call("TagRole", RoleName=name, Tags=self.tag_list(new))
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        name = made.physical_id
        attached = await self.call("ListAttachedRolePolicies", RoleName=name)
        for policy in attached.get("AttachedPolicies", []):
            await self.call("DetachRolePolicy", RoleName=name, PolicyArn=policy["PolicyArn"])
        for policy_name in (await self.call("ListRolePolicies", RoleName=name)).get("PolicyNames", []):
            await self.call("DeleteRolePolicy", RoleName=name, PolicyName=policy_name)
        await self.call("DeleteRole", RoleName=name)

    async def _policies(self, name: str, old: Properties, new: Properties) -> None:
        before, after = set(old.get("ManagedPolicyArns", [])), list(new.get("ManagedPolicyArns", []))
        for arn in before - set(after):
            await self.call_unless_gone("DetachRolePolicy", RoleName=name, PolicyArn=arn)
        for arn in after:
            if arn not in before:
                await self.call("AttachRolePolicy", RoleName=name, PolicyArn=arn)
        documents = _documents(new)
        for policy_name in _documents(old):
            if policy_name not in documents:
                await self.call_unless_gone("DeleteRolePolicy", RoleName=name, PolicyName=policy_name)
        for policy_name, document in documents.items():
            await self.call("PutRolePolicy", RoleName=name, PolicyName=policy_name, PolicyDocument=document)


def _documents(properties: Properties) -> dict[str, str]:
    return {policy["PolicyName"]: json_text(policy["PolicyDocument"]) for policy in properties.get("Policies", [])}


class Policy(ResourceType):
    """AWS::IAM::Policy: an inline policy, put on each of its roles, users and groups."""

    type_name = "AWS::IAM::Policy"
    service = "iam"
    properties: ClassVar[Mapping[str, Property]] = {
        **shaped("PutRolePolicy", "PolicyName", required=True),
        "PolicyDocument": Property(kind=Kind.JSON, required=True),
        "Groups": Property(kind=Kind.FREE),
        "Roles": Property(kind=Kind.FREE),
        "Users": Property(kind=Kind.FREE),
    }
    attributes = frozenset({"Id"})

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        yield from super().check(properties)
        if not any(properties.get(name) for name in _HOLDERS):
            yield "#: at least one of [Groups], [Roles] and [Users] must be given"

    async def create(self, properties: Properties) -> Made:
        await self._put(properties)
        name = self.generated_name(128)
        return Made(name, {"Id": name})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        await self._put(new)
        kept = set(_holders(new)) if old["PolicyName"] == new["PolicyName"] else set()
        await self._remove(old["PolicyName"], [holder for holder in _holders(old) if holder not in kept])
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        await self._remove(properties["PolicyName"], _holders(properties))

    async def _put(self, properties: Properties) -> None:
        document = json_text(properties["PolicyDocument"])
        for kind, member, holder in _holders(properties):
            named: dict[str, Any] = {member: holder}
            await self.call(f"Put{kind}Policy", **named, PolicyName=properties["PolicyName"], PolicyDocument=document)

    async def _remove(self, policy_name: str, holders: Iterable[tuple[str, str, str]]) -> None:
        for kind, member, holder in holders:
            named: dict[str, Any] = {member: holder}
            await self.call_unless_gone(f"Delete{kind}Policy", **named, PolicyName=policy_name)


def _holders(properties: Properties) -> list[tuple[str, str, str]]:
    return [(*_HOLDERS[name], holder) for name in _HOLDERS for holder in properties.get(name, [])]


class ManagedPolicy(ResourceType):
    """AWS::IAM::ManagedPolicy: its Ref is the ARN."""

    type_name = "AWS::IAM::ManagedPolicy"
    service = "iam"
    properties: ClassVar[Mapping[str, Property]] = {
        "ManagedPolicyName": Property("CreatePolicy.PolicyName", replace=True),
        **shaped("CreatePolicy", "Path", "Description", replace=True),
        "PolicyDocument": Property(kind=Kind.JSON, required=True),
        "Groups": Property(kind=Kind.FREE),
        "Roles": Property(kind=Kind.FREE),
        "Users": Property(kind=Kind.FREE),
    }
    attributes = frozenset({"PolicyArn", "PolicyId"})

    async def create(self, properties: Properties) -> Made:
        members = self.members(properties)
        name = members.pop("PolicyName", None) or self.generated_name(128)
        document = json_text(properties["PolicyDocument"])
        policy = (await self.call("CreatePolicy", PolicyName=name, PolicyDocument=document, **members))["Policy"]
        made = Made(policy["Arn"], {"PolicyArn": policy["Arn"], "PolicyId": policy["PolicyId"]})
        attached = []
        try:
            for holder in _holders(properties):
                await self._attach("Attach", made.physical_id, holder)
                attached.append(holder)
        except AwsError:
            for holder in attached:
                await self._attach("Detach", made.physical_id, holder)
            await self.call("DeletePolicy", PolicyArn=made.physical_id)
            raise
        return made

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        arn = made.physical_id
        if old["PolicyDocument"] != new["PolicyDocument"]:
            versions = (await self.call("ListPolicyVersions", PolicyArn=arn))["Versions"]
            if len(versions) >= 5:  # the most that IAM keeps
                oldest = min((each for each in versions if not each["IsDefaultVersion"]), key=_version_number)
                await self.call("DeletePolicyVersion", PolicyArn=arn, VersionId=oldest["VersionId"])
            document = json_text(new["PolicyDocument"])
            await self.call("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
        before, after = _holders(old), _holders(new)
        for holder in after:
            if holder not in before:
                await self._attach("Attach", arn, holder)
        for holder in before:
            if holder not in after:
                await self._attach("Detach", arn, holder)
        return made

    async def delete(self, made: Made, properties: Properties) -> None:
        for holder in _holders(properties):
            await self._attach("Detach", made.physical_id, holder)
        for version in (await self.call("ListPolicyVersions", PolicyArn=made.physical_id))["Versions"]:
            if not version["IsDefaultVersion"]:
                await self.call("DeletePolicyVersion", PolicyArn=made.physical_id, VersionId=version["VersionId"])
        await self.call("DeletePolicy", PolicyArn=made.physical_id)

    async def _attach(self, verb: str, arn: str, holder: tuple[str, str, str]) -> None:
        kind, member, name = holder
        named: dict[str, Any] = {member: name}
        call = self.call if verb == "Attach" else self.call_unless_gone
        await call(f"{verb}{kind}Policy", **named, PolicyArn=arn)


def _version_number(version: dict[str, Any]) -> int:
    return int(version["VersionId"].removeprefix("v"))


TYPES = (ManagedPolicy, Policy, Role)
