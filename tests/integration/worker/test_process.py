"""The worker as a process: its environment, its log, its end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onprem_worker.__main__ import SAME_SIGNAL_SECONDS

from .broker import DISCONNECT, PATIENCE_SECONDS, PUBACK, PUBLISH, Broker

TOKEN = "AQCEAAAAKgAAAAMAAAAAAAAAAeFaketoken"
COMMAND = [sys.executable, "-m", "onprem_worker"]


@pytest.fixture
def process(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A running worker."""
    with subprocess.Popen(COMMAND, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_works_until_told_to_stop(broker: Broker, process: subprocess.Popen[str], number: int) -> None:
    broker.expect_connected()
    broker.publish(json.dumps({"Input": {"a": 15, "b": 42}, "TaskToken": TOKEN}).encode(), 1)
    answer = broker.expect(PUBLISH)
    assert json.loads(answer.payload) == {"result": 57, "TaskToken": TOKEN}
    broker.confirm(answer)
    broker.expect(PUBACK)
    process.send_signal(number)
    process.send_signal(number)  # as timeout(1) does: the process, then its group
    broker.expect(DISCONNECT)
    _, log = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert TOKEN[-6:] in log
    assert TOKEN not in log
    assert "Traceback" not in log


def test_a_job_it_cannot_do_fails_by_name(broker: Broker, process: subprocess.Popen[str]) -> None:
    broker.expect_connected()
    broker.publish(json.dumps({"Input": {"a": 1}, "TaskToken": TOKEN}).encode(), 1)
    answer = json.loads(broker.expect(PUBLISH).payload)
    assert answer == {"error": "InvalidJobError", "cause": "The job's input has no 'b'.", "TaskToken": TOKEN}


def test_does_not_start_without_its_variables(environment: dict[str, str]) -> None:
    del environment["CLIENT_ID"]
    environment["PORT"] = "none"
    result = subprocess.run(COMMAND, env=environment, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS)
    assert result.returncode == 1
    assert "CLIENT_ID is not set" in result.stderr
    assert "PORT is not a number" in result.stderr
    assert "Traceback" not in result.stderr


def test_another_signal_later_ends_it_at_once(process: subprocess.Popen[str], broker: Broker) -> None:
    broker.expect_connected()
    broker.publish(json.dumps({"Input": {"a": 1, "b": 1}, "TaskToken": TOKEN}).encode(), 1)
    broker.expect(PUBLISH)  # not confirmed, so that it waits before it ends
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=3 * SAME_SIGNAL_SECONDS)  # from when it has heard of the first, which may take it a moment
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE_SECONDS) == -signal.SIGTERM


def test_a_file_says_that_it_takes_jobs(broker: Broker, environment: dict[str, str], tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ready.touch()  # left by one that was killed
    variables = {**os.environ, **environment, "READY_FILE": str(ready)}
    with subprocess.Popen(COMMAND, env=variables, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            broker.expect_connected()
            for line in process.stderr:
                if "Waiting for jobs" in line:
                    break
            assert ready.exists()
            process.terminate()
            process.communicate(timeout=PATIENCE_SECONDS)
            assert not ready.exists()
        finally:
            process.kill()
