"""Runs executions: feeds the interpreter events, writes what comes out, and does what it asks.

One step of an execution is: load its state (or have it still from the step before), let the interpreter take it one
event further, write history, state, tasks and timers.  All of it happens in one turn of the event loop, so the events
of an execution are applied one at a time and in order, and what belongs together is committed together.  Calls of
tasks are made after that commit.
"""

import asyncio
import json
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from stepbridge.clock import Clock
from stepbridge.stepfunctions import interpreter
from stepbridge.stepfunctions.interpreter import Environment, ExecutionContext, ExecutionState, Step
from stepbridge.stepfunctions.interpreter.messages import (
    ActivityStarted,
    CancelMapRun,
    CancelTask,
    CancelTimer,
    Event,
    ExecutionStopped,
    FinishExecution,
    HistoryEvent,
    InvokeTask,
    RedriveMapRun,
    StartMapRun,
    StartTimer,
    TaskFailed,
    TaskHeartbeat,
    TaskSubmitted,
    TaskSucceeded,
    TimerFired,
    TurnCame,
)
from stepbridge.stepfunctions.language import resources
from stepbridge.stepfunctions.language.values import to_text
from stepbridge.stepfunctions.service import hops
from stepbridge.stepfunctions.service.activities import Activities
from stepbridge.stepfunctions.service.execution_logs import ExecutionLogs
from stepbridge.stepfunctions.service.history import History
from stepbridge.stepfunctions.service.integrations import TaskCall, TaskError, TaskIntegrations, parameters
from stepbridge.stepfunctions.service.machines import Machines
from stepbridge.stepfunctions.service.timers import Timers
from stepbridge.stepfunctions.service.tokens import Sealer
from stepbridge.store import Store
from stepbridge.trace import Trace

# The states that are kept from one step to the next, as the next often follows at once: the last ones, if small.
_STATES_KEPT = 256
_MAXIMUM_KEPT_CHARACTERS = 16_384


@dataclass(frozen=True, slots=True)
class ExecutionFacts:
    """What of an execution stays as it is: the keys of its definition, and whether a task or map run waits for it."""

    revision: int
    map_state: str | None
    arn: str
    machine: str
    is_child: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """An execution has ended.  `is_child` tells whether a task or a map run waits for that."""

    execution: int
    arn: str
    machine: str
    is_child: bool
    is_express: bool
    outcome: FinishExecution


class MapRunStarter(Protocol):
    """Runs distributed Maps: see `map_runs.py`."""

    def add(self, execution: int, command: StartMapRun) -> None: ...
    def redrive(self, execution: int, number: int) -> None: ...
    def cancel(self, execution: int, number: int) -> None: ...
    def unfinished(self) -> list[str]: ...
    async def go_on(self, arn: str) -> None: ...


class ExecutionRunner:
    """Runs the executions of one emulator.

    `listeners` hear of each execution that has ended, and `cancelled` of each task (by the execution's row id and its
    own) that nobody waits for any more, in the turn of the event loop in which that is written: what they write is
    committed with it.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        trace: Trace,
        machines: Machines,
        history: History,
        activities: Activities,
        sealer: Sealer,
        integrations: TaskIntegrations,
    ) -> None:
        self._store = store
        self._clock = clock
        self._trace = trace
        self._machines = machines
        self._history = history
        self._activities = activities
        self._sealer = sealer
        self._integrations = integrations
        self._logs = ExecutionLogs(integrations.calls, clock, trace)
        self._timers = Timers(store, clock, lambda execution, timer: self.deliver(execution, TimerFired(timer)))
        self._random = random.Random()  # noqa: S311 - for jitter and States.MathRandom, not for secrets
        self._inbox: deque[tuple[int, Event]] = deque()
        self._delivering = False
        self._states: OrderedDict[int, tuple[ExecutionFacts, ExecutionState]] = OrderedDict()
        self._rollbacks = 0
        self._to_call: list[tuple[int, int]] = []
        self._map_runs_to_go_on: set[str] = set()
        self._turns: set[int] = set()
        self._calling: set[asyncio.Task[None]] = set()
        self.map_runs: MapRunStarter
        self.listeners: list[Callable[[Finished], object]] = []
        self.cancelled: list[Callable[[int, int], object]] = []
        self.status_listeners: list[Callable[[int], object]] = []

    def open(self) -> None:
        """Go on with what a stopped or killed emulator left; timers that are late fire.

        A call that was under way is made again, as nobody can tell any more how it would have ended, and with the
        same task token, by which its receiver can tell that it has seen the task.  AWS has no such moment to copy;
        the other choice, to fail the task, would end executions that a stop must not harm.  A call whose return was
        committed is never made again, and what it returned is committed with all that follows from it.
        """
        for row in self._store.query(
            "SELECT execution, task, answer FROM tasks WHERE activity IS NULL AND call IS NOT NULL"
        ):
            if row["answer"] is not None:
                self._give_answer(row["execution"], row["task"], json.loads(row["answer"]))
            else:
                self._call_after_commit(row["execution"], row["task"])
        for row in self._store.query("SELECT execution FROM execution_states WHERE ready"):
            self._turn_after_commit(row["execution"])
        for arn in self.map_runs.unfinished():
            self.go_on_after_commit(arn)
        self._timers.open()

    async def close(self) -> None:
        """Stop where we are; `open` goes on from there."""
        self._timers.close()
        calling = list(self._calling)
        for call in calling:
            call.cancel()
        await asyncio.gather(*calling, return_exceptions=True)
        await self._logs.close()

    def start(
        self,
        execution: int,
        revision: int,
        context: ExecutionContext,
        input_text: str,
        *,
        map_state: str | None = None,
        is_child: bool = False,
    ) -> None:
        """Begin the execution with row id `execution`: of a revision, or of the children of a Map state in it."""
        definition = self._machines.definition(revision, map_state)
        step = interpreter.start(definition, context, input_text, self._environment(execution))
        self.tell_status(execution)
        facts = ExecutionFacts(revision, map_state, context.execution_arn, context.state_machine_arn, is_child)
        self._write(execution, facts, step)

    def deliver(self, execution: int, event: Event) -> None:
        """Take an execution one event further.  An execution that has ended ignores it."""
        self._inbox.append((execution, event))
        if self._delivering:  # a step made another execution go on; one after the other
            return
        self._delivering = True
        try:
            while self._inbox:
                self._step(*self._inbox.popleft())
        finally:
            self._delivering = False

    def begin_activity(self, execution: int, event: ActivityStarted) -> None:
        """A worker takes the task of an activity."""
        self._store.execute("UPDATE tasks SET call = NULL WHERE execution = ? AND task = ?", (execution, event.task_id))
        self.deliver(execution, event)

    def answer(self, execution: int, task: int, answer: dict[str, Any]) -> bool:
        """Give the token of a task back, with `output`, or with `error` and `cause`; whether it still counted."""
        return self.complete(execution, task, answer, only_with_token=True)

    def complete(self, execution: int, task: int, answer: dict[str, Any], *, only_with_token: bool = False) -> bool:
        """End a task that waits, with `output`, or with `error` and `cause`; whether it still waited.

        A worker may be quicker than the call that gave it the token: then the answer waits for the call to return, as
        a task succeeds only after it has been submitted.
        """
        row = self._store.query_one(
            "SELECT call IS NOT NULL AS calling, answer, has_token FROM tasks WHERE execution = ? AND task = ?",
            (execution, task),
        )
        if row is None or row["answer"] is not None or (only_with_token and not row["has_token"]):
            return False
        if row["calling"]:
            self._store.execute(
                "UPDATE tasks SET answer = ? WHERE execution = ? AND task = ?", (json.dumps(answer), execution, task)
            )
        else:
            self._give_answer(execution, task, answer)
        return True

    def heartbeat(self, execution: int, task: int) -> bool:
        """The holder of a task's token is alive; whether the token still counted."""
        row = self._store.query_one(
            "SELECT 1 FROM tasks WHERE execution = ? AND task = ? AND has_token AND answer IS NULL", (execution, task)
        )
        if row is not None:
            self.deliver(execution, TaskHeartbeat(task))
        return row is not None

    def tell_status(self, execution: int) -> None:
        """The status of an execution has changed."""
        for listener in self.status_listeners:
            listener(execution)

    def _give_answer(self, execution: int, task: int, answer: dict[str, Any]) -> None:
        if "output" in answer:
            self.deliver(execution, TaskSucceeded(task, answer["output"]))
        else:
            self.deliver(execution, TaskFailed(task, answer["error"], answer["cause"]))

    def _environment(self, execution: int) -> Environment:
        return Environment(
            now=self._clock.now(),
            random=self._random,
            new_task_token=lambda task: self._sealer.task_token(execution, task),
            activity_exists=self._activities.exists,
            parameter_problems=parameters.problems,
            wait_time_scale=self._integrations.wait_time_scale,
        )

    def _step(self, execution: int, event: Event) -> None:
        found = self._take_state(execution)
        if found is None:
            return
        facts, state = found
        definition = self._machines.definition(facts.revision, facts.map_state)
        environment = self._environment(execution)
        match event:
            case TaskSucceeded(task_id=task) | TaskFailed(task_id=task):
                self._forget_task(execution, task)
        try:
            step = interpreter.apply(definition, state, event, environment)
            entered = any(entry.type.endswith("StateEntered") for entry in step.history)
            if entered and facts.machine in self._machines.deleting and not _has_ended(step):
                # "On the next state transition, the state machine's executions are terminated": API_DeleteStateMachine
                stopped = interpreter.apply(definition, step.state, ExecutionStopped(None, None), environment)
                step = Step(stopped.state, [*step.history, *stopped.history], [*step.commands, *stopped.commands])
        except Exception as error:  # a fault of the interpreter must not leave an execution hanging
            self._fail(execution, facts, event, error)
            return
        self._write(execution, facts, step)

    def _take_state(self, execution: int) -> tuple[ExecutionFacts, ExecutionState] | None:
        if self._rollbacks != self._store.rollbacks:  # then those in memory may be ahead of those in the file
            self._rollbacks = self._store.rollbacks
            self._states.clear()
        kept = self._states.pop(execution, None)
        if kept is not None:
            return kept
        row = self._store.query_one(
            "SELECT e.revision, e.map_state, e.arn, e.machine, coalesce(e.parent, e.map_run) IS NOT NULL AS is_child,"
            " s.state FROM execution_states s JOIN executions e ON e.id = s.execution WHERE s.execution = ?",
            (execution,),
        )
        if row is None:
            return None
        *columns, state = row
        return ExecutionFacts(*columns), ExecutionState.load(state)

    def _keep_state(self, execution: int, facts: ExecutionFacts, state: ExecutionState, characters: int) -> None:
        if characters <= _MAXIMUM_KEPT_CHARACTERS:
            self._states[execution] = facts, state
            if len(self._states) > _STATES_KEPT:
                self._states.popitem(last=False)

    def _write(self, execution: int, facts: ExecutionFacts, step: Step) -> None:
        self._history.append(execution, step.history)
        logging = self._machines.logging(facts.revision)
        self._logs.write(logging, facts.machine, step.state.context, step.history)
        finish: FinishExecution | None = None
        for command in step.commands:
            match command:
                case InvokeTask():
                    self._add_task(execution, command)
                case CancelTask(task_id=task):
                    self._forget_task(execution, task)
                    for hear in self.cancelled:
                        hear(execution, task)
                case StartTimer(timer_id=timer, at=at):
                    self._timers.add(execution, timer, at)
                case CancelTimer(timer_id=timer):
                    self._timers.cancel(execution, timer)
                case StartMapRun():
                    self.map_runs.add(execution, command)
                    self.go_on_after_commit(command.map_run_arn)
                case RedriveMapRun(map_run_id=number):
                    self.map_runs.redrive(execution, number)
                case CancelMapRun(map_run_id=number):
                    self.map_runs.cancel(execution, number)
                case FinishExecution():
                    finish = command
        if finish is None or step.state.branches:  # these are what is left for a redrive
            ready, text = bool(step.state.ready), step.state.dump()
            self._store.execute(
                "INSERT OR REPLACE INTO execution_states (execution, state, ready) VALUES (?, ?, ?)",
                (execution, text, ready),
            )
            self._keep_state(execution, facts, step.state, len(text))
            if ready:
                self._turn_after_commit(execution)
        else:
            self._store.execute("DELETE FROM execution_states WHERE execution = ?", (execution,))
        if finish is not None:
            self._finish(execution, facts, finish, is_express=step.state.context.express)
        hops.tell(self._trace, facts.arn, step.history)

    def _finish(self, execution: int, facts: ExecutionFacts, finish: FinishExecution, *, is_express: bool) -> None:
        output = None
        if finish.status == "SUCCEEDED":
            output = to_text(finish.output)
        self._store.execute(
            "UPDATE executions SET status = ?, output = ?, error = ?, cause = ?, stopped = ? WHERE id = ?",
            (finish.status, output, finish.error, finish.cause, self._clock.now(), execution),
        )
        self.tell_status(execution)
        if facts.machine in self._machines.deleting:
            self._machines.finish_deleting(facts.machine)
        finished = Finished(execution, facts.arn, facts.machine, facts.is_child, is_express, finish)
        for listener in self.listeners:
            listener(finished)

    def _fail(self, execution: int, facts: ExecutionFacts, event: Event, error: Exception) -> None:
        cause = f"Internal error of stepbridge at {type(event).__name__}: {type(error).__name__}: {error}"
        last = self._history.last_event(execution)
        number = last["id"] if last is not None else 0
        details = {"error": "States.Runtime", "cause": cause}
        failed = HistoryEvent(
            number + 1, number, "ExecutionFailed", self._clock.now(), "executionFailedEventDetails", details
        )
        self._history.append(execution, [failed])
        self._store.execute("DELETE FROM execution_states WHERE execution = ?", (execution,))
        self._store.execute("DELETE FROM tasks WHERE execution = ?", (execution,))
        self._timers.cancel_all(execution)
        row = self._store.query("SELECT express FROM executions WHERE id = ?", (execution,))[0]
        finish = FinishExecution("FAILED", None, "States.Runtime", cause)
        self._finish(execution, facts, finish, is_express=bool(row["express"]))
        hops.tell(self._trace, facts.arn, [failed])

    def _add_task(self, execution: int, command: InvokeTask) -> None:
        is_activity = isinstance(resources.parse(command.resource), resources.Activity)
        self._store.execute(
            "INSERT INTO tasks (execution, task, resource, activity, state_name, has_token, call, retry)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                execution,
                command.task_id,
                command.resource,
                command.resource if is_activity else None,
                command.state_name,
                is_activity or command.token is not None,
                to_text(command.parameters),
                command.retry,
            ),
        )
        self._call_after_commit(execution, command.task_id)

    def _forget_task(self, execution: int, task: int) -> None:
        self._store.execute("DELETE FROM tasks WHERE execution = ? AND task = ?", (execution, task))

    def _call_after_commit(self, execution: int, task: int) -> None:
        self._to_call.append((execution, task))
        if len(self._to_call) == 1:
            self._run(self._make_calls())

    def go_on_after_commit(self, map_run: str) -> None:
        """Let a map run, by its ARN, go on; once however often it is asked for in one turn of the event loop."""
        if map_run not in self._map_runs_to_go_on:
            self._map_runs_to_go_on.add(map_run)
            self._run(self._go_on(map_run))

    def _turn_after_commit(self, execution: int) -> None:
        """Let an execution whose step was cut short go on, after all others have had their turns."""
        if execution not in self._turns:
            self._turns.add(execution)
            self._run(self._turn(execution))

    async def _turn(self, execution: int) -> None:
        await self._store.committed()
        self._turns.discard(execution)
        self.deliver(execution, TurnCame())

    async def _go_on(self, map_run: str) -> None:
        await self._store.committed()
        self._map_runs_to_go_on.discard(map_run)
        await self.map_runs.go_on(map_run)

    async def _make_calls(self) -> None:
        await self._store.committed()
        to_call, self._to_call = self._to_call, []
        for execution, task in to_call:
            # Read again: the task may be over by now, and what was not committed is not called.
            row = self._store.query_one(
                "SELECT t.resource, t.activity, t.state_name, t.call, t.retry, e.arn, r.role"
                " FROM tasks t JOIN executions e ON e.id = t.execution"
                " JOIN state_machine_revisions r ON r.id = e.revision WHERE t.execution = ? AND t.task = ?",
                (execution, task),
            )
            if row is None:
                continue
            if row["activity"] is not None:
                self._activities.offer(row["activity"])
                continue
            resource = resources.parse(row["resource"])
            call = TaskCall(
                resource=resource,
                parameters=json.loads(row["call"]),
                execution=execution,
                execution_arn=row["arn"],
                task=task,
                state_name=row["state_name"],
                time=self._clock.now(),
                retry=row["retry"],
                authorize=self._integrations.authorizer(row["role"], row["arn"]),
            )
            self._run(self._call(call))

    async def _call(self, call: TaskCall) -> None:
        execution, task = call.execution, call.task
        event: Event
        try:
            integration = self._integrations.for_call(call)
            if integration is None:
                raise TaskError("States.Runtime", f"stepbridge has no integration for {call.resource.arn}")
            output = await integration(call)
            waits = isinstance(call.resource, resources.Integration) and call.resource.pattern is not None
            if waits and self._integrations.is_mocked(call):
                self.complete(execution, task, {"output": output})
            event = TaskSubmitted(task, output) if waits else TaskSucceeded(task, output)
        except TaskError as error:
            event = TaskFailed(task, error.error, error.cause)
        except RecursionError:
            event = TaskFailed(task, "States.Runtime", "The result of the task is nested too deeply to be read.")
        except Exception as error:  # a fault of ours must not leave the task hanging
            cause = f"Internal error of stepbridge: {type(error).__name__}: {error}"
            event = TaskFailed(task, "States.TaskFailed", cause)
        if not isinstance(event, TaskSubmitted):
            self.deliver(execution, event)
            return
        row = self._store.execute_returning(
            "UPDATE tasks SET call = NULL WHERE execution = ? AND task = ? RETURNING answer", (execution, task)
        )
        self.deliver(execution, event)
        if row is not None and row["answer"] is not None:
            self._give_answer(execution, task, json.loads(row["answer"]))

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._calling.add(task)
        task.add_done_callback(self._calling.discard)


def _has_ended(step: Step) -> bool:
    return any(isinstance(command, FinishExecution) for command in step.commands)
