"""`stepbridge run`."""

import json
import math
import queue
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepbridge.cli.connection import (
    Connection,
    DataDirOption,
    EndpointOption,
    aws_errors,
    find_emulator,
)
from stepbridge.cli.errors import CommandError
from stepbridge.cli.files import read_text
from stepbridge.clock import SystemClock

if TYPE_CHECKING:
    from stepbridge.cli.display import Display
    from stepbridge.trace import Hop

# How long to wait for a hop before asking whether the execution has ended without one.
_QUIET_SECONDS = 1.0


def run(
    execution_input: Annotated[
        str, typer.Option("--input", metavar="JSON", help="The input, as JSON; @FILE reads it from a file.")
    ] = "{}",
    state_machine: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name or ARN of the state machine.  Not needed where there is only one."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the execution.  Default: a random one.")
    ] = None,
    endpoint: EndpointOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Start an execution, follow it hop by hop, print its output.

    The hops go to standard error, the output to standard output.  The exit status is 1 if the execution fails.

    \b
    stepbridge run --input '{"a": 15, "b": 42}'
    stepbridge run --input @job.json --state-machine my-machine | jq .lambdaOutput
    """
    if execution_input.startswith("@"):
        execution_input = read_text(Path(execution_input[1:]), "The input")
    try:
        json.loads(execution_input)
    except ValueError as error:
        raise CommandError(f"The input is not JSON: {error}. Put it in single quotes: --input '{{\"a\": 1}}'") from None
    connection = find_emulator(endpoint, data_dir)
    name = name or str(uuid.uuid4())
    try:
        execution = run_execution(connection, execution_input, state_machine, name)
    except KeyboardInterrupt:
        raise CommandError(f"The execution {name} goes on, not followed any further.") from None
    if execution["status"] == "SUCCEEDED":
        print(json.dumps(json.loads(execution["output"]), ensure_ascii=False))
        return
    raise CommandError(failure(execution))


def failure(execution: Mapping[str, Any]) -> str:
    """What became of an execution that did not succeed, by its DescribeExecution answer."""
    reasons = [f"\n  {key}: {execution[key]}" for key in ("error", "cause") if execution.get(key)]
    return f"The execution {execution['name']} ended {execution['status']}.{''.join(reasons)}"


def run_execution(
    connection: Connection,
    execution_input: str,
    state_machine: str | None = None,
    name: str | None = None,
    timeout: float = math.inf,
) -> dict[str, Any]:
    """Start an execution and follow it on standard error; what DescribeExecution says of it at its end.

    Raises CommandError if it cannot be started, or has not ended after `timeout` seconds.
    """
    from stepbridge.cli.display import Display
    from stepbridge.cli.hops import follow

    display = Display(sys.stderr)
    stepfunctions = connection.client("stepfunctions")
    name = name or str(uuid.uuid4())
    with aws_errors("Starting the execution"):
        machine = _state_machine_arn(stepfunctions, connection, state_machine)
    execution = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
    with follow(connection, execution) as hops:
        with aws_errors("Starting the execution"):
            started = stepfunctions.start_execution(stateMachineArn=machine, name=name, input=execution_input)
        with aws_errors(f"Following the execution {name}, which has been started,"):
            follower = _Follower(hops, display, started["startDate"].timestamp())
            clock = SystemClock()
            deadline = clock.now() + timeout
            description: dict[str, Any] = {"status": "RUNNING"}
            while description["status"] == "RUNNING":
                if clock.now() > deadline:
                    raise CommandError(f"The execution {name} has not ended after {timeout:.0f} seconds.")
                if follower.show_next():
                    description = stepfunctions.describe_execution(executionArn=execution)
            while not hops.empty():
                follower.show_next()
    return description


@dataclass(slots=True)
class _Follower:
    """Shows the hops of an execution that began at `start`, and says so when a message has reached nobody."""

    hops: "queue.SimpleQueue[Hop]"
    display: "Display"
    start: float
    _untaken: set[object] = field(default_factory=set)  # topics

    def show_next(self) -> bool:
        """Show a hop when one comes; whether the execution may have ended."""
        try:
            hop = self.hops.get(timeout=_QUIET_SECONDS)
        except queue.Empty:
            for topic in self._untaken:
                text = f"Nobody has taken the message on {topic} so far. Is a worker connected that subscribes to it?"
                self.display.line(text, style="yellow")
            self._untaken.clear()
            return True
        self.display.hop(hop, self.start)
        if hop.event == "publish":
            self._untaken.add(hop.fields.get("topic"))
        elif hop.event in ("deliver", "rule-matched"):
            self._untaken.discard(hop.fields.get("topic"))
        return hop.source == "stepfunctions" and self.hops.empty()


def _state_machine_arn(stepfunctions: Any, connection: Connection, state_machine: str | None) -> str:
    if state_machine is not None:
        if state_machine.startswith("arn:"):
            return state_machine
        return f"arn:aws:states:{connection.region}:{connection.account}:stateMachine:{state_machine}"
    pages = stepfunctions.get_paginator("list_state_machines").paginate()
    machines = [machine for page in pages for machine in page["stateMachines"]]
    if not machines:
        raise CommandError("There is no state machine: deploy one with 'stepbridge deploy aws-resources'.")
    if len(machines) > 1:
        names = ", ".join(machine["name"] for machine in machines)
        raise CommandError(f"There are several state machines; name one with --state-machine: {names}.")
    return str(machines[0]["stateMachineArn"])
