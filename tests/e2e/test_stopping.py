"""SIGTERM in the middle of invocations: to whoever waits for one, Lambda is away for a while, and no function fails."""

import http.client
import io
import json
import signal
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.e2e.harness import ended, wait_until

from stepbridge.testing import EmulatorProcess

# Publishes for as long as its event says the first time, which may be longer than a stop waits; then it is quick.
CODE = """
import json, os, time
import boto3

iot = boto3.client("iot-data")

def handler(event, context):
    again = os.path.exists(event["file"])
    with open(event["file"], "a") as attempts:
        attempts.write(context.aws_request_id + "\\n")
    end = time.monotonic() + (0 if again else event["seconds"])
    while True:
        iot.publish(topic="stopping", qos=1, payload=b"{}")
        if time.monotonic() >= end:
            break
        time.sleep(0.01)
    with open(event["file"] + ".done", "a") as done:
        done.write(context.aws_request_id + "\\n")
    return event["file"]
"""
ROLE = "arn:aws:iam::123456789012:role/any"
SHORT, LONG = 2, 3600
LONGEST_WAIT = 20  # seconds that ReceiveMessage may take
CLIENTS = {"short": SHORT, "long": LONG}
ONCE = {"Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "job", "Payload.$": "$"}}
# What AWS recommends for every Lambda task: step-functions/latest/dg/bp-lambda-serviceexception.html
RETRY = {
    "ErrorEquals": ["Lambda.ServiceException", "Lambda.SdkClientException"],
    "IntervalSeconds": 1,
    "BackoffRate": 1,
    "MaxAttempts": 30,
}


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """An emulator with the function `job`."""
    emulator = EmulatorProcess(tmp_path / "emulator")
    emulator.start()
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as opened:
        opened.writestr("app.py", CODE)
    emulator.client("lambda").create_function(
        FunctionName="job",
        Runtime="python3.13",
        Handler="app.handler",
        Role=ROLE,
        Timeout=900,
        Code={"ZipFile": package.getvalue()},
    )
    yield emulator
    emulator.kill()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that handlers find too: /tmp is each environment's own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


def terminate(emulator: EmulatorProcess) -> None:
    """Stop it as an orchestrator does, and wait until it has."""
    process = emulator._process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def event(folder: Path, name: str, seconds: float) -> dict[str, Any]:
    return {"file": str(folder / name), "seconds": seconds}


def attempts(folder: Path, name: str) -> list[str]:
    """The request ids of the invocations that began."""
    file = folder / name
    return file.read_text().split() if file.exists() else []


def start(engine: EmulatorProcess, folder: Path, task: dict[str, Any]) -> dict[str, str]:
    """Executions in the middle of invocations, by the names of their files."""
    states = engine.client("stepfunctions")
    definition = json.dumps({"StartAt": "Job", "States": {"Job": {"Type": "Task", **task, "End": True}}})
    machine = states.create_state_machine(name="jobs", definition=definition, roleArn=ROLE)["stateMachineArn"]
    events = [event(folder, f"{seconds}-{number}", seconds) for seconds in (SHORT, LONG) for number in range(3)]
    executions = {
        Path(each["file"]).name: states.start_execution(stateMachineArn=machine, input=json.dumps(each))["executionArn"]
        for each in events
    }
    wait_until(lambda: all(attempts(folder, name) for name in executions), "the invocations to begin")
    return executions


def failures(engine: EmulatorProcess, execution: str) -> list[str]:
    """The errors of an execution's tasks."""
    events = engine.client("stepfunctions").get_execution_history(executionArn=execution)["events"]
    return [each["taskFailedEventDetails"]["error"] for each in events if each["type"] == "TaskFailed"]


class Client(threading.Thread):
    """A client that invokes `job` once and does not try again."""

    def __init__(self, emulator: EmulatorProcess, event: dict[str, Any]) -> None:
        super().__init__()
        self.answer: tuple[Any, ...] | None = None
        self._event = json.dumps(event)
        self._client = boto3.client(
            "lambda",
            endpoint_url=emulator.endpoints["http"],
            region_name=emulator.endpoints["region"],
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(retries={"total_max_attempts": 1}),
        )
        self.start()

    def run(self) -> None:
        try:
            answer = self._client.invoke(FunctionName="job", Payload=self._event)
            self.answer = (answer.get("FunctionError"), json.load(answer["Payload"]))
        except ClientError as error:
            self.answer = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])


def test_invocations_by_anyone_are_finished_or_done_again(emulator: EmulatorProcess, shared: Path) -> None:
    executions = start(emulator, shared, ONCE)
    emulator.client("lambda").invoke(
        FunctionName="job", InvocationType="Event", Payload=json.dumps(event(shared, "event", LONG))
    )
    clients = {name: Client(emulator, event(shared, name, seconds)) for name, seconds in CLIENTS.items()}
    wait_until(lambda: all(attempts(shared, name) for name in ("event", *clients)), "the invocations to begin")

    terminate(emulator)
    for client in clients.values():
        client.join()
    emulator.start()

    assert clients["short"].answer == (None, str(shared / "short"))
    assert clients["long"].answer == ("ServiceException", 503)
    for name, execution in executions.items():
        assert ended(emulator, execution)["status"] == "SUCCEEDED", emulator.log.read_text()
        assert failures(emulator, execution) == []
        assert len(attempts(shared, name)) == (1 if name.startswith(f"{SHORT}-") else 2)
    wait_until((shared / "event.done").exists, "the event to be done again")
    begun = attempts(shared, "event")
    assert len(begun) == 2
    assert begun[0] == begun[1], "an event keeps its request id"
    told = emulator.log.read_text()
    assert "Traceback" not in told
    assert "Cancel" not in told


def test_executions_of_another_process_go_on(
    emulator: EmulatorProcess, tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDA_ENDPOINT", emulator.endpoints["http"])
    engine = EmulatorProcess(tmp_path / "engine", "--memory", "--step-functions-local")
    engine.start()
    try:
        executions = start(engine, shared, {**ONCE, "Retry": [RETRY]})

        terminate(emulator)
        emulator.start()

        for name, execution in executions.items():
            assert ended(engine, execution)["status"] == "SUCCEEDED", engine.log.read_text()
            failed = failures(engine, execution)
            assert failed[:1] == ([] if name.startswith(f"{SHORT}-") else ["Lambda.ServiceException"])
            assert set(failed[1:]) <= {"Lambda.SdkClientException"}
    finally:
        engine.kill()


def test_who_waits_for_messages_does_not_hold_up_a_stop(emulator: EmulatorProcess) -> None:
    sqs = emulator.client("sqs")
    queue = sqs.create_queue(QueueName="empty")["QueueUrl"]
    waits = http.client.HTTPConnection(urlsplit(emulator.endpoints["http"]).netloc)
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=any/20250101/us-east-1/sqs/aws4_request",
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonSQS.ReceiveMessage",
    }
    waits.request("POST", "/", json.dumps({"QueueUrl": queue, "WaitTimeSeconds": LONGEST_WAIT}), headers)
    over = time.monotonic() + LONGEST_WAIT
    sqs.get_queue_attributes(QueueUrl=queue)  # answered after the other has been read

    terminate(emulator)

    assert time.monotonic() < over, "the stop has waited for messages too"
    assert waits.getresponse().status == 503
    waits.close()
