"""Replays recordings of the real service through the reducer, without any I/O.

The outcome of every task is taken from the recording; all else (order, ids, texts, data flow) has to come out of the
reducer as AWS wrote it.  Values that the recordings replace by placeholders (`<uuid:1>`, ARNs, times) are not compared.
"""

import json
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepbridge.stepfunctions import interpreter, language
from stepbridge.stepfunctions.interpreter.messages import (
    ActivityStarted,
    CancelTimer,
    Event,
    FinishExecution,
    HistoryEvent,
    InvokeTask,
    MapRunFinished,
    StartMapRun,
    StartTimer,
    TaskFailed,
    TaskSubmitted,
    TaskSucceeded,
    TimerFired,
    TurnCame,
)

Json = Any
_ROOT = Path(__file__).resolve().parents[3]
NOW = 1_700_000_000.0


def conformance_folder() -> Path:
    """The folder of the recordings; fails if it is missing."""
    folder = Path(os.environ.get("STEPBRIDGE_CONFORMANCE", _ROOT.parent / "shared" / "conformance")) / "step-functions"
    if not folder.is_dir():
        raise AssertionError(f"The conformance recordings are not at {folder}; set STEPBRIDGE_CONFORMANCE.")
    return folder / "cases"


def context() -> interpreter.ExecutionContext:
    return interpreter.ExecutionContext(
        execution_arn="arn:aws:states:us-east-1:111111111111:execution:machine:name",
        name="name",
        role_arn="arn:aws:iam::111111111111:role/machine",
        start_time=NOW,
        state_machine_arn="arn:aws:states:us-east-1:111111111111:stateMachine:machine",
        state_machine_name="machine",
        region="us-east-1",
        account="111111111111",
    )


def environment(now: float = NOW) -> interpreter.Environment:
    return interpreter.Environment(now, random.Random(0), lambda task: f"token-{task}")


@dataclass
class Execution:
    """An execution that is driven by hand.  Its state goes through dump and load between any two events."""

    definition: language.Definition
    input_text: str = "{}"
    now: float = NOW
    history: list[HistoryEvent] = field(default_factory=list)
    commands: list[Any] = field(default_factory=list)
    timers: dict[int, float] = field(default_factory=dict)
    finish: FinishExecution | None = None

    def __post_init__(self) -> None:
        self._take(interpreter.start(self.definition, context(), self.input_text, environment(self.now)))

    def _take(self, step: interpreter.Step) -> None:
        """Note what a step did; one that was cut short has its turns until it is done."""
        self.commands = []
        self._note(step)
        while step.state.ready:
            state = interpreter.ExecutionState.load(self.text)
            step = interpreter.apply(self.definition, state, TurnCame(), environment(self.now))
            self._note(step)

    def _note(self, step: interpreter.Step) -> None:
        self.text = step.state.dump()
        assert interpreter.ExecutionState.load(self.text) == step.state
        self.history += step.history
        self.commands += step.commands
        for command in step.commands:
            if isinstance(command, StartTimer):
                self.timers[command.timer_id] = command.at
            elif isinstance(command, CancelTimer):
                self.timers.pop(command.timer_id, None)
            elif isinstance(command, FinishExecution):
                self.finish = command

    def send(self, event: Event) -> list[Any]:
        """Give the reducer an event; the commands that it answers with."""
        state = interpreter.ExecutionState.load(self.text)
        self._take(interpreter.apply(self.definition, state, event, environment(self.now)))
        return self.commands

    def fire_next_timer(self) -> list[Any]:
        """Let the time pass until the next timer is due."""
        timer_id = min(self.timers, key=lambda timer: (self.timers[timer], timer))
        self.now = max(self.now, self.timers.pop(timer_id))
        return self.send(TimerFired(timer_id))

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.history]


def execute(definition: Json, execution_input: Json = None) -> Execution:
    """Start an execution of a definition given as JSON."""
    return Execution(
        language.parse(json.dumps(definition)), json.dumps({} if execution_input is None else execution_input)
    )


# --- Recordings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recording:
    name: str
    definition: str
    input_text: str
    events: list[dict[str, Any]]


_REFERENCES = [
    (r"@\{now\+(\d+)\}", lambda match: f"{2023 if match.group(1) == '0' else 2199}-11-14T00:00:00"),
    (r"@\{s\d+\.activityArn\}", lambda match: "arn:aws:states:us-east-1:111111111111:activity:a"),
    (r"@\{s\d+\.arn\}", lambda match: "arn:aws:lambda:us-east-1:111111111111:function:f"),
    (r"@\{[^}]*\}", lambda match: "x"),
]


def _resolved(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    for pattern, replacement in _REFERENCES:
        text = re.sub(pattern, replacement, text)
    return text


def recordings() -> Iterator[Recording]:
    """The recordings of single executions whose history is whole and in order."""
    for path in sorted(conformance_folder().glob("*/*.json")):
        case = json.loads(path.read_text())
        if case.get("flag") == "needs_fixing":
            continue
        machines: dict[str, str] = {}
        runs: dict[str, tuple[str, str]] = {}
        matches: list[tuple[str, str, str]] = []
        if "definition" in case:
            matches = [("get_execution_history", _resolved(case["definition"]), _resolved(case.get("input", {})))]
        for step in case.get("steps", []):
            call, params = step.get("call"), step.get("params", {})
            if call == "stepfunctions.create_state_machine" and params.get("type") != "EXPRESS":
                machines[f"@{{{step.get('as')}.stateMachineArn}}"] = _resolved(params["definition"])
            elif call == "stepfunctions.start_execution" and params.get("stateMachineArn") in machines:
                runs[f"@{{{step.get('as')}.executionArn}}"] = (
                    machines[params["stateMachineArn"]],
                    _resolved(params.get("input", "{}")),
                )
            elif call == "stepfunctions.get_execution_history" and params.get("executionArn") in runs:
                runs[step["as"]] = runs[params["executionArn"]]
            elif "match" in step and isinstance(step["value"], dict) and step["value"].get("$resp") in runs:
                matches.append((step["match"], *runs[step["value"]["$resp"]]))
        for key, definition, text in matches:
            expected = case["expected"].get(key, {})
            if isinstance(expected, dict) and expected.get("events"):
                yield Recording(f"{path.parent.name}/{path.stem}:{key}", definition, text, expected["events"])


def replay(recording: Recording) -> Execution:
    """Run the execution, giving every task the outcome that is recorded for it."""
    execution = Execution(language.parse(recording.definition), recording.input_text)
    outcomes = _outcomes(recording.events)
    exits = [event for event in recording.events if event["type"] == "MapStateExited"]
    waiting = list(execution.commands)
    while execution.finish is None:
        tasks = [command for command in waiting if isinstance(command, InvokeTask | StartMapRun)]
        waiting = []
        if not tasks:
            waiting += execution.fire_next_timer()
            continue
        for task in tasks:
            if isinstance(task, StartMapRun):
                output = exits.pop(0)["stateExitedEventDetails"]["output"]
                output = json.loads(output) if isinstance(output, str) else output
                waiting += execution.send(MapRunFinished(task.map_run_id, output))
                continue
            for event in _events(task, outcomes.pop(0)):
                waiting += execution.fire_next_timer() if event is None else execution.send(event)
    return execution


def _outcomes(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """For each scheduled task the events that follow it, in order."""
    outcomes: list[list[dict[str, Any]]] = []
    of_tasks = [event for event in events if _TASK_EVENT.fullmatch(event["type"])]
    of_tasks.sort(key=lambda event: _ORDER[_TASK_EVENT.fullmatch(event["type"]).group(2)] if event["id"] == [0] else 0)  # type: ignore[union-attr]
    for event in of_tasks:
        if event["type"].endswith("Scheduled"):
            outcomes.append([])
        elif outcomes:
            outcomes[-1].append(event)
    return outcomes


_TASK_EVENT = re.compile(r"(Task|LambdaFunction|Activity)(Scheduled|Started|Submitted|Succeeded|Failed|TimedOut)")
_ORDER = {
    name: place for place, name in enumerate(("Scheduled", "Started", "Submitted", "Succeeded", "Failed", "TimedOut"))
}


def _events(task: InvokeTask, outcome: list[dict[str, Any]]) -> Iterator[Event | None]:
    for event in outcome:
        details: dict[str, Any] = next((value for name, value in event.items() if name.endswith("EventDetails")), {})
        output = details.get("output")
        if isinstance(output, str):
            output = json.loads(output)
        kind = event["type"]
        if kind == "ActivityStarted":
            yield ActivityStarted(task.task_id, details.get("workerName"))
        elif kind.endswith("Started"):
            pass  # by itself, as soon as it is scheduled
        elif kind.endswith("Submitted"):
            yield TaskSubmitted(task.task_id, output)
        elif kind.endswith("Succeeded"):
            yield TaskSucceeded(task.task_id, output)
        elif kind.endswith("TimedOut"):
            yield None
        else:
            cause = details.get("cause")
            yield TaskFailed(task.task_id, details.get("error"), cause if cause is None else _text(cause))


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


# --- Comparison -------------------------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(
    r"<[a-z_A-Z0-9:-]+>|sfn_role_arn|snf_role_arn|arn:|^(timestamp|datetime|date|start-time|entered-time|activity_arn|map_run_arn)$"
    r"|^(lambda_|function_)|sqs_queue_url|lambda_func|bucket-name|test-bucket|x-amzn|X-Amzn|RequestId"
)


def _comparable(value: Json) -> Json:
    if (isinstance(value, str) and value[:1] in '{["') or value in ("true", "false", "null"):
        try:
            return _comparable(json.loads(value))
        except (ValueError, TypeError):
            return value
    if isinstance(value, dict):
        return {name: _comparable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return value


def _differs(expected: Json, observed: Json) -> bool:
    expected, observed = _comparable(expected), _comparable(observed)
    if isinstance(expected, str) and _PLACEHOLDER.search(expected):
        return False
    if isinstance(expected, dict) and isinstance(observed, dict):
        return expected.keys() != observed.keys() or any(_differs(expected[name], observed[name]) for name in expected)
    if isinstance(expected, list) and isinstance(observed, list):
        return len(expected) != len(observed) or any(map(_differs, expected, observed))
    return bool(expected != observed) and str(expected) != str(observed)


def differences(recording: Recording, execution: Execution) -> list[str]:
    """What differs between the recorded history and the one that came out."""
    expected = [event for event in recording.events if event["id"] != [0]]
    unordered = len(expected) < len(recording.events)
    observed = {event.id: event for event in execution.history}
    found = []
    if not unordered and len(expected) != len(execution.history):
        found.append(f"types: {[event['type'] for event in expected]} != {execution.types}")
    for event in expected:
        other = observed.get(event["id"])
        if other is None or other.type != event["type"] or other.previous_event_id != event["previousEventId"]:
            found.append(f"{event['id']} {event['previousEventId']} {event['type']} != {other}")
            continue
        members = {name: value for name, value in event.items() if name.endswith("EventDetails")}
        members = {name: value for name, value in members.items() if value or other.details}
        shown = {other.details_member: other.details} if other.details_member and other.details else {}
        if _differs(members, shown):
            found.append(f"{event['id']}: {json.dumps(members)[:1500]} != {json.dumps(shown)[:1500]}")
    return found
