"""Runs a state machine as a pure reducer: (execution state, event) → (new state, history, commands).

`start` begins an execution, `apply` takes it one event further; both run on through every state that needs nothing
from outside, until all branches wait, the execution has ended, or the step has become so long that others are to have
their turns.  Nothing here reads a clock, waits or calls anything.

    start(definition, context, input_text, environment) -> Step
    apply(definition, state, event, environment) -> Step

`ExecutionState.dump()` and `ExecutionState.load(text)` make a waiting execution a row of JSON.
"""

from stepbridge.stepfunctions.interpreter.execution import Environment, ExecutionContext, Step
from stepbridge.stepfunctions.interpreter.reducer import apply, start
from stepbridge.stepfunctions.interpreter.state import ExecutionState

__all__ = ["Environment", "ExecutionContext", "ExecutionState", "Step", "apply", "start"]
