"""TestState's recordings, through the evaluation of a single state."""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.stepfunctions import replay

from stepbridge.stepfunctions import language
from stepbridge.stepfunctions.interpreter.failures import Failure
from stepbridge.stepfunctions.interpreter.test_state import Outcome, StateTest
from stepbridge.stepfunctions.language.parser import TESTED_STATE

Json = Any


def _recordings() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each call of TestState that needs no real call, with its answer."""
    for path in sorted((replay.conformance_folder() / "test_state").glob("*.json")):
        case = json.loads(path.read_text())
        calls = {
            step["as"]: step["params"]
            for step in case["steps"]
            if step.get("call") == "stepfunctions.test_state" and not step.get("expect_error")
        }
        for step in case["steps"]:
            name = step["value"].get("$resp") if "match" in step and isinstance(step["value"], dict) else None
            if name in calls and ("mock" in calls[name] or '"Task"' not in calls[name]["definition"]):
                yield f"{path.stem}:{step['match']}", calls[name], case["expected"][step["match"]]


def _run(parameters: dict[str, Any]) -> Outcome:
    text = parameters["definition"]
    if "stateName" in parameters:
        definition, name = language.parse(text), parameters["stateName"]
    else:
        definition, name = language.parse_state(text), TESTED_STATE
    configuration = parameters.get("stateConfiguration", {})
    test = StateTest(
        definition.states[name],
        dataclasses.replace(replay.context(), express=True),
        json.loads(parameters.get("input", "{}")),
        replay.environment(),
        context_override=json.loads(parameters["context"]) if "context" in parameters else None,
        retries=configuration.get("retrierRetryCount", 0),
    )
    outcome = test.begin(configuration.get("mapItemReaderData"))
    if outcome is not None:
        return outcome
    mock = parameters["mock"]
    if "errorOutput" in mock:
        return test.fail(Failure(mock["errorOutput"].get("error"), mock["errorOutput"].get("cause"), of_task=True))
    return test.succeed(json.loads(mock["result"]), configuration.get("mapIterationFailureCount"))


def _answer(outcome: Outcome, level: str) -> dict[str, Json]:
    members: dict[str, Json] = {"status": outcome.status}
    if outcome.has_output:
        members["output"] = outcome.output
    others = {"error": outcome.error, "cause": outcome.cause, "nextState": outcome.next_state}
    members |= {name: value for name, value in others.items() if value is not None}
    if level != "INFO":
        members["inspectionData"] = outcome.inspection
    return members


def _plain(value: Json) -> Json:
    """JSON text as JSON, and what the recordings replace left out."""
    if isinstance(value, str):
        if value[:1] in '{["':
            try:
                return _plain(json.loads(value))
            except ValueError:
                return value
        return "~" if re.search(r"<.*>|^date$|^arn:|^\d{4}-\d\d-\d\dT|^(name|machine)$", value) else value
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items() if name != "ResponseMetadata"}
    return [_plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("parameters", "expected"), [pytest.param(*case[1:], id=case[0]) for case in _recordings()])
def test_the_answer_is_as_recorded(parameters: dict[str, Any], expected: dict[str, Any]) -> None:
    answer = _answer(_run(parameters), parameters.get("inspectionLevel", "INFO"))
    ignored = {"context", "ContextObjectValue"} if "context" not in parameters else set()
    answer, expected = _plain(answer), _plain(expected)
    for side in (answer, expected):
        for name in ignored & set(side.get("output", {}) if isinstance(side.get("output"), dict) else {}):
            assert set(side["output"].pop(name)) == {"Execution", "StateMachine", "State"}
    if expected.get("output") == {"MD5OfMessageBody": "~", "MessageId": "~"}:
        answer.pop("output"), expected.pop("output")
    assert answer == expected
