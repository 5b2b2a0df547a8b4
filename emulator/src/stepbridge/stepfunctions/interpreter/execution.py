"""What an execution is given from outside: who it is, what time it is, where tokens and chance come from."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stepbridge.stepfunctions.interpreter.messages import Command, HistoryEvent, Json
from stepbridge.stepfunctions.language.evaluation import EvaluationError
from stepbridge.stepfunctions.language.resources import Integration, Resource
from stepbridge.stepfunctions.language.values import to_text

if TYPE_CHECKING:
    from stepbridge.stepfunctions.interpreter.state import ExecutionState


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """Who the execution is: what the context object tells of it, and where it runs.

    `start_time` and `redrive_time` are in seconds since the epoch.  `state_machine_arn` is the ARN without version or
    alias.  An Express execution has no redrive count.
    """

    execution_arn: str
    name: str
    role_arn: str
    start_time: float
    state_machine_arn: str
    state_machine_name: str
    region: str
    account: str
    redrive_count: int = 0
    express: bool = False
    state_machine_version_arn: str | None = None
    state_machine_alias_arn: str | None = None
    redrive_time: float | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What the reducer may use of the world in one step.

    `now` is the time of the event, in seconds since the epoch.  `new_task_token` makes a token for the task with the
    given id.  `wait_time_scale` is what the time of Wait states is multiplied by.
    `activity_exists` tells whether an activity, by its ARN, is there to be scheduled, `parameter_problems` what of its
    parameters an integration cannot be called with.
    """

    now: float
    random: random.Random
    new_task_token: Callable[[int], str]
    activity_exists: Callable[[str], bool] = field(default=lambda arn: True)
    parameter_problems: Callable[[Integration, Json], list[str]] = field(default=lambda resource, parameters: [])
    wait_time_scale: float = 1.0

    def check_parameters(self, resource: Resource, parameters: Json) -> None:
        """Raise EvaluationError, which nobody catches, unless a task can be started with `parameters`."""
        problems = self.parameter_problems(resource, parameters) if isinstance(resource, Integration) else []
        if problems:
            raise EvaluationError(
                f"The Parameters '{to_text(parameters)}' could not be used to start the Task: [{', '.join(problems)}]"
            )


@dataclass(frozen=True, slots=True)
class Step:
    """What one event led to: the new state, the history it wrote, and what the shell is to do.

    A step is of limited length: if branches are left that can go on (`state.ready`), the shell has to give the
    execution another turn, with `TurnCame`, unless another event comes before.
    """

    state: "ExecutionState"
    history: list[HistoryEvent]
    commands: list[Command]
