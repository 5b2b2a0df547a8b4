"""HTTP Tasks: what is sent to an API, what becomes of its answer, and that secrets stay secret."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.integration.stepfunctions.test_integrations import client

from stepbridge.testing import EmulatorProcess

ROLE = "arn:aws:iam::123456789012:role/http"
SECRET = "hunter2"


class Api:
    """An API of the test's own: what it was asked, and how it answers by path."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                path, _, query = self.path.partition("?")
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = {"method": self.command, "path": path, "query": query, "headers": headers, "body": body}
                api.requests.append(request)
                status, content_type, content = api.answer(path)
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = _answer  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @staticmethod
    def answer(path: str) -> tuple[int, str, bytes]:
        if path == "/token":
            return 200, "application/json", json.dumps({"access_token": SECRET, "expires_in": 60}).encode()
        if path == "/image":
            return 200, "image/png", b"\x89PNG"
        if path == "/long":
            return 200, "text/plain", b"x" * 300_000
        if path == "/missing":
            return 404, "application/json", b'{"message":"no such thing"}'
        return 200, "application/json; charset=utf-8", b'{"ok":[1,null]}'


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    served = Api()
    thread = threading.Thread(target=served.server.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


def connect(stepbridge: EmulatorProcess, name: str, kind: str, **parameters: Any) -> str:
    created = stepbridge.client("events").create_connection(
        Name=name, AuthorizationType=kind, AuthParameters=parameters
    )
    arn: str = created["ConnectionArn"]
    return arn


@pytest.fixture(scope="module")
def connection(stepbridge: EmulatorProcess) -> str:
    invocation = {
        "HeaderParameters": [{"Key": "X-Tenant", "Value": "t1", "IsValueSecret": False}],
        "QueryStringParameters": [{"Key": "version", "Value": "2", "IsValueSecret": False}],
    }
    key = {"ApiKeyName": "X-Api-Key", "ApiKeyValue": SECRET}
    return connect(stepbridge, "key", "API_KEY", ApiKeyAuthParameters=key, InvocationHttpParameters=invocation)


def call(stepbridge: EmulatorProcess, connection: str, url: str, **parameters: Any) -> dict[str, Any]:
    """What TestState says of an HTTP Task."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::http:invoke",
        "Parameters": {
            "ApiEndpoint": url,
            "Method": "POST",
            "Authentication": {"ConnectionArn": connection},
            **parameters,
        },
        "End": True,
    }
    tested: dict[str, Any] = client(stepbridge.endpoints["http"]).test_state(
        definition=json.dumps(task), roleArn=ROLE, input="{}"
    )
    return tested


def test_what_is_sent_and_what_comes_back(stepbridge: EmulatorProcess, api: Api, connection: str) -> None:
    tested = call(
        stepbridge,
        connection,
        f"{api.url}/things?version=1",
        Headers={"X-Tenant": "mine", "X-Other": ["a", "b"]},
        QueryParameters={"tag": ["x", "y z"], "n": 1},
        RequestBody={"a": [1, {"b": "ü"}]},
    )
    request = api.requests[-1]
    assert (request["method"], request["path"]) == ("POST", "/things")
    assert request["query"] == "tag=x&tag=y+z&n=1&version=2"
    assert json.loads(request["body"]) == {"a": [1, {"b": "ü"}]}
    expected = {
        "x-tenant": "t1",
        "x-other": "a,b",
        "x-api-key": SECRET,
        "content-type": "application/json; charset=UTF-8",
        "user-agent": "Amazon|StepFunctions|HttpInvoke|us-east-1",
        "range": "bytes=0-262144",
    }
    assert {name: request["headers"][name] for name in expected} == expected
    assert tested["status"] == "SUCCEEDED"
    output = json.loads(tested["output"])
    assert (output["StatusCode"], output["StatusText"]) == (200, "OK")
    assert output["ResponseBody"] == {"ok": [1, None]}
    assert output["Headers"]["Content-Type"] == ["application/json; charset=utf-8"]


@pytest.mark.parametrize(
    ("array_format", "encoded"),
    [
        (None, "a[0]=1&a[1]=x+y&m[k]=%26"),
        ("INDICES", "a[0]=1&a[1]=x+y&m[k]=%26"),
        ("BRACKETS", "a[]=1&a[]=x+y&m[k]=%26"),
        ("REPEAT", "a=1&a=x+y&m[k]=%26"),
        ("COMMAS", "a=1,x+y&m[k]=%26"),
    ],
)
def test_forms(stepbridge: EmulatorProcess, api: Api, connection: str, array_format: str | None, encoded: str) -> None:
    transform: dict[str, Any] = {"RequestBodyEncoding": "URL_ENCODED"}
    if array_format is not None:
        transform["RequestEncodingOptions"] = {"ArrayFormat": array_format}
    tested = call(
        stepbridge,
        connection,
        api.url,
        Headers={"content-type": "application/x-www-form-urlencoded"},
        RequestBody={"a": [1, "x y"], "m": {"k": "&"}},
        Transform=transform,
    )
    assert tested["status"] == "SUCCEEDED"
    assert api.requests[-1]["body"] == encoded
    assert api.requests[-1]["headers"]["content-type"] == "application/x-www-form-urlencoded"


def test_basic_and_oauth(stepbridge: EmulatorProcess, api: Api) -> None:
    basic = connect(stepbridge, "basic", "BASIC", BasicAuthParameters={"Username": "me", "Password": SECRET})
    assert call(stepbridge, basic, api.url)["status"] == "SUCCEEDED"
    assert api.requests[-1]["headers"]["authorization"] == "Basic bWU6aHVudGVyMg=="
    parameters = {
        "AuthorizationEndpoint": f"{api.url}/token",
        "HttpMethod": "POST",
        "ClientParameters": {"ClientID": "id", "ClientSecret": "secret"},
        "OAuthHttpParameters": {"BodyParameters": [{"Key": "scope", "Value": "all", "IsValueSecret": False}]},
    }
    oauth = connect(stepbridge, "oauth", "OAUTH_CLIENT_CREDENTIALS", OAuthParameters=parameters)
    for _ in range(2):
        assert call(stepbridge, oauth, f"{api.url}/guarded")["status"] == "SUCCEEDED"
        assert api.requests[-1]["headers"]["authorization"] == f"Bearer {SECRET}"
    tokens = [request for request in api.requests if request["path"] == "/token"]
    assert [request["body"] for request in tokens] == ["grant_type=client_credentials&scope=all"]
    assert tokens[0]["headers"]["authorization"] == "Basic aWQ6c2VjcmV0"


@pytest.mark.parametrize(
    ("path", "parameters", "error", "cause"),
    [
        ("/missing", {}, "States.Http.StatusCode.404", '"ResponseBody":{"message":"no such thing"}'),
        ("/image", {}, "States.Runtime", "image/png"),
        ("/long", {}, "States.DataLimitExceeded", "262144"),
        ("/", {"ApiEndpoint": "http://127.0.0.1:1/"}, "States.Http.Socket", "127.0.0.1:1 cannot be reached"),
        ("/", {"ApiEndpoint": "http://192.0.2.1.invalid/"}, "States.Http.Socket", "cannot be found"),
        ("/", {"ApiEndpoint": "http://8.8.8.8/"}, "States.Http.Socket", "only https:// may go there"),
        ("/", {"ApiEndpoint": "ftp://127.0.0.1/"}, "States.Runtime", "begins with https://"),
        ("/", {"Method": "BREW"}, "States.Runtime", "Method"),
        ("/", {"Headers": {"Authorization": "mine"}}, "States.Runtime", "'Authorization' cannot be set"),
        ("/", {"Authentication": {}}, "States.Runtime", "ConnectionArn"),
        (
            "/",
            {"Authentication": {"ConnectionArn": "arn:aws:events:us-east-1:123456789012:connection/none/1"}},
            "Events.ConnectionResource.ResourceNotFound",
            "none",
        ),
    ],
)
def test_what_fails(
    stepbridge: EmulatorProcess,
    api: Api,
    connection: str,
    path: str,
    parameters: dict[str, Any],
    error: str,
    cause: str,
) -> None:
    tested = call(stepbridge, connection, api.url + path, **parameters)
    assert (tested["status"], tested["error"]) == ("FAILED", error)
    assert cause in tested["cause"]


def test_no_secret_is_told(stepbridge: EmulatorProcess, api: Api, connection: str) -> None:
    states = stepbridge.client("stepfunctions")
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::http:invoke",
        "Parameters": {
            "ApiEndpoint": f"{api.url}/missing",
            "Method": "GET",
            "Authentication": {"ConnectionArn": connection},
        },
        "End": True,
    }
    definition = json.dumps({"StartAt": "Call", "States": {"Call": task}})
    machine = states.create_state_machine(name="http-task", definition=definition, roleArn=ROLE)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    while states.describe_execution(executionArn=execution)["status"] == "RUNNING":
        pass
    events = states.get_execution_history(executionArn=execution)["events"]
    assert [event["type"] for event in events] == [
        "ExecutionStarted", "TaskStateEntered", "TaskScheduled", "TaskStarted", "TaskFailed", "ExecutionFailed",
    ]  # fmt: skip
    assert events[2]["taskScheduledEventDetails"]["resourceType"] == "http"
    assert SECRET not in json.dumps(events, default=str)


@pytest.mark.parametrize("reveal", [False, True])
def test_a_trace_shows_request_and_response(
    stepbridge: EmulatorProcess, api: Api, connection: str, reveal: bool
) -> None:
    parameters = {"ApiEndpoint": f"{api.url}/things", "Method": "GET", "Headers": {"X-Mine": "1"}}
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::http:invoke",
        "Parameters": {**parameters, "Authentication": {"ConnectionArn": connection}},
        "End": True,
    }
    tested = client(stepbridge.endpoints["http"]).test_state(
        definition=json.dumps(task), roleArn=ROLE, inspectionLevel="TRACE", revealSecrets=reveal
    )
    request, response = tested["inspectionData"]["request"], tested["inspectionData"]["response"]
    assert (request["protocol"], request["method"]) == ("http", "GET")
    assert "X-Mine: 1" in request["headers"]
    assert (SECRET in json.dumps(request)) is reveal
    assert (response["statusCode"], response["statusMessage"]) == ("200", "OK")
    assert json.loads(response["body"]) == {"ok": [1, None]}
