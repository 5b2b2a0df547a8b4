"""`start` and `apply`: an execution begins, and goes on with each event."""

from stepbridge.stepfunctions.interpreter import containers, redrive, simple_states, tasks
from stepbridge.stepfunctions.interpreter.execution import Environment, ExecutionContext, Step
from stepbridge.stepfunctions.interpreter.failures import Failure
from stepbridge.stepfunctions.interpreter.messages import (
    ActivityStarted,
    Event,
    ExecutionRedriven,
    ExecutionStopped,
    MapRunFinished,
    TaskFailed,
    TaskHeartbeat,
    TaskSubmitted,
    TaskSucceeded,
    TimerFired,
    TurnCame,
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
    return run.step(lambda begun: _begin(begun, root, input_text))


def _begin(run: Run, root: Branch, input_text: str) -> None:
    context = run.state.context
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
    run.start_deadline()
    # The first state follows ExecutionStarted without naming it as its previous event.
    run.enter(root, root.state, root.input, input_text)


def apply(definition: Definition, state: ExecutionState, event: Event, environment: Environment) -> Step:
    """Take an execution one event further.

    Events for tasks, timers and map runs that are over change nothing, nor do events for executions that have ended,
    but for a redrive of one that can be redriven.  `state` itself is left as it is.
    """
    if state.ended and not (isinstance(event, ExecutionRedriven) and state.branches):
        return Step(state, [], [])
    run = Run(definition, state.copy(), environment)
    return run.step(lambda begun: _receive(begun, event))


def _receive(run: Run, event: Event) -> None:
    match event:
        case ExecutionStopped(error=error, cause=cause):
            run.stop(error, cause)
        case ExecutionRedriven():
            redrive.begin(run)
        case TurnCame():
            pass  # the branches that are ready go on
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
        case ActivityStarted(worker_name=worker_name):
            tasks.started(run, branch, task, worker_name)
        case TaskSubmitted(output=output):
            tasks.submitted(run, branch, task, output)
        case TaskSucceeded(output=output):
            tasks.succeeded(run, branch, task, output)
        case TaskFailed(error=error, cause=cause):
            tasks.failed(run, branch, task, Failure(error, cause, of_task=True))
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
                    run.agenda.append(branch)
                else:
                    run.guarded(branch, simple_states.resume_wait)
                return
            case OnTask(timeout_timer=timeout, heartbeat_timer=heartbeat) if timer_id in (timeout, heartbeat):
                tasks.timed_out(run, branch, branch.waiting, timer_id)
                return
