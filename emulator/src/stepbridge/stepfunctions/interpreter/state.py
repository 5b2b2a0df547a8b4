"""The state of an execution between two events, as data: `dump` and `load` make it a row of JSON and back.

An execution is a tree of *branches*, each at one state: the execution itself, below it the branches of a Parallel or
the iterations of a Map in progress, and so on.  A branch that does not run waits for something, one of the classes
below.  Whatever is not needed to go on (ended branches, the definition) is not here, so a waiting execution is small.
"""

import json
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from stepbridge.stepfunctions.interpreter.execution import ExecutionContext
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.language.values import to_text


@dataclass(slots=True)
class OnTask:
    """A task is under way.  `timeout_timer` and `heartbeat_timer` are ids of timers, once they run."""

    task_id: int
    timeout_seconds: int | None
    heartbeat_seconds: int | None
    started: bool = False
    submitted: bool = False
    timeout_timer: int | None = None
    heartbeat_timer: int | None = None


@dataclass(slots=True)
class OnTimer:
    """A Wait state, or the pause before a retry."""

    timer_id: int
    retry: bool


@dataclass(slots=True)
class OnBranches:
    """The branches of a Parallel or the iterations of a Map.

    `results` are the outputs so far, by index; `open` counts those still to come; `remaining` are the items whose
    iterations have not been started, in reverse order.
    """

    results: list[Json]
    open: int
    remaining: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class OnMapRun:
    """The children of a distributed Map.

    `before` is the id of the event that MapRunStarted and each MapRunRedriven follow, `redrives` counts the latter.
    """

    map_run_id: int
    map_run_arn: str
    before: int
    redrives: int = 0


Waiting = OnTask | OnTimer | OnBranches | OnMapRun

_KINDS: tuple[type, ...] = (OnTask, OnTimer, OnBranches, OnMapRun)


@dataclass(slots=True)
class Branch:
    """One thread of control: at `state`, which it has still to enter while `entered` is 0.

    `parent` is the branch whose Parallel or Map started this one, `index` which one of them it is.  `previous` is the
    id of its last event, `entered` and `before` those of the event that entered the state and of the one before it.
    `retries` counts the retries of the state, by retrier.  `item` is a Map iteration's [index, value].
    """

    id: int
    parent: int | None
    index: int
    state: str
    input: Json
    previous: int
    variables: dict[str, Json] = field(default_factory=dict)
    item: list[Json] | None = None
    entered: int = 0
    before: int = 0
    entered_time: float = 0.0
    retries: list[int] = field(default_factory=list)
    waiting: Waiting | None = None

    def copy(self) -> "Branch":
        """A copy that can be changed without changing this one.  JSON values are shared: they are never changed."""
        twin = Branch(*_values_of_branch(self))
        twin.variables = dict(self.variables)
        twin.retries = list(self.retries)
        waiting = self.waiting
        if isinstance(waiting, OnBranches):
            twin.waiting = OnBranches(list(waiting.results), waiting.open, list(waiting.remaining))
        elif waiting is not None:
            twin.waiting = type(waiting)(*_VALUES_OF_WAITING[type(waiting)](waiting))
        return twin

    @property
    def retry_count(self) -> int:
        """How often the state has been retried since it was entered."""
        return sum(self.retries)


@dataclass(slots=True)
class ExecutionState:
    """All that is needed to take an execution on.

    `last_event` is the id of its last event, `last_id` the last one given to a branch, task, timer or map run;
    `deadline_timer` is the timer of the state machine's own TimeoutSeconds.  `ready` are the branches that can go on
    at once, in the order of their turns: there are such only between the steps of a long run.

    An execution that has `ended` ignores all events but a redrive.  If it was unsuccessful, its branches are what a
    redrive takes up.
    """

    context: ExecutionContext
    input: Json
    branches: dict[int, Branch]
    last_event: int = 0
    last_id: int = 0
    deadline_timer: int | None = None
    ended: bool = False
    ready: list[int] = field(default_factory=list)

    def copy(self) -> "ExecutionState":
        """A copy that can be changed without changing this one.  JSON values are shared: they are never changed."""
        branches = {number: branch.copy() for number, branch in self.branches.items()}
        return ExecutionState(
            self.context,
            self.input,
            branches,
            self.last_event,
            self.last_id,
            self.deadline_timer,
            self.ended,
            list(self.ready),
        )

    def dump(self) -> str:
        """The state as JSON text."""
        return to_text(
            [
                _values_of_context(self.context),
                self.input,
                [_dump_branch(branch) for branch in self.branches.values()],
                self.last_event,
                self.last_id,
                self.deadline_timer,
                self.ended,
                self.ready,
            ]
        )

    @classmethod
    def load(cls, text: str) -> "ExecutionState":
        """The state that `dump` made `text` of."""
        context, execution_input, branches, *rest = json.loads(text)
        loaded = (_load_branch(members) for members in branches)
        return cls(ExecutionContext(*context), execution_input, {branch.id: branch for branch in loaded}, *rest)


_BRANCH_FIELDS = tuple(entry.name for entry in fields(Branch))[:-1]  # without `waiting`
_values_of_branch = attrgetter(*_BRANCH_FIELDS)
_values_of_context = attrgetter(*(entry.name for entry in fields(ExecutionContext)))
_VALUES_OF_WAITING = {kind: attrgetter(*(entry.name for entry in fields(kind))) for kind in _KINDS}


def _dump_branch(branch: Branch) -> list[Any]:
    members = [*_values_of_branch(branch)]
    waiting = branch.waiting
    if waiting is not None:
        kind = type(waiting)
        members.append([_KINDS.index(kind), *_VALUES_OF_WAITING[kind](waiting)])
    return members


def _load_branch(members: list[Any]) -> Branch:
    count = len(_BRANCH_FIELDS)
    branch = Branch(*members[:count])
    if len(members) > count:
        kind, *values = members[count]
        branch.waiting = _KINDS[kind](*values)
    return branch
