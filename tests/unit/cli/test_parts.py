"""The parts of the command line that need no emulator of the real kind."""

import contextlib
import http.server
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepbridge.cli.connection import Connection, find_emulator
from stepbridge.cli.device import _allowed_by
from stepbridge.cli.display import Display
from stepbridge.cli.errors import CommandError
from stepbridge.cli.hops import follow
from stepbridge.cli.processes import Process
from stepbridge.cli.run import _Follower, failure
from stepbridge.cli.up import _write_atomically
from stepbridge.trace import Hop

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:machine:one"
ENDPOINTS = {
    "http": "…",
    "mqtt_host": "localhost",
    "mqtt_port": 8883,
    "root_ca": "/ca.pem",
    "region": "r",
    "account": "a",
}
HOPS = [
    {"time": 1.0, "source": "stepfunctions", "event": "e", "text": "ours", "fields": {"execution": EXECUTION}},
    {"time": 2.0, "source": "stepfunctions", "event": "e", "text": "another's", "fields": {"execution": "other"}},
    {"time": 3.0, "source": "iot", "event": "publish", "text": "anybody's", "fields": {}},
]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the emulator does on two paths, and as something else on the others."""

    def do_GET(self) -> None:
        """Answer."""
        documents = {"/_stepbridge/endpoints": [ENDPOINTS], "/_stepbridge/trace": HOPS}[self.path.partition("?")[0]]
        self.send_response(200)
        self.end_headers()
        for document in documents:
            self.wfile.write(json.dumps(document).encode() + b"\n")
        if documents is HOPS:
            self.rfile.read(1)  # the trace goes on until the client hangs up

    def do_POST(self) -> None:
        """Answer an AWS call."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"stateMachines": []}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 its name in the base class
        """Nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where that listens."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_emulator_is_found_by_its_url_or_by_its_data_directory(url: str, tmp_path: Path) -> None:
    found = find_emulator(f"{url}/", tmp_path)
    assert found == Connection(url, "localhost", 8883, "r", "a")
    _write_atomically(tmp_path / "endpoints.json", {"http": url})
    assert find_emulator(None, tmp_path) == found
    assert [file.name for file in tmp_path.iterdir()] == ["endpoints.json"]


def test_clients_ignore_the_users_profile_and_proxies(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "one-that-is-not-there")
    client = find_emulator(url, Path()).client("stepfunctions")
    assert client.meta.endpoint_url == url
    assert client.list_state_machines()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_what_is_not_stepbridge_is_told(tmp_path: Path) -> None:
    class Other(Handler):
        def do_GET(self) -> None:
            self.send_error(404)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever).start()
        with pytest.raises(CommandError, match="is not stepbridge"):
            find_emulator(f"http://127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()


def test_an_execution_is_followed_without_those_of_others(url: str) -> None:
    with follow(find_emulator(url, Path()), EXECUTION) as hops:
        assert [hops.get(timeout=10).text for _ in range(2)] == ["ours", "anybody's"]


def test_a_hop_is_a_line_with_its_time() -> None:
    stream = io.StringIO()
    text = "published 30 bytes on tenant1/to/worker with a text much longer than any terminal is wide [not markup] :+1:"
    Display(stream).hop(Hop(12.3456, "iot", "publish", text), start=10.0)
    assert stream.getvalue() == f"   +2.346 s  iot             {text}\n"


def test_a_refusal_is_shown_to_its_end_and_speaks_to_no_terminal() -> None:
    stream = io.StringIO()
    display = Display(stream)
    display.hop(Hop(1, "iot", "publish-refused", f"a\n\x1b[31mb may not publish to {'x/' * 500}: it would take this"))
    display.hop(Hop(1, "lambda", "log", "y" * 1000))
    refusal, log = stream.getvalue().splitlines()
    assert "a \\x1b[31mb may not publish" in refusal
    assert refusal.endswith("it would take this")
    assert log.endswith("y…")


@pytest.mark.parametrize(
    ("statement", "variables"),
    [
        ({"Action": "iot:Connect", "Resource": "arn:aws:iot:r:a:client/worker"}, {"CLIENT_ID": "worker"}),
        ({"Action": ["iot:Connect"], "Resource": ["arn:aws:iot:r:a:client/w"]}, {"CLIENT_ID": "w"}),
        ({"Action": "iot:Subscribe", "Resource": "arn:aws:iot:r:a:topicfilter/a/b"}, {"SUBSCRIBE_TOPIC": "a/b"}),
        (
            {"Action": ["iot:Publish", "iot:RetainPublish"], "Resource": "arn:aws:iot:r:a:topic/a"},
            {"SUBMIT_TOPIC": "a"},
        ),
        ({"Action": "iot:Connect", "Resource": "*"}, {}),
        ({"Action": "iot:Connect", "Resource": "arn:aws:iot:r:a:client/${iot:ClientId}"}, {}),
        ({"Action": "iot:Connect", "Resource": "arn:aws:iot:r:a:client/w*"}, {}),
        ({"Action": "iot:Connect", "Resource": ["arn:aws:iot:r:a:client/a", "arn:aws:iot:r:a:client/b"]}, {}),
        ({"Action": "iot:Connect"}, {}),
    ],
)
def test_the_policy_says_what_the_worker_must_be_told(statement: dict[str, object], variables: dict[str, str]) -> None:
    assert _allowed_by({"Statement": [{"Effect": "Allow", **statement}]}) == variables
    assert _allowed_by({"Statement": {"Effect": "Allow", **statement}}) == variables
    assert _allowed_by({"Statement": [{"Effect": "Deny", **statement}]}) == {}


def test_a_failure_is_told_with_error_and_cause() -> None:
    ended = {"name": "one", "status": "FAILED", "error": "E", "cause": "because"}
    assert failure(ended) == "The execution one ended FAILED.\n  error: E\n  cause: because"
    assert failure({"name": "one", "status": "ABORTED"}) == "The execution one ended ABORTED."


def test_a_message_that_reaches_nobody_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stepbridge.cli.run._QUIET_SECONDS", 0.01)
    hops: queue.SimpleQueue[Hop] = queue.SimpleQueue()
    follower = _Follower(hops, Display(), 0.0)
    for topic in ("to/worker", "to/lambda", "to/nobody"):
        hops.put(Hop(1.0, "iot", "publish", f"… → {topic}", {"topic": topic}))
    hops.put(Hop(1.0, "iot", "deliver", "to/worker → …", {"topic": "to/worker"}))
    hops.put(Hop(1.0, "rules", "rule-matched", "… matched to/lambda", {"topic": "to/lambda"}))
    assert [follower.show_next() for _ in range(7)] == [False] * 5 + [True] * 2
    assert [line for line in capsys.readouterr().out.splitlines() if "Nobody" in line] == [
        "Nobody has taken the message on to/nobody so far. Is a worker connected that subscribes to it?"
    ]


def test_a_child_that_ends_early_is_told_with_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('first'); print('last'); raise SystemExit(3)"]
    with (
        Process("worker", command, dict(os.environ), tmp_path / "log") as process,
        pytest.raises(CommandError, match="The worker ended with 3: last"),
    ):
        process.await_condition(lambda: False, 10)


def test_a_child_that_is_not_ready_in_time_is_told_with_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; print('trying', flush=True); time.sleep(100)"]
    log = tmp_path / "log"
    with Process("worker", command, dict(os.environ), log) as process:
        process.await_condition(lambda: "trying" in log.read_text(), 20)
        with pytest.raises(CommandError, match="The worker was not ready after 0 seconds: trying"):
            process.await_condition(lambda: False, 0)


def test_nothing_outlives_the_command(tmp_path: Path) -> None:
    """Neither a child that ignores SIGTERM nor what it has started, even when we are interrupted while stopping it."""
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    grandchild = f"{stubborn} print('ready', flush=True); time.sleep(100)"
    child = f"{stubborn} import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    log = tmp_path / "log"
    script = f"""
import os, pathlib, sys
from stepbridge.cli.processes import Process
with Process("child", [sys.executable, "-c", {child!r}], dict(os.environ), pathlib.Path({str(log)!r})) as process:
    process.await_condition(lambda: "ready" in open({str(log)!r}).read(), 20)
    print(process.pid, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        group = int(command.stdout.readline())
        command.send_signal(signal.SIGINT)
        command.communicate(timeout=20)
    assert alive(group) == []


def alive(group: int) -> list[str]:
    """The processes of a group that are more than zombies, which are their parent's to reap."""
    states = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # pid (command) state parent group …: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
            state, _, process_group = file.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                states.append(file.parent.name)
    return states
