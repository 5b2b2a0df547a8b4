"""Roles read from IAM, and what is said of those that IAM does not have."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stepbridge.api.errors import AwsError
from stepbridge.api.models import operation_model
from stepbridge.clock import ManualClock
from stepbridge.iam import Permissions, RoleSession
from stepbridge.settings import Settings
from stepbridge.trace import Hop, Trace

ROLE = "arn:aws:iam::123456789012:role/team/worker"
SESSION = RoleSession(ROLE, "me")
PUBLISH = operation_model("iot-data", "Publish")


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


@dataclass
class Iam:
    """An IAM with one role; counts how often it is read, and how often it was changed."""

    statements: list[dict[str, Any]] = field(default_factory=list)
    reads: int = 0
    revision: int = 1

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        if members["RoleName"] != "worker":
            raise AwsError("NoSuchEntity", "no such role", status=404)
        if operation == "GetRole":
            self.reads += 1
            return {"Role": {"Arn": ROLE, "AssumeRolePolicyDocument": policy()}}
        if operation == "ListRolePolicies":
            return {"PolicyNames": ["inline"] if self.statements else []}
        if operation == "GetRolePolicy":
            return {"PolicyDocument": policy(*self.statements)}
        return {"AttachedPolicies": []}


class World:
    """Permissions on that IAM, and what they told."""

    def __init__(self, *statements: dict[str, Any], iam: bool = True) -> None:
        self.iam = Iam(list(statements))
        clock = ManualClock()
        trace = Trace(clock)
        self.hops: list[Hop] = []
        trace.listen(self.hops.append)
        settings = Settings(Path("/nowhere"), iam=iam)
        self.permissions = Permissions(settings, clock, trace, self.iam, lambda: self.iam.revision, lambda token: None)

    def publish(self, topic: str, session: RoleSession = SESSION) -> str | None:
        """The refusal of a publish, if it is refused."""
        try:
            asyncio.run(self.permissions.require(session, PUBLISH, {"topic": topic}))
        except AwsError as error:
            return error.message
        return None


def allow(topic: str, **more: Any) -> dict[str, Any]:
    resource = f"arn:aws:iot:us-east-1:123456789012:topic/{topic}"
    return {"Effect": "Allow", "Action": "iot:Publish", "Resource": resource, **more}


def test_what_a_policy_allows_is_allowed_and_nothing_else() -> None:
    world = World(allow("jobs/*"))
    assert world.publish("jobs/1") is None
    assert world.publish("other") == (
        "User: arn:aws:sts::123456789012:assumed-role/worker/me is not authorized to perform: iot:Publish on resource: "
        "arn:aws:iot:us-east-1:123456789012:topic/other because no identity-based policy allows the iot:Publish action"
    )
    (hop,) = world.hops
    assert (hop.event, hop.fields["action"], hop.fields["role"]) == ("access-denied", "iot:Publish", ROLE)


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"StringEquals": {"aws:PrincipalArn": ROLE}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, False),
        ({"ArnLike": {"lambda:SourceFunctionArn": "arn:aws:lambda:*:*:function:f"}}, False),
    ],
)
def test_conditions_are_those_of_the_request(condition: dict[str, Any], allowed: bool) -> None:
    assert (World(allow("*", Condition=condition)).publish("a") is None) is allowed


def test_a_role_is_read_once_and_again_when_iam_changes() -> None:
    world = World(allow("a"))
    world.publish("a")
    world.publish("b")
    assert world.iam.reads == 1
    world.iam.statements = []
    world.iam.revision += 1
    assert world.publish("a") is not None
    assert world.iam.reads == 2


def test_of_a_role_that_iam_does_not_have_it_is_said_once_that_it_may_do_everything() -> None:
    world = World()
    made_up = RoleSession("arn:aws:iam::123456789012:role/r", "me")
    assert world.publish("a", made_up) is None
    assert world.publish("b", made_up) is None
    assert [hop.event for hop in world.hops] == ["unknown-role"]


def test_an_iam_that_was_never_written_to_is_not_asked() -> None:
    world = World()
    world.iam.revision = 0
    assert world.publish("a") is None
    assert world.iam.reads == 0


def test_with_iam_off_nothing_is_refused_or_asked() -> None:
    world = World(iam=False)
    assert world.publish("a") is None
    assert (world.iam.reads, world.hops) == (0, [])


def test_roles_are_passed_to_services_that_may_have_them() -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html"""
    create = {"Effect": "Allow", "Action": "states:CreateStateMachine", "Resource": "*"}
    members = {"name": "m", "definition": "{}", "roleArn": "arn:aws:iam::123456789012:role/machine"}

    def refusal(*statements: dict[str, Any]) -> str | None:
        permissions = World(create, *statements).permissions
        try:
            asyncio.run(permissions.require(SESSION, operation_model("stepfunctions", "CreateStateMachine"), members))
        except AwsError as error:
            return error.message
        return None

    def passing(service: str) -> dict[str, Any]:
        condition = {"StringEquals": {"iam:PassedToService": service}}
        return {"Effect": "Allow", "Action": "iam:PassRole", "Resource": members["roleArn"], "Condition": condition}

    assert refusal() == (
        f"User: {SESSION.arn} is not authorized to perform: iam:PassRole on resource: {members['roleArn']} because no "
        "identity-based policy allows the iam:PassRole action"
    )
    assert refusal(passing("lambda.amazonaws.com")) is not None
    assert refusal(passing("states.amazonaws.com")) is None
