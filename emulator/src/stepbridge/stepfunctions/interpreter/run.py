"""One step of an execution while it is made: the working copy of its state, and what the step brings about.

This is the core that all kinds of states share: writing history, entering and leaving states, failing, retrying and
catching, ending.  What the kinds do in between is in `simple_states.py`, `tasks.py` and `containers.py`.

`previousEventId`: a branch remembers the id of its last event.  Some events do not become that last event (…Succeeded
of a container, MapIterationFailed, TaskStateAborted): the event after them has the same previous event as they have.
"""

from collections import deque
from collections.abc import Callable
from copy import copy
from typing import Any

from stepbridge.stepfunctions.interpreter import failures
from stepbridge.stepfunctions.interpreter.data_flow import apply_result_path, make_scope, select
from stepbridge.stepfunctions.interpreter.execution import Environment, Step
from stepbridge.stepfunctions.interpreter.failures import Failure
from stepbridge.stepfunctions.interpreter.messages import (
    CancelMapRun,
    CancelTask,
    CancelTimer,
    Command,
    FinishExecution,
    HistoryEvent,
    Json,
    StartTimer,
)
from stepbridge.stepfunctions.interpreter.state import (
    Branch,
    ExecutionState,
    OnBranches,
    OnMapRun,
    OnTask,
    OnTimer,
)
from stepbridge.stepfunctions.language.definition import Definition, Map, Parallel, RetryableState, State, Task, Wait
from stepbridge.stepfunctions.language.evaluation import QUERY_EVALUATION_ERROR, RUNTIME, EvaluationError, Scope
from stepbridge.stepfunctions.language.templates import Template
from stepbridge.stepfunctions.language.values import MAXIMUM_DEPTH, to_text, too_deep, too_large

MAXIMUM_EVENTS = 25_000
_MAXIMUM_VARIABLES = 10 * 1024 * 1024  # all of an execution; 256 KiB those of one Assign: dg/workflow-variables.html
_LONGEST_EXPRESS_SECONDS = 300  # https://docs.aws.amazon.com/step-functions/latest/dg/choosing-workflow-type.html
# Where a step ends if it has not before: others are to have their turns, and what is written is to be of a size.
_LONG_STEP_EVENTS = 250
_LONG_STEP_CHARACTERS = 1_000_000
NOT_TRUNCATED = {"truncated": False}


class _HistoryFullError(Exception):
    """There is room for one more event only: the one that ends the execution."""


class Run:
    """A step in the making.

    `agenda` holds the branches that can go on now, `at_end` what is to be done when the step is otherwise over.
    `_kept` are branches that failed or were cut off in this step, by the branch whose Parallel or Map they belonged
    to, with what that waited for.
    """

    def __init__(self, definition: Definition, state: ExecutionState, environment: Environment) -> None:
        self.definition = definition
        self.state = state
        self.environment = environment
        self.history: list[HistoryEvent] = []
        self.commands: list[Command] = []
        self.agenda = deque(state.branches[number] for number in state.ready)
        self.at_end: list[Callable[[], None]] = []
        self._characters = 0
        self._kept: dict[int, tuple[OnBranches | OnMapRun, list[Branch]]] = {}

    def step(self, begin: Callable[["Run"], None]) -> Step:
        """Do what `begin` does and run on, until every branch waits, the execution has ended or the step is long."""
        try:
            begin(self)
            while self.agenda and not self._is_long():
                self.guarded(self.agenda.popleft(), Run._go_on)
            for work in self.at_end:
                work()
        except _HistoryFullError:
            cause = f"The execution reached the maximum number of history events ({MAXIMUM_EVENTS})."
            self._end_failed(self.state.last_event, Failure(RUNTIME, cause))
        self.state.ready = [branch.id for branch in self.agenda]
        return Step(self.state, self.history, self.commands)

    def _is_long(self) -> bool:
        return len(self.history) >= _LONG_STEP_EVENTS or self._characters >= _LONG_STEP_CHARACTERS

    def _go_on(self, branch: Branch) -> None:
        from stepbridge.stepfunctions.interpreter.kinds import EXECUTE

        if branch.entered:
            EXECUTE[self.definition_of(branch).type](self, branch)
        else:
            self.enter(branch, branch.state, branch.input)

    def guarded(self, branch: Branch, work: Any) -> None:
        """Do `work(run, branch)`; an expression that fails there fails the branch's state."""
        try:
            work(self, branch)
        except EvaluationError as problem:
            self.evaluation_failed(branch, problem)
        except RecursionError:
            self.evaluation_failed(branch, nested_too_deeply())

    # --- Small things -------------------------------------------------------------------------------------------------

    def new_id(self) -> int:
        self.state.last_id += 1
        return self.state.last_id

    def definition_of(self, branch: Branch) -> State:
        return self.definition.states[branch.state]

    def scope(self, branch: Branch, value: Json, **more: Any) -> Scope:
        """The scope of the branch's state, with `value` as `$`."""
        return make_scope(self.state, branch, self.definition_of(branch), value, self.environment, **more)

    def effective_input(self, branch: Branch) -> Json:
        """The state's input after InputPath."""
        definition = self.definition_of(branch)
        return (
            branch.input if definition.is_jsonata else select(definition.input_path, self.scope(branch, branch.input))
        )

    def start_timer(self, seconds: float) -> int:
        timer_id = self.new_id()
        self.commands.append(StartTimer(timer_id, self.environment.now + seconds))
        return timer_id

    def start_deadline(self) -> None:
        """The state machine's own TimeoutSeconds begin, and the time that an Express execution has at most."""
        seconds = self.definition.timeout_seconds
        if self.state.context.express:
            seconds = min(seconds or _LONGEST_EXPRESS_SECONDS, _LONGEST_EXPRESS_SECONDS)
        if seconds is not None:
            self.state.deadline_timer = self.start_timer(seconds)

    def cancel_timer(self, timer_id: int | None) -> None:
        if timer_id is not None:
            self.commands.append(CancelTimer(timer_id))

    def record(self, kind: str, previous: int, member: str | None = None, **details: Any) -> int:
        """Write an event to the history.  `details` that are None are left out."""
        if self.state.last_event >= MAXIMUM_EVENTS - 1 and not self.state.ended:
            raise _HistoryFullError
        self.state.last_event += 1
        number = self.state.last_event
        present = {name: value for name, value in details.items() if value is not None}
        self.history.append(HistoryEvent(number, previous, kind, self.environment.now, member, present))
        for value in present.values():
            if type(value) is str:
                self._characters += len(value)
        return number

    def note(self, branch: Branch, kind: str, member: str | None = None, **details: Any) -> int:
        """Write an event of a branch, which becomes the branch's last."""
        branch.previous = self.record(kind, branch.previous, member, **details)
        return branch.previous

    # --- Entering and leaving a state ---------------------------------------------------------------------------------

    def enter(self, branch: Branch, name: str, value: Json, text: str | None = None) -> None:
        """Move the branch to the state `name`, to run it next.  `text` is the input as JSON, if it is known."""
        definition = self.definition.states[name]
        branch.state, branch.input, branch.retries, branch.waiting = name, value, [], None
        branch.before = branch.previous
        branch.entered_time = self.environment.now
        branch.entered = self.note(
            branch,
            f"{definition.type}StateEntered",
            "stateEnteredEventDetails",
            name=name,
            input=to_text(value) if text is None else text,
            inputDetails=NOT_TRUNCATED,
        )
        self.agenda.append(branch)

    def leave(
        self,
        branch: Branch,
        output: Json,
        next_state: str | None,
        assign: Template | None,
        scope: Scope,
    ) -> None:
        """Leave the branch's state: assign variables, write the exit, go on to `next_state` or end the branch."""
        assigned = assign.evaluate(scope) if assign is not None else None
        text = to_text(output)
        if too_large(text):
            raise too_large_result(branch.state)
        if too_deep(output, text):
            raise nested_too_deeply()
        extra: dict[str, Any] = {}
        if assigned:
            extra["assignedVariables"] = self._texts_of_variables(branch, assigned)
            extra["assignedVariablesDetails"] = NOT_TRUNCATED
        self.note(
            branch,
            f"{self.definition_of(branch).type}StateExited",
            "stateExitedEventDetails",
            name=branch.state,
            output=text,
            outputDetails=NOT_TRUNCATED,
            **extra,
        )
        if assigned:
            branch.variables = {**branch.variables, **assigned}
        if next_state is not None:
            self.enter(branch, next_state, output, text)
        else:
            self.finish_branch(branch, output, text)

    def _texts_of_variables(self, branch: Branch, assigned: dict[str, Json]) -> dict[str, str]:
        """The JSON of variables that are assigned.  Raises EvaluationError if they are too large or too deep."""
        texts = {name: to_text(value) for name, value in assigned.items()}
        together = "".join(texts.values())
        if any(too_deep(assigned[name], text) for name, text in texts.items()):
            raise nested_too_deeply()
        others = (variables for other in self.state.branches.values() if (variables := other.variables))
        if too_large(together) or len(together) + sum(len(to_text(it)) for it in others) > _MAXIMUM_VARIABLES:
            raise EvaluationError(
                f"The state/task '{branch.state}' assigned variables with a size exceeding the maximum number of bytes "
                "service limit.",
                failures.DATA_LIMIT_EXCEEDED,
            )
        return texts

    def leave_with_result(self, branch: Branch, result: Json) -> None:
        """Leave a state that has a result: ResultSelector, ResultPath and OutputPath, or JSONata's Output."""
        definition = self.definition_of(branch)
        assert isinstance(definition, RetryableState)  # noqa: S101 (only they have results)
        if definition.is_jsonata:
            scope = self.scope(branch, branch.input, result=result)
            output = definition.output.evaluate(scope) if definition.output is not None else result
        else:
            if definition.result_selector is not None:
                result = definition.result_selector.evaluate(self.scope(branch, result))
            scope = self.scope(branch, result)
            combined = apply_result_path(definition.result_path, branch.input, result)
            output = select(definition.output_path, self.scope(branch, combined))
        self.leave(branch, output, definition.next, definition.assign, scope)

    def finish_branch(self, branch: Branch, output: Json, text: str | None = None) -> None:
        """The branch has come to its end."""
        if branch.parent is not None:
            from stepbridge.stepfunctions.interpreter.containers import child_succeeded

            del self.state.branches[branch.id]
            parent = self.state.branches[branch.parent]
            self.guarded(parent, lambda run, _: child_succeeded(run, parent, branch, output))
            return
        self.record(
            "ExecutionSucceeded",
            branch.previous,
            "executionSucceededEventDetails",
            output=to_text(output) if text is None else text,
            outputDetails=NOT_TRUNCATED,
        )
        self._end(FinishExecution("SUCCEEDED", output))

    # --- Failing ------------------------------------------------------------------------------------------------------

    def evaluation_failed(self, branch: Branch, problem: EvaluationError) -> None:
        """An expression of the branch's state could not be evaluated."""
        cause = (
            f"An error occurred while executing the state '{branch.state}' "
            f"(entered at the event id #{branch.entered}). {problem.cause}"
        )
        if problem.error == failures.DATA_LIMIT_EXCEEDED:
            cause = problem.cause
        if problem.error == QUERY_EVALUATION_ERROR:
            # AWS evaluates a state's fields in the same decision that entered it, but for what a Wait waits for.  So it
            # was recorded in November 2024; it has since been seen to let other states too go on from their entry
            # (https://github.com/floci-io/floci/pull/3167).
            at_entry = branch.previous == branch.entered and not isinstance(self.definition_of(branch), Wait)
            branch.previous = self.record(
                "EvaluationFailed",
                branch.before if at_entry else branch.previous,
                "evaluationFailedEventDetails",
                error=problem.error,
                cause=cause,
                location=problem.location,
                state=branch.state,
            )
        self.fail(branch, Failure(problem.error, cause))

    def fail(self, branch: Branch, failure: Failure) -> None:
        """The branch's state has failed: retry it, catch the failure, or let the branch fail."""
        definition = self.definition_of(branch)
        if failure.fatal:
            branch.waiting = None
            self._end_failed(branch.previous, failure)
            return
        for child in self.children(branch):  # a Map whose ItemSelector fails has iterations under way
            self.abort(child, branch.previous)
        branch.waiting = None
        if not isinstance(definition, RetryableState):
            self.fail_branch(branch, failure)
            return
        retrier = failures.find_retrier(definition.retry, branch.retries, failure)
        if retrier is not None:
            if not branch.retries:
                branch.retries = [0] * len(definition.retry)
            seconds = failures.delay(definition.retry[retrier], branch.retries[retrier], self.environment.random)
            branch.retries[retrier] += 1
            self._kept.pop(branch.id, None)
            branch.waiting = OnTimer(self.start_timer(seconds), retry=True)
            return
        before_failed = branch.previous
        if isinstance(definition, Parallel | Map):
            self.note(branch, f"{definition.type}StateFailed")
        index = failures.find_catcher(definition.catch, failure)
        if index is None:
            self.fail_branch(branch, failure)
            return
        try:
            self._catch(branch, definition, index, failure)
            self._kept.pop(branch.id, None)
        except EvaluationError as problem:
            # The failure of a catcher is not caught by its own state again.
            branch.previous = before_failed if isinstance(definition, Parallel | Map) else branch.previous
            self._catcher_failed(branch, definition, problem)

    def _catch(self, branch: Branch, definition: RetryableState, index: int, failure: Failure) -> None:
        catcher = definition.catch[index]
        error_output = failure.output()
        if definition.is_jsonata:
            scope = self.scope(branch, branch.input, errorOutput=error_output)
            output = catcher.output.evaluate(scope) if catcher.output is not None else error_output
        else:
            scope = self.scope(branch, error_output)
            output = apply_result_path(catcher.result_path, branch.input, error_output)
        self.leave(branch, output, catcher.next, catcher.assign, scope)

    def _catcher_failed(self, branch: Branch, definition: RetryableState, problem: EvaluationError) -> None:
        cause = (
            f"An error occurred while executing the state '{branch.state}' "
            f"(entered at the event id #{branch.entered}). {problem.cause}"
        )
        failure = Failure(problem.error, cause)
        if problem.error == QUERY_EVALUATION_ERROR:
            self.note(
                branch,
                "EvaluationFailed",
                "evaluationFailedEventDetails",
                error=problem.error,
                cause=cause,
                location=problem.location,
                state=branch.state,
            )
        if failure.fatal:
            self._end_failed(branch.previous, failure)
            return
        if isinstance(definition, Parallel | Map):
            self.note(branch, f"{definition.type}StateFailed")
        self.fail_branch(branch, failure)

    def fail_branch(self, branch: Branch, failure: Failure) -> None:
        """Nothing in the branch took the failure."""
        if branch.parent is None:
            self._end_failed(branch.previous, failure)
            return
        from stepbridge.stepfunctions.interpreter.containers import child_failed

        child_failed(self, self.state.branches[branch.parent], branch, failure)

    # --- Ending -------------------------------------------------------------------------------------------------------

    def release(self, branch: Branch) -> None:
        """Give up what the branch waits for."""
        match branch.waiting:
            case OnTask(task_id=task_id, timeout_timer=timeout, heartbeat_timer=heartbeat):
                self.cancel_timer(timeout)
                self.cancel_timer(heartbeat)
                self.commands.append(CancelTask(task_id))
            case OnTimer(timer_id=timer_id):
                self.cancel_timer(timer_id)
            case OnMapRun(map_run_id=map_run_id):
                self.commands.append(CancelMapRun(map_run_id))
        branch.waiting = None

    def children(self, branch: Branch) -> list[Branch]:
        """The branches that the branch's Parallel or Map has under way."""
        if not isinstance(branch.waiting, OnBranches):
            return []
        return [child for child in self.state.branches.values() if child.parent == branch.id]

    def abort(self, branch: Branch, previous: int) -> None:
        """Cut a branch off, with all below it, noting the state that it was in."""
        definition = self.definition_of(branch)
        self.keep_for_redrive(branch)
        for child in self.children(branch):
            self.abort(child, previous)
        if isinstance(definition, Task | Wait | Parallel | Map):
            self.record(f"{definition.type}StateAborted", previous)
        self.release(branch)
        self.agenda = deque(other for other in self.agenda if other is not branch)
        del self.state.branches[branch.id]

    def stop(self, error: str | None, cause: str | None) -> None:
        """StopExecution."""
        self.record("ExecutionAborted", 0, "executionAbortedEventDetails", error=error, cause=cause)
        self._end(FinishExecution("ABORTED", None, error, cause))

    def time_out(self) -> None:
        """The state machine's own TimeoutSeconds have passed."""
        self.record("ExecutionTimedOut", 0, "executionTimedOutEventDetails", error=failures.TIMEOUT)
        self._end(FinishExecution("TIMED_OUT"))

    def _end_failed(self, previous: int, failure: Failure) -> None:
        self.state.ended = True
        self.record(
            "ExecutionFailed", previous, "executionFailedEventDetails", error=failure.error, cause=failure.cause
        )
        self._end(FinishExecution("FAILED", None, failure.error, failure.cause))

    def _end(self, finish: FinishExecution) -> None:
        self.state.ended = True
        self.agenda.clear()
        redrivable = finish.status != "SUCCEEDED" and not self.state.context.express
        unsuccessful = self._unsuccessful() if redrivable else {}
        for branch in self.state.branches.values():
            self.release(branch)
        self.state.branches = unsuccessful
        self.cancel_timer(self.state.deadline_timer)
        self.state.deadline_timer = None
        self.commands.append(finish)

    def keep_for_redrive(self, branch: Branch) -> None:
        """The branch's Parallel or Map has failed, or is cut off: remember how far it has come.

        A retry or a catcher begins anew; a redrive goes on from there.
        """
        if isinstance(branch.waiting, OnBranches | OnMapRun):
            self._kept[branch.id] = branch.waiting, self.children(branch)

    def _unsuccessful(self) -> dict[int, Branch]:
        """The branches that are not done, from the execution itself down: what a redrive takes up."""
        found: dict[int, Branch] = {}
        branches = [self.state.branches[min(self.state.branches)]]
        for branch in branches:
            waiting, children = self._kept.get(branch.id) or (branch.waiting, self.children(branch))
            found[branch.id] = twin = copy(branch)
            twin.waiting = waiting if isinstance(waiting, OnBranches | OnMapRun) else None
            branches += children
        return found


def nested_too_deeply() -> EvaluationError:
    """The failure of a state whose data has more levels than AWS's parser reads."""
    return EvaluationError(f"The data is nested more than {MAXIMUM_DEPTH} levels deep.")


def too_large_result(name: str) -> EvaluationError:
    """The failure of a state or task whose result exceeds 256 KiB."""
    return EvaluationError(
        f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit.",
        failures.DATA_LIMIT_EXCEEDED,
    )
