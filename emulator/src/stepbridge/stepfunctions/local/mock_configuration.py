"""The mock configuration file: what tasks answer in the test cases of a state machine.

https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local-test-sm-exec.html
"""

import json
import re
from dataclasses import dataclass
from typing import Any

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class MockedResponse:
    """What one call is answered with: `output`, or an error if there is an `error`."""

    output: Any = None
    error: str | None = None
    cause: str | None = None


# The responses of a state, and the first and the last of the attempts that each of them is for.
Responses = tuple[tuple[int, int, MockedResponse], ...]


@dataclass(frozen=True, slots=True)
class MockConfiguration:
    """The test cases by the names of state machines: test case → state → responses."""

    machines: dict[str, dict[str, dict[str, Responses]]]

    @classmethod
    def parse(cls, text: str) -> "MockConfiguration":
        """Read the text of the file.  Raises ValueError, which says where the mistake is."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ValueError(f"it is not JSON: {error}") from None
        root = _object(document, "the file")
        for name in root:
            if name not in ("StateMachines", "MockedResponses"):
                raise ValueError(f"/{name} is unknown; there can be StateMachines and MockedResponses")
        place = "/MockedResponses"
        responses = {
            name: _responses(value, f"{place}/{name}")
            for name, value in _object(root.get("MockedResponses", {}), place).items()
        }
        place = "/StateMachines"
        return cls(
            {
                name: _test_cases(value, f"{place}/{name}", responses)
                for name, value in _object(root.get("StateMachines", {}), place).items()
            }
        )


def find(responses: Responses, attempt: int) -> MockedResponse | None:
    """The response to an attempt of a state, counted from 0."""
    return next((response for first, last, response in responses if first <= attempt <= last), None)


def _test_cases(value: Any, place: str, responses: dict[str, Responses]) -> dict[str, dict[str, Responses]]:
    machine = _object(value, place)
    cases = _object(machine.get("TestCases"), f"{place}/TestCases")
    return {case: _states(states, f"{place}/TestCases/{case}", responses) for case, states in cases.items()}


def _states(value: Any, place: str, responses: dict[str, Responses]) -> dict[str, Responses]:
    states = _object(value, place)
    for state, name in states.items():
        if not isinstance(name, str) or name not in responses:
            raise ValueError(f"{place}/{state} names {json.dumps(name)}, which is not among /MockedResponses")
    return {state: responses[name] for state, name in states.items()}


def _responses(value: Any, place: str) -> Responses:
    found: list[tuple[int, int, MockedResponse]] = []
    for key, answer in _object(value, place).items():
        match = _RANGE.fullmatch(key)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f'{place}/{key} must be the number of an attempt, such as "0", or a range, such as "1-2"')
        first, last = int(match[1]), int(match[2] or match[1])
        if any(first <= other_last and other_first <= last for other_first, other_last, _ in found):
            raise ValueError(f"{place}/{key} overlaps another response")
        found.append((first, last, _response(answer, f"{place}/{key}")))
    if not found:
        raise ValueError(f"{place} has no response")
    return tuple(found)


def _response(value: Any, place: str) -> MockedResponse:
    answer = _object(value, place)
    if len(answer) != 1 or not answer.keys() <= {"Return", "Throw"}:
        raise ValueError(f"{place} must have either Return or Throw")
    if "Return" in answer:
        return MockedResponse(output=answer["Return"])
    thrown = _object(answer["Throw"], f"{place}/Throw")
    for name in ("Error", "Cause"):
        if name in thrown and not isinstance(thrown[name], str):
            raise ValueError(f"{place}/Throw/{name} must be a string")
    if not thrown.get("Error"):
        raise ValueError(f"{place}/Throw must have an Error")
    return MockedResponse(error=thrown["Error"], cause=thrown.get("Cause"))


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place} must be an object")
    return value
