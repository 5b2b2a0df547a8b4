"""The way of data through a state: its input, what it makes of it, its output, and the variables in sight.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-input-output-filtering.html
"""

import re
from typing import Any

from stepbridge.clock import iso_timestamp
from stepbridge.stepfunctions.interpreter.execution import Environment, ExecutionContext
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.interpreter.state import Branch, ExecutionState
from stepbridge.stepfunctions.language.definition import ROOT, Number, RetryableState, State
from stepbridge.stepfunctions.language.evaluation import QUERY_EVALUATION_ERROR, EvaluationError, Scope
from stepbridge.stepfunctions.language.jsonata_expression import Expression
from stepbridge.stepfunctions.language.jsonpath import Indexes, Names, Path, PathStep
from stepbridge.stepfunctions.language.values import is_number, to_text

RESULT_PATH_MATCH_FAILURE = "States.ResultPathMatchFailure"
REFERENCE_PATH_CONFLICT = "States.ReferencePathConflict"


def context_object(
    execution: ExecutionContext,
    execution_input: Json,
    branch: Branch,
    state: State,
    token: str | None = None,
    item: list[Json] | None = None,
) -> Json:
    """The context object `$$`, as a state sees it."""
    about: dict[str, Json] = {
        "Id": execution.execution_arn,
        "Input": execution_input,
        "StartTime": iso_timestamp(execution.start_time),
        "Name": execution.name,
        "RoleArn": execution.role_arn,
    }
    if not execution.express:
        about["RedriveCount"] = execution.redrive_count
    if execution.redrive_time is not None:
        about["RedriveTime"] = iso_timestamp(execution.redrive_time)
    entered: dict[str, Json] = {"Name": state.name, "EnteredTime": iso_timestamp(branch.entered_time)}
    if isinstance(state, RetryableState):
        entered["RetryCount"] = branch.retry_count
    context: dict[str, Json] = {
        "Execution": about,
        "StateMachine": {"Id": execution.state_machine_arn, "Name": execution.state_machine_name},
        "State": entered,
    }
    if token is not None:
        context["Task"] = {"Token": token}
    if (item := item or branch.item) is not None:
        context["Map"] = {"Item": {"Index": item[0], "Value": item[1]}}
    return context


def visible_variables(state: ExecutionState, branch: Branch) -> dict[str, Json]:
    """The variables that a branch can read: its own, and those of the branches around it."""
    if branch.parent is None:
        return branch.variables
    chain = [branch]
    while chain[-1].parent is not None:
        chain.append(state.branches[chain[-1].parent])
    variables: dict[str, Json] = {}
    for outer in reversed(chain):
        variables.update(outer.variables)
    return variables


def make_scope(
    state: ExecutionState,
    branch: Branch,
    definition: State,
    value: Json,
    environment: Environment,
    *,
    token: str | None = None,
    item: list[Json] | None = None,
    **states: Json,
) -> Scope:
    """The scope in which the fields of `definition` are evaluated, with `value` as `$`."""
    return Scope(
        input=value,
        context=lambda: context_object(state.context, state.input, branch, definition, token, item),
        variables=visible_variables(state, branch),
        random=environment.random.random,
        states={"input": branch.input, **states},
        now=environment.now,
    )


def select(path: Path | None, scope: Scope) -> Json:
    """InputPath and OutputPath: the value at the path; null gives an empty object.  Raises EvaluationError."""
    if path is None:
        return {}
    if path is ROOT:
        return scope.input
    found = path.lookup(scope)
    if found.missing is not None:
        raise EvaluationError(f"Invalid path '{path.text}' : {found.missing}")
    return found.value


def read_reference(path: Path, start: Json) -> Json:
    """The value at a reference path from `start`, its root.  Raises EvaluationError."""
    value = start
    for step in path.steps:
        selected = list(step.select(value, start))
        if not selected:
            raise _conflict(step, start)
        value = selected[0]
    return value


def apply_result_path(path: Path | None, value: Json, result: Json) -> Json:
    """Put `result` into `value` at the reference path.  Raises EvaluationError."""
    if path is None:
        return value
    if not path.steps:
        return result
    if not isinstance(value, dict | list):
        raise EvaluationError(
            f"Unable to apply ReferencePath {path.text} to input {to_text(value)}", RESULT_PATH_MATCH_FAILURE
        )
    return _put(path, value, value, result, 0)


def _put(path: Path, whole: Json, value: Json, result: Json, position: int) -> Json:
    if position == len(path.steps):
        return result
    step = path.steps[position]
    if isinstance(step, Names) and isinstance(value, dict | None):
        members: dict[str, Any] = value or {}
        name = step.names[0]
        return {**members, name: _put(path, whole, members.get(name), result, position + 1)}
    if isinstance(step, Indexes) and isinstance(value, list) and 0 <= step.indexes[0] < len(value):
        index = step.indexes[0]
        return [*value[:index], _put(path, whole, value[index], result, position + 1), *value[index + 1 :]]
    raise _conflict(step, whole)


def _conflict(step: PathStep, whole: Json) -> EvaluationError:
    """A reference path has led to what a step of it does not fit.

    AWS does not document the error; users tell of it: https://github.com/rollthecloudinc/hedge/issues/292.
    """
    name = step.names[0] if isinstance(step, Names) else str(step).strip("[]")
    return EvaluationError(f'Unable to apply step "{name}" to input {to_text(whole)}', REFERENCE_PATH_CONFLICT)


def number(field: str, value: Number | None, scope: Scope, *, whole: bool = True) -> Any:
    """The number of a field that may be written, found at a path or computed.  Raises EvaluationError."""
    if value is None or is_number(value):
        return value
    if isinstance(value, Expression):
        computed = value.evaluate(scope, "number")
        if whole and not isinstance(computed, int):
            raise EvaluationError(
                f"The {field} field must be an integer but was: {to_text(computed)}",
                QUERY_EVALUATION_ERROR,
                value.location,
            )
        return computed
    assert isinstance(value, Path)  # noqa: S101 (Number has no other kinds)
    found = value.lookup(scope)
    if found.missing is not None:
        raise EvaluationError(f"Invalid path '{value.text}' : {found.missing}")
    parsed = parse_number(found.value, whole=whole)
    if parsed is None:
        shown = found.value if isinstance(found.value, str) else to_text(found.value)
        kind = "integer" if whole else "float"
        raise EvaluationError(
            f'The {field}Path field refers to value "{shown}" which is not a valid {kind}: {value.text}'
        )
    return parsed


def out_of_range(problem: str, value: Number | None) -> EvaluationError:
    """The failure of a field with a number that is none for it: an evaluation that failed, if JSONata computed it.

    https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html, "Value out of range"
    """
    if isinstance(value, Expression):
        return EvaluationError(problem, QUERY_EVALUATION_ERROR, value.location)
    return EvaluationError(problem)


def parse_number(value: Json, *, whole: bool) -> Any:
    """A number, or text that is one, as AWS reads it at a path; None if it is neither."""
    if isinstance(value, str):
        if re.fullmatch(r"[+-]?\d+", value):
            return int(value)
        return float(value) if not whole and re.fullmatch(r"[+-]?\d*\.\d+", value) else None
    return value if is_number(value) and (not whole or isinstance(value, int)) else None
