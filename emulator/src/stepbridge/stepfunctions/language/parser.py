"""Definition text → tree, with the checks that AWS makes when a state machine is created."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepbridge.stepfunctions.language import json_text, states
from stepbridge.stepfunctions.language.checker import Fields, Findings
from stepbridge.stepfunctions.language.conditions import And, Comparison, Not, Or
from stepbridge.stepfunctions.language.definition import (
    JSONATA,
    JSONPATH,
    Choice,
    Definition,
    Flow,
    Map,
    Parallel,
    RetryableState,
    State,
    Succeed,
    Task,
)
from stepbridge.stepfunctions.language.definition import Fail as FailState
from stepbridge.stepfunctions.language.diagnostics import Diagnostic, InvalidDefinition
from stepbridge.stepfunctions.language.intrinsics import Call
from stepbridge.stepfunctions.language.jsonata_expression import Expression
from stepbridge.stepfunctions.language.jsonpath import Path
from stepbridge.stepfunctions.language.resources import TASK_TOKEN, Activity, Integration
from stepbridge.stepfunctions.language.templates import Constant, Items, Members, Reference
from stepbridge.stepfunctions.language.values import Json

_TYPES = "[Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map]"
_MAXIMUM_STATE_NAME = 80
_DEEPEST = 200
TESTED_STATE = "StateName"  # what TestState calls a state that is given without its state machine

# What of the parameters of an integration, written in a query language, its service's API cannot take.
ParameterCheck = Callable[[Integration, Json, str], list[str]]


def any_parameters(resource: Integration, parameters: Json, language: str) -> list[str]:
    """Take all parameters."""
    return []


def parse(text: str, *, express: bool = False, check_parameters: ParameterCheck = any_parameters) -> Definition:
    """Read a definition.

    `express` checks it for an Express state machine, `check_parameters` those of its integrations.  Raises
    InvalidDefinition with all that is wrong.
    """
    definition, diagnostics = _read(text, express, check_parameters)
    if definition is None or any(finding.severity == "ERROR" for finding in diagnostics):
        raise InvalidDefinition(diagnostics)
    return definition


def validate(
    text: str, *, express: bool = False, check_parameters: ParameterCheck = any_parameters
) -> list[Diagnostic]:
    """All that is wrong with a definition."""
    return _read(text, express, check_parameters)[1]


def parse_state(text: str, check_parameters: ParameterCheck = any_parameters) -> Definition:
    """Read the definition of one state, as TestState takes it: a machine of the state `StateName` alone.

    Its transitions are not followed.  Raises InvalidDefinition.
    """
    members, findings = _read_json(text)
    if members is None:
        raise InvalidDefinition(findings.diagnostics)
    machine = {"StartAt": TESTED_STATE, "States": {TESTED_STATE: members}}
    definition = _Reading(findings, False, check_parameters, single_state=True).machine(machine)
    if findings.diagnostics:
        raise InvalidDefinition(findings.diagnostics)
    return definition


def _read_json(text: str) -> tuple[dict[str, Json] | None, Findings]:
    findings = Findings()
    if not text.strip():
        findings.add("Definition must be a valid JSON object", None)
        return None, findings
    try:
        members = json_text.parse(text, unique_fields=True)
    except json_text.JsonError as problem:
        message = f"{problem.message}\n at {problem.location}"
        findings.add(message, problem.location, "INVALID_JSON_DESCRIPTION")
        return None, findings
    except json_text.DuplicateFieldError as problem:
        findings.add(f"Duplicate field '{problem.name}'", None, "INVALID_JSON_DESCRIPTION")
        return None, findings
    if not isinstance(members, dict):
        findings.add("Definition must be a valid JSON object", None)
        return None, findings
    return members, findings


def _read(text: str, express: bool, check_parameters: ParameterCheck) -> tuple[Definition | None, list[Diagnostic]]:
    members, findings = _read_json(text)
    if members is None:
        return None, findings.diagnostics
    definition = _Reading(findings, express, check_parameters).machine(members)
    return definition, findings.diagnostics


@dataclass(slots=True)
class _Reading:
    """The reading of one definition."""

    findings: Findings
    express: bool
    check_parameters: ParameterCheck
    single_state: bool = False
    language: str = JSONPATH
    all_states: dict[str, State] = field(default_factory=dict)
    depth: int = 0

    def machine(self, members: dict[str, Json]) -> Definition:
        top = Fields(members, "", JSONPATH, self.findings)
        top.allow(("QueryLanguage", "StartAt", "States", "TimeoutSeconds", "Version"))
        self.language = _query_language(top, JSONPATH)
        top.choice("Version", ("1.0",), "1.0")
        timeout = top.integer("TimeoutSeconds", None, 0, 99_999_999) or None  # 0 is none
        flow = self._flow(top)
        if not self.findings.diagnostics and not self.single_state:
            self._check_labels(flow, members, "", set())
            self._check_graph(flow, members, "")
        references = _variable_references(self.all_states) if not self.findings.diagnostics else {}
        return Definition(flow, self.all_states, timeout, references)

    def _inner_flow(self, fields: Fields) -> Flow:
        fields.allow(("StartAt", "States", "ProcessorConfig"))
        # The states of a branch speak the language of the machine, whatever the state around them speaks.
        return self._flow(Fields(fields.members, fields.location, self.language, self.findings))

    def _flow(self, fields: Fields) -> Flow:
        self.depth += 1
        fields.require("StartAt", "States")
        start_at = fields.text("StartAt")
        found: dict[str, State] = {}
        states_of_flow = fields.object("States")
        if fields.has("States") and not states_of_flow.members and isinstance(fields.members["States"], Mapping):
            fields.error("Value cannot be empty", "States")
        for name, members in states_of_flow.members.items():
            location = f"{states_of_flow.location}/{name}"
            if not isinstance(members, dict):
                self.findings.add("Expected value of type Object", location)
                continue
            if not name:
                self.findings.add("Invalid State name: the name is empty", location, "INVALID_STATE_NAME")
            elif len(name) > _MAXIMUM_STATE_NAME:
                self.findings.add(
                    f"Invalid State name: {name} exceeds the {_MAXIMUM_STATE_NAME}-character limit allowed by the"
                    " service",
                    location,
                    "INVALID_STATE_NAME",
                )
            if self.depth > _DEEPEST:
                self.findings.add("The states are too deeply nested", location, "TOO_DEEPLY_NESTED")
                continue
            state = self._state(name, members, location)
            if state is None:
                continue
            if name in self.all_states:
                self.findings.add(f"Duplicate State name: {name}", location, "DUPLICATE_STATE_NAME")
            self.all_states[name] = found[name] = state
        self.depth -= 1
        return Flow(start_at, found)

    def _state(self, name: str, members: dict[str, Json], location: str) -> State | None:
        language = JSONPATH if members.get("QueryLanguage") == JSONPATH else JSONATA
        if "QueryLanguage" not in members:
            language = self.language
        downgraded = language == JSONPATH and self.language == JSONATA
        fields = Fields(members, location, language, self.findings)
        if downgraded:
            fields.error("'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine")
        kind = members.get("Type")
        if kind is None:
            fields.error("These fields are required: [Type]")
            return None
        if not isinstance(kind, str) or kind not in states.PARSERS:
            fields.error(f"The field 'Type' should have one of these values: {_TYPES}", "Type")
            return None
        has_result = kind in ("Task", "Parallel", "Map")
        fields = Fields(members, location, language, self.findings, has_result=has_result)
        fields.allow(states.FIELDS[kind], either_language=downgraded)
        _query_language(fields, self.language)
        state = states.PARSERS[kind](fields, name, self._inner_flow)
        if isinstance(state, Task) and isinstance(state.resource, Integration):
            self._check_call(fields, state.resource)
        if self.express:
            self._check_express(fields, state)
        return state

    def _check_call(self, fields: Fields, resource: Integration) -> None:
        name = "Arguments" if fields.is_jsonata else "Parameters"
        if not fields.has(name):
            fields.error(f"{name} field is required for resource ARN: {resource.arn}", "Resource")
            return
        for problem in self.check_parameters(resource, fields.members[name], fields.language):
            fields.error(problem, name)

    def _check_express(self, fields: Fields, state: State) -> None:
        if isinstance(state, Map) and state.distributed:
            processor = next(name for name in ("ItemProcessor", "Iterator") if fields.has(name))
            fields.error(
                "The field 'Mode' with value 'DISTRIBUTED' is not supported inside 'EXPRESS' state machines",
                f"{processor}/ProcessorConfig/Mode",
            )
        if not isinstance(state, Task):
            return
        if isinstance(state.resource, Activity):
            fields.error("Express state machine does not support Activity ARN", "Resource")
        elif isinstance(state.resource, Integration) and state.resource.pattern is not None:
            pattern = TASK_TOKEN if state.resource.pattern == TASK_TOKEN else "sync"
            fields.error(f"Express state machine does not support '.{pattern}' service integration", "Resource")

    # --- The graph ----------------------------------------------------------------------------------------------------

    def _check_graph(self, flow: Flow, members: Mapping[str, Any], location: str) -> None:
        """Every transition leads somewhere, every state can be reached, and of the outermost states some one ends."""
        if flow.start_at not in flow.states:
            self._missing_target(flow.start_at, f"{location}/StartAt")
        for name, state in flow.states.items():
            here = f"{location}/States/{name}"
            for target, place in _transitions(state):
                if target not in flow.states:
                    self._missing_target(target, f"{here}/{place}")
        if not location and not any(_is_terminal(state) for state in flow.states.values()):
            self.findings.add("Workflow has no terminal state", None, "MISSING_END_STATE")
        else:
            reached = _reachable(flow)
            for name in flow.states:
                if name not in reached:
                    self.findings.add(
                        f'State "{name}" is not reachable.', f"{location}/States/{name}", "MISSING_TRANSITION_TARGET"
                    )
        for inner, inner_members, here in _inner_flows(flow, members, location):
            self._check_graph(inner, inner_members, here)

    def _check_labels(self, flow: Flow, members: Mapping[str, Any], location: str, seen: set[str]) -> None:
        for name, state in flow.states.items():
            if isinstance(state, Map) and state.label is not None:
                if state.label in seen:
                    place = f"{location}/States/{name}/Label"
                    self.findings.add(f"Duplicate Label name: {state.label}", place, "DUPLICATE_LABEL_NAME")
                seen.add(state.label)
        for inner, inner_members, here in _inner_flows(flow, members, location):
            self._check_labels(inner, inner_members, here, seen)

    def _missing_target(self, target: str, location: str) -> None:
        self.findings.add(f"Missing 'Next' target: {target}", location, "MISSING_TRANSITION_TARGET")


def _query_language(fields: Fields, inherited: str) -> str:
    """The QueryLanguage of a state machine or state.  AWS takes anything but the exact word JSONPath for JSONata."""
    value = fields.members.get("QueryLanguage", inherited)
    if not isinstance(value, str):
        fields.error("Expected value of type [STRING]", "QueryLanguage")
    elif value not in (JSONPATH, JSONATA):
        fields.error(f"Value should be one of the following: [{JSONPATH}, {JSONATA}]", "QueryLanguage")
    return JSONPATH if value == JSONPATH else JSONATA


def _inner_flows(
    flow: Flow, members: Mapping[str, Any], location: str
) -> Iterator[tuple[Flow, Mapping[str, Any], str]]:
    """The branches and processors of a flow's states: each parsed, as it is written, and where it is."""
    for name, state in flow.states.items():
        here = f"{location}/States/{name}"
        written = members["States"][name]
        if isinstance(state, Parallel):
            for index, branch in enumerate(state.branches):
                yield branch, written["Branches"][index], f"{here}/Branches[{index}]"
        elif isinstance(state, Map):
            place = "ItemProcessor" if "ItemProcessor" in written else "Iterator"
            yield state.processor, written[place], f"{here}/{place}"


def _transitions(state: State) -> Iterator[tuple[str, str]]:
    """The names of the states that `state` may go to, and the fields that say so."""
    if state.next is not None:
        yield state.next, "Next"
    if isinstance(state, Choice):
        for index, rule in enumerate(state.rules):
            yield rule.next, f"Choices[{index}]/Next"
        if state.default is not None:
            yield state.default, "Default"
    if isinstance(state, RetryableState):
        for index, catcher in enumerate(state.catch):
            yield catcher.next, f"Catch[{index}]/Next"


def _is_terminal(state: State) -> bool:
    return isinstance(state, Succeed | FailState) or (state.next is None and not isinstance(state, Choice))


def _reachable(flow: Flow) -> set[str]:
    reached: set[str] = set()
    waiting = [flow.start_at]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in flow.states:
            continue
        reached.add(name)
        waiting.extend(target for target, _ in _transitions(flow.states[name]))
    return reached


# --- Which variables each state refers to ----------------------------------------------------------------------------


def _variable_references(all_states: Mapping[str, State]) -> dict[str, tuple[str, ...]]:
    """The `variableReferences` of DescribeStateMachine."""
    references = {}
    for name, state in all_states.items():
        used = tuple(dict.fromkeys(_variables_in(state)))
        if used:
            references[name] = used
    return references


def _variables_in(value: Any) -> Iterator[str]:
    if isinstance(value, Path):
        if value.variable:
            yield value.variable
    elif isinstance(value, Reference | Members | Items | Call | Expression | Comparison | And | Or | Not):
        yield from value.variables()
    elif isinstance(value, Flow | Constant):
        return
    elif isinstance(value, tuple):
        for item in value:
            yield from _variables_in(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _variables_in(getattr(value, name))
