"""An engine with everything it reaches replaced by what records it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller
from stepbridge.clock import ManualClock
from stepbridge.iot.message import Message
from stepbridge.iot.registry.core import RegistryCore
from stepbridge.iot.rules.actions import RuleServices
from stepbridge.iot.rules.engine import RulesEngine
from stepbridge.iot.rules.service import TopicRuleService
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Hop, Trace

ROLE = "arn:aws:iam::123456789012:role/rules"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@dataclass
class FakeFunctions:
    """Records invocations; `refuse` makes them fail."""

    invoked: list[tuple[str, bytes]] = field(default_factory=list)
    refuse: AwsError | None = None
    answer: Any = None

    async def invoke_as_service(self, function_arn: str, payload: bytes, **options: Any) -> Any:
        if self.refuse is not None:
            raise self.refuse
        self.invoked.append((function_arn, payload))
        assert options["principal"] == "iot.amazonaws.com"
        assert options["source_arn"].startswith("arn:aws:iot:us-east-1:123456789012:rule/")
        assert options["source_account"] == "123456789012"
        return self.answer


@dataclass
class FakePublisher:
    """Records messages."""

    published: list[Message] = field(default_factory=list)

    async def publish(self, message: Message) -> None:
        self.published.append(message)


@dataclass
class FakeCalls:
    """Answers IAM for one role that allows `allowed`, and other operations from `answers`; records the latter."""

    allowed: list[str] = field(default_factory=lambda: ["*"])
    answers: dict[str, Callable[..., dict[str, Any]]] = field(default_factory=dict)
    made: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        if service == "iam":
            return self._iam(operation, members)
        self.made.append((service, operation, members))
        answer = self.answers.get(operation)
        return {} if answer is None else answer(**members)

    def _iam(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        if members["RoleName"] != "rules":
            raise AwsError("NoSuchEntity", f"Role {members['RoleName']} not found", status=404)
        statement = {"Effect": "Allow", "Action": self.allowed, "Resource": "*"}
        answers: dict[str, dict[str, Any]] = {
            "GetRole": {"Role": {"Arn": ROLE, "AssumeRolePolicyDocument": _TRUST}},
            "ListRolePolicies": {"PolicyNames": ["inline"]},
            "GetRolePolicy": {"PolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [statement]})},
            "ListAttachedRolePolicies": {"AttachedPolicies": []},
        }
        return answers[operation]


class Rules:
    """An engine and its API, and what they reach."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store(None)
        self.clock = ManualClock()
        self.trace = Trace(self.clock)
        self.functions, self.publisher, self.calls = FakeFunctions(), FakePublisher(), FakeCalls()
        settings = Settings(Path("/nowhere"))
        services = RuleServices(self.functions, self.publisher, self.calls, lambda: "http://127.0.0.1:4566")
        RegistryCore(settings, self.store, self.clock, self.trace)  # its tables have the tags
        self.engine = RulesEngine(settings, self.store, self.clock, self.trace, services)
        self.service = TopicRuleService(settings, self.store, self.engine)
        self.caller = Caller("123456789012", "us-east-1")

    async def create(self, name: str, sql: str, *actions: dict[str, Any], **payload: Any) -> None:
        """Create a rule of SQL version 2016-03-23."""
        rule = {"sql": sql, "actions": list(actions), "awsIotSqlVersion": "2016-03-23", **payload}
        await self.service.create_topic_rule(self.caller, {"ruleName": name, "topicRulePayload": rule})

    async def publish(self, topic: str, payload: Any, qos: int = 0, **members: Any) -> None:
        """Accept a message, and see everything it leads to done."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.engine.accept(Message(topic, data, qos, False, self.clock.now(), **members))
        await self.engine.idle()

    def hops(self, event: str) -> list[Hop]:
        """What the trace tells of an event."""
        return [hop for hop in self.trace.recent if hop.event == event]


@pytest.fixture
def rules() -> Rules:
    return Rules()


async def until_something_waits(clock: ManualClock) -> None:
    """Return when a timer is set."""
    while clock.next_timer() is None:  # noqa: ASYNC110 - a ManualClock has no event for it
        await asyncio.sleep(0)
