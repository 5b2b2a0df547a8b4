"""InvokeWithResponseStream by boto3 and by sam: of Node.js handlers that stream, and of Python's that do not."""

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import IncompleteReadError
from tests.e2e.harness import wait_until
from tests.e2e.test_sam_deploy import Sam
from tests.integration.functions.test_node import with_node
from tests.integration.functions.test_urls import Urls
from tests.integration.functions.test_with_services import ACCOUNT, allow
from urllib3.exceptions import ProtocolError

from stepbridge.testing import EmulatorProcess

__all__ = ["with_node"]

STREAMS = """
const net = require("net");
const told = (port) => new Promise((resolve) => net.connect(port, "127.0.0.1").on("data", resolve));
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  if (event.before) throw new Error("no");
  stream.setContentType("text/plain");
  stream.write("first ");
  if (event.port) await told(event.port);
  if (event.midway) throw new RangeError("no more");
  if (event.forever) await new Promise((resolve) => setTimeout(resolve, 3600000));
  stream.write("second");
  stream.end();
});
"""
ANSWERS = """
import time

def handler(event, context):
    print("called with", event)
    if event == "fail":
        raise ValueError("no")
    return {"event": event, "arn": context.invoked_function_arn}
"""
CALLS = """
import boto3

def handler(event, context):
    answer = boto3.client("lambda").invoke_with_response_stream(FunctionName=event)
    return [list(each) for each in answer["EventStream"]]
"""


@pytest.fixture
def urls(with_node: None, tmp_path: Path) -> Iterator[Urls]:
    emulator = EmulatorProcess(tmp_path / "emulator", "--memory")
    emulator.start()
    account = Urls(emulator)
    account.role("streams")
    yield account
    emulator.close()


@pytest.fixture
def streams(urls: Urls) -> str:
    """A function that streams its answer."""
    role = f"arn:aws:iam::{ACCOUNT}:role/streams"
    urls.function("streams", role, {"app.js": STREAMS}, Runtime="nodejs20.x", MemorySize=256)
    return "streams"


@pytest.fixture
def answers(urls: Urls) -> str:
    """A function that returns its answer."""
    urls.function("answers", f"arn:aws:iam::{ACCOUNT}:role/streams", ANSWERS)
    return "answers"


def invoke(urls: Urls, function: str, event: object = None, **members: Any) -> tuple[dict[str, Any], list[Any]]:
    """The answer but for its events, and the events."""
    payload = json.dumps(event).encode()
    answer = urls.functions.invoke_with_response_stream(FunctionName=function, Payload=payload, **members)
    return answer, list(answer.pop("EventStream"))


def chunk(text: str) -> dict[str, Any]:
    return {"PayloadChunk": {"Payload": text.encode()}}


def test_parts_come_before_the_end(urls: Urls, streams: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        payload = json.dumps({"port": server.getsockname()[1]})
        answer = urls.functions.invoke_with_response_stream(FunctionName=streams, Payload=payload)
        events = iter(answer["EventStream"])
        assert next(events) == chunk("first ")
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"go on")
            assert list(events) == [chunk("second"), {"InvokeComplete": {}}]
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["transfer-encoding"], headers["x-amzn-remapped-content-type"]) == ("chunked", "text/plain")


def test_a_handler_that_does_not_stream_answers_in_one_part(urls: Urls, answers: str) -> None:
    version = urls.functions.publish_version(FunctionName=answers)["Version"]
    answer, events = invoke(urls, answers, {"a": 1}, Qualifier=version, LogType="Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, version)
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-remapped-content-type"] == "application/json"
    part, complete = events
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{answers}:{version}"
    assert json.loads(part["PayloadChunk"]["Payload"]) == {"event": {"a": 1}, "arn": arn}
    assert list(complete["InvokeComplete"]) == ["LogResult"]
    log = base64.b64decode(complete["InvokeComplete"]["LogResult"]).decode()
    assert "called with {'a': 1}" in log
    assert "REPORT RequestId" in log


def test_failures(urls: Urls, streams: str, answers: str) -> None:
    for function, event, error in ((answers, "fail", "ValueError"), (streams, {"before": True}, "Error")):
        _, (part, complete) = invoke(urls, function, event)
        document = json.loads(part["PayloadChunk"]["Payload"])
        assert (document["errorType"], document["errorMessage"]) == (error, "no")
        assert complete == {"InvokeComplete": {}}

    _, (part, complete) = invoke(urls, streams, {"midway": True})
    assert part == chunk("first ")
    assert complete["InvokeComplete"]["ErrorCode"] == "RangeError"
    details = json.loads(complete["InvokeComplete"]["ErrorDetails"])
    assert details == {"errorType": "RangeError", "errorMessage": "no more"}


def test_an_answer_that_a_time_limit_cuts_short(urls: Urls, streams: str) -> None:
    urls.functions.update_function_configuration(FunctionName=streams, Timeout=1)
    _, (part, complete) = invoke(urls, streams, {"forever": True}, LogType="Tail")
    assert part == chunk("first ")
    assert list(complete["InvokeComplete"]) == ["LogResult"]
    assert "Status: timeout" in base64.b64decode(complete["InvokeComplete"]["LogResult"]).decode()


def test_a_dry_run_runs_the_function_and_it_is_said(urls: Urls, answers: str) -> None:
    answer, events = invoke(urls, answers, 1, InvocationType="DryRun")
    assert (answer["StatusCode"], len(events)) == (200, 2)
    wait_until(lambda: "runs answers also as a DryRun" in urls.emulator.log.read_text(), "it to be said")


def test_refusals(urls: Urls, streams: str, answers: str) -> None:
    client = urls.functions.invoke_with_response_stream
    assert urls.refused(client, FunctionName="none")[0] == "ResourceNotFoundException"
    assert urls.refused(client, FunctionName=answers, Payload=b"{")[0] == "InvalidRequestContentException"
    code, message = urls.refused(client, FunctionName=answers, TenantId="t")
    assert (code, message) == ("InvalidParameterValueException", "TenantId is not supported by stepbridge.")


def test_a_stop_breaks_the_answer_off(urls: Urls, streams: str) -> None:
    answer = urls.functions.invoke_with_response_stream(FunctionName=streams, Payload=b'{"forever": true}')
    events = iter(answer["EventStream"])
    assert next(events) == chunk("first ")
    urls.emulator.close()
    with pytest.raises((ProtocolError, IncompleteReadError)):
        list(events)


def test_step_functions_has_no_such_task(urls: Urls) -> None:
    """See "Unsupported API actions for supported services" of AWS Step Functions' developer guide."""
    task = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:lambda:invokeWithResponseStream", "End": True}
    code, message = urls.refused(
        urls.emulator.client("stepfunctions").create_state_machine,
        name="streams",
        definition=json.dumps({"StartAt": "Task", "States": {"Task": task}}),
        roleArn=urls.role("machine", service="states.amazonaws.com"),
    )
    assert code == "InvalidDefinition"
    assert "/States/Task/Resource" in message


def test_a_role_needs_the_action_of_invoke(urls: Urls, answers: str) -> None:
    target = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{answers}"
    urls.function("may", urls.role("may", allow("lambda:InvokeFunction", target)), CALLS)
    assert urls.invoke("may", answers) == [["PayloadChunk"], ["InvokeComplete"]]
    urls.function("may-not", urls.role("may-not", allow("lambda:InvokeWithResponseStream", target)), CALLS)
    refused = json.load(urls.functions.invoke(FunctionName="may-not", Payload=json.dumps(answers))["Payload"])
    assert "AccessDeniedException" in refused["errorMessage"]
    assert f"not authorized to perform: lambda:InvokeFunction on resource: {target}" in refused["errorMessage"]


def test_sam_remote_invoke(urls: Urls, streams: str, tmp_path: Path) -> None:
    urls.url(streams, InvokeMode="RESPONSE_STREAM")
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{streams}"
    run = Sam(urls.emulator, tmp_path)
    assert "first second" in run("remote", "invoke", arn, "--event", "{}")
    printed = run("remote", "invoke", arn, "--event", "{}", "--output", "json", "--parameter", "LogType=None")
    document, _ = json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])
    assert document["EventStream"] == [
        {"PayloadChunk": {"Payload": "first "}},
        {"PayloadChunk": {"Payload": "second"}},
        {"InvokeComplete": {}},
    ]
