"""Evaluates one state by itself, telling every stage of its data: what TestState needs.

`begin` takes the state as far as it goes by itself: to its end, or to a Task's call, a Parallel's branches or a Map's
iterations.  For these the caller has the result (it makes the call, or it was given a mock) and ends the test with
`succeed` or `fail`.

https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html
"""

from dataclasses import dataclass, field, replace
from typing import Any

from stepbridge.stepfunctions.interpreter import containers, failures, map_runs, simple_states
from stepbridge.stepfunctions.interpreter.data_flow import (
    apply_result_path,
    context_object,
    number,
    select,
)
from stepbridge.stepfunctions.interpreter.execution import Environment, ExecutionContext
from stepbridge.stepfunctions.interpreter.failures import Failure
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.interpreter.state import Branch
from stepbridge.stepfunctions.language.definition import (
    Choice,
    Fail,
    Map,
    Parallel,
    Pass,
    RetryableState,
    State,
    Task,
    Wait,
)
from stepbridge.stepfunctions.language.evaluation import EvaluationError, Scope
from stepbridge.stepfunctions.language.resources import TASK_TOKEN, Integration
from stepbridge.stepfunctions.language.templates import Template
from stepbridge.stepfunctions.language.values import to_text

SUCCEEDED, FAILED, RETRIABLE, CAUGHT = "SUCCEEDED", "FAILED", "RETRIABLE", "CAUGHT_ERROR"


@dataclass(slots=True)
class Outcome:
    """What TestState answers: the members of its output, `inspection` those of InspectionData.

    The data in `inspection` are JSON text, as in the API.
    """

    status: str
    output: Json = None
    has_output: bool = False
    error: str | None = None
    cause: str | None = None
    next_state: str | None = None
    inspection: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class StateTest:
    """The test of one state.

    `variables` are the workflow variables that the test gives, `context_override` the context object that it gives in
    place of the state's own, `retries` how often the retrier that takes the failure has retried before.
    """

    state: State
    execution: ExecutionContext
    input: Json
    environment: Environment
    variables: dict[str, Json] = field(default_factory=dict)
    context_override: Json = None
    retries: int = 0
    inspection: dict[str, Any] = field(default_factory=dict)
    parameters: Json = None
    item_count: int | None = None  # of a Map, where it is known what its ItemReader reads
    tolerance: tuple[int | None, float | None] = (None, None)

    def begin(self, reader_data: str | None = None) -> Outcome | None:
        """Run the state until it ends, or until its result is needed: then the answer is None.

        After that `parameters` are those of a Task's call.  `reader_data` is what a Map's ItemReader would read.
        """
        self.inspection["input"] = to_text(self.input)
        try:
            return self._begin(reader_data)
        except EvaluationError as problem:
            return self.fail(Failure(problem.error, problem.cause))

    def succeed(self, result: Json, failed_iterations: int | None = None) -> Outcome:
        """End the test of a Task, Parallel or Map with its result.

        `failed_iterations` of a Map's iterations are to count as failed.
        """
        if failed_iterations is not None and self._exceeds(failed_iterations):
            return self.fail(Failure(map_runs.EXCEEDED, map_runs.EXCEEDED_CAUSE))
        try:
            return self._succeed(result)
        except EvaluationError as problem:
            return self.fail(Failure(problem.error, problem.cause))

    def fail(self, failure: Failure) -> Outcome:
        """End the test with a failure."""
        state = self.state
        if not isinstance(state, RetryableState) or failure.fatal:
            return self._failed(FAILED, failure)
        retrier = failures.find_retrier(state.retry, [self.retries] * len(state.retry), failure)
        if retrier is not None:
            seconds = failures.delay(state.retry[retrier], self.retries, self.environment.random)
            self.inspection["errorDetails"] = {
                "retryIndex": retrier,
                "retryBackoffIntervalSeconds": int(seconds),
            }
            return self._failed(RETRIABLE, failure)
        index = failures.find_catcher(state.catch, failure)
        if index is None:
            return self._failed(FAILED, failure)
        catcher = state.catch[index]
        try:
            if state.is_jsonata:
                scope = self._scope(self.input, errorOutput=failure.output())
                output = catcher.output.evaluate(scope) if catcher.output is not None else failure.output()
            else:
                scope = self._scope(failure.output())
                output = apply_result_path(catcher.result_path, self.input, failure.output())
            self._assign(catcher.assign, scope)
        except EvaluationError as problem:
            return self._failed(FAILED, Failure(problem.error, problem.cause))
        self.inspection["errorDetails"] = {"catchIndex": index}
        outcome = self._failed(CAUGHT, failure)
        outcome.output, outcome.has_output, outcome.next_state = output, True, catcher.next
        return outcome

    # --- The stages ---------------------------------------------------------------------------------------------------

    def _scope(self, value: Json, **states: Json) -> Scope:
        branch = Branch(1, None, 0, self.state.name, self.input, 0, entered_time=self.environment.now)
        branch.retries = [self.retries]
        token = None
        if isinstance(self.state, Task):
            resource = self.state.resource
            if isinstance(resource, Integration) and resource.pattern == TASK_TOKEN:
                token = self.environment.new_task_token(1)

        def context() -> Json:
            if self.context_override is not None:
                return self.context_override
            return context_object(self.execution, self.input, branch, self.state, token)

        known = {"input": self.input, **states}
        return Scope(value, context, self.variables, self.environment.random.random, known, self.environment.now)

    def _inspect(self, name: str, value: Json) -> None:
        self.inspection[name] = to_text(value)

    def _effective_input(self) -> Json:
        if self.state.is_jsonata:
            return self.input
        value = select(self.state.input_path, self._scope(self.input))
        if not (isinstance(self.state, Pass) and self.state.has_result):
            self._inspect("afterInputPath", value)
        return value

    def _begin(self, reader_data: str | None) -> Outcome | None:
        state = self.state
        value = self._effective_input()
        scope = self._scope(value)
        if isinstance(state, Pass):
            return self._pass(state, value, scope)
        if isinstance(state, Fail):
            error, cause = simple_states.fail_texts(state, scope)
            return self._failed(FAILED, Failure(error, cause))
        if isinstance(state, Choice):
            rule = simple_states.find_rule(state, scope)
            return self._ended(self._output(rule.output, value), rule.next, rule.assign, scope)
        if isinstance(state, Map):
            self._begin_map(state, scope, reader_data)
            return None
        if isinstance(state, Task | Parallel):
            self.parameters = value
            if state.arguments is not None:
                self.parameters = state.arguments.evaluate(scope)
            if isinstance(state, Task):
                for name, seconds in (("TimeoutSeconds", state.timeout), ("HeartbeatSeconds", state.heartbeat)):
                    number(name, seconds, scope)
                self.environment.check_parameters(state.resource, self.parameters)
            if not state.is_jsonata:
                self._inspect("afterParameters", self.parameters)
            elif isinstance(state, Task) and state.arguments is not None:
                self._inspect("afterArguments", self.parameters)
            return None
        if isinstance(state, Wait):
            simple_states.wait_seconds(state, scope, self.environment.now)
        return self._ended(self._output(state.output, value), state.next, state.assign, scope)

    def _pass(self, state: Pass, value: Json, scope: Scope) -> Outcome:
        if state.is_jsonata:
            return self._ended(self._output(state.output, value), state.next, state.assign, scope)
        if state.has_result:
            value = state.result
            self._inspect("result", value)
        else:
            if state.arguments is not None:
                value = state.arguments.evaluate(scope)
            self._inspect("afterParameters", value)
        self._inspect("afterResultSelector", value)
        combined = apply_result_path(state.result_path, self.input, value)
        self._inspect("afterResultPath", combined)
        output = select(state.output_path, self._scope(combined))
        return self._ended(output, state.next, state.assign, self._scope(value))

    def _begin_map(self, state: Map, scope: Scope, reader_data: str | None) -> None:
        items = self._items(state, scope, reader_data)
        if state.item_reader is None or reader_data is not None:
            self.item_count = len(items)
        concurrency = number("MaxConcurrency", state.max_concurrency, scope) or 0
        self.inspection["maxConcurrency"] = concurrency
        self.tolerance = containers.find_tolerance(state, scope)
        plan = map_runs.make_plan(state, scope, None, concurrency, self.tolerance)
        chance = self.environment.random.random
        if state.item_selector is not None:
            unbatched = replace(state, item_batcher=None)
            self._inspect("afterItemSelector", map_runs.child_inputs(unbatched, plan, items, chance))
        if state.item_batcher is not None:
            self._inspect("afterItemBatcher", map_runs.child_inputs(state, plan, items, chance))
        if self.tolerance[0] is not None:
            self.inspection["toleratedFailureCount"] = self.tolerance[0]
        if self.tolerance[1] is not None:
            self.inspection["toleratedFailurePercentage"] = float(self.tolerance[1])

    def _items(self, state: Map, scope: Scope, reader_data: str | None) -> list[map_runs.Item]:
        if state.item_reader is None:
            items = containers.find_items(state, scope)
            if not state.is_jsonata:
                self._inspect("afterItemsPath", items)
            return [map_runs.Item(item) for item in items]
        if reader_data is None:
            return []
        reader = map_runs.make_plan(state, scope, None, 0, (None, None))["ItemReader"]
        items = map_runs.read_items(reader["ReaderConfig"], reader_data.encode())
        if "ItemsPointer" in reader["ReaderConfig"]:
            self._inspect("afterItemsPointer", items)
        parameters = reader["Parameters"]
        return map_runs.Item.all(items, parameters.get("Bucket", ""), parameters.get("Key"))

    def _exceeds(self, failed: int) -> bool:
        count, percentage = self.tolerance
        over_count = count is not None and failed > count
        over_percentage = percentage is not None and self.item_count and failed * 100 > percentage * self.item_count
        return bool(over_count or over_percentage)

    def _output(self, output: Any, value: Json) -> Json:
        state = self.state
        if state.is_jsonata:
            return output.evaluate(self._scope(self.input)) if output is not None else self.input
        return select(state.output_path, self._scope(value))

    def _succeed(self, result: Json) -> Outcome:
        state = self.state
        assert isinstance(state, RetryableState)  # noqa: S101 (only they have results)
        if state.is_jsonata:
            if isinstance(state, Task):
                self._inspect("result", result)
            scope = self._scope(self.input, result=result)
            output = state.output.evaluate(scope) if state.output is not None else result
            return self._ended(output, state.next, state.assign, scope)
        self._inspect("result", result)
        if state.result_selector is not None:
            result = state.result_selector.evaluate(self._scope(result))
        self._inspect("afterResultSelector", result)
        combined = apply_result_path(state.result_path, self.input, result)
        self._inspect("afterResultPath", combined)
        output = select(state.output_path, self._scope(combined))
        return self._ended(output, state.next, state.assign, self._scope(result))

    def _assign(self, assign: Template | None, scope: Scope) -> None:
        assigned = assign.evaluate(scope) if assign is not None else {}
        if variables := {**self.variables, **assigned}:
            self._inspect("variables", variables)

    def _ended(self, output: Json, next_state: str | None, assign: Template | None, scope: Scope) -> Outcome:
        self._assign(assign, scope)
        return Outcome(SUCCEEDED, output, True, next_state=next_state, inspection=self.inspection)

    def _failed(self, status: str, failure: Failure) -> Outcome:
        return Outcome(status, error=failure.error, cause=failure.cause, inspection=self.inspection)
