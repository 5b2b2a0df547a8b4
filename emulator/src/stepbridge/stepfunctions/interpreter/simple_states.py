"""Pass, Wait, Choice, Succeed and Fail: states that need nobody but the clock."""

from typing import Any

from stepbridge.stepfunctions.interpreter.data_flow import apply_result_path, number, out_of_range, parse_number, select
from stepbridge.stepfunctions.interpreter.failures import Failure
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.interpreter.run import Run
from stepbridge.stepfunctions.interpreter.state import Branch, OnTimer
from stepbridge.stepfunctions.language import timestamps
from stepbridge.stepfunctions.language.definition import Choice, ChoiceRule, Fail, Pass, Succeed, Wait
from stepbridge.stepfunctions.language.evaluation import QUERY_EVALUATION_ERROR, EvaluationError, Scope
from stepbridge.stepfunctions.language.jsonata_expression import Expression
from stepbridge.stepfunctions.language.jsonpath import Path
from stepbridge.stepfunctions.language.templates import not_found
from stepbridge.stepfunctions.language.values import to_text

_LONGEST_WAIT = 2_147_483_647  # seconds


def execute_pass(run: Run, branch: Branch) -> None:
    definition = run.definition_of(branch)
    assert isinstance(definition, Pass)  # noqa: S101
    scope = run.scope(branch, branch.input)
    if definition.is_jsonata:
        output = definition.output.evaluate(scope) if definition.output is not None else branch.input
        run.leave(branch, output, definition.next, definition.assign, scope)
        return
    result = select(definition.input_path, scope)
    if definition.has_result:
        result = definition.result
    elif definition.arguments is not None:
        result = definition.arguments.evaluate(run.scope(branch, result))
    combined = apply_result_path(definition.result_path, branch.input, result)
    output = select(definition.output_path, run.scope(branch, combined))
    run.leave(branch, output, definition.next, definition.assign, run.scope(branch, result))


def leave_unchanged(run: Run, branch: Branch, next_state: str | None, source: Any) -> None:
    """Leave a state that only lets its input through; `source` has its Assign and Output."""
    definition = run.definition_of(branch)
    if definition.is_jsonata:
        scope = run.scope(branch, branch.input)
        output = source.output.evaluate(scope) if source.output is not None else branch.input
    else:
        effective = run.effective_input(branch)
        scope = run.scope(branch, effective)
        output = select(definition.output_path, scope)
    run.leave(branch, output, next_state, source.assign, scope)


def execute_succeed(run: Run, branch: Branch) -> None:
    definition = run.definition_of(branch)
    assert isinstance(definition, Succeed)  # noqa: S101
    leave_unchanged(run, branch, None, definition)


# --- Choice -----------------------------------------------------------------------------------------------------------


def execute_choice(run: Run, branch: Branch) -> None:
    definition = run.definition_of(branch)
    assert isinstance(definition, Choice)  # noqa: S101
    rule = find_rule(definition, run.scope(branch, run.effective_input(branch)))
    leave_unchanged(run, branch, rule.next, rule)


def find_rule(definition: Choice, scope: Scope) -> ChoiceRule:
    """The rule that holds first, or one that stands for Default.  Raises EvaluationError."""
    for rule in definition.rules:
        if _holds(rule, scope):
            return rule
    if definition.default is None:
        raise EvaluationError("Failed to transition out of the state. The state does not point to a next state.")
    return ChoiceRule(condition=True, next=definition.default, assign=definition.assign, output=definition.output)


def _holds(rule: ChoiceRule, scope: Scope) -> bool:
    if isinstance(rule.condition, bool):
        return rule.condition
    if isinstance(rule.condition, Expression):
        return bool(rule.condition.evaluate(scope, "boolean"))
    return rule.condition.evaluate(scope)


# --- Wait -------------------------------------------------------------------------------------------------------------


def execute_wait(run: Run, branch: Branch) -> None:
    definition = run.definition_of(branch)
    assert isinstance(definition, Wait)  # noqa: S101
    scope = run.scope(branch, run.effective_input(branch))
    seconds = wait_seconds(definition, scope, run.environment.now)
    if seconds <= 0:
        resume_wait(run, branch)
    else:
        branch.waiting = OnTimer(run.start_timer(seconds * run.environment.wait_time_scale), retry=False)


def wait_seconds(definition: Wait, scope: Scope, now: float) -> float:
    """How long a Wait state waits, in seconds.  Raises EvaluationError."""
    if definition.seconds is not None:
        seconds = float(_seconds(definition, scope))
    else:
        seconds = _timestamp(definition, scope) - now
    if seconds > _LONGEST_WAIT:
        raise EvaluationError("Wait state delay is too long.")
    return seconds


def resume_wait(run: Run, branch: Branch) -> None:
    """The wait is over."""
    definition = run.definition_of(branch)
    leave_unchanged(run, branch, definition.next, definition)


def _seconds(definition: Wait, scope: Scope) -> int:
    if not isinstance(definition.seconds, Path):
        seconds = number("Seconds", definition.seconds, scope)
        if seconds < 0:
            raise out_of_range(f"The Seconds field must not be negative but was: {seconds}", definition.seconds)
        return int(seconds)
    path = definition.seconds
    found = path.lookup(scope)
    if found.missing is not None:
        raise EvaluationError(f"The SecondsPath parameter does not reference an input value: {path.text}")
    shown = f"{path.text} == {_shown(found.value)}"
    seconds = parse_number(found.value, whole=True)
    if seconds is None:
        raise EvaluationError(f"The SecondsPath parameter cannot be parsed as a long value: {shown}")
    if seconds < 0:
        raise EvaluationError(f"The SecondsPath parameter references a negative value: {shown}")
    return int(seconds)


def _timestamp(definition: Wait, scope: Scope) -> float:
    source = definition.timestamp
    value: Json
    if isinstance(source, Path):
        found = source.lookup(scope)
        if found.missing is not None:
            raise EvaluationError(f"The TimestampPath parameter does not reference an input value: {source.text}")
        value = found.value
    elif isinstance(source, Expression):
        value = source.evaluate(scope, "string")
    else:
        value = source
    moment = timestamps.parse(value)
    if moment is not None:
        return moment
    if isinstance(source, Path):
        raise EvaluationError(
            "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: "
            f"{source.text} == {_shown(value)}"
        )
    raise EvaluationError(
        f"The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format string: {_shown(value)}",
        QUERY_EVALUATION_ERROR,
        "Timestamp",
    )


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else to_text(value)


# --- Fail -------------------------------------------------------------------------------------------------------------


def execute_fail(run: Run, branch: Branch) -> None:
    definition = run.definition_of(branch)
    assert isinstance(definition, Fail)  # noqa: S101
    error, cause = fail_texts(definition, run.scope(branch, branch.input))
    # The error that a Fail state names itself is taken by a catcher of that name, whatever it is.
    run.fail_branch(branch, Failure(error, cause, of_task=True))


def fail_texts(definition: Fail, scope: Scope) -> tuple[str | None, str | None]:
    """The error and cause of a Fail state.  Raises EvaluationError."""
    return _fail_text("ErrorPath", definition.error, scope), _fail_text("CausePath", definition.cause, scope)


def _fail_text(field: str, value: Any, scope: Scope) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Expression):
        return str(value.evaluate(scope, "string"))
    if isinstance(value, Path):
        found = value.lookup(scope)
        if found.missing is not None:
            raise not_found(value, field, scope)
        text = found.value
    else:
        text = value.evaluate(scope)
    if not isinstance(text, str):
        raise EvaluationError(f"The field '{field}' must evaluate to a string but was: {to_text(text)}")
    return text
