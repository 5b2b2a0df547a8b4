"""`stepbridge demo`: the whole loop once, each part as its own process, as a user would run them."""

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Never

import typer

from stepbridge.cli.connection import Connection, find_emulator
from stepbridge.cli.deploy import deploy_stack, find_template
from stepbridge.cli.device import create_device, gateway_of
from stepbridge.cli.errors import CommandError
from stepbridge.cli.processes import Process
from stepbridge.cli.run import failure, run_execution
from stepbridge.cli.worker import running_worker

_INPUT = {"a": 15, "b": 42}
_EXPECTED = {"a": 15, "b": 42, "lambdaOutput": {"result": 57}}
_START_SECONDS = 30.0
_EXECUTION_SECONDS = 60.0


def demo(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The template, or the folder it is in.")] = Path(
        "aws-resources"
    ),
) -> None:
    """Take {"a": 15, "b": 42} through every hop and back.

    Starts an emulator on free ports in a temporary folder, deploys the template, makes a device, starts the worker,
    runs an execution, and stops everything again.
    """
    find_template(path)  # before anything is started
    folder = Path(tempfile.mkdtemp(prefix="stepbridge-demo-"))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        output = _run_in(folder, path)
    except CommandError as error:
        raise CommandError(f"{error}\nThe logs and all else are in {folder}: emulator.log, worker.log") from None
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        print("\nInterrupted; nothing is left running", file=sys.stderr)
        sys.exit(130)
    shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(output))


def _run_in(folder: Path, path: Path) -> object:
    with contextlib.ExitStack() as stack:
        _say("1. An emulator on free ports")
        connection = stack.enter_context(_emulator(folder))
        print(f"  AWS APIs {connection.url}, MQTT {connection.mqtt_host}:{connection.mqtt_port}", file=sys.stderr)
        _say(f"2. Deploy {path}")
        stack_of = deploy_stack(connection, path)
        _say("3. A certificate for the worker")
        thing, policy = stack_of.outputs["ThingName"], stack_of.outputs["WorkerPolicyName"]
        device = create_device(connection.client("iot"), gateway_of(connection), thing, folder / "worker", policy)
        environment = device.environment
        print(f"  client id {environment['CLIENT_ID']}, jobs on {environment['SUBSCRIBE_TOPIC']}", file=sys.stderr)
        _say("4. The worker, a process of its own")
        stack.enter_context(running_worker(environment, folder / "worker.log"))
        _say(f"5. An execution on {json.dumps(_INPUT)}")
        execution = run_execution(
            connection, json.dumps(_INPUT), stack_of.outputs["StateMachineArn"], timeout=_EXECUTION_SECONDS
        )
    if execution["status"] != "SUCCEEDED":
        raise CommandError(failure(execution))
    output: object = json.loads(execution["output"])
    if output != _EXPECTED:
        raise CommandError(f"The execution's output is {output}, not {_EXPECTED}.")
    return output


@contextlib.contextmanager
def _emulator(folder: Path) -> Iterator[Connection]:
    ready, data = folder / "ready.json", folder / "data"
    command = ["up", "--port", "0", "--mqtt-port", "0", "--data-dir", str(data), "--ready-file", str(ready)]
    log = folder / "emulator.log"
    with Process("emulator", [sys.executable, "-m", "stepbridge", *command], dict(os.environ), log) as emulator:
        emulator.await_condition(ready.exists, _START_SECONDS)
        yield find_emulator(None, data)


def _say(step: str) -> None:
    print(step, file=sys.stderr, flush=True)


def _interrupt(*_: object) -> Never:
    raise KeyboardInterrupt
