"""An emulator whose Step Functions are another process, as with AWS Step Functions Local in docker compose."""

import json
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stepbridge.testing import EmulatorProcess

DEFINITION = json.dumps({"StartAt": "Echo", "States": {"Echo": {"Type": "Pass", "End": True}}})
ROLE = "arn:aws:iam::123456789012:role/any"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """What runs the executions; it keeps nothing over a restart."""
    emulator = EmulatorProcess(tmp_path_factory.mktemp("elsewhere"), "--memory")
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, elsewhere: EmulatorProcess) -> Iterator[EmulatorProcess]:
    emulator = EmulatorProcess(
        tmp_path_factory.mktemp("here"), "--step-functions-endpoint", elsewhere.endpoints["http"]
    )
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture
def emulator(running: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """The emulator, without state machines when the test is over."""
    yield running
    states = running.client("stepfunctions")
    for machine in states.list_state_machines()["stateMachines"]:
        states.delete_state_machine(stateMachineArn=machine["stateMachineArn"])


def machines(emulator: EmulatorProcess) -> list[str]:
    listed: list[dict[str, Any]] = emulator.client("stepfunctions").list_state_machines()["stateMachines"]
    return sorted(machine["name"] for machine in listed)


def test_executions_run_elsewhere_and_refusals_come_from_there(
    emulator: EmulatorProcess, elsewhere: EmulatorProcess
) -> None:
    states = emulator.client("stepfunctions")
    arn = states.create_state_machine(name="echo", definition=DEFINITION, roleArn=ROLE)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=arn, name="one", input='{"é": 1}')["executionArn"]
    there = elsewhere.client("stepfunctions").describe_execution(executionArn=execution)
    here = states.describe_execution(executionArn=execution)
    assert here["startDate"] == there["startDate"]
    assert json.loads(here["input"]) == json.loads(there["input"]) == {"é": 1}
    assert machines(emulator) == machines(elsewhere) == ["echo"]
    with pytest.raises(ClientError) as refused:
        states.create_state_machine(name="broken", definition="{}", roleArn=ROLE)
    assert refused.value.response["Error"]["Code"] == "InvalidDefinition"
    with pytest.raises(states.exceptions.InvalidToken):
        states.send_task_success(taskToken="none of theirs", output="{}")


def test_stacks_and_rules_make_their_calls_there_too(emulator: EmulatorProcess, elsewhere: EmulatorProcess) -> None:
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {"RoleArn": ROLE, "DefinitionString": DEFINITION, "StateMachineName": "of-a-stack"},
    }
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(StackName="s", TemplateBody=json.dumps({"Resources": {"Machine": machine}}))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="s", WaiterConfig={"Delay": 1})
    assert machines(elsewhere) == ["of-a-stack"]
    cloudformation.delete_stack(StackName="s")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="s", WaiterConfig={"Delay": 1})
    assert machines(elsewhere) == []


def test_what_it_forgets_at_a_restart_is_created_again(emulator: EmulatorProcess, elsewhere: EmulatorProcess) -> None:
    states = emulator.client("stepfunctions")
    arns = {
        name: states.create_state_machine(name=name, definition=DEFINITION, roleArn=ROLE)["stateMachineArn"]
        for name in ("kept", "listed", "deleted")
    }
    changed = DEFINITION.replace('"Pass"', '"Succeed"').replace(', "End": true', "")
    states.update_state_machine(stateMachineArn=arns["kept"], definition=changed)
    states.delete_state_machine(stateMachineArn=arns["deleted"])
    elsewhere.kill()
    restart = threading.Timer(0.2, elsewhere.start)
    restart.start()
    states.start_execution(stateMachineArn=arns["kept"])  # waits for it
    restart.join()
    assert machines(elsewhere) == ["kept"]
    assert states.describe_state_machine(stateMachineArn=arns["kept"])["definition"] == changed
    assert machines(emulator) == ["kept", "listed"]
    with pytest.raises(states.exceptions.StateMachineDoesNotExist):
        states.start_execution(stateMachineArn=arns["deleted"])


def test_names_and_addresses_for_other_machines(tmp_path: Path) -> None:
    emulator = EmulatorProcess(tmp_path, "--memory", "--mqtt-host", "127.0.0.2", "--hostname", "rule-bridge")
    emulator.start()
    try:
        port = emulator.endpoints["mqtt_port"]
        assert emulator.endpoints["mqtt_host"] == "rule-bridge"
        told = emulator.client("iot").describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
        assert told == f"rule-bridge:{port}"
        with urllib.request.urlopen(f"{emulator.endpoints['http']}/_stepbridge/root-ca.pem") as answer:
            root = answer.read().decode()
        context = ssl.create_default_context(cadata=root)
        for name in ("rule-bridge", "localhost"):
            with (
                socket.create_connection(("127.0.0.2", port)) as connection,
                context.wrap_socket(connection, server_hostname=name) as secured,
            ):
                assert secured.version() in ("TLSv1.2", "TLSv1.3")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    finally:
        emulator.stop()
