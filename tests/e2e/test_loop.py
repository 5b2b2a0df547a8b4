"""The whole dispatch-callback loop with the code that is deployed to AWS, each part a process of its own."""

import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.e2e.harness import ROOT, Deployment, Worker, command, deploy, ended, wait_until

from stepbridge.testing import EmulatorProcess

HISTORY = [
    "ExecutionStarted",
    "TaskStateEntered",
    "TaskScheduled",
    "TaskStarted",
    "TaskSubmitted",
    "TaskSucceeded",
    "TaskStateExited",
    "ExecutionSucceeded",
]


def start(emulator: EmulatorProcess, deployment: Deployment, document: Any) -> str:
    answer = emulator.client("stepfunctions").start_execution(
        stateMachineArn=deployment.state_machine, input=json.dumps(document)
    )
    arn: str = answer["executionArn"]
    return arn


def history_of(emulator: EmulatorProcess, execution: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = emulator.client("stepfunctions").get_execution_history(
        executionArn=execution, maxResults=1000
    )["events"]
    return events


def test_a_job_goes_there_and_its_result_comes_back(
    stepbridge: EmulatorProcess, deployment: Deployment, worker: Worker
) -> None:
    execution = ended(stepbridge, start(stepbridge, deployment, {"a": 15, "b": 42}))
    assert execution["status"] == "SUCCEEDED"
    assert json.loads(execution["output"]) == {"a": 15, "b": 42, "lambdaOutput": {"result": 57}}


def test_a_function_publishes_as_the_session_of_its_role(
    stepbridge: EmulatorProcess, deployment: Deployment, worker: Worker
) -> None:
    del worker
    machine = stepbridge.client("stepfunctions").describe_state_machine(stateMachineArn=deployment.state_machine)
    function = json.loads(machine["definition"])["States"]["DispatchJob"]["Parameters"]["FunctionName"].split(":")[6]
    job = ["--input", '{"a": 1, "b": 2}', "--state-machine", deployment.state_machine]
    shown = command(stepbridge, "run", *job).stderr
    assert re.search(rf" AROA[A-Z0-9]{{17}}:{function} → {deployment.outputs['SubscribeTopic']}, ", shown), shown


def test_the_history_is_what_aws_writes(stepbridge: EmulatorProcess, deployment: Deployment, worker: Worker) -> None:
    del worker
    execution = ended(stepbridge, start(stepbridge, deployment, {"a": 15, "b": 42}))
    events = history_of(stepbridge, execution["executionArn"])
    assert [event["type"] for event in events] == HISTORY
    assert [event["id"] for event in events] == list(range(1, 9))
    assert [event["previousEventId"] for event in events] == [0, 0, 2, 3, 4, 5, 6, 7]

    machine = stepbridge.client("stepfunctions").describe_state_machine(stateMachineArn=deployment.state_machine)
    dispatch_function = json.loads(machine["definition"])["States"]["DispatchJob"]["Parameters"]["FunctionName"]
    started, entered, scheduled, task_started, submitted, succeeded, exited, finished = events
    assert started["executionStartedEventDetails"] == {
        "input": '{"a": 15, "b": 42}',
        "inputDetails": {"truncated": False},
        "roleArn": machine["roleArn"],
    }
    assert entered["stateEnteredEventDetails"] == {
        "name": "DispatchJob",
        "input": '{"a": 15, "b": 42}',
        "inputDetails": {"truncated": False},
    }
    details = scheduled["taskScheduledEventDetails"]
    parameters = json.loads(details.pop("parameters"))
    assert details == {
        "resourceType": "lambda",
        "resource": "invoke.waitForTaskToken",
        "region": "us-east-1",
        "timeoutInSeconds": 86400,
        "heartbeatInSeconds": 14400,
    }
    assert parameters["FunctionName"] == dispatch_function
    assert parameters["Payload"]["Input"] == {"a": 15, "b": 42}
    assert task_started["taskStartedEventDetails"] == {
        "resourceType": "lambda",
        "resource": "invoke.waitForTaskToken",
    }
    answer = json.loads(submitted["taskSubmittedEventDetails"]["output"])
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert succeeded["taskSucceededEventDetails"] == {
        "resourceType": "lambda",
        "resource": "invoke.waitForTaskToken",
        "output": '{"result":57}',
        "outputDetails": {"truncated": False},
    }
    output = '{"a":15,"b":42,"lambdaOutput":{"result":57}}'
    assert exited["stateExitedEventDetails"] == {
        "name": "DispatchJob",
        "output": output,
        "outputDetails": {"truncated": False},
    }
    assert finished["executionSucceededEventDetails"] == {"output": output, "outputDetails": {"truncated": False}}


def test_an_exception_in_the_job_fails_the_execution_with_its_error_and_cause(
    stepbridge: EmulatorProcess, deployment: Deployment, worker: Worker
) -> None:
    del worker
    execution = ended(stepbridge, start(stepbridge, deployment, {"a": 1}))
    assert execution["status"] == "FAILED"
    assert "b" in execution["cause"]
    assert [event["type"] for event in history_of(stepbridge, execution["executionArn"])][-2:] == [
        "TaskFailed",
        "ExecutionFailed",
    ]
    failed = history_of(stepbridge, execution["executionArn"])[-2]["taskFailedEventDetails"]
    assert (failed["error"], failed["cause"]) == (execution["error"], execution["cause"])


def test_fifty_jobs_at_once_each_get_their_own_answer(
    stepbridge: EmulatorProcess, deployment: Deployment, worker: Worker
) -> None:
    del worker
    executions = [start(stepbridge, deployment, {"a": number, "b": 1000}) for number in range(50)]
    outputs = [json.loads(ended(stepbridge, execution)["output"]) for execution in executions]
    assert [output["lambdaOutput"]["result"] for output in outputs] == [number + 1000 for number in range(50)]


def test_a_job_waits_for_a_worker_that_is_away(stepbridge: EmulatorProcess, deployment: Deployment) -> None:
    # The worker has been connected before (its session is kept), and is gone now.
    first = Worker(deployment)
    ended(stepbridge, start(stepbridge, deployment, {"a": 1, "b": 1}))
    first.stop()
    execution = start(stepbridge, deployment, {"a": 2, "b": 3})
    wait_until(
        lambda: "TaskSubmitted" in [event["type"] for event in history_of(stepbridge, execution)], "the dispatch"
    )
    assert stepbridge.client("stepfunctions").describe_execution(executionArn=execution)["status"] == "RUNNING"
    second = Worker(deployment)
    assert json.loads(ended(stepbridge, execution)["output"])["lambdaOutput"] == {"result": 5}
    second.stop()


@pytest.fixture
def impatient(stepbridge: EmulatorProcess, deployment: Deployment) -> Deployment:
    """The deployed state machine with a timeout of a second, and a worker's topic that nobody listens to."""
    states = stepbridge.client("stepfunctions")
    machine = states.describe_state_machine(stateMachineArn=deployment.state_machine)
    definition = json.loads(machine["definition"])
    state = definition["States"]["DispatchJob"]
    state.pop("HeartbeatSeconds")
    state["TimeoutSeconds"] = 1
    name = "impatient"
    arn = states.create_state_machine(name=name, definition=json.dumps(definition), roleArn=machine["roleArn"])
    return Deployment({**deployment.outputs, "StateMachineArn": arn["stateMachineArn"]}, deployment.device)


def test_without_a_worker_the_execution_ends_at_its_timeout(stepbridge: EmulatorProcess, impatient: Deployment) -> None:
    execution = ended(stepbridge, start(stepbridge, impatient, {"a": 1, "b": 2}))
    assert (execution["status"], execution["error"]) == ("FAILED", "States.Timeout")
    assert [event["type"] for event in history_of(stepbridge, execution["executionArn"])][-2:] == [
        "TaskTimedOut",
        "ExecutionFailed",
    ]


def waiting_token(emulator: EmulatorProcess, execution: str) -> str:
    """The task token of an execution that waits, from its history."""

    def probe() -> str | None:
        events = history_of(emulator, execution)
        if "TaskSubmitted" not in [event["type"] for event in events]:
            return None
        token: str = json.loads(events[2]["taskScheduledEventDetails"]["parameters"])["Payload"]["TaskToken"]
        return token

    return wait_until(probe, "the dispatch")


def refused(call: Any, **members: Any) -> str:
    with pytest.raises(ClientError) as refusal:
        call(**members)
    code: str = refusal.value.response["Error"]["Code"]
    return code


def test_tokens_are_answered_as_aws_answers_them(stepbridge: EmulatorProcess, deployment: Deployment) -> None:
    states = stepbridge.client("stepfunctions")
    execution = start(stepbridge, deployment, {"a": 1, "b": 2})
    token = waiting_token(stepbridge, execution)
    assert refused(states.send_task_success, taskToken=token, output="not json") == "InvalidOutput"
    assert refused(states.send_task_success, taskToken="not a token", output="{}") == "InvalidToken"
    assert refused(states.send_task_success, taskToken=token[:-4] + "AAAA", output="{}") == "InvalidToken"
    states.send_task_heartbeat(taskToken=token)
    states.send_task_success(taskToken=token, output='{"result": 3}')
    assert json.loads(ended(stepbridge, execution)["output"])["lambdaOutput"] == {"result": 3}
    assert refused(states.send_task_success, taskToken=token, output="{}") == "TaskTimedOut"
    assert refused(states.send_task_failure, taskToken=token) == "TaskTimedOut"
    assert refused(states.send_task_heartbeat, taskToken=token) == "TaskTimedOut"


def test_stopping_an_execution_kills_its_token(stepbridge: EmulatorProcess, deployment: Deployment) -> None:
    states = stepbridge.client("stepfunctions")
    execution = start(stepbridge, deployment, {"a": 1, "b": 2})
    token = waiting_token(stepbridge, execution)
    states.stop_execution(executionArn=execution, error="Operator", cause="enough")
    description = ended(stepbridge, execution)
    assert (description["status"], description["error"], description["cause"]) == ("ABORTED", "Operator", "enough")
    assert refused(states.send_task_success, taskToken=token, output="{}") == "TaskTimedOut"


def test_a_waiting_execution_survives_kill_9(tmp_path: Path) -> None:
    emulator = EmulatorProcess(tmp_path)
    emulator.start()
    try:
        states = emulator.client("stepfunctions")
        activity = states.create_activity(name="on-prem")["activityArn"]
        definition = {
            "StartAt": "Work",
            "States": {"Work": {"Type": "Task", "Resource": activity, "Next": "Then"}, "Then": {"Type": "Succeed"}},
        }
        machine = states.create_state_machine(
            name="durable", definition=json.dumps(definition), roleArn="arn:aws:iam::123456789012:role/r"
        )["stateMachineArn"]
        executions = [states.start_execution(stateMachineArn=machine)["executionArn"] for _ in range(5)]
        tokens = [states.get_activity_task(activityArn=activity)["taskToken"] for _ in range(3)]
        emulator.kill()
        emulator.start()
        tokens += [states.get_activity_task(activityArn=activity)["taskToken"] for _ in range(2)]
        assert len(set(tokens)) == 5
        for number, token in enumerate(tokens):
            states.send_task_success(taskToken=token, output=str(number))
        outputs = sorted(ended(emulator, execution)["output"] for execution in executions)
        assert outputs == ["0", "1", "2", "3", "4"]
    finally:
        emulator.stop()


def test_the_aws_command_line_needs_only_the_endpoint(stepbridge: EmulatorProcess, deployment: Deployment) -> None:
    listed = subprocess.run(
        [
            "aws",
            "stepfunctions",
            "list-state-machines",
            "--query",
            "stateMachines[].stateMachineArn",
            "--output",
            "json",
        ],
        env=stepbridge.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert deployment.state_machine in json.loads(listed.stdout)


def test_a_request_for_another_region_is_refused_as_aws_refuses_it(stepbridge: EmulatorProcess) -> None:
    states = boto3.client(
        "stepfunctions",
        endpoint_url=stepbridge.endpoints["http"],
        region_name="eu-west-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    assert refused(states.list_state_machines) == "InvalidSignatureException"


def test_concurrent_identical_starts_are_one_execution(stepbridge: EmulatorProcess, deployment: Deployment) -> None:
    arns: list[str] = []

    def begin() -> None:
        answer = stepbridge.client("stepfunctions").start_execution(
            stateMachineArn=deployment.state_machine, name="only-once", input="{}"
        )
        arns.append(answer["executionArn"])

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(arns) == 8
    assert len(set(arns)) == 1
    stepbridge.client("stepfunctions").stop_execution(executionArn=arns[0])


def test_a_publish_that_only_seemed_to_fail_is_dispatched_again_and_the_late_answer_dropped(
    stepbridge: EmulatorProcess, tmp_path: Path
) -> None:
    # The first invocation publishes and then fails, as when the answer of IoT Core is lost: the worker gets both jobs.
    resources = shutil.copytree(ROOT / "aws-resources", tmp_path / "aws-resources")
    with (resources / "functions" / "dispatch_job" / "app.py").open("a") as app:
        app.write(FAILS_AFTER_ITS_FIRST_PUBLISH)
    own = {"MQTTClientID": "twice", "MQTTContainerNameInIoT": "twice", "WorkerTopic": "twice", "LambdaTopic": "back"}
    twice = deploy(stepbridge, tmp_path / "device", resources, "twice", own)
    worker = Worker(twice)
    execution = ended(stepbridge, start(stepbridge, twice, {"a": 15, "b": 42}))
    assert json.loads(execution["output"])["lambdaOutput"] == {"result": 57}
    types = [event["type"] for event in history_of(stepbridge, execution["executionArn"])]
    assert types == [*HISTORY[:4], "TaskFailed", *HISTORY[2:]]
    wait_until(lambda: worker.log().count("Answered the job") == 2, "the confirmation of both answers")
    group = f"/aws/lambda/{twice.outputs['CallbackFunctionName']}"

    logs = stepbridge.client("logs")

    def logged() -> list[str]:
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            return []
        events = logs.filter_log_events(logGroupName=group)["events"]
        return [event["message"] for event in events if "answer" in event["message"] or "Completed" in event["message"]]

    lines = wait_until(lambda: lines if len(lines := logged()) == 2 else None, "both answers at the callback function")
    assert sorted("Dropped an answer" in line for line in lines) == [False, True]
    worker.stop()


FAILS_AFTER_ITS_FIRST_PUBLISH = """

publish = iot_data.publish
published = 0

def publish_and_fail_once(**members):
    global published
    publish(**members)
    published += 1
    if published == 1:
        raise exceptions.ReadTimeoutError(endpoint_url="https://iot")

iot_data.publish = publish_and_fail_once
"""
