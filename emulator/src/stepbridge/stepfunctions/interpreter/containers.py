"""Parallel and Map: states that have branches of their own."""

from collections.abc import Iterable
from typing import Any

from stepbridge.stepfunctions.interpreter.data_flow import number, out_of_range, read_reference
from stepbridge.stepfunctions.interpreter.failures import DATA_LIMIT_EXCEEDED, Failure
from stepbridge.stepfunctions.interpreter.map_runs import make_plan, pairs
from stepbridge.stepfunctions.interpreter.messages import Json, MapRunFinished, StartMapRun
from stepbridge.stepfunctions.interpreter.run import Run
from stepbridge.stepfunctions.interpreter.state import Branch, OnBranches, OnMapRun
from stepbridge.stepfunctions.language.definition import Map, Parallel, Task
from stepbridge.stepfunctions.language.evaluation import QUERY_EVALUATION_ERROR, EvaluationError, Scope
from stepbridge.stepfunctions.language.intrinsics import random_uuid
from stepbridge.stepfunctions.language.jsonata_expression import Expression
from stepbridge.stepfunctions.language.values import to_text

_MOST_INLINE_ITERATIONS = 40  # that run at once


def execute_parallel(run: Run, branch: Branch) -> None:
    definition = run.definition_of(branch)
    assert isinstance(definition, Parallel)  # noqa: S101
    scope = run.scope(branch, run.effective_input(branch))
    value = definition.arguments.evaluate(scope) if definition.arguments is not None else scope.input
    run.note(branch, "ParallelStateStarted")
    count = len(definition.branches)
    branch.waiting = OnBranches([None] * count, count)
    _start(run, branch, ((index, value, None) for index in range(count)))


def _start(run: Run, parent: Branch, children: Iterable[tuple[int, Json, list[Json] | None]]) -> None:
    """Start branches (index, input, Map item) below `parent`."""
    definition = run.definition_of(parent)
    for index, value, item in children:
        flow = definition.branches[index] if isinstance(definition, Parallel) else _processor(definition)
        child = Branch(run.new_id(), parent.id, index, flow.start_at, value, parent.previous, item=item)
        run.state.branches[child.id] = child
        if item is not None:
            _note_iteration(run, child, "Started", parent.state)
        child.before = child.previous
        run.agenda.append(child)


def _processor(definition: Any) -> Any:
    assert isinstance(definition, Map)  # noqa: S101
    return definition.processor


def _note_iteration(run: Run, child: Branch, what: str, name: str) -> int:
    return run.note(child, f"MapIteration{what}", f"mapIteration{what}EventDetails", name=name, index=child.index)


def child_succeeded(run: Run, parent: Branch, child: Branch, output: Json) -> None:
    """A branch or iteration has come to its end."""
    waiting = parent.waiting
    assert isinstance(waiting, OnBranches)  # noqa: S101
    last = child.previous
    definition = run.definition_of(parent)
    if isinstance(definition, Map):
        _note_iteration(run, child, "Succeeded", parent.state)
    waiting.results[child.index] = output
    waiting.open -= 1
    if waiting.remaining:
        parent.previous = last
        _start_iterations(run, parent, definition, waiting, 1)
    elif waiting.open == 0:
        parent.previous = child.previous
        _complete(run, parent, waiting.results)


def _complete(run: Run, parent: Branch, results: Json) -> None:
    parent.waiting = None
    run.record(f"{run.definition_of(parent).type}StateSucceeded", parent.previous)
    run.leave_with_result(parent, results)


def child_failed(run: Run, parent: Branch, child: Branch, failure: Failure) -> None:
    """A branch or iteration has failed: cut the others off, and fail the state."""
    failed_at = child.previous
    definition = run.definition_of(parent)
    if failure.error != DATA_LIMIT_EXCEEDED:  # then a redrive runs all of them again
        run.keep_for_redrive(parent)
    del run.state.branches[child.id]
    if isinstance(run.definition.states[child.state], Task):
        run.record("TaskStateAborted", failed_at)
    if isinstance(definition, Map):
        _note_iteration(run, child, "Failed", parent.state)
    for sibling in run.children(parent):
        run.abort(sibling, failed_at)
        if isinstance(definition, Map):
            sibling.previous = failed_at
            _note_iteration(run, sibling, "Aborted", parent.state)
    parent.previous = failed_at
    run.fail(parent, failure)


# --- Map --------------------------------------------------------------------------------------------------------------


def execute_map(run: Run, branch: Branch) -> None:
    definition = run.definition_of(branch)
    assert isinstance(definition, Map)  # noqa: S101
    scope = run.scope(branch, run.effective_input(branch))
    items = None if definition.item_reader is not None else find_items(definition, scope)
    concurrency = number("MaxConcurrency", definition.max_concurrency, scope) or 0
    if concurrency < 0:
        problem = f"Expected non-negative integer for MaxConcurrency, got '{concurrency}' instead."
        raise out_of_range(problem, definition.max_concurrency)
    run.note(branch, "MapStateStarted", "mapStateStartedEventDetails", length=len(items or ()))
    tolerance = find_tolerance(definition, scope)
    if definition.distributed:
        _start_map_run(run, branch, definition, scope, items, concurrency, tolerance)
        return
    items = items or []
    waiting = OnBranches([None] * len(items), len(items), list(reversed(items)))
    branch.waiting = waiting
    if not items:
        _complete(run, branch, [])
        return
    at_once = min(concurrency or _MOST_INLINE_ITERATIONS, _MOST_INLINE_ITERATIONS)
    _start_iterations(run, branch, definition, waiting, at_once)


def find_items(definition: Map, scope: Scope) -> list[Json]:
    """The items of a Map without a reader.  Raises EvaluationError.

    A distributed Map takes the members of an object for items as well; an inline one that is given an object fails.
    https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemspath.html
    """
    items = _given_items(definition, scope)
    if definition.distributed and isinstance(items, dict):
        return pairs(items)
    if isinstance(items, list):
        return items
    if definition.is_jsonata:
        raise EvaluationError(f"Map state input must be an array but was: {to_text(items)}", QUERY_EVALUATION_ERROR)
    shown = definition.items_path.text.replace("$$", "$", 1) if definition.items_path is not None else "$"
    raise EvaluationError(f'Reference path "{shown}" must point to array.')


def _given_items(definition: Map, scope: Scope) -> Json:
    if definition.is_jsonata:
        if isinstance(definition.items, Expression):
            return definition.items.evaluate(scope, "array", *(("object",) if definition.distributed else ()))
        return definition.items.evaluate(scope) if definition.items is not None else scope.input
    path = definition.items_path
    if path is None:
        return scope.input
    start = path.start(scope)
    if start.missing is not None:
        raise EvaluationError(f"Invalid path '{path.text}' : {start.missing}")
    return read_reference(path, start.value)


def find_tolerance(definition: Map, scope: Scope) -> tuple[int | None, float | None]:
    """ToleratedFailureCount and ToleratedFailurePercentage.  Raises EvaluationError."""
    count = number("ToleratedFailureCount", definition.tolerated_failure_count, scope)
    if count is not None and count < 0:
        raise out_of_range("ToleratedFailureCount cannot be negative.", definition.tolerated_failure_count)
    percentage = number("ToleratedFailurePercentage", definition.tolerated_failure_percentage, scope, whole=False)
    if percentage is not None and not 0 <= percentage <= 100:
        problem = "ToleratedFailurePercentage must be between 0 and 100."
        raise out_of_range(problem, definition.tolerated_failure_percentage)
    return count, percentage


def _start_iterations(run: Run, parent: Branch, definition: Any, waiting: OnBranches, count: int) -> None:
    assert isinstance(definition, Map)  # noqa: S101
    children: list[tuple[int, Json, list[Json] | None]] = []
    effective = run.effective_input(parent) if definition.item_selector is not None else None
    for _ in range(min(count, len(waiting.remaining))):
        item = [len(waiting.results) - len(waiting.remaining), waiting.remaining.pop()]
        value = item[1]
        if definition.item_selector is not None:
            value = definition.item_selector.evaluate(run.scope(parent, effective, item=item))
        children.append((item[0], value, item))
    _start(run, parent, children)


def _start_map_run(
    run: Run,
    branch: Branch,
    definition: Map,
    scope: Scope,
    items: list[Json] | None,
    concurrency: int,
    tolerance: tuple[int | None, float | None],
) -> None:
    execution = run.state.context
    random = run.environment.random.random
    label = definition.label or random_uuid(random)
    partition = execution.execution_arn.split(":")[1]
    arn = (
        f"arn:{partition}:states:{execution.region}:{execution.account}:mapRun:"
        f"{execution.state_machine_name}/{label}:{random_uuid(random)}"
    )
    plan = make_plan(definition, scope, items, concurrency, tolerance)
    map_run_id = run.new_id()
    before = branch.previous
    run.note(branch, "MapRunStarted", "mapRunStartedEventDetails", mapRunArn=arn)
    branch.waiting = OnMapRun(map_run_id, arn, before)
    run.commands.append(StartMapRun(map_run_id, arn, branch.state, plan))


def map_run_finished(run: Run, branch: Branch, event: MapRunFinished) -> None:
    """The children of a distributed Map have ended."""
    if event.error is not None:
        run.keep_for_redrive(branch)
        run.note(branch, "MapRunFailed", "mapRunFailedEventDetails", error=event.error, cause=event.cause)
        run.fail(branch, Failure(event.error, event.cause))
        return
    branch.waiting = None
    # Since November 2024 AWS lets MapStateExited follow MapRunStarted; before, it followed MapRunSucceeded as well.
    succeeded = run.record("MapRunSucceeded", branch.previous)
    run.record("MapStateSucceeded", succeeded)
    run.guarded(branch, lambda step, at: step.leave_with_result(at, event.output))
