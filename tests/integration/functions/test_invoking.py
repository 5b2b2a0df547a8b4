"""Handlers run in real processes under awslambdaric."""

import asyncio
import base64
import json
import os
import re
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.functions.harness import ROLE, Lambda, archive

from stepbridge.api.errors import AwsError
from stepbridge.clock import ManualClock

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="module")
def emulator(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    async def make() -> Lambda:
        made = Lambda(tmp_path_factory.mktemp("lambda"))
        await made.service.start()
        return made

    made: Lambda = run(make())
    yield made
    run(made.service.stop())


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W", "-", request.node.name)[:64]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a condition outside of the loop
            await asyncio.sleep(0.005)


def test_a_handler_gets_its_event_and_its_answer_comes_back(run: Run, emulator: Lambda, name: str) -> None:
    run(emulator.create(name, "def handler(event, context): return {'got': event, 'id': context.aws_request_id}"))
    answer = run(emulator.call("invoke", FunctionName=name, Payload=b'{"a": [1, null]}', LogType="Tail"))
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    payload = json.loads(answer["Payload"])
    assert payload["got"] == {"a": [1, None]}
    log = base64.b64decode(answer["LogResult"]).decode()
    assert log.startswith(f"START RequestId: {payload['id']} Version: $LATEST\nEND RequestId: {payload['id']}\n")
    assert re.search(r"REPORT RequestId: \S+\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t", log)
    assert "Init Duration" in log


def test_no_payload_is_an_empty_event(run: Run, emulator: Lambda, name: str) -> None:
    run(emulator.create(name, "def handler(event, context): return event"))
    assert run(emulator.call("invoke", FunctionName=name))["Payload"] == b"{}"


def test_what_a_handler_raises(run: Run, emulator: Lambda, name: str) -> None:
    run(emulator.create(name, "def handler(event, context):\n    raise ValueError('no b')\n"))
    error = run(emulator.fail(name))
    assert error == {
        "errorMessage": "no b",
        "errorType": "ValueError",
        "requestId": error["requestId"],
        "stackTrace": ["  File \"/var/task/app.py\", line 2, in handler\n    raise ValueError('no b')\n"],
    }


@pytest.mark.parametrize(
    ("code", "error_type", "message"),
    [
        ("import nowhere", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'nowhere'"),
        ("def other(): pass", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        (
            "def handler(",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app': '(' was never closed (app.py, line 1)",
        ),
        ("raise KeyError('x')", "KeyError", "'x'"),
        # Only what Lambda's runtime brings along can be imported, whatever else is installed here.
        ("import rich", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'rich'"),
        (
            "import stepbridge",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'stepbridge'",
        ),
    ],
)
def test_a_handler_that_cannot_be_loaded(
    run: Run, emulator: Lambda, name: str, code: str, error_type: str, message: str
) -> None:
    run(emulator.create(name, code))
    error = run(emulator.fail(name))
    assert (error["errorType"], error["errorMessage"]) == (error_type, message)
    assert run(emulator.fail(name))["errorType"] == error_type, "an environment that failed is not used again"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("sys.exit(2)", "Runtime exited with error: exit status 2"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_handler_that_ends_its_process(run: Run, emulator: Lambda, name: str, how: str, message: str) -> None:
    run(
        emulator.create(
            name, f"import os, sys\ndef handler(event, context):\n    if event: {how}\n    return 'alive'\n"
        )
    )
    error = run(emulator.fail(name, {"die": True}))
    assert error["errorType"] == "Runtime.ExitError"
    assert re.fullmatch(rf"RequestId: \S+ Error: {re.escape(message)}", error["errorMessage"])
    assert run(emulator.invoke(name, {})) == "alive"


def test_the_environment_is_as_on_aws_and_not_the_users(
    run: Run, emulator: Lambda, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    code = "import os\ndef handler(event, context): return {**os.environ, 'cwd': os.getcwd(), 'pid': os.getpid()}"
    run(emulator.create(name, code, Environment={"Variables": {"STAGE": "test"}}, MemorySize=256))
    seen = run(emulator.invoke(name))
    assert seen["STAGE"] == "test"
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert seen["AWS_REGION"] == seen["AWS_DEFAULT_REGION"] == "us-east-1"
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert seen["_HANDLER"] == "app.handler"
    assert seen["cwd"] == seen["LAMBDA_TASK_ROOT"]
    assert "AWS_PROFILE" not in seen
    assert "HTTPS_PROXY" not in seen
    assert seen["HOME"] != os.environ.get("HOME"), "or boto3 would find the user's credentials"
    session = emulator.functions.session_of(seen["AWS_ACCESS_KEY_ID"])
    assert session is not None
    assert (session.role_arn, session.name) == (ROLE, name)
    assert emulator.functions.session_of("AKIANOBODY") is None


def test_boto3_is_there_unless_the_package_brings_its_own(run: Run, emulator: Lambda, name: str) -> None:
    handler = "import boto3\ndef handler(event, context): return boto3.__version__"
    run(emulator.create(name, handler))
    run(emulator.create(name + "-own", {"app.py": handler, "boto3/__init__.py": "__version__ = 'mine'"}))
    assert re.fullmatch(r"\d+\.\d+\.\d+", run(emulator.invoke(name)))
    assert run(emulator.invoke(name + "-own")) == "mine"


def test_one_invocation_at_a_time_and_warm_reuse(run: Run, emulator: Lambda, name: str) -> None:
    code = "import os, time\ndef handler(event, context):\n    time.sleep(event)\n    return os.getpid()\n"
    run(emulator.create(name, code))

    async def invoke_all() -> tuple[int, int, list[int]]:
        first, second = await emulator.invoke(name, 0), await emulator.invoke(name, 0)
        return first, second, await asyncio.gather(*(emulator.invoke(name, 0.2) for _ in range(3)))

    first, second, together = run(invoke_all())
    assert first == second
    assert len(set(together)) == 3


def test_between_invocations_nothing_runs(run: Run, emulator: Lambda, name: str) -> None:
    code = (
        "import threading, time\nticks = 0\n"
        "def tick():\n    global ticks\n    while True:\n        time.sleep(0.01)\n        ticks += 1\n"
        "threading.Thread(target=tick, daemon=True).start()\n"
        "def handler(event, context): return ticks\n"
    )
    run(emulator.create(name, code))

    async def count() -> int:
        before = await emulator.invoke(name)
        await asyncio.sleep(0.3)
        return int(await emulator.invoke(name)) - int(before)

    assert run(count()) < 10


def test_a_burst_is_served_by_a_bounded_number_of_processes(run: Run, emulator: Lambda, name: str) -> None:
    run(emulator.create(name, "import os\ndef handler(event, context): return os.getpid()"))

    async def burst() -> list[int]:
        return list(await asyncio.gather(*(emulator.invoke(name) for _ in range(500))))

    assert len(set(run(burst()))) <= 2 * (os.cpu_count() or 1) + 10


def test_reserved_concurrency(run: Run, emulator: Lambda, name: str) -> None:
    run(emulator.create(name, "import time\ndef handler(event, context): time.sleep(event)"))
    run(emulator.call("put_function_concurrency", FunctionName=name, ReservedConcurrentExecutions=1))

    async def two() -> list[Any]:
        calls = [emulator.invoke(name, 0.1), emulator.invoke(name, 0.1)]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    done, refused = run(two())
    assert done is None
    assert isinstance(refused, AwsError)
    assert (refused.code, refused.message) == ("TooManyRequestsException", "Rate Exceeded.")
    assert refused.members["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    run(emulator.call("delete_function_concurrency", FunctionName=name))
    assert run(two()) == [None, None]


def test_changed_code_and_configuration_are_used_by_the_next_invocation(run: Run, emulator: Lambda, name: str) -> None:
    code = "import os\ndef handler(event, context): return [1, os.environ.get('STAGE')]"
    run(emulator.create(name, code))
    assert run(emulator.invoke(name)) == [1, None]
    environment = {"Variables": {"STAGE": "test"}}
    run(emulator.call("update_function_configuration", FunctionName=name, Environment=environment))
    assert run(emulator.invoke(name)) == [1, "test"]
    run(emulator.call("update_function_code", FunctionName=name, ZipFile=archive({"app.py": code.replace("1", "2")})))
    assert run(emulator.invoke(name)) == [2, "test"]


def test_what_a_handler_writes_goes_to_the_trace_and_to_cloudwatch_logs(run: Run, emulator: Lambda, name: str) -> None:
    run(
        emulator.create(
            name, "import sys\ndef handler(event, context):\n    print('out')\n    print('err', file=sys.stderr)"
        )
    )
    run(emulator.invoke(name))
    lines = [hop.text for hop in emulator.trace.recent if hop.event == "log" and hop.fields["function"] == name]
    assert lines == [f"{name}: out", f"{name}: err"]

    def sent() -> list[str]:
        put = [call for call in emulator.calls.of("PutLogEvents") if call["logGroupName"] == f"/aws/lambda/{name}"]
        return [event["message"] for call in put for event in call["logEvents"]]

    run(until(sent))
    assert [line.split()[0] for line in sent()] == ["START", "out", "err", "END", "REPORT"]
    assert {"logGroupName": f"/aws/lambda/{name}"} in emulator.calls.of("CreateLogGroup")


def test_an_asynchronous_invocation_is_accepted_and_run(run: Run, emulator: Lambda, name: str) -> None:
    run(emulator.create(name, "def handler(event, context): print('ran', event['n'])"))
    answer = run(emulator.call("invoke", FunctionName=name, InvocationType="Event", Payload=b'{"n": 7}'))
    assert (answer["StatusCode"], answer["Payload"]) == (202, b"")
    run(until(lambda: any(hop.text == f"{name}: ran 7" for hop in emulator.trace.recent)))
    run(until(lambda: not emulator.store.query("SELECT * FROM lambda_events")))


def test_a_dry_run_runs_nothing(run: Run, emulator: Lambda, name: str) -> None:
    run(emulator.create(name, "raise Exception"))
    assert run(emulator.call("invoke", FunctionName=name, InvocationType="DryRun"))["StatusCode"] == 204


@pytest.mark.parametrize(
    ("request_members", "code", "message"),
    [
        ({"Payload": b"{"}, "InvalidRequestContentException", "Could not parse request body into json"),
        ({"Payload": b'"%s"' % (b"x" * 6_291_456)}, "RequestTooLargeException", "6291458 byte payload is too large"),
        (
            {"Payload": b'"%s"' % (b"x" * 1_048_576), "InvocationType": "Event"},
            "RequestTooLargeException",
            "1048578 byte payload is too large for the Event",
        ),
        ({"Qualifier": "7"}, "ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:123456789012:"),
    ],
)
def test_invocations_that_are_refused(
    run: Run, emulator: Lambda, name: str, request_members: dict[str, Any], code: str, message: str
) -> None:
    run(emulator.create(name, "def handler(event, context): pass"))
    with pytest.raises(AwsError) as refused:
        run(emulator.call("invoke", FunctionName=name, **request_members))
    assert refused.value.code == code
    assert refused.value.message.startswith(message)


def test_an_answer_that_is_too_large(run: Run, emulator: Lambda, name: str) -> None:
    run(emulator.create(name, "def handler(event, context): return 'x' * 6291557"))
    assert run(emulator.fail(name))["errorType"] == "Function.ResponseSizeTooLarge"


def test_versions_and_aliases(run: Run, emulator: Lambda, name: str) -> None:
    code = "def handler(event, context): return [1, context.function_version, context.invoked_function_arn]"
    run(emulator.create(name, code, Publish=True))
    run(
        emulator.call("update_function_code", FunctionName=name, ZipFile=archive({"app.py": code.replace("1", "2", 1)}))
    )
    alias = run(emulator.call("create_alias", FunctionName=name, Name="live", FunctionVersion="1"))
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    assert run(emulator.invoke(name)) == [2, "$LATEST", arn]
    assert run(emulator.invoke(f"{name}:1")) == [1, "1", f"{arn}:1"]
    assert run(emulator.invoke(alias["AliasArn"])) == [1, "1", f"{arn}:live"]
    run(emulator.call("publish_version", FunctionName=name))
    run(emulator.call("update_alias", FunctionName=name, Name="live", FunctionVersion="2"))
    assert run(emulator.invoke(name, Qualifier="live")) == [2, "2", f"{arn}:live"]


def test_a_service_needs_the_functions_permission(run: Run, emulator: Lambda, name: str) -> None:
    arn = run(emulator.create(name, "def handler(event, context): print('ran')"))["FunctionArn"]
    rule = "arn:aws:iot:us-east-1:123456789012:rule/answers"

    async def invoke() -> int:
        result = await emulator.functions.invoke_as_service(
            arn, b"{}", principal="iot.amazonaws.com", source_arn=rule, source_account="123456789012"
        )
        return result.status_code

    with pytest.raises(AwsError, match="not authorized to perform: lambda:InvokeFunction"):
        run(invoke())
    permission = {"StatementId": "rule", "Action": "lambda:InvokeFunction", "Principal": "iot.amazonaws.com"}
    run(emulator.call("add_permission", FunctionName=name, SourceArn=rule, SourceAccount="123456789012", **permission))
    assert run(invoke()) == 202
    run(until(lambda: any(hop.text == f"{name}: ran" for hop in emulator.trace.recent)))


def test_timeouts(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        emulator = Lambda(tmp_path, clock)
        code = "import time\ndef handler(event, context):\n    print('begun')\n    time.sleep(event)\n    return 1\n"
        await emulator.create("slow", code, Timeout=3)
        invocation = asyncio.ensure_future(emulator.fail("slow", 3600))
        await until(lambda: any(hop.text == "slow: begun" for hop in emulator.trace.recent))
        clock.advance(2.9)
        assert not invocation.done()
        clock.advance(0.1)
        error = await invocation
        assert error["errorType"] == "Sandbox.Timedout"
        assert re.fullmatch(r"RequestId: \S+ Error: Task timed out after 3.00 seconds", error["errorMessage"])
        assert await emulator.invoke("slow", 0) == 1

        await emulator.create("stuck", "print('loading')\nimport time\ntime.sleep(3600)", Timeout=30)
        invocation = asyncio.ensure_future(emulator.fail("stuck"))

        def loading() -> int:
            return [hop.text for hop in emulator.trace.recent].count("stuck: loading")

        await until(lambda: loading() == 1)
        clock.advance(10)
        await until(lambda: loading() == 2)
        clock.advance(30)
        assert (await invocation)["errorMessage"].endswith("Task timed out after 30.00 seconds")
        await emulator.service.stop()

    asyncio.run(scenario())


def test_idle_environments_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        emulator = Lambda(tmp_path, clock)
        await emulator.create("f", "import os\ndef handler(event, context): return os.getpid()")
        process = await emulator.invoke("f")
        assert alive([process])

        def gone() -> bool:
            clock.advance(301)
            return not alive([process])

        await until(gone)
        await emulator.service.stop()

    asyncio.run(scenario())


def test_nothing_outlives_the_emulator(tmp_path: Path) -> None:
    """Neither an environment nor what its handler started, when the emulator stops or its helper is killed."""
    code = (
        "import os, subprocess, sys\n"
        "def handler(event, context):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
        "    return [os.getppid(), os.getpid(), child.pid]\n"
    )

    async def scenario() -> None:
        emulator = Lambda(tmp_path)
        await emulator.create("f", code)
        processes = await emulator.invoke("f")
        os.kill(processes[0], signal.SIGKILL)
        await until(lambda: not alive(processes[:2]))
        processes = await emulator.invoke("f")
        await emulator.service.stop()
        await until(lambda: not alive(processes))

    asyncio.run(scenario())


def alive(processes: list[int]) -> list[int]:
    """Those of `processes` that run."""
    found = []
    for process in processes:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(process)
    return found


@pytest.mark.parametrize("megabytes", [200, 2000], ids=["its memory", "what the system gives"])
def test_a_handler_that_uses_more_memory_than_it_has_is_killed(
    run: Run, emulator: Lambda, name: str, megabytes: int
) -> None:
    code = """
def handler(event, context):
    return len(bytearray(b"x") * (event * 1024 * 1024)) if event else "small"
"""
    run(emulator.create(name, code, MemorySize=128))
    assert run(emulator.invoke(name, 0)) == "small"
    failure = run(emulator.fail(name, megabytes))
    assert failure["errorType"] == "Runtime.OutOfMemory"
    assert failure["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert run(emulator.invoke(name, 0)) == "small", "the next invocation gets a new environment"
