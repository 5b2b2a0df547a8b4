"""Roles as IAM has them: who may assume them, and their policies."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from stepbridge.api.errors import AwsError
from stepbridge.authorization import (
    IAM_IDENTITY,
    IAM_TRUST,
    Context,
    MalformedPolicyError,
    Outcome,
    Policy,
    Principal,
    Request,
    about,
    evaluate,
    parse_policy,
)

_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):role/(?:[\w+=,.@/-]*/)?(?P<name>[\w+=,.@-]+)")


class AwsCalls(Protocol):
    """In-process calls to AWS services."""

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        """Carry out `operation` (as botocore's model names it) of `service`; raises AwsError as the service does."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a role may not do something: by an explicit deny or for want of a permission, in the boundary or not."""

    explicit: bool
    boundary: bool = False


@dataclass(frozen=True, slots=True)
class Role:
    """A role.  `boundary` is its permissions boundary: it allows nothing that the boundary does not."""

    arn: str
    trust: tuple[Policy, ...]
    policies: tuple[Policy, ...]
    boundary: Policy | None

    def may_be_assumed_by(self, service: str, context: Context) -> bool:
        """Whether `service` (`lambda.amazonaws.com`) may take the role."""
        request = Request("sts:AssumeRole", self.arn, context, Principal("Service", service))
        return evaluate(self.trust, request).allowed

    def refusal(self, action: str, resource: str | None, context: Context) -> Refusal | None:
        """Why the role may not do `action` on the ARN `resource`, or None if it may."""
        outcome = _evaluate(self.policies, action, resource, context)
        if outcome is not Outcome.ALLOWED:
            return Refusal(outcome is Outcome.EXPLICIT_DENY)
        if self.boundary is not None:
            outcome = _evaluate((self.boundary,), action, resource, context)
            if outcome is not Outcome.ALLOWED:
                return Refusal(outcome is Outcome.EXPLICIT_DENY, boundary=True)
        return None


def _evaluate(policies: tuple[Policy, ...], action: str, resource: str | None, context: Context) -> Outcome:
    if resource is not None:
        return evaluate(policies, Request(action, resource, context)).outcome
    # Where the resource is not known, a statement that allows the action on any resource is taken to allow it.
    allowed = any(
        statement.allow and statement.holds(context)
        for policy in about(policies, action)
        for statement in policy.statements
    )
    return Outcome.ALLOWED if allowed else Outcome.IMPLICIT_DENY


class RoleReader:
    """Reads roles of `account`, each time anew."""

    def __init__(self, account: str, calls: AwsCalls) -> None:
        self._account = account
        self._calls = calls

    async def read(self, role_arn: str) -> Role | None:
        """The role with that ARN, or None if IAM has none."""
        match = _ROLE_ARN.fullmatch(role_arn)
        if match is None or match["account"] != self._account:
            return None
        name = match["name"]
        try:
            role = (await self._calls.call("iam", "GetRole", RoleName=name))["Role"]
            if role["Arn"] != role_arn:
                return None
            boundary = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
            return Role(
                role_arn,
                _parsed("trust policy", role["AssumeRolePolicyDocument"], trust=True),
                (*await self._inline(name), *await self._attached(name)),
                (await self._managed("permissions boundary", boundary) or (None,))[0] if boundary else None,
            )
        except AwsError:  # it was deleted meanwhile
            return None

    async def _inline(self, role: str) -> list[Policy]:
        policies: list[Policy] = []
        for name in (await self._calls.call("iam", "ListRolePolicies", RoleName=role))["PolicyNames"]:
            policy = await self._calls.call("iam", "GetRolePolicy", RoleName=role, PolicyName=name)
            policies += _parsed(name, policy["PolicyDocument"])
        return policies

    async def _attached(self, role: str) -> list[Policy]:
        policies: list[Policy] = []
        attached = await self._calls.call("iam", "ListAttachedRolePolicies", RoleName=role)
        for policy in attached["AttachedPolicies"]:
            policies += await self._managed(policy["PolicyName"], policy["PolicyArn"])
        return policies

    async def _managed(self, name: str, arn: str) -> tuple[Policy, ...]:
        version = (await self._calls.call("iam", "GetPolicy", PolicyArn=arn))["Policy"]["DefaultVersionId"]
        answer = await self._calls.call("iam", "GetPolicyVersion", PolicyArn=arn, VersionId=version)
        return _parsed(name, answer["PolicyVersion"]["Document"])


def _parsed(name: str, document: str | Mapping[str, Any], *, trust: bool = False) -> tuple[Policy, ...]:
    """The policy, or none if it is not one: what allows nothing."""
    try:
        text = document if isinstance(document, str) else dict(document)
        return (parse_policy(name, text, IAM_TRUST if trust else IAM_IDENTITY),)
    except MalformedPolicyError:
        return ()
