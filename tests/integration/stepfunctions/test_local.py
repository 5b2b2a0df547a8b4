"""In place of AWS Step Functions Local: its port, environment, mocked test cases, and clients that it answers."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from stepbridge.testing import EmulatorProcess

ROLE = "arn:aws:iam::012345678901:role/DummyRole"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:elsewhere"
LAMBDA = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
    "Parameters": {"FunctionName": "f", "Payload": {"Token.$": "$$.Task.Token"}},
    "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 1}],
    "Next": "SQSState",
}
SQS = {
    "Type": "Task",
    "Resource": "arn:aws:states:::sqs:sendMessage",
    "Parameters": {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/q", "MessageBody.$": "$"},
    "End": True,
}
MOCKS = {
    "StateMachines": {
        "Mapped": {"TestCases": {"Each": {"Call": "LambdaRetry"}}},
        "Mocked": {
            "TestCases": {
                "HappyPath": {"LambdaState": "LambdaSuccess", "SQSState": "SqsSuccess"},
                "RetryPath": {"LambdaState": "LambdaRetry", "SQSState": "SqsSuccess"},
                "TooFew": {"LambdaState": "LambdaSuccess", "SQSState": "SqsFailure"},
                "Misspelt": {"LambdaStat": "LambdaSuccess"},
            }
        },
    },
    "MockedResponses": {
        "LambdaSuccess": {"0": {"Return": {"body": "Hello"}}},
        "LambdaRetry": {
            "0": {"Throw": {"Error": "Lambda.ResourceNotReadyException", "Cause": "not ready"}},
            "1": {"Return": {"body": "Hello again"}},
        },
        "SqsSuccess": {"0": {"Return": {"MessageId": "1"}}},
        "SqsFailure": {"0": {"Throw": {"Error": "SQS.Any", "Cause": "thrown"}}},
    },
}


class SomewhereElse(BaseHTTPRequestHandler):
    """A Lambda endpoint of another program, with two functions that break off."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "says-nothing" in self.path:
            self.close_connection = True
            return
        if "breaks-off" in self.path:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"begun":')
            self.close_connection = True
            return
        answer = json.dumps({"path": self.path, "event": json.loads(body)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


def port_without_listener() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """stepbridge up --step-functions-local, with an environment."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "MockConfigFile.json").write_text(json.dumps(MOCKS))
    functions = ThreadingHTTPServer(("127.0.0.1", 0), SomewhereElse)
    threading.Thread(target=functions.serve_forever, daemon=True).start()
    emulator = EmulatorProcess(folder, "--memory", "--step-functions-local")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SFN_MOCK_CONFIG", str(folder / "MockConfigFile.json"))
        environment.setenv("LAMBDA_ENDPOINT", f"http://127.0.0.1:{functions.server_port}")
        environment.setenv("DYNAMODB_ENDPOINT", f"http://127.0.0.1:{port_without_listener()}")
        environment.setenv("STEP_FUNCTIONS_ENDPOINT", "http://127.0.0.1:8083")
        environment.setenv("WAIT_TIME_SCALE", "0.001")
        emulator.start()
    yield emulator
    emulator.stop()
    functions.shutdown()
    functions.server_close()


def call(local: EmulatorProcess, operation: str, signature: str | None = None, **members: Any) -> dict[str, Any]:
    """A request to Step Functions Local's port, not signed unless told otherwise."""
    host = urlsplit(local.endpoints["step_functions_local"]).netloc
    connection = http.client.HTTPConnection(host, timeout=20)
    headers = {"X-Amz-Target": f"AWSStepFunctions.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    if signature is not None:
        headers["Authorization"] = signature
    connection.request("POST", "/", json.dumps(members), headers)
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def machine(local: EmulatorProcess, name: str, states: dict[str, Any]) -> str:
    definition = json.dumps({"StartAt": next(iter(states)), "States": states})
    created = call(local, "CreateStateMachine", name=name, definition=definition, roleArn=ROLE)
    arn: str = created["stateMachineArn"]
    return arn


def run(local: EmulatorProcess, arn: str, text: str = "{}") -> dict[str, Any]:
    """Run an execution to its end."""
    started = call(local, "StartExecution", stateMachineArn=arn, input=text)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        described = call(local, "DescribeExecution", executionArn=started["executionArn"])
        if described["status"] != "RUNNING":
            return described
        time.sleep(0.02)
    raise AssertionError(f"{arn} did not end")


@pytest.fixture(scope="module")
def mocked(local: EmulatorProcess) -> str:
    """The state machine that the mock configuration has test cases for."""
    return machine(local, "Mocked", {"LambdaState": LAMBDA, "SQSState": SQS})


@pytest.mark.parametrize(
    ("test_case", "status", "failures"),
    [("HappyPath", "SUCCEEDED", 0), ("RetryPath", "SUCCEEDED", 1), ("TooFew", "FAILED", 1)],
)
def test_a_test_case_answers_for_the_services(
    local: EmulatorProcess, mocked: str, test_case: str, status: str, failures: int
) -> None:
    ended = run(local, f"{mocked}#{test_case}")

    assert ended["status"] == status, ended
    assert ended["stateMachineArn"] == mocked
    events = call(local, "GetExecutionHistory", executionArn=ended["executionArn"])["events"]
    assert sum(event["type"] == "TaskFailed" for event in events) == failures
    if status == "SUCCEEDED":
        assert json.loads(ended["output"]) == {"MessageId": "1"}
    else:
        assert (ended["error"], ended["cause"]) == ("SQS.Any", "thrown")


def test_each_iteration_of_a_map_has_the_responses_to_its_own_attempts(local: EmulatorProcess) -> None:
    call_each = {**LAMBDA, "Resource": FUNCTION, "Parameters": {}, "End": True}
    del call_each["Next"]
    processor = {"StartAt": "Call", "States": {"Call": call_each}}
    arn = machine(local, "Mapped", {"All": {"Type": "Map", "ItemProcessor": processor, "End": True}})

    ended = run(local, f"{arn}#Each", "[1, 2]")

    assert json.loads(ended["output"]) == [{"body": "Hello again"}] * 2
    events = call(local, "GetExecutionHistory", executionArn=ended["executionArn"])["events"]
    assert sum(event["type"] == "LambdaFunctionFailed" for event in events) == 2


@pytest.mark.parametrize(
    ("test_case", "reason"),
    [("None", "no test case 'None' for Mocked: it has HappyPath, RetryPath"), ("Misspelt", "the state 'LambdaStat'")],
)
def test_a_test_case_that_does_not_fit_is_refused(
    local: EmulatorProcess, mocked: str, test_case: str, reason: str
) -> None:
    refused = call(local, "StartExecution", stateMachineArn=f"{mocked}#{test_case}")

    assert reason in refused["message"]


def test_functions_are_invoked_at_the_endpoint_and_waits_are_scaled(local: EmulatorProcess) -> None:
    states = {
        "Wait": {"Type": "Wait", "Seconds": 1000, "Next": "Call"},
        "Call": {"Type": "Task", "Resource": FUNCTION, "End": True},
    }

    ended = run(local, machine(local, "Elsewhere", states))

    assert ended["status"] == "SUCCEEDED", ended
    output = json.loads(ended["output"])
    assert output["event"] == {}
    assert output["path"].startswith("/2015-03-31/functions/")


@pytest.mark.parametrize(
    ("resource", "parameters", "error", "cause"),
    [
        (f"{FUNCTION}-says-nothing", {}, "Lambda.SdkClientException", "Connection was closed before"),
        (f"{FUNCTION}-breaks-off", {}, "Lambda.SdkClientException", "Connection broken"),
        (
            "arn:aws:states:::lambda:invoke",
            {"FunctionName": "says-nothing"},
            "Lambda.SdkClientException",
            "Connection was closed before",
        ),
        (
            "arn:aws:states:::dynamodb:getItem",
            {"TableName": "t", "Key": {}},
            "DynamoDB.SdkClientException",
            "Could not connect to the endpoint URL",
        ),
        (
            "arn:aws:states:::aws-sdk:dynamodb:getItem",
            {"TableName": "t", "Key": {}},
            "DynamoDb.SdkClientException",
            "Could not connect to the endpoint URL",
        ),
    ],
)
def test_an_endpoint_without_answer_fails_the_task_as_the_sdk_of_aws_words_it(
    local: EmulatorProcess, resource: str, parameters: dict[str, Any], error: str, cause: str
) -> None:
    retry = [{"ErrorEquals": [error], "MaxAttempts": 1, "IntervalSeconds": 1}]
    task = {"Type": "Task", "Resource": resource, "Parameters": parameters, "Retry": retry, "End": True}
    ended = run(local, machine(local, resource.replace(":", "-")[-60:], {"Call": task}))

    assert (ended["status"], ended["error"]) == ("FAILED", error), ended
    assert ended["cause"].startswith("Unable to execute HTTP request: ")
    assert cause in ended["cause"]
    events = call(local, "GetExecutionHistory", executionArn=ended["executionArn"])["events"]
    assert sum(event["type"].endswith("Failed") for event in events) == 3  # twice the task, once the execution


def test_any_credentials_and_any_region_are_answered(local: EmulatorProcess, mocked: str) -> None:
    signature = (
        "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-central-1/states/aws4_request, SignedHeaders=host, Signature=0"
    )

    listed = call(local, "ListStateMachines", signature)

    assert mocked in [found["stateMachineArn"] for found in listed["stateMachines"]]


def test_a_mistake_in_the_mock_configuration_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mocks.json").write_text('{"MockedResponses": {"r": {"first": {"Return": 1}}}}')
    monkeypatch.setenv("SFN_MOCK_CONFIG", str(tmp_path / "mocks.json"))

    with pytest.raises(RuntimeError) as refusal:
        EmulatorProcess(tmp_path, "--memory", "--step-functions-local").start()

    assert "/MockedResponses/r/first must be the number of an attempt" in str(refusal.value).replace("\n", " ")
