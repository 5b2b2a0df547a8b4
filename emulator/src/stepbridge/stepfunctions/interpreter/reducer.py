"""`start` and `apply`: an execution begins, and goes on with each event."""

from stepbridge.stepfunctions.interpreter import containers, simple_states, tasks
from stepbridge.stepfunctions.interpreter.execution import Environment, ExecutionContext, Step
from stepbridge.stepfunctions.interpreter.failures import Failure
from stepbridge.stepfunctions.interpreter.messages import (
    ActivityStarted,
    Event,
    ExecutionStopped,
    MapRunFinished,
    TaskFailed,
    TaskHeartbeat,
    TaskStarted,
    TaskSubmitted,
    TaskSucceeded,
    TimerFired,
)
from stepbridge.stepfunctions.interpreter.run import NOT_TRUNCATED, Run
from stepbridge.stepfunctions.interpreter.state import Branch, ExecutionState, OnMapRun, OnTask, OnTimer
from stepbridge.stepfunctions.language import json_text
from stepbridge.stepfunctions.language.definition import Definition


def start(definition: Definition, context: ExecutionContext, input_text: str, environment: Environment) -> Step:
    """Begin an execution.

    `input_text` is its input as it was given: JSON text, which the history shows unchanged.  Raises
    `json_text.JsonError` if it is not JSON.
    """
    value = json_text.parse(input_text)
    root = Branch(1, None, 0, definition.flow.start_at, value, 0)
    state = ExecutionState(context, value, {root.id: root}, last_id=root.id)
    run = Run(definition, state, environment)
    run.record(
        "ExecutionStarted",
        0,
        "executionStartedEventDetails",
        input=input_text,
        inputDetails=NOT_TRUNCATED,
        roleArn=context.role_arn,
        stateMachineVersionArn=context.state_machine_version_arn,
        stateMachineAliasArn=context.state_machine_alias_arn,
    )
    if definition.timeout_seconds is not None:
        state.deadline_timer = run.start_timer(definition.timeout_seconds)
    # The first state follows ExecutionStarted without naming it as its previous event.
    run.enter(root, definition.flow.start_at, value, input_text)
    return run.step()


def apply(definition: Definition, state: ExecutionState, event: Event, environment: Environment) -> Step:
    """Take an execution one event further.

    Events for tasks, timers and map runs that are over, and for executions that have ended, change nothing.  `state`
    itself is left as it is.
    """
    if state.ended:
        return Step(state, [], [])
    run = Run(definition, state.copy(), environment)
    run.agenda.append((next(iter(run.state.branches.values())), lambda step, _: _receive(step, event)))
    return run.step()


def _receive(run: Run, event: Event) -> None:
    match event:
        case ExecutionStopped(error=error, cause=cause):
            run.stop(error, cause)
        case TimerFired(timer_id=timer_id):
            _timer_fired(run, timer_id)
        case MapRunFinished(map_run_id=map_run_id):
            for branch in run.state.branches.values():
                if isinstance(branch.waiting, OnMapRun) and branch.waiting.map_run_id == map_run_id:
                    containers.map_run_finished(run, branch, event)
                    return
        case _:
            for branch in run.state.branches.values():
                task = branch.waiting
                if isinstance(task, OnTask) and task.task_id == event.task_id:
                    _task_event(run, branch, task, event)
                    return


def _task_event(run: Run, branch: Branch, task: OnTask, event: Event) -> None:
    match event:
        case TaskStarted():
            tasks.started(run, branch, task)
        case ActivityStarted(worker_name=worker_name):
            tasks.started(run, branch, task, worker_name)
        case TaskSubmitted(output=output):
            tasks.submitted(run, branch, task, output)
        case TaskSucceeded(output=output):
            tasks.succeeded(run, branch, task, output)
        case TaskFailed(error=error, cause=cause, before_submit=before_submit):
            failure = Failure(error, cause, of_task=True)
            tasks.failed(run, branch, task, failure, before_submit=before_submit)
        case TaskHeartbeat():
            tasks.heartbeat(run, branch, task)


def _timer_fired(run: Run, timer_id: int) -> None:
    if timer_id == run.state.deadline_timer:
        run.state.deadline_timer = None
        run.time_out()
        return
    for branch in run.state.branches.values():
        match branch.waiting:
            case OnTimer(timer_id=waited, retry=retry) if waited == timer_id:
                branch.waiting = None
                if retry:
                    run.run_next(branch)
                else:
                    run.guarded(branch, simple_states.resume_wait)
                return
            case OnTask(timeout_timer=timeout, heartbeat_timer=heartbeat) if timer_id in (timeout, heartbeat):
                tasks.timed_out(run, branch, branch.waiting, timer_id)
                return
