"""Step Functions: executions per second and latency, alone and 50 at once; 100,000 that wait; a restart with them.

A callback execution is one `sqs:sendMessage.waitForTaskToken` task: started, dispatched to a queue, taken from it and
completed by a worker of ours, until DescribeExecution no longer says RUNNING.
"""

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import systems
from benchmarks.table import Table
from benchmarks.wire import Wire
from stepbridge.testing import EmulatorProcess

ROLE = "arn:aws:iam::123456789012:role/bench"
WAITING = 100_000
AT_ONCE = 50

PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}


def callback(queue: str) -> dict[str, object]:
    """One task that waits for its token."""
    parameters = {"QueueUrl": queue, "MessageBody": {"Token.$": "$$.Task.Token"}}
    resource = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
    return {
        "StartAt": "T",
        "States": {"T": {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}},
    }


def main() -> None:
    """Print the figures."""
    table = Table("executions", ["one Pass, p50 ms", f"Pass/s, {AT_ONCE} at once", "callback, p50 ms", "callbacks/s"])
    for start in (systems.stepbridge, systems.moto, systems.ministack):
        with start() as system:
            table.add(system.name, measure(system))
    table.show()
    waiting()


def measure(system: systems.System) -> list[float | None]:
    """The figures of one system; None where it cannot do it."""
    wire = system.connect()
    machine = create(wire, "bench-pass", PASS)
    figures: list[float | None] = [*run_all(system, machine, 100)]
    try:
        queue = wire.call("sqs", "CreateQueue", QueueName="bench")["QueueUrl"]
        machine = create(wire, "bench-callback", callback(queue))
    except RuntimeError:
        return [*figures, None, None]
    stop = threading.Event()
    workers = [threading.Thread(target=work, args=(system, queue, stop), daemon=True) for _ in range(4)]
    for worker in workers:
        worker.start()
    try:
        return [*figures, *run_all(system, machine, 50)]
    finally:
        stop.set()
        for worker in workers:
            worker.join(5)


def create(wire: Wire, name: str, definition: dict[str, object]) -> str:
    """A state machine."""
    members = {"name": name, "definition": json.dumps(definition), "roleArn": ROLE}
    arn: str = wire.call("states", "CreateStateMachine", **members)["stateMachineArn"]
    return arn


def work(system: systems.System, queue: str, stop: threading.Event) -> None:
    """Complete every task that is in the queue."""
    wire = system.connect()
    while not stop.is_set():
        answer = wire.call("sqs", "ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        for message in answer.get("Messages", []):
            token = json.loads(message["Body"])["Token"]
            wire.call("states", "SendTaskSuccess", taskToken=token, output="{}")
            wire.call("sqs", "DeleteMessage", QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        if not answer.get("Messages"):
            time.sleep(0.001)


def run_all(system: systems.System, machine: str, count: int) -> tuple[float, float]:
    """The median of `count` executions one after the other in ms, and executions per second at 50 at once."""
    alone = system.connect()
    times = [timed(lambda: alone.run(machine)) for _ in range(count)]
    local = threading.local()

    def one(_: int) -> None:
        if not hasattr(local, "wire"):
            local.wire = system.connect()
        local.wire.run(machine)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        began = time.perf_counter()
        list(pool.map(one, range(count * 10)))
        elapsed = time.perf_counter() - began
    return statistics.median(times) * 1000, count * 10 / elapsed


def timed(action: Callable[[], object]) -> float:
    """How long it takes, in seconds."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def waiting() -> None:
    """100,000 executions that wait for a worker, and a restart after kill -9."""
    with tempfile.TemporaryDirectory() as folder:
        emulator = EmulatorProcess(Path(folder))
        emulator.start()
        try:
            port = int(emulator.endpoints["http"].rpartition(":")[2])
            wire = Wire("127.0.0.1", port)
            activity = wire.call("states", "CreateActivity", name="bench")["activityArn"]
            task = {"Type": "Task", "Resource": activity, "TimeoutSeconds": 86400, "End": True}
            machine = create(wire, "bench-waiting", {"StartAt": "T", "States": {"T": task}})

            def start(count: int) -> None:
                own = Wire("127.0.0.1", port)
                for _ in range(count):
                    own.call("states", "StartExecution", stateMachineArn=machine, input="{}")

            began = time.perf_counter()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(start, [WAITING // 8] * 8))
            started = time.perf_counter() - began
            memory = systems.System("stepbridge", port, emulator.pid).memory()
            emulator.kill()
            restart = timed(emulator.start)
        finally:
            emulator.kill()
    print(f"{WAITING:,} waiting executions: started at {WAITING / started:,.0f}/s, {memory:,.0f} MiB,")
    print(f"ready again {restart:.1f} s after kill -9")
