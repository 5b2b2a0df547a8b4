"""What each kind of state does when it is entered."""

from collections.abc import Callable

from stepbridge.stepfunctions.interpreter import containers, simple_states, tasks
from stepbridge.stepfunctions.interpreter.run import Run
from stepbridge.stepfunctions.interpreter.state import Branch

EXECUTE: dict[str, Callable[[Run, Branch], None]] = {
    "Task": tasks.execute_task,
    "Pass": simple_states.execute_pass,
    "Wait": simple_states.execute_wait,
    "Choice": simple_states.execute_choice,
    "Succeed": simple_states.execute_succeed,
    "Fail": simple_states.execute_fail,
    "Parallel": containers.execute_parallel,
    "Map": containers.execute_map,
}
