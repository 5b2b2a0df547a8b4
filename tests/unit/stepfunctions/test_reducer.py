"""The reducer, driven event by event: what the recordings do not show."""

import json
from typing import Any

import pytest
from tests.unit.stepfunctions import replay
from tests.unit.stepfunctions.replay import Execution, execute

from stepbridge.stepfunctions import interpreter, language
from stepbridge.stepfunctions.interpreter.messages import (
    ActivityStarted,
    CancelTask,
    CancelTimer,
    ExecutionStopped,
    InvokeTask,
    MapRunFinished,
    StartMapRun,
    StartTimer,
    TaskFailed,
    TaskHeartbeat,
    TaskSubmitted,
    TaskSucceeded,
    TimerFired,
)

CALLBACK = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
    "Parameters": {"FunctionName": "f", "Payload": {"Input.$": "$", "TaskToken.$": "$$.Task.Token"}},
    "End": True,
}
FUNCTION = {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f", "End": True}


def machine(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A machine of one state, S, and those of `more`."""
    return {"StartAt": "S", "States": {"S": state, **more}}


def invoked(execution: Execution) -> InvokeTask:
    """The task that was just asked for."""
    (task,) = [command for command in execution.commands if isinstance(command, InvokeTask)]
    return task


def details(execution: Execution, kind: str) -> dict[str, Any]:
    return next(event.details for event in execution.history if event.type == kind)


def test_a_callback_task_writes_eight_events() -> None:
    execution = execute(machine({**CALLBACK, "ResultPath": "$.r"}), {"a": 15, "b": 42})
    task = invoked(execution)
    assert task.parameters == {"FunctionName": "f", "Payload": {"Input": {"a": 15, "b": 42}, "TaskToken": task.token}}
    execution.send(TaskSubmitted(task.task_id, {"StatusCode": 200}))
    execution.send(TaskSucceeded(task.task_id, {"result": 57}))
    assert execution.types == [
        "ExecutionStarted", "TaskStateEntered", "TaskScheduled", "TaskStarted", "TaskSubmitted", "TaskSucceeded",
        "TaskStateExited", "ExecutionSucceeded",
    ]  # fmt: skip
    assert [event.previous_event_id for event in execution.history] == [0, 0, 2, 3, 4, 5, 6, 7]
    assert execution.finish is not None
    assert (execution.finish.status, execution.finish.output) == ("SUCCEEDED", {"a": 15, "b": 42, "r": {"result": 57}})


def test_each_attempt_has_a_new_token() -> None:
    execution = execute(machine({**CALLBACK, "Retry": [{"ErrorEquals": ["Busy"], "MaxAttempts": 2}]}))
    tokens = [invoked(execution).token]
    for _ in range(2):
        execution.send(TaskFailed(invoked(execution).task_id, "Busy", "later"))
        execution.fire_next_timer()
        tokens.append(invoked(execution).token)
    assert len(set(tokens)) == 3
    execution.send(TaskFailed(invoked(execution).task_id, "Busy", "no more"))
    assert execution.finish is not None
    assert (execution.finish.status, execution.finish.error, execution.finish.cause) == ("FAILED", "Busy", "no more")


def test_a_late_answer_changes_nothing() -> None:
    execution = execute(machine({**CALLBACK, "Retry": [{"ErrorEquals": ["States.ALL"]}]}))
    first = invoked(execution).task_id
    execution.send(TaskFailed(first, "Busy", None))
    execution.fire_next_timer()
    before = execution.text
    assert execution.send(TaskSucceeded(first, 1)) == []
    assert execution.text == before


def test_backoff_grows_to_its_limit() -> None:
    retry = {"ErrorEquals": ["E"], "IntervalSeconds": 2, "BackoffRate": 3.0, "MaxDelaySeconds": 10, "MaxAttempts": 3}
    execution = execute(machine({**FUNCTION, "Retry": [retry]}))
    delays = []
    for _ in range(3):
        before = execution.now
        execution.send(TaskFailed(invoked(execution).task_id, "E", None))
        execution.fire_next_timer()
        delays.append(execution.now - before)
    assert delays == [2, 6, 10]


def test_full_jitter_stays_below_the_delay() -> None:
    retry = {"ErrorEquals": ["E"], "IntervalSeconds": 100, "JitterStrategy": "FULL"}
    execution = execute(machine({**FUNCTION, "Retry": [retry]}))
    execution.send(TaskFailed(invoked(execution).task_id, "E", None))
    (timer,) = [command for command in execution.commands if isinstance(command, StartTimer)]
    assert 0 <= timer.at - execution.now < 100


def test_retriers_count_by_themselves() -> None:
    retry = [{"ErrorEquals": ["A"], "MaxAttempts": 1}, {"ErrorEquals": ["B"], "MaxAttempts": 1}]
    execution = execute(machine({**FUNCTION, "Retry": retry}))
    for error in ("A", "B"):
        execution.send(TaskFailed(invoked(execution).task_id, error, None))
        execution.fire_next_timer()
    execution.send(TaskFailed(invoked(execution).task_id, "A", None))
    assert execution.finish is not None
    assert execution.finish.error == "A"


TIMES = {"TimeoutSeconds": 60, "HeartbeatSeconds": 10}


def test_heartbeats_put_off_their_own_timeout_only() -> None:
    execution = execute(machine({**CALLBACK, **TIMES}))
    task = invoked(execution).task_id
    assert sorted(execution.timers.values()) == [replay.NOW + 10, replay.NOW + 60]
    execution.now += 9
    commands = execution.send(TaskHeartbeat(task))
    assert [type(command) for command in commands] == [CancelTimer, StartTimer]
    assert sorted(execution.timers.values()) == [replay.NOW + 19, replay.NOW + 60]
    execution.fire_next_timer()
    assert execution.now == replay.NOW + 19
    assert execution.types[-2:] == ["TaskTimedOut", "ExecutionFailed"]
    assert details(execution, "TaskTimedOut")["error"] == "States.Timeout"
    assert CancelTask(task) in execution.commands
    assert execution.timers == {}


@pytest.mark.parametrize(
    ("name", "heartbeat", "caught"),
    [
        ("States.HeartbeatTimeout", True, True),
        ("States.HeartbeatTimeout", False, False),
        ("States.Timeout", True, True),
        ("States.Timeout", False, True),
        ("States.ALL", False, True),
        ("States.TaskFailed", False, False),
        ("States.TaskFailed", True, False),
    ],
)
def test_what_catches_a_timeout(name: str, heartbeat: bool, caught: bool) -> None:
    times = {"TimeoutSeconds": 60, "HeartbeatSeconds": 10} if heartbeat else {"TimeoutSeconds": 10}
    state = {**CALLBACK, **times, "Catch": [{"ErrorEquals": [name], "Next": "Caught"}]}
    execution = execute(machine(state, Caught={"Type": "Succeed"}))
    execution.fire_next_timer()
    assert execution.finish is not None
    assert execution.finish.status == ("SUCCEEDED" if caught else "FAILED")


@pytest.mark.parametrize(
    ("name", "error", "caught"),
    [
        ("States.TaskFailed", "Anything", True),
        ("States.ALL", "Anything", True),
        ("States.ALL", None, True),
        ("Other", "Anything", False),
        ("Anything", "Anything", True),
    ],
)
def test_what_catches_a_failed_task(name: str, error: str | None, caught: bool) -> None:
    state = {**FUNCTION, "Catch": [{"ErrorEquals": [name], "ResultPath": "$.e", "Next": "Caught"}]}
    execution = execute(machine(state, Caught={"Type": "Succeed"}), {"kept": 1})
    execution.send(TaskFailed(invoked(execution).task_id, error, "why"))
    assert execution.finish is not None
    assert execution.finish.status == ("SUCCEEDED" if caught else "FAILED")
    if caught:
        assert execution.finish.output == {"kept": 1, "e": {"Error": error, "Cause": "why"}}


def test_a_runtime_error_is_neither_retried_nor_caught() -> None:
    state = {
        **FUNCTION,
        "Parameters": {"x.$": "$.missing"},
        "Retry": [{"ErrorEquals": ["States.ALL"]}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
    }
    execution = execute(machine(state, Caught={"Type": "Succeed"}))
    assert execution.types == ["ExecutionStarted", "TaskStateEntered", "ExecutionFailed"]
    assert details(execution, "ExecutionFailed") == {
        "error": "States.Runtime",
        "cause": "An error occurred while executing the state 'S' (entered at the event id #2). The JSONPath "
        "'$.missing' specified for the field 'x.$' could not be found in the input '{}'",
    }


def test_stop_ends_at_once_and_gives_everything_up() -> None:
    branches = [{"StartAt": name, "States": {name: {**CALLBACK, **TIMES}}} for name in ("A", "B")]
    execution = execute(machine({"Type": "Parallel", "Branches": branches, "End": True}))
    tasks = [command.task_id for command in execution.commands if isinstance(command, InvokeTask)]
    execution.send(ExecutionStopped("Manual", "enough"))
    assert execution.types[-1] == "ExecutionAborted"
    assert {command.task_id for command in execution.commands if isinstance(command, CancelTask)} == set(tasks)
    assert execution.timers == {}
    assert execution.finish is not None
    assert (execution.finish.status, execution.finish.error, execution.finish.cause) == ("ABORTED", "Manual", "enough")
    assert execution.send(TaskSucceeded(tasks[0], 1)) == []


def test_the_machines_own_timeout() -> None:
    definition = {**machine({"Type": "Wait", "Seconds": 25, "End": True}), "TimeoutSeconds": 3}
    execution = execute(definition)
    execution.fire_next_timer()
    assert execution.now == replay.NOW + 3
    assert execution.types == ["ExecutionStarted", "WaitStateEntered", "ExecutionTimedOut"]
    assert execution.history[-1].previous_event_id == 0
    assert execution.finish is not None
    assert (execution.finish.status, execution.finish.error) == ("TIMED_OUT", None)
    assert execution.timers == {}


def test_a_loop_ends_at_twenty_five_thousand_events() -> None:
    rule = {"Variable": "$", "IsPresent": True, "Next": "S"}
    execution = execute(machine({"Type": "Choice", "Choices": [rule], "Default": "E"}, E={"Type": "Succeed"}))
    assert len(execution.history) == 25_000
    assert execution.history[-1].details == {
        "error": "States.Runtime",
        "cause": "The execution reached the maximum number of history events (25000).",
    }


def test_a_failing_branch_cuts_the_others_off() -> None:
    branches = [
        {"StartAt": "A", "States": {"A": {**CALLBACK, **TIMES}}},
        {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 9, "End": True}}},
        {"StartAt": "B", "States": {"B": FUNCTION}},
    ]
    execution = execute(machine({"Type": "Parallel", "Branches": branches, "End": True}))
    first, second = [command for command in execution.commands if isinstance(command, InvokeTask)]
    execution.send(TaskFailed(second.task_id, "E", "c"))
    assert execution.types[-6:] == [
        "LambdaFunctionFailed", "TaskStateAborted", "TaskStateAborted", "WaitStateAborted", "ParallelStateFailed",
        "ExecutionFailed",
    ]  # fmt: skip
    failed = next(event.id for event in execution.history if event.type == "LambdaFunctionFailed")
    aborted = [event for event in execution.history if event.type.endswith(("Aborted", "ParallelStateFailed"))]
    assert {event.previous_event_id for event in aborted} == {failed}
    assert CancelTask(first.task_id) in execution.commands
    assert execution.timers == {}


def test_parallel_branches_keep_their_own_chains() -> None:
    branches = [{"StartAt": name, "States": {name: FUNCTION}} for name in ("A", "B")]
    execution = execute(machine({"Type": "Parallel", "Branches": branches, "End": True}))
    first, second = [command.task_id for command in execution.commands if isinstance(command, InvokeTask)]
    execution.send(TaskSucceeded(second, "b"))
    execution.send(TaskSucceeded(first, "a"))
    by_id = {event.id: event for event in execution.history}
    for name in ("A", "B"):
        event = next(e for e in execution.history if e.type == "TaskStateExited" and e.details["name"] == name)
        chain = []
        while event.previous_event_id:
            chain.append(event.type)
            event = by_id[event.previous_event_id]
        assert chain[:5] == [
            "TaskStateExited", "LambdaFunctionSucceeded", "LambdaFunctionStarted", "LambdaFunctionScheduled",
            "TaskStateEntered",
        ]  # fmt: skip
    assert execution.finish is not None
    assert execution.finish.output == ["a", "b"]


def _map(**fields: Any) -> dict[str, Any]:
    processor = {"StartAt": "I", "States": {"I": FUNCTION}}
    return {"Type": "Map", "ItemProcessor": processor, "End": True, **fields}


def test_max_concurrency_limits_the_iterations_under_way() -> None:
    execution = execute(machine(_map(MaxConcurrency=2)), [1, 2, 3])
    running = [command for command in execution.commands if isinstance(command, InvokeTask)]
    assert [task.parameters for task in running] == [1, 2]
    execution.send(TaskSucceeded(running[1].task_id, "two"))
    assert invoked(execution).parameters == 3
    execution.send(TaskSucceeded(invoked(execution).task_id, "three"))
    execution.send(TaskSucceeded(running[0].task_id, "one"))
    assert execution.finish is not None
    assert execution.finish.output == ["one", "two", "three"]


def test_a_failed_iteration_aborts_the_others() -> None:
    execution = execute(machine(_map()), [1, 2])
    first = next(command for command in execution.commands if isinstance(command, InvokeTask))
    execution.send(TaskFailed(first.task_id, "E", "c"))
    assert execution.types[-7:] == [
        "LambdaFunctionFailed", "TaskStateAborted", "MapIterationFailed", "TaskStateAborted", "MapIterationAborted",
        "MapStateFailed", "ExecutionFailed",
    ]  # fmt: skip


def test_variables_are_scoped() -> None:
    inner = {
        "StartAt": "I",
        "States": {
            "I": {"Type": "Pass", "Assign": {"mine.$": "States.Format('{}{}', $outer, $)"}, "Next": "J"},
            "J": {"Type": "Pass", "Parameters": {"v.$": "$mine"}, "End": True},
        },
    }
    definition = machine(
        {"Type": "Pass", "Result": ["a", "b"], "Assign": {"outer": "x"}, "Next": "M"},
        M={"Type": "Map", "ItemProcessor": inner, "Next": "E"},
        E={"Type": "Pass", "Parameters": {"items.$": "$", "mine.$": "$mine"}, "End": True},
    )
    execution = execute(definition)
    exits = [event.details for event in execution.history if event.type == "PassStateExited"]
    assert [event.get("assignedVariables") for event in exits if event["name"] == "I"] == [
        {"mine": '"xa"'},
        {"mine": '"xb"'},
    ]
    assert execution.finish is not None
    assert execution.finish.error == "States.Runtime"
    assert "The JSONPath '$mine' specified for the field 'mine.$'" in str(execution.finish.cause)


def test_a_distributed_map_asks_for_a_map_run() -> None:
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "I",
        "States": {"I": {"Type": "Pass", "End": True}},
    }
    state = {**_map(ItemProcessor=processor, ToleratedFailureCount=1, Label="L"), "ItemsPath": "$.items"}
    execution = execute(machine(state), {"items": [1, 2]})
    (run,) = [command for command in execution.commands if isinstance(command, StartMapRun)]
    assert run.map_run_arn.startswith("arn:aws:states:us-east-1:111111111111:mapRun:machine/L:")
    assert details(execution, "MapRunStarted") == {"mapRunArn": run.map_run_arn}
    assert (run.plan["Items"], run.plan["ToleratedFailureCount"]) == ([1, 2], 1)
    execution.send(MapRunFinished(run.map_run_id, None, "States.ExceedToleratedFailureThreshold", "too many"))
    assert execution.types[-3:] == ["MapRunFailed", "MapStateFailed", "ExecutionFailed"]


def test_an_activity_counts_its_time_from_the_worker() -> None:
    resource = "arn:aws:states:us-east-1:111111111111:activity:a"
    execution = execute(machine({"Type": "Task", "Resource": resource, "TimeoutSeconds": 5, "End": True}))
    task = invoked(execution)
    assert execution.timers == {}
    execution.send(ActivityStarted(task.task_id, "worker"))
    assert list(execution.timers.values()) == [replay.NOW + 5]
    assert details(execution, "ActivityStarted") == {"workerName": "worker"}
    execution.send(TaskSucceeded(task.task_id, 1))
    assert execution.types[-3:] == ["ActivitySucceeded", "TaskStateExited", "ExecutionSucceeded"]


def test_an_activity_that_is_not_there() -> None:
    resource = "arn:aws:states:us-east-1:111111111111:activity:gone"
    definition = language.parse(json.dumps(machine({"Type": "Task", "Resource": resource, "End": True})))
    environment = interpreter.Environment(
        replay.NOW, replay.environment().random, lambda task: "token", activity_exists=lambda arn: False
    )
    step = interpreter.start(definition, replay.context(), "{}", environment)
    assert step.history[-1].details["cause"].endswith(f"The activity {resource} does not exist.")


def test_a_result_that_is_too_large() -> None:
    state = {**FUNCTION, "Catch": [{"ErrorEquals": ["States.DataLimitExceeded"], "Next": "Caught"}]}
    execution = execute(machine(state, Caught={"Type": "Succeed"}))
    execution.send(TaskSucceeded(invoked(execution).task_id, "é" * 131_073))
    assert details(execution, "LambdaFunctionFailed")["error"] == "States.DataLimitExceeded"
    assert execution.finish is not None
    assert execution.finish.status == "SUCCEEDED"


def test_a_catcher_whose_output_fails() -> None:
    state = {
        **FUNCTION,
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput.nothing %}", "Next": "Caught"}],
    }
    definition = {**machine(state, Caught={"Type": "Succeed"}), "QueryLanguage": "JSONata"}
    execution = execute(definition)
    execution.send(TaskFailed(invoked(execution).task_id, "E", "c"))
    assert execution.types[-3:] == ["LambdaFunctionFailed", "EvaluationFailed", "ExecutionFailed"]
    assert details(execution, "EvaluationFailed")["location"] == "Catch[0]/Output"


def test_events_of_timers_that_are_over_change_nothing() -> None:
    execution = execute(machine(CALLBACK))
    before = execution.text
    assert execution.send(TimerFired(999)) == []
    assert execution.text == before


def test_a_waiting_execution_is_small() -> None:
    execution = execute(machine({**CALLBACK, **TIMES}), {"a": 15, "b": 42})
    assert len(execution.text) < 600


def test_a_backoff_beyond_all_bounds() -> None:
    retry = {"ErrorEquals": ["E"], "BackoffRate": 1e300, "MaxAttempts": 5}
    execution = execute(machine({**FUNCTION, "Retry": [retry]}))
    for _ in range(4):
        execution.send(TaskFailed(invoked(execution).task_id, "E", None))
        execution.fire_next_timer()
    assert execution.now < replay.NOW + 4e8
