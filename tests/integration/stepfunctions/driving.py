"""Drives the Step Functions service in-process, with functions that the test writes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.clock import Clock, ManualClock
from stepbridge.settings import Settings
from stepbridge.stepfunctions.service import StepFunctionsService, TaskIntegrations
from stepbridge.stepfunctions.service.integrations import AwsCalls
from stepbridge.store import Store
from stepbridge.trace import Trace

ROLE = "arn:aws:iam::123456789012:role/machine"
CALLER = Caller("123456789012", "us-east-1")

T = TypeVar("T")


class FunctionError(Exception):
    """What a function raises to fail as a Lambda function does, with a type and a message."""


@dataclass(frozen=True, slots=True)
class Result:
    status_code: int
    payload: bytes
    function_error: str | None
    executed_version: str = "$LATEST"
    log_tail: bytes | None = None
    request_id: str = "c2d0f9b4-3c0a-4b8e-9d4e-2f0a0c6f1a11"


@dataclass
class Functions:
    """A Lambda service of the test's own: coroutine functions by name, and what each was called with."""

    by_name: dict[str, Callable[[Any], Awaitable[Any]]] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)

    async def invoke(
        self,
        function: str,
        payload: bytes,
        /,
        *,
        qualifier: str | None = None,
        invocation_type: str = "RequestResponse",
        client_context: str | None = None,
        log_tail: bool = False,
    ) -> Result:
        name = function.rsplit(":", 1)[-1]
        if name not in self.by_name:
            raise AwsError("ResourceNotFoundException", f"Function not found: {function}", status=404)
        event = json.loads(payload or b"{}")
        self.calls.append((name, event))
        try:
            answer = await self.by_name[name](event)
        except FunctionError as error:
            body = {"errorMessage": str(error), "errorType": "ValueError", "stackTrace": []}
            return Result(200, json.dumps(body).encode(), "Unhandled")
        return Result(200, json.dumps(answer).encode(), None)


class Emulator:
    """A Step Functions service on a database file, with boto3's names for its operations."""

    def __init__(self, path: Path | None, clock: Clock | None = None, calls: AwsCalls | None = None) -> None:
        self.clock = clock if clock is not None else ManualClock()
        self.store = Store(path)
        self.trace = Trace(self.clock, keep=10_000)
        self.functions = Functions()
        settings = Settings(data_dir=path.parent if path else Path())
        self.service = StepFunctionsService(
            settings, self.store, self.clock, self.trace, TaskIntegrations(self.functions, calls)
        )

    async def __aenter__(self) -> "Emulator":
        await self.service.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.service.stop()
        self.store.close()

    async def call(self, operation: str, **members: Any) -> Members:
        """One call of the API, answers without the members that are None."""
        answer: Members = await getattr(self.service, operation)(CALLER, members)
        return {name: value for name, value in answer.items() if value is not None}

    async def create(self, definition: Members, name: str = "machine", **members: Any) -> str:
        """Create a state machine; its ARN."""
        text = json.dumps(definition)
        answer = await self.call("create_state_machine", name=name, definition=text, roleArn=ROLE, **members)
        arn: str = answer["stateMachineArn"]
        return arn

    async def run(self, machine: str, value: Any = None, **members: Any) -> str:
        """Start an execution; its ARN."""
        text = json.dumps({} if value is None else value)
        answer = await self.call("start_execution", stateMachineArn=machine, input=text, **members)
        arn: str = answer["executionArn"]
        return arn

    async def status(self, execution: str) -> str:
        answer = await self.call("describe_execution", executionArn=execution)
        status: str = answer["status"]
        return status

    async def ended(self, execution: str) -> Members:
        """DescribeExecution once the execution has ended."""
        return await eventually(lambda: self._if_ended(execution))

    async def _if_ended(self, execution: str) -> Members | None:
        answer = await self.call("describe_execution", executionArn=execution)
        return answer if answer["status"] != "RUNNING" else None

    async def history(self, execution: str, **members: Any) -> list[Members]:
        answer = await self.call("get_execution_history", executionArn=execution, **members)
        events: list[Members] = answer["events"]
        return events

    async def types(self, execution: str) -> list[str]:
        """The types of the events of the history."""
        return [event["type"] for event in await self.history(execution)]

    async def token(self, number: int = 1) -> str:
        """The task token that the `number`-th call of a function was given, once it has been called."""

        async def given() -> str | None:
            tokens = [event["TaskToken"] for _, event in self.functions.calls if "TaskToken" in event]
            return tokens[number - 1] if len(tokens) >= number else None

        return await eventually(given)


async def eventually(probe: Callable[[], Awaitable[T | None]]) -> T:
    """What `probe` answers as soon as it is not None; gives the event loop its turns in between."""
    async with asyncio.timeout(30):
        while (answer := await probe()) is None:  # noqa: ASYNC110 - no event tells of what a probe looks at
            await asyncio.sleep(0)
        return answer


async def refused(call: Awaitable[object]) -> AwsError:
    """The error that `call` is refused with."""
    try:
        answer = await call
    except AwsError as error:
        return error
    raise AssertionError(f"was not refused: {answer}")
