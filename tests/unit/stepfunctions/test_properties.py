"""Whatever the definition and the order of events, the reducer neither raises nor loses an execution."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.stepfunctions import replay

from stepbridge.stepfunctions import interpreter, language
from stepbridge.stepfunctions.interpreter.messages import (
    ActivityStarted,
    CancelMapRun,
    CancelTask,
    CancelTimer,
    ExecutionRedriven,
    ExecutionStopped,
    FinishExecution,
    InvokeTask,
    MapRunFinished,
    StartMapRun,
    StartTimer,
    TaskFailed,
    TaskHeartbeat,
    TaskSubmitted,
    TaskSucceeded,
    TimerFired,
    TurnCame,
)
from stepbridge.stepfunctions.interpreter.state import OnMapRun

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)
_PATHS = st.sampled_from(["$", "$.a", "$.b[0]", "$..a", "$[*]", "$.a[?(@.b == 1)]", "$$.State.Name", "$v"])
_ERRORS = st.sampled_from(["States.TaskFailed", "States.Timeout", "E", "States.DataLimitExceeded"])
_RESOURCES = st.sampled_from(
    [
        "arn:aws:lambda:us-east-1:111111111111:function:f",
        "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "arn:aws:states:us-east-1:111111111111:activity:a",
        "arn:aws:states:::aws-sdk:s3:listBuckets",
    ]
)


@st.composite
def _flow(draw: Any, prefix: str, depth: int) -> dict[str, Any]:
    names = [f"{prefix}{number}" for number in range(draw(st.integers(1, 3)))]
    states = {}
    for number, name in enumerate(names):
        going_on = {"Next": names[number + 1]} if number + 1 < len(names) else {"End": True}
        states[name] = draw(_state(name, going_on, names, depth))
    return {"StartAt": names[0], "States": states}


@st.composite
def _state(draw: Any, name: str, going_on: dict[str, Any], names: list[str], depth: int) -> dict[str, Any]:
    kinds = ["Pass", "Wait", "Task", "Choice"] + (["Parallel", "Map"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    state: dict[str, Any] = {"Type": kind, **going_on}
    if draw(st.booleans()):
        state["InputPath"] = draw(st.none() | _PATHS)
    if kind == "Choice":
        target = going_on.get("Next")
        if target is None:
            return {"Type": "Fail", "Error": "E"} if draw(st.booleans()) else {"Type": "Succeed"}
        rule = {"Variable": draw(_PATHS), "IsPresent": draw(st.booleans()), "Next": target}
        return {"Type": kind, "Choices": [rule], "Default": target}
    if kind == "Wait":
        return {**state, draw(st.sampled_from(["SecondsPath", "TimestampPath"])): "$.a"}
    if draw(st.booleans()):
        state["Assign"] = {"v.$": draw(_PATHS)}
    if draw(st.booleans()):
        state["ResultPath"] = draw(st.sampled_from([None, "$", "$.a.b", "$.b[0]"]))
    if kind == "Pass":
        state["Parameters"] = {"a.$": draw(_PATHS), "b": draw(_VALUES)}
        return state
    state["Retry"] = [{"ErrorEquals": [draw(_ERRORS)], "MaxAttempts": draw(st.integers(0, 2))}]
    state["Catch"] = [{"ErrorEquals": ["States.ALL"], "Next": names[-1]}] if draw(st.booleans()) else []
    if kind == "Task":
        state |= {"Resource": draw(_RESOURCES), "TimeoutSeconds": 60, "HeartbeatSeconds": draw(st.integers(1, 59))}
        state["Parameters"] = {"a.$": draw(_PATHS)}
    elif kind == "Parallel":
        state["Branches"] = [draw(_flow(f"{name}b{n}", depth - 1)) for n in range(draw(st.integers(1, 2)))]
    else:
        state["MaxConcurrency"] = draw(st.integers(0, 2))
        state["ItemProcessor"] = draw(_flow(f"{name}i", depth - 1))
        if draw(st.booleans()):
            config = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
            state["ItemProcessor"]["ProcessorConfig"] = config
    return state


@settings(max_examples=300)
@given(st.data())
def test_no_order_of_events_breaks_the_reducer(data: st.DataObject) -> None:
    definition = language.parse(json.dumps(data.draw(_flow("s", 2))))
    text = json.dumps(data.draw(_VALUES))
    step = interpreter.start(definition, replay.context(), text, replay.environment())
    tasks: set[int] = set()
    timers: set[int] = set()
    runs: set[int] = set()
    count = 0
    for _ in range(40):
        dumped = step.state.dump()
        state = interpreter.ExecutionState.load(dumped)
        assert state == step.state
        assert state.dump() == dumped
        for event in step.history:
            count += 1
            assert event.id == count
            assert event.previous_event_id < event.id
        finished = [command for command in step.commands if isinstance(command, FinishExecution)]
        for command in step.commands:
            match command:
                case InvokeTask(task_id=number):
                    tasks.add(number)
                case CancelTask(task_id=number):
                    tasks.discard(number)
                case StartTimer(timer_id=number):
                    timers.add(number)
                case CancelTimer(timer_id=number):
                    timers.remove(number)
                case StartMapRun(map_run_id=number):
                    runs.add(number)
                case CancelMapRun(map_run_id=number):
                    runs.discard(number)
        happened: Any
        if finished:
            assert step.state.ended
            assert not tasks | timers | runs, "of what has ended nothing is left"
            assert not step.state.ready
            assert bool(state.branches) == (finished[0].status != "SUCCEEDED")
            if not state.branches or data.draw(st.booleans()):
                return
            happened = ExecutionRedriven()
            waiting = [branch.waiting for branch in state.branches.values()]
            runs |= {run.map_run_id for run in waiting if isinstance(run, OnMapRun)}
        else:
            assert tasks or timers or runs or state.ready, "the execution waits for nothing"
            happened = data.draw(_event(tasks, timers, runs, bool(state.ready)))
        if isinstance(happened, TimerFired):
            timers.discard(happened.timer_id)
        elif isinstance(happened, TaskSucceeded | TaskFailed):
            tasks.discard(happened.task_id)
        elif isinstance(happened, MapRunFinished):
            runs.discard(happened.map_run_id)
        again = interpreter.apply(definition, state, happened, replay.environment())
        step = interpreter.apply(definition, state, happened, replay.environment())
        assert again.history == step.history
        assert again.state == step.state
    stopped = interpreter.apply(definition, step.state, ExecutionStopped(None, None), replay.environment())
    assert stopped.state.ended


@st.composite
def _event(draw: Any, tasks: set[int], timers: set[int], runs: set[int], ready: bool) -> Any:
    makers: list[Any] = [st.just(TurnCame())] if ready else []
    if tasks:
        task = st.sampled_from(sorted(tasks))
        makers += [
            st.builds(ActivityStarted, task, st.none() | st.just("w")),
            st.builds(TaskSubmitted, task, _VALUES),
            st.builds(TaskSucceeded, task, _VALUES),
            st.builds(TaskFailed, task, st.none() | _ERRORS, st.none() | st.just("c")),
            st.builds(TaskHeartbeat, task),
        ]
    if timers:
        makers.append(st.builds(TimerFired, st.sampled_from(sorted(timers))))
    if runs:
        makers.append(st.builds(MapRunFinished, st.sampled_from(sorted(runs)), _VALUES, st.none() | _ERRORS))
    return draw(st.one_of(makers))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
_FIELDS = st.sampled_from(
    [
        "Type", "Next", "End", "InputPath", "ResultPath", "Parameters", "Assign", "Retry", "Catch", "Choices",
        "Branches", "ItemProcessor", "Iterator", "Seconds", "Timestamp", "Resource", "MaxConcurrency", "ItemReader",
        "QueryLanguage", "Output", "Arguments", "Items", "ErrorPath", "TimeoutSeconds", "Credentials", "Label",
    ]
)  # fmt: skip


@settings(max_examples=300)
@given(
    st.dictionaries(_FIELDS, _JSON, max_size=8),
    st.sampled_from(["Task", "Wait", "Pass", "Succeed", "Fail", "Choice", "Parallel", "Map"]),
    st.sampled_from(["JSONPath", "JSONata"]),
)
def test_no_definition_breaks_the_parser(members: dict[str, Any], kind: str, query_language: str) -> None:
    members["Type"] = kind
    machine = {"QueryLanguage": query_language, "StartAt": "S", "States": {"S": members}}
    for diagnostic in language.validate(json.dumps(machine)):
        assert diagnostic.code
        assert diagnostic.message


@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text: str) -> None:
    assert language.validate(text)
