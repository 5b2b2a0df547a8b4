"""The IAM roles of rules: whether AWS IoT may assume them, and what they allow.

A rule's role is checked when the rule is created (it must trust iot.amazonaws.com) and whenever an action uses it.
"""

import re
from collections.abc import Mapping
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.authorization import (
    IAM_IDENTITY,
    IAM_TRUST,
    Context,
    MalformedPolicyError,
    Policy,
    Principal,
    Request,
    evaluate,
    parse_policy,
)
from stepbridge.clock import Clock
from stepbridge.iot.rules.actions.base import IOT, AwsCalls
from stepbridge.settings import Settings

_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):role/(?:[\w+=,.@/-]*/)?(?P<name>[\w+=,.@-]+)")
# IAM is eventually consistent: a change takes seconds to be seen here, as on AWS.
_REMEMBERED = 5.0


class Roles:
    """Answers for the roles of rules, from IAM."""

    def __init__(self, settings: Settings, clock: Clock, calls: AwsCalls) -> None:
        self._settings = settings
        self._clock = clock
        self._calls = calls
        self._policies: dict[str, tuple[float, list[Policy]]] = {}

    async def require_trust(self, role_arn: str, rule_arn: str) -> None:
        """Raises InvalidRequestException unless AWS IoT may assume the role for the rule."""
        if not await self._is_assumable(role_arn, rule_arn):
            raise AwsError("InvalidRequestException", _unable_to_assume(role_arn), status=400)

    async def require(self, role_arn: str, rule_arn: str, action: str, resource: str) -> None:
        """Raises AccessDenied unless the role may be assumed for the rule and allows `action` on `resource`."""
        known = self._policies.get(role_arn)
        if known is None or known[0] < self._clock.now():
            if not await self._is_assumable(role_arn, rule_arn):
                raise AwsError("AccessDenied", _unable_to_assume(role_arn), status=403)
            known = (self._clock.now() + _REMEMBERED, await self._identity_policies(role_arn))
            self._policies[role_arn] = known
        context = Context({"aws:SourceArn": (rule_arn,), "aws:SourceAccount": (self._settings.account,)})
        verdict = evaluate(known[1], Request(action, resource, context))
        if not verdict.allowed:
            why = (
                "with an explicit deny in an identity-based policy"
                if verdict.statement
                else f"because no identity-based policy allows the {action} action"
            )
            user = f"arn:aws:sts::{self._settings.account}:assumed-role/{_name(role_arn)}/iot-rules-engine"
            raise AwsError(
                "AccessDenied",
                f"User: {user} is not authorized to perform: {action} on resource: {resource} {why}",
                status=403,
            )

    async def _is_assumable(self, role_arn: str, rule_arn: str) -> bool:
        match = _ROLE_ARN.fullmatch(role_arn)
        if match is None or match["account"] != self._settings.account:
            return False
        try:
            role = (await self._calls.call("iam", "GetRole", RoleName=match["name"]))["Role"]
        except AwsError:
            return False
        if role["Arn"] != role_arn:
            return False
        context = Context({"aws:SourceArn": (rule_arn,), "aws:SourceAccount": (self._settings.account,)})
        request = Request("sts:AssumeRole", role_arn, context, Principal("Service", IOT))
        return evaluate(_parsed("trust", role["AssumeRolePolicyDocument"], trust=True), request).allowed

    async def _identity_policies(self, role_arn: str) -> list[Policy]:
        name = _name(role_arn)
        policies: list[Policy] = []
        inline = await self._calls.call("iam", "ListRolePolicies", RoleName=name)
        for policy_name in inline["PolicyNames"]:
            policy = await self._calls.call("iam", "GetRolePolicy", RoleName=name, PolicyName=policy_name)
            policies += _parsed(policy_name, policy["PolicyDocument"])
        attached = await self._calls.call("iam", "ListAttachedRolePolicies", RoleName=name)
        for managed in attached["AttachedPolicies"]:
            arn = managed["PolicyArn"]
            version = (await self._calls.call("iam", "GetPolicy", PolicyArn=arn))["Policy"]["DefaultVersionId"]
            document = await self._calls.call("iam", "GetPolicyVersion", PolicyArn=arn, VersionId=version)
            policies += _parsed(managed["PolicyName"], document["PolicyVersion"]["Document"])
        return policies


def _parsed(name: str, document: str | Mapping[str, Any], *, trust: bool = False) -> list[Policy]:
    """The policy, or none if it is not one: what allows nothing."""
    try:
        text = document if isinstance(document, str) else dict(document)
        return [parse_policy(name, text, IAM_TRUST if trust else IAM_IDENTITY)]
    except MalformedPolicyError:
        return []


def _name(role_arn: str) -> str:
    return role_arn.rpartition("/")[2]


def _unable_to_assume(role_arn: str) -> str:
    return (
        f"AWS IoT (iot.amazonaws.com) is unable to assume role (sts:AssumeRole) on resource: {role_arn}. "
        "If the role was just created or updated, please try again in a few seconds."
    )
