"""Step Functions: executions per second and latency, alone and 50 at once; 100,000 that wait; a restart with them.

A callback execution is one `lambda:invoke.waitForTaskToken` task whose function leaves the token in a file: started,
dispatched, its token found and given back with SendTaskSuccess, until DescribeExecution no longer says RUNNING.
"""

import io
import json
import statistics
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3

from benchmarks import systems
from benchmarks.loop import make_role
from benchmarks.table import Table
from benchmarks.wire import Wire
from stepbridge.testing import EmulatorProcess

WAITING = 100_000
AT_ONCE = 50
HANDLER = """
import os

def handler(event, context):
    name = os.path.join({folder!r}, event["Name"])
    with open(name + ".new", "w") as file:
        file.write(event["Token"])
    os.rename(name + ".new", name)
"""

PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}


def callback(function: str) -> dict[str, object]:
    """One task that waits for its token."""
    payload = {"Token.$": "$$.Task.Token", "Name.$": "$$.Execution.Name"}
    parameters = {"FunctionName": function, "Payload": payload}
    resource = "arn:aws:states:::lambda:invoke.waitForTaskToken"
    return {
        "StartAt": "T",
        "States": {"T": {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}},
    }


def main() -> None:
    """Print the figures."""
    columns = ["one Pass, p50 ms", f"Pass/s, {AT_ONCE} at once", "callback, p50 ms", f"callbacks/s, {AT_ONCE} at once"]
    table = Table("executions", columns)
    for start in (systems.stepbridge, systems.moto, systems.ministack):
        with start() as system:
            table.add(system.name, measure(system))
    table.show()
    waiting()


def measure(system: systems.System) -> list[float | None]:
    """The figures of one system; None where it cannot do it."""
    role = make_role(client(system, "iam"))
    wire = system.connect()
    machine = create(wire, "bench-pass", PASS, role)
    figures: list[float | None] = [*run_all(system, lambda own: own.run(machine), 200)]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # functions have a /tmp of their own
        tokens = Path(folder)
        machine = create(wire, "bench-callback", callback(make_function(system, role, tokens)), role)
        run_callback(wire, machine, tokens)  # the environment of the function is warm from here on
        return [*figures, *run_all(system, lambda own: run_callback(own, machine, tokens), 100)]


def client(system: systems.System, service: str) -> Any:
    """A boto3 client."""
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{system.port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def make_function(system: systems.System, role: str, tokens: Path) -> str:
    """A function that leaves the token it gets in the folder `tokens`, under the name of the execution."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", HANDLER.format(folder=str(tokens)))
    functions = client(system, "lambda")
    made = functions.create_function(
        FunctionName="bench-dispatch",
        Runtime="python3.13",
        Handler="app.handler",
        Role=role,
        Code={"ZipFile": archive.getvalue()},
        Timeout=30,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="bench-dispatch")
    return str(made["FunctionArn"])


def create(wire: Wire, name: str, definition: dict[str, object], role: str) -> str:
    """A state machine."""
    members = {"name": name, "definition": json.dumps(definition), "roleArn": role}
    arn: str = wire.call("states", "CreateStateMachine", **members)["stateMachineArn"]
    return arn


def run_callback(wire: Wire, machine: str, tokens: Path) -> None:
    """One callback execution, to its end."""
    name = uuid.uuid4().hex
    started = wire.call("states", "StartExecution", stateMachineArn=machine, name=name, input="{}")
    execution = started["executionArn"]
    token: str = wait_for(lambda: find_token(wire, execution, tokens / name))
    wait_for(lambda: give_back(wire, token))
    wait_for(lambda: wire.call("states", "DescribeExecution", executionArn=execution)["status"] != "RUNNING")


def find_token(wire: Wire, execution: str, file: Path) -> str | None:
    """The token, once there is one: in the history, or where the function has left it.

    ministack's history does not tell parameters, and moto does not run functions without Docker.
    """
    for event in wire.call("states", "GetExecutionHistory", executionArn=execution)["events"]:
        if event["type"] == "TaskScheduled" and (text := event["taskScheduledEventDetails"].get("parameters")):
            return str(json.loads(text)["Payload"]["Token"])
    return file.read_text() if file.exists() else None


def give_back(wire: Wire, token: str) -> bool:
    """Whether the system has taken the token back: some know it only after the function has returned."""
    try:
        wire.call("states", "SendTaskSuccess", taskToken=token, output="{}")
    except RuntimeError:
        return False
    return True


def wait_for(found: Callable[[], Any]) -> Any:
    """What `found` answers, once that is something."""
    deadline = time.monotonic() + 60
    pause = 0.0005
    while not (answer := found()):
        if time.monotonic() > deadline:
            raise RuntimeError("nothing came within a minute")
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)
    return answer


def run_all(system: systems.System, run: Callable[[Wire], None], count: int) -> tuple[float, float]:
    """The median of `count` executions one after the other in ms, and executions per second at 50 at once."""
    alone = system.connect()
    times = [timed(lambda: run(alone)) for _ in range(count)]
    local = threading.local()

    def one(_: int) -> None:
        if not hasattr(local, "wire"):
            local.wire = system.connect()
        run(local.wire)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        began = time.perf_counter()
        list(pool.map(one, range(count * 5)))
        elapsed = time.perf_counter() - began
    return statistics.median(times) * 1000, count * 5 / elapsed


def timed(action: Callable[[], object]) -> float:
    """How long it takes, in seconds."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def waiting() -> None:
    """100,000 executions that wait for the token of an activity, and a restart after kill -9."""
    with tempfile.TemporaryDirectory() as folder:
        emulator = EmulatorProcess(Path(folder))
        emulator.start()
        try:
            port = int(emulator.endpoints["http"].rpartition(":")[2])
            wire = Wire("127.0.0.1", port)
            activity = wire.call("states", "CreateActivity", name="bench")["activityArn"]
            task = {"Type": "Task", "Resource": activity, "TimeoutSeconds": 86400, "End": True}
            role = make_role(client(systems.of(emulator), "iam"))
            machine = create(wire, "bench-waiting", {"StartAt": "T", "States": {"T": task}}, role)

            def start(count: int) -> None:
                own = Wire("127.0.0.1", port)
                for _ in range(count):
                    own.call("states", "StartExecution", stateMachineArn=machine, input="{}")

            began = time.perf_counter()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(start, [WAITING // 8] * 8))
            started = time.perf_counter() - began
            memory = systems.of(emulator).memory()
            emulator.kill()
            restart = timed(emulator.start)
        finally:
            emulator.kill()
    print(f"{WAITING:,} waiting executions: started at {WAITING / started:,.0f}/s, {memory:,.0f} MiB,")
    print(f"ready again {restart:.1f} s after kill -9")
