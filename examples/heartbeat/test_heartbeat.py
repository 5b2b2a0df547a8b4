"""The two things that heartbeats are for."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepbridge.testing import Device, Execution, Target


def events(stepbridge: Target, execution: Execution) -> list[str]:
    """The types of the events of an execution."""
    pages = stepbridge.client("stepfunctions").get_paginator("get_execution_history")
    return [event["type"] for page in pages.paginate(executionArn=execution.arn) for event in page["events"]]


def test_a_job_may_take_longer_than_the_worker_may_be_silent(
    stepbridge: Target, stack: Mapping[str, str], device: Device, worker: list[str]
) -> None:
    with device.worker(worker):
        execution = stepbridge.run(stack["StateMachineArn"], {"steps": 13, "heartbeatSeconds": 10})
    assert execution.output["work"] == {"result": "13 steps"}
    assert "TaskTimedOut" not in events(stepbridge, execution)


def test_a_job_whose_worker_dies_is_done_by_the_next(
    stepbridge: Target, stack: Mapping[str, str], device: Device, worker: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"steps": 2, "heartbeatSeconds": 10}
    with ThreadPoolExecutor() as background:
        monkeypatch.setenv("STEP_SECONDS", "3600")
        with device.worker(worker) as log:
            running = background.submit(stepbridge.run, stack["StateMachineArn"], job)
            wait_for("Working on 2 steps", log)
        monkeypatch.setenv("STEP_SECONDS", "0")
        with device.worker(worker):
            execution = running.result()
    assert execution.output["work"] == {"result": "2 steps"}
    assert events(stepbridge, execution).count("TaskTimedOut") == 1


def wait_for(text: str, log: Path) -> None:
    """Return when a worker has written this text."""
    deadline = time.monotonic() + 30
    while text not in log.read_text():
        assert time.monotonic() < deadline, f"the worker has not said: {text}"
        time.sleep(0.05)
