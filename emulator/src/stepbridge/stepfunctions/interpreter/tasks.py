"""Task states: scheduling a call, and what becomes of it.

The events of a task are named after what it calls: `LambdaFunction…` for a function by its ARN, `Activity…` for an
activity, `Task…` for a service integration.
"""

from typing import Any

from stepbridge.stepfunctions.interpreter import failures
from stepbridge.stepfunctions.interpreter.data_flow import number, out_of_range
from stepbridge.stepfunctions.interpreter.failures import Failure
from stepbridge.stepfunctions.interpreter.messages import CancelTask, InvokeTask, Json
from stepbridge.stepfunctions.interpreter.run import NOT_TRUNCATED, Run, nested_too_deeply, too_large_result
from stepbridge.stepfunctions.interpreter.state import Branch, OnTask
from stepbridge.stepfunctions.language.definition import Number, Task
from stepbridge.stepfunctions.language.evaluation import EvaluationError, Scope
from stepbridge.stepfunctions.language.resources import TASK_TOKEN, Activity, Integration, LambdaFunction, Resource
from stepbridge.stepfunctions.language.values import to_text, too_deep, too_large


def _task(run: Run, branch: Branch) -> Task:
    definition = run.definition_of(branch)
    assert isinstance(definition, Task)  # noqa: S101
    return definition


def _prefix(resource: Resource) -> str:
    """What the names of the task's events begin with."""
    if isinstance(resource, LambdaFunction):
        return "LambdaFunction"
    return "Activity" if isinstance(resource, Activity) else "Task"


def _note(run: Run, branch: Branch, what: str, **details: Any) -> None:
    """Write the event `what` (Scheduled, Started, …) of the branch's task."""
    resource = _task(run, branch).resource
    kind = f"{_prefix(resource)}{what}"
    if isinstance(resource, Integration):
        details = {"resource": resource.action_with_pattern, "resourceType": resource.service, **details}
    elif what == "Started" and isinstance(resource, LambdaFunction):
        run.note(branch, kind)
        return
    run.note(branch, kind, f"{kind[0].lower()}{kind[1:]}EventDetails", **details)


def execute_task(run: Run, branch: Branch) -> None:
    """Schedule the call."""
    definition = _task(run, branch)
    resource = definition.resource
    task_id = run.new_id()
    token = None
    if isinstance(resource, Integration) and resource.pattern == TASK_TOKEN:
        token = run.environment.new_task_token(task_id)
    scope = run.scope(branch, run.effective_input(branch), token=token)
    parameters = definition.arguments.evaluate(scope) if definition.arguments is not None else scope.input
    timeout = _seconds("TimeoutSeconds", definition.timeout, scope)
    heartbeat = _seconds("HeartbeatSeconds", definition.heartbeat, scope)
    credentials = definition.credentials.evaluate(scope) if definition.credentials is not None else None
    if isinstance(resource, Activity) and not run.environment.activity_exists(resource.arn):
        raise EvaluationError(f"The activity {resource.arn} does not exist.")
    run.environment.check_parameters(resource, parameters)
    text = to_text(parameters)
    if too_large(text):
        raise EvaluationError(
            f"The state/task '{_limit_name(resource)}' tried to schedule a task with an input size exceeding "
            "the maximum number of bytes service limit.",
            failures.DATA_LIMIT_EXCEEDED,
        )
    details: dict[str, Any] = {"timeoutInSeconds": timeout, "heartbeatInSeconds": heartbeat}
    if isinstance(credentials, dict):
        details["taskCredentials"] = {"roleArn": credentials.get("RoleArn")}
    if isinstance(resource, Integration):
        _note(run, branch, "Scheduled", parameters=text, region=run.state.context.region, **details)
    else:
        if isinstance(resource, LambdaFunction):
            del details["heartbeatInSeconds"]
        _note(run, branch, "Scheduled", resource=resource.arn, input=text, inputDetails=NOT_TRUNCATED, **details)
    branch.waiting = task = OnTask(task_id, timeout, heartbeat)
    if not isinstance(resource, Activity):
        run.at_end.append(lambda: _start(run, branch, task))
    run.commands.append(
        InvokeTask(
            task_id,
            resource.arn,
            parameters,
            branch.state,
            token,
            credentials,
            timeout,
            heartbeat,
            branch.retry_count,
        )
    )


def _start(run: Run, branch: Branch, task: OnTask) -> None:
    """The call is as good as made: it is when this step is committed, unless the step has given the task up."""
    if branch.waiting is task:
        started(run, branch, task)


def _seconds(field: str, value: Number | None, scope: Scope) -> int | None:
    seconds: int | None = number(field, value, scope)
    if seconds is not None and not 0 < seconds <= 99_999_999:
        raise out_of_range(f"{field} must be between 1 and 99999999 but was: {seconds}", value)
    return seconds


def _limit_name(resource: Resource) -> str:
    return resource.service if isinstance(resource, Integration) else resource.arn


def started(run: Run, branch: Branch, task: OnTask, worker_name: str | None = None) -> None:
    """The call is made, or a worker has taken the activity: time begins to count."""
    if task.started:
        return
    task.started = True
    is_activity = isinstance(_task(run, branch).resource, Activity)
    _note(run, branch, "Started", **({"workerName": worker_name} if is_activity else {}))
    if task.timeout_seconds is not None:
        task.timeout_timer = run.start_timer(task.timeout_seconds)
    heartbeat(run, branch, task)


def heartbeat(run: Run, branch: Branch, task: OnTask) -> None:
    """The holder of the task is alive: HeartbeatSeconds begin anew."""
    if task.heartbeat_seconds is None:
        return
    run.cancel_timer(task.heartbeat_timer)
    task.heartbeat_timer = run.start_timer(task.heartbeat_seconds)


def submitted(run: Run, branch: Branch, task: OnTask, output: Json) -> None:
    """The call has returned; the task goes on elsewhere."""
    started(run, branch, task)
    if not task.submitted:
        task.submitted = True
        _note(run, branch, "Submitted", output=to_text(output), outputDetails=NOT_TRUNCATED)


def succeeded(run: Run, branch: Branch, task: OnTask, output: Json) -> None:
    started(run, branch, task)
    text = to_text(output)
    if too_large(text) or too_deep(output, text):
        name = _limit_name(_task(run, branch).resource)
        problem = too_large_result(name) if too_large(text) else nested_too_deeply()
        failed(run, branch, task, Failure(problem.error, problem.cause, of_task=True))
        return
    _over(run, branch, task)
    _note(run, branch, "Succeeded", output=text, outputDetails=NOT_TRUNCATED)
    run.guarded(branch, lambda step, at: step.leave_with_result(at, output))


def failed(run: Run, branch: Branch, task: OnTask, failure: Failure) -> None:
    started(run, branch, task)
    _over(run, branch, task)
    _note(run, branch, "Failed", error=failure.error, cause=failure.cause)
    run.fail(branch, failure)


def timed_out(run: Run, branch: Branch, task: OnTask, timer_id: int) -> None:
    """The task, or the time between two of its heartbeats, took too long."""
    missed_heartbeat = timer_id == task.heartbeat_timer
    if missed_heartbeat:
        task.heartbeat_timer = None
    else:
        task.timeout_timer = None
    _over(run, branch, task)
    run.commands.append(CancelTask(task.task_id))
    _note(run, branch, "TimedOut", error=failures.TIMEOUT)
    run.fail(branch, Failure(failures.TIMEOUT, None, heartbeat=missed_heartbeat, of_task=True))


def _over(run: Run, branch: Branch, task: OnTask) -> None:
    run.cancel_timer(task.timeout_timer)
    run.cancel_timer(task.heartbeat_timer)
    branch.waiting = None
