"""The two Lambda functions against botocore's stubs of the services they call."""

import importlib.util
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from samtranslator.yaml_helper import yaml_parse

FUNCTIONS = Path(__file__).parents[3] / "aws-resources" / "functions"
GLOBALS: dict[str, Any] = yaml_parse((FUNCTIONS.parent / "template.yaml").read_text())["Globals"]["Function"]
TOKEN = "AQCEAAAAKgAAAAMAAAAAAAAAAeFaketoken123456"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as Lambda loads it: from its file, with a region and credentials in the environment."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    specification = importlib.util.spec_from_file_location(f"{name}_app", FUNCTIONS / name / "app.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class TestDispatch:
    @pytest.fixture
    def app(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        monkeypatch.setenv("WORKER_TOPIC", "tenant1/to/worker")
        return load("dispatch_job", monkeypatch)

    @pytest.fixture
    def iot_data(self, app: ModuleType) -> Iterator[Stubber]:
        with Stubber(app.iot_data) as stubber:
            yield stubber
            stubber.assert_no_pending_responses()

    def test_publishes_the_job_with_its_token(self, app: ModuleType, iot_data: Stubber) -> None:
        payload = f'{{"Input":{{"a":15,"b":"grün"}},"TaskToken":"{TOKEN}"}}'.encode()
        iot_data.add_response("publish", {}, {"topic": "tenant1/to/worker", "qos": 1, "payload": payload})
        app.handler({"TaskToken": TOKEN, "Input": {"a": 15, "b": "grün"}}, None)

    def test_fails_when_the_publish_fails(self, app: ModuleType, iot_data: Stubber) -> None:
        iot_data.add_client_error("publish", "UnauthorizedException", http_status_code=401)
        with pytest.raises(ClientError, match="UnauthorizedException"):
            app.handler({"TaskToken": TOKEN, "Input": {}}, None)

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("ThrottlingException", 429),
            ("InternalFailureException", 500),
            ("ServiceUnavailableException", 503),
            ("502", 502),  # what botocore makes of a proxy's page, and of codes that its model does not have
            ("GatewayTimeoutException", 504),
        ],
    )
    def test_says_that_the_publish_may_be_tried_again(
        self, app: ModuleType, iot_data: Stubber, code: str, status: int
    ) -> None:
        iot_data.add_client_error("publish", code, http_status_code=status)
        with pytest.raises(app.TransientPublishError, match=code):
            app.handler({"TaskToken": TOKEN, "Input": {}}, None)

    @pytest.mark.parametrize(
        "error",
        [
            exceptions.EndpointConnectionError(endpoint_url="https://iot"),
            exceptions.ConnectTimeoutError(endpoint_url="https://iot"),
            exceptions.ReadTimeoutError(endpoint_url="https://iot"),
            exceptions.ConnectionClosedError(endpoint_url="https://iot"),
            exceptions.ProxyConnectionError(proxy_url="https://proxy"),
        ],
    )
    def test_says_so_of_a_connection_too(
        self, app: ModuleType, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def publish(**_: object) -> None:
            raise error

        monkeypatch.setattr(app.iot_data, "publish", publish)
        with pytest.raises(app.TransientPublishError, match="https://"):
            app.handler({"TaskToken": TOKEN, "Input": {}}, None)

    def test_its_attempts_are_over_before_its_timeout(self, app: ModuleType) -> None:
        config = app.iot_data.meta.config
        one = config.connect_timeout + config.read_timeout
        assert config.retries["total_max_attempts"] * one + 1 < GLOBALS["Timeout"]  # and a second of back-off

    @pytest.mark.parametrize("event", [{"TaskToken": TOKEN}, {"Input": {}}])
    def test_fails_without_job_or_token(self, app: ModuleType, iot_data: Stubber, event: dict[str, Any]) -> None:
        with pytest.raises(KeyError):
            app.handler(event, None)

    def test_calls_the_ats_endpoint_of_its_region_unless_told_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
        app = load("dispatch_job", monkeypatch)
        assert app.iot_data.meta.endpoint_url == "https://data-ats.iot.eu-central-1.amazonaws.com"
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
        app = load("dispatch_job", monkeypatch)
        assert app.iot_data.meta.endpoint_url == "http://127.0.0.1:4566"

    def test_does_not_log_the_token(self, app: ModuleType, iot_data: Stubber, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        iot_data.add_response("publish", {})
        app.handler({"TaskToken": TOKEN, "Input": {}}, None)
        logged = [record.getMessage() for record in caplog.records if record.name == app.__name__]
        assert logged
        assert TOKEN not in "".join(logged)


class TestComplete:
    @pytest.fixture
    def app(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        return load("complete_job", monkeypatch)

    @pytest.fixture
    def stepfunctions(self, app: ModuleType) -> Iterator[Stubber]:
        with Stubber(app.stepfunctions) as stubber:
            yield stubber
            stubber.assert_no_pending_responses()

    @pytest.mark.parametrize(
        ("result", "output"),
        [
            (57, '{"result":57}'),
            (None, '{"result":null}'),
            ({"sum": 0.5}, '{"result":{"sum":0.5}}'),
            ("grün", '{"result":"grün"}'),
        ],
    )
    def test_completes_the_task(self, app: ModuleType, stepfunctions: Stubber, result: object, output: str) -> None:
        stepfunctions.add_response("send_task_success", {}, {"taskToken": TOKEN, "output": output})
        app.handler({"result": result, "TaskToken": TOKEN}, None)

    @pytest.mark.parametrize(
        ("answer", "error", "cause"),
        [
            ({"error": "KeyError", "cause": "'b'"}, "KeyError", "'b'"),
            ({"error": "KeyError", "cause": "'b'", "result": 1}, "KeyError", "'b'"),
            ({"error": "KeyError"}, "KeyError", ""),
            ({"error": None, "cause": None}, "WorkerError", ""),
            ({"error": {"code": 5}, "cause": [1]}, '{"code": 5}', "[1]"),
            ({"error": "E" * 300, "cause": "C" * 40_000}, "E" * 256, "C" * 32_768),
            ({}, "InvalidAnswer", "The worker's answer has neither a result nor an error."),
            (
                {"result": "ü" * 131_072},
                "ResultTooLarge",
                "The worker's result is 262157 bytes; the output of a task may have 262144.",
            ),
        ],
    )
    def test_fails_the_task(
        self, app: ModuleType, stepfunctions: Stubber, answer: dict[str, Any], error: str, cause: str
    ) -> None:
        stepfunctions.add_response("send_task_failure", {}, {"taskToken": TOKEN, "error": error, "cause": cause})
        app.handler({**answer, "TaskToken": TOKEN}, None)

    def test_the_largest_result_fits(self, app: ModuleType, stepfunctions: Stubber) -> None:
        result = "x" * (262_144 - len('{"result":""}'))
        output = json.dumps({"result": result}, separators=(",", ":"))
        stepfunctions.add_response("send_task_success", {}, {"taskToken": TOKEN, "output": output})
        app.handler({"result": result, "TaskToken": TOKEN}, None)

    @pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
    @pytest.mark.parametrize(
        ("operation", "answer"), [("send_task_success", {"result": 1}), ("send_task_failure", {"error": "E"})]
    )
    def test_does_not_retry_for_a_task_that_is_gone(
        self,
        app: ModuleType,
        stepfunctions: Stubber,
        caplog: pytest.LogCaptureFixture,
        operation: str,
        answer: dict[str, Any],
        code: str,
    ) -> None:
        stepfunctions.add_client_error(operation, code)
        app.handler({**answer, "TaskToken": TOKEN}, None)
        assert f"no task waits with the token …{TOKEN[-6:]}" in caplog.text
        assert TOKEN not in caplog.text

    def test_lets_lambda_retry_what_may_pass(self, app: ModuleType, stepfunctions: Stubber) -> None:
        stepfunctions.add_client_error("send_task_success", "ThrottlingException")
        with pytest.raises(ClientError, match="ThrottlingException"):
            app.handler({"result": 1, "TaskToken": TOKEN}, None)

    @pytest.mark.parametrize("event", [{"result": 1}, {"result": 1, "TaskToken": ""}, {"TaskToken": 5}, [], "text"])
    def test_drops_what_names_no_task(
        self, app: ModuleType, stepfunctions: Stubber, caplog: pytest.LogCaptureFixture, event: Any
    ) -> None:
        app.handler(event, None)
        assert "without a TaskToken" in caplog.text
