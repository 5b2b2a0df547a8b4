"""A redriven execution does again what was not done, and nothing else."""

from typing import Any

from tests.unit.stepfunctions.replay import Execution, execute

from stepbridge.stepfunctions.interpreter.messages import (
    ExecutionRedriven,
    ExecutionStopped,
    InvokeTask,
    MapRunFinished,
    RedriveMapRun,
    StartMapRun,
    TaskFailed,
    TaskSucceeded,
)

FUNCTION = {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f"}


def machine(first: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"StartAt": "S", "States": {"S": first, **others}}


def task(name: str, **fields: Any) -> dict[str, Any]:
    return {"StartAt": name, "States": {name: {**FUNCTION, "End": True, **fields}}}


def calls(execution: Execution) -> dict[str, list[int]]:
    """The ids of the tasks that the last event asked for, by state."""
    found: dict[str, list[int]] = {}
    for command in execution.commands:
        if isinstance(command, InvokeTask):
            found.setdefault(command.state_name, []).append(command.task_id)
    return found


def redrive(execution: Execution) -> list[tuple[int, int, str]]:
    """Redrive; the events that this wrote, as (id, previous event, type)."""
    execution.finish = None
    before = len(execution.history)
    execution.send(ExecutionRedriven())
    return [(event.id, event.previous_event_id, event.type) for event in execution.history[before:]]


def test_a_task_is_scheduled_again_with_its_retries_counted_anew() -> None:
    state = {**FUNCTION, "Next": "T", "Retry": [{"ErrorEquals": ["E"], "MaxAttempts": 1}]}
    execution = execute(machine({"Type": "Pass", "Next": "R"}, R=state, T={"Type": "Succeed"}))
    execution.send(TaskFailed(calls(execution)["R"][0], "E", "c"))
    execution.fire_next_timer()
    execution.send(TaskFailed(calls(execution)["R"][0], "E", "c"))
    assert execution.types[-1] == "ExecutionFailed"
    last, entered = len(execution.history), 4
    assert execution.types[entered - 1] == "TaskStateEntered"
    assert redrive(execution) == [
        (last + 1, last, "ExecutionRedriven"),
        (last + 2, entered, "LambdaFunctionScheduled"),
        (last + 3, last + 2, "LambdaFunctionStarted"),
    ]
    assert execution.history[last].details == {"redriveCount": 1}
    execution.send(TaskFailed(calls(execution)["R"][0], "E", "c"))
    execution.fire_next_timer()
    execution.send(TaskSucceeded(calls(execution)["R"][0], 1))
    assert execution.types[-1] == "ExecutionSucceeded"
    assert execution.send(ExecutionRedriven()) == []  # what has succeeded cannot be redriven


def test_a_parallel_runs_only_its_unsuccessful_branches_again() -> None:
    branches = [task("A"), task("B"), {"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": True}}}]
    branches[2]["States"]["P"]["Branches"] = [task("C"), task("D")]
    execution = execute(machine({"Type": "Parallel", "Branches": branches, "End": True}))
    ids = {name: number for name, (number,) in calls(execution).items()}
    execution.send(TaskSucceeded(ids["A"], "a"))
    execution.send(TaskSucceeded(ids["C"], "c"))
    execution.send(TaskFailed(ids["B"], "E", None))
    assert execution.types[-1] == "ExecutionFailed"
    entered = {event.details["name"]: event.id for event in execution.history if event.type.endswith("StateEntered")}
    last = len(execution.history)
    assert [event[1:] for event in redrive(execution)[1:]] == [
        (entered["B"], "LambdaFunctionScheduled"),
        (entered["D"], "LambdaFunctionScheduled"),
        (last + 2, "LambdaFunctionStarted"),
        (last + 3, "LambdaFunctionStarted"),
    ]
    ids = {name: number for name, (number,) in calls(execution).items()}
    execution.send(TaskFailed(ids["D"], "E", None))
    redrive(execution)
    ids = {name: number for name, (number,) in calls(execution).items()}
    assert sorted(ids) == ["B", "D"]
    execution.send(TaskSucceeded(ids["D"], "d"))
    execution.send(TaskSucceeded(ids["B"], "b"))
    assert execution.finish is not None
    assert execution.finish.output == ["a", "b", ["c", "d"]]


def test_a_map_keeps_its_results_and_goes_on_with_the_items_that_are_left() -> None:
    state = {"Type": "Map", "MaxConcurrency": 2, "ItemProcessor": task("I"), "End": True}
    execution = execute(machine(state), [1, 2, 3, 4])
    first, second = calls(execution)["I"]
    execution.send(TaskSucceeded(first, 10))
    execution.send(TaskFailed(second, "E", None))
    redrive(execution)
    again = calls(execution)["I"]
    assert len(again) == 2
    outputs = iter([20, 30, 40])
    for number in again:
        execution.send(TaskSucceeded(number, next(outputs)))
        again += calls(execution).get("I", [])
    assert execution.finish is not None
    assert execution.finish.output == [10, 20, 30, 40]


def test_a_state_that_failed_by_itself_runs_whole() -> None:
    state = {"Type": "Parallel", "Branches": [task("A")], "ResultSelector": {"x.$": "$.none"}, "End": True}
    execution = execute(machine(state))
    execution.send(TaskSucceeded(calls(execution)["A"][0], 1))
    assert execution.types[-1] == "ExecutionFailed"
    assert [kind for _, _, kind in redrive(execution)] == [
        "ExecutionRedriven",
        "ParallelStateStarted",
        "TaskStateEntered",
        "LambdaFunctionScheduled",
        "LambdaFunctionStarted",
    ]


def test_too_much_data_lets_all_branches_run_again() -> None:
    execution = execute(machine({"Type": "Parallel", "Branches": [task("A"), task("B")], "End": True}))
    ids = {name: number for name, (number,) in calls(execution).items()}
    execution.send(TaskSucceeded(ids["A"], 1))
    execution.send(TaskSucceeded(ids["B"], "x" * 262_145))
    assert execution.finish is not None
    assert execution.finish.error == "States.DataLimitExceeded"
    redrive(execution)
    assert sorted(calls(execution)) == ["A", "B"]


def test_a_caught_failure_leaves_nothing_behind() -> None:
    state = {
        "Type": "Parallel",
        "Branches": [task("A"), task("B")],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "F"}],
        "End": True,
    }
    execution = execute(machine(state, F={"Type": "Fail", "Error": "X"}))
    execution.send(TaskFailed(calls(execution)["A"][0], "E", None))
    assert [kind for _, _, kind in redrive(execution)] == ["ExecutionRedriven", "ExecutionFailed"]


def test_a_map_run_is_redriven() -> None:
    processor = {**task("I"), "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}}
    execution = execute(machine({"Type": "Map", "ItemProcessor": processor, "End": True}), [1, 2])
    (run,) = [command for command in execution.commands if isinstance(command, StartMapRun)]
    execution.send(MapRunFinished(run.map_run_id, None, "States.ExceedToleratedFailureThreshold", "c"))
    started = execution.types.index("MapStateStarted") + 1
    for count in (1, 2):
        assert [event[1:] for event in redrive(execution)[1:]] == [(started, "MapRunRedriven")]
        assert execution.history[-1].details == {"mapRunArn": run.map_run_arn, "redriveCount": count}
        assert execution.commands == [RedriveMapRun(run.map_run_id)]
        if count == 1:
            execution.send(ExecutionStopped(None, None))
    redriven = len(execution.history)
    execution.send(MapRunFinished(run.map_run_id, [1, 2]))
    assert [(event.previous_event_id, event.type) for event in execution.history[redriven:]] == [
        (redriven, "MapRunSucceeded"),
        (redriven + 1, "MapStateSucceeded"),
        (redriven, "MapStateExited"),
        (redriven + 3, "ExecutionSucceeded"),
    ]


def test_the_timeout_of_the_machine_and_the_context_object_begin_anew() -> None:
    state = {**FUNCTION, "Parameters": {"execution.$": "$$.Execution"}, "End": True}
    execution = execute({**machine(state), "TimeoutSeconds": 60})
    execution.fire_next_timer()
    assert execution.types[-1] == "ExecutionTimedOut"
    redrive(execution)
    (call,) = [command for command in execution.commands if isinstance(command, InvokeTask)]
    about = call.parameters["execution"]
    assert (about["RedriveCount"], about["RedriveTime"]) == (1, "2023-11-14T22:14:20.000Z")
    assert list(execution.timers.values()) == [execution.now + 60]
