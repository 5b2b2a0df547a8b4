"""One call of a Task state, and how it ends."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.model import OperationModel

from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.language.resources import Resource

# Raises AwsError unless the state machine's role may call the operation with these members.
Authorize = Callable[[OperationModel, Mapping[str, Any]], Awaitable[None]]


async def unrestricted(operation: OperationModel, members: Mapping[str, Any]) -> None:
    """Allow it."""


# Hears of the parts of an HTTP Task, "request" and "response", as TestState's InspectionData has them.
Inspect = Callable[[str, dict[str, str]], None]


def not_inspected(part: str, members: dict[str, str]) -> None:
    """Do nothing with it."""


@dataclass(frozen=True, slots=True)
class TaskCall:
    """What an integration is to call, for whom.

    `execution` and `task` are the row id of the execution and the id of the task in it, `time` is when the call is
    made, in seconds since the epoch, `retry` how often the state has been retried before.  `authorize` knows what the
    state machine's role allows.  `inspect` hears of the request and response of an HTTP Task, with what its connection
    adds if `reveal_secrets`.
    """

    resource: Resource
    parameters: Json
    execution: int
    execution_arn: str
    task: int
    state_name: str
    time: float
    retry: int = 0
    authorize: Authorize = unrestricted
    inspect: Inspect = not_inspected
    reveal_secrets: bool = False


class TaskError(Exception):
    """A call failed: `error` and `cause` are what Retry and Catch see."""

    def __init__(self, error: str, cause: str | None) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


class Integration(Protocol):
    """Makes the call and returns the task's output.  Raises TaskError."""

    async def __call__(self, call: TaskCall) -> Json: ...
