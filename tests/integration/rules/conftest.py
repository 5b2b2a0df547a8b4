"""A rules engine before moto, with real roles in IAM; and an HTTP endpoint."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stepbridge.api.calls import AwsCalls
from stepbridge.api.dispatch import Dispatcher
from stepbridge.api.errors import AwsError
from stepbridge.api.moto_backend import MotoBackend
from stepbridge.api.service import Caller
from stepbridge.clock import SystemClock
from stepbridge.iot.message import Message
from stepbridge.iot.registry.core import RegistryCore
from stepbridge.iot.rules.actions import RuleServices
from stepbridge.iot.rules.engine import RulesEngine
from stepbridge.iot.rules.service import TopicRuleService
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/rules"
Call = Callable[..., Awaitable[dict[str, Any]]]


class _Broker:
    """Stands where functions, which no test here reaches, and the broker are."""

    def __init__(self) -> None:
        self.published: list[Message] = []

    async def invoke_as_service(self, function_arn: str, payload: bytes, **_: Any) -> None:
        raise AssertionError(function_arn)

    async def publish(self, message: Message) -> None:
        self.published.append(message)


class World:
    """A rules engine before moto."""

    def __init__(self, moto: MotoBackend) -> None:
        settings = Settings(Path("/nowhere"))
        store, clock, broker = Store(None), SystemClock(), _Broker()
        self.published = broker.published
        trace = Trace(clock)
        calls = AwsCalls(settings, Dispatcher(), moto, lambda: "http://127.0.0.1:4566")
        RegistryCore(settings, store, clock, trace)
        self.call: Call = calls.call
        self.trace = trace
        self.engine = RulesEngine(
            settings, store, clock, trace, RuleServices(broker, broker, calls, lambda: "http://127.0.0.1:4566")
        )
        self.service = TopicRuleService(settings, store, self.engine)
        self.caller = Caller(ACCOUNT, "us-east-1")

    async def create(self, sql: str, *actions: dict[str, Any], **members: Any) -> None:
        payload = {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": list(actions), **members}
        await self.service.create_topic_rule(self.caller, {"ruleName": "r", "topicRulePayload": payload})

    async def publish(self, *payloads: Any) -> None:
        """Publish to a/b, and see everything done."""
        for payload in payloads:
            self.accept("a/b", payload)
        await self.engine.idle()

    def accept(self, topic: str, payload: Any, **members: Any) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.engine.accept(Message(topic, data, 0, False, 0.0, **members))

    def failures(self) -> list[str]:
        return [hop.text for hop in self.trace.recent if hop.event in ("action-failed", "sql-failed")]


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoBackend]:
    backend = MotoBackend(ACCOUNT)
    yield backend
    backend.close()


async def _role(call: Call, *statements: dict[str, Any]) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    try:
        await call("iam", "CreateRole", RoleName="rules", AssumeRolePolicyDocument=document)
    except AwsError as error:
        assert error.code == "EntityAlreadyExists"  # noqa: PT017 - of the test before
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    await call("iam", "PutRolePolicy", RoleName="rules", PolicyName="p", PolicyDocument=policy)


ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def run(moto: MotoBackend, test: Callable[[World], Awaitable[None]], *statements: dict[str, Any]) -> World:
    async def within() -> World:
        world = World(moto)
        await _role(world.call, *(statements or (ALL,)))
        await test(world)
        await world.engine.stop()
        return world

    return asyncio.run(within())


class Endpoint(BaseHTTPRequestHandler):
    """Records what it gets, and answers with the `statuses` first, of which a negative one ends the connection."""

    protocol_version = "HTTP/1.1"
    received: list[tuple[dict[str, str], bytes]]
    paths: list[str]
    statuses: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((dict(self.headers), body))
        self.paths.append(self.path)
        status = self.statuses.pop(0) if self.statuses else 200
        self.send_response(abs(status))
        self.send_header("Content-Length", "0")
        if status < 0:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[tuple[str, type[Endpoint]]]:
    handler = type("Endpoint", (Endpoint,), {"received": [], "paths": [], "statuses": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()
