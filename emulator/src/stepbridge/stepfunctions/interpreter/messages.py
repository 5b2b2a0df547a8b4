"""What goes into the interpreter and what comes out: events in, history and commands out.

The interpreter is a reducer.  The shell gives it the state of one execution and one event; it gives back what is to
be written to the execution's history and what the shell is to do.  It never waits, reads no clock and makes no call:
the time of the event and the source of randomness are handed to it.

A *task* is one attempt at a Task state: it has an id that is unique within the execution and never used again.
"""

from dataclasses import dataclass, field
from typing import Any

Json = Any  # a JSON value: None, bool, int, float, str, list, dict


# --- Events: what happened, told by the shell ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskSubmitted:
    """The call of a `.waitForTaskToken` or `.sync` task returned `output`; the task now waits for its completion."""

    task_id: int
    output: Json


@dataclass(frozen=True, slots=True)
class TaskSucceeded:
    """The task is complete: the call returned, or its token was given back, with `output`."""

    task_id: int
    output: Json


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """The call failed, or the token was given back with a failure."""

    task_id: int
    error: str | None
    cause: str | None


@dataclass(frozen=True, slots=True)
class TaskHeartbeat:
    """The holder of the task's token or activity says that it is alive."""

    task_id: int


@dataclass(frozen=True, slots=True)
class ActivityStarted:
    """A worker has taken the activity task."""

    task_id: int
    worker_name: str | None


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that the interpreter asked for is due."""

    timer_id: int


@dataclass(frozen=True, slots=True)
class MapRunFinished:
    """All child executions of a distributed Map have ended, or too many of them failed."""

    map_run_id: int
    output: Json
    error: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class ExecutionStopped:
    """StopExecution was called."""

    error: str | None
    cause: str | None


@dataclass(frozen=True, slots=True)
class ExecutionRedriven:
    """RedriveExecution was called."""


@dataclass(frozen=True, slots=True)
class TurnCame:
    """It is the turn again of an execution whose last step was cut short, with branches left that can go on."""


Event = (
    TaskSubmitted
    | TaskSucceeded
    | TaskFailed
    | TaskHeartbeat
    | ActivityStarted
    | TimerFired
    | MapRunFinished
    | ExecutionStopped
    | ExecutionRedriven
    | TurnCame
)


# --- Commands: what the shell is to do, after the new state is committed ---------------------------------------------


@dataclass(frozen=True, slots=True)
class InvokeTask:
    """Make the call of a Task state and report TaskSubmitted, TaskSucceeded or TaskFailed.

    The task of an activity is not called: a worker asks for it, of which ActivityStarted tells.

    `resource` is the state's Resource as written.  `token` is the task token of a `.waitForTaskToken` task.
    `timeout_seconds` and `heartbeat_seconds` are for information; the interpreter keeps both with its own timers.
    `retry` is how often the state has been retried since it was entered.
    """

    task_id: int
    resource: str
    parameters: Json
    state_name: str
    token: str | None = None
    credentials: Json = None
    timeout_seconds: int | None = None
    heartbeat_seconds: int | None = None
    retry: int = 0


@dataclass(frozen=True, slots=True)
class CancelTask:
    """The task is over (timed out, stopped, or its branch was cut off): its token and results count no more."""

    task_id: int


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Report TimerFired at `at` (seconds since the epoch)."""

    timer_id: int
    at: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget the timer."""

    timer_id: int


@dataclass(frozen=True, slots=True)
class StartMapRun:
    """Run a distributed Map: see `service/map_runs.py`.

    `map_run_arn` is the run's name, already in the history.  `plan` is the Map state's evaluated fields, as described
    in `interpreter/map_runs.py`, whose functions turn it and what the ItemReader read into the children's inputs.
    """

    map_run_id: int
    map_run_arn: str
    state_name: str
    plan: dict[str, Json]


@dataclass(frozen=True, slots=True)
class RedriveMapRun:
    """Run the unsuccessful child executions of a map run again."""

    map_run_id: int


@dataclass(frozen=True, slots=True)
class CancelMapRun:
    """The Map state is over: stop its child executions."""

    map_run_id: int


@dataclass(frozen=True, slots=True)
class FinishExecution:
    """The execution has ended: `status` is SUCCEEDED, FAILED, TIMED_OUT or ABORTED."""

    status: str
    output: Json = None
    error: str | None = None
    cause: str | None = None


Command = (
    InvokeTask | CancelTask | StartTimer | CancelTimer | StartMapRun | RedriveMapRun | CancelMapRun | FinishExecution
)


# --- History ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event of GetExecutionHistory.

    `details_member` is the member that holds `details` in the API's HistoryEvent shape
    (`stateEnteredEventDetails`, …), or None for an event without details.
    """

    id: int
    previous_event_id: int
    type: str
    time: float
    details_member: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
