"""`stepbridge deploy` and `stepbridge up --watch`, as processes."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.harness import command, wait_until

from stepbridge.testing import EmulatorProcess

TEMPLATE = """\
Transform: AWS::Serverless-2016-10-31
Resources:
  Greeter:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: code/, Handler: app.handler, Runtime: python3.13}
Outputs:
  Name: {Value: !Ref Greeter}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "code").mkdir(parents=True)
    (folder / "template.yaml").write_text(TEMPLATE)
    write_code(folder, "first")
    return folder


def write_code(project: Path, greeting: str) -> None:
    (project / "code" / "app.py").write_text(f"def handler(event, context):\n    return {greeting!r}\n")


def greeting(emulator: EmulatorProcess, stack: str) -> str | None:
    """What the deployed function answers; None while there is no stack."""
    stacks = emulator.client("cloudformation")
    try:
        outputs = stacks.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    except stacks.exceptions.ClientError:
        return None
    if not outputs:
        return None
    answer = emulator.client("lambda").invoke(FunctionName=outputs[0]["OutputValue"])
    said: str = json.loads(answer["Payload"].read())
    return said


@pytest.fixture
def watching(project: Path, tmp_path: Path) -> Iterator[EmulatorProcess]:
    emulator = EmulatorProcess(tmp_path / "emulator", "--memory", f"--watch={project}")
    emulator.start()
    yield emulator
    assert emulator.stop() == 0


def test_what_changes_is_deployed_again(watching: EmulatorProcess, project: Path) -> None:
    wait_until(lambda: greeting(watching, "stepbridge") == "first", "the first deploy")
    write_code(project, "second")
    wait_until(lambda: greeting(watching, "stepbridge") == "second", "the changed code")
    # A mistake is told, and what is deployed stays until it is mended.
    (project / "template.yaml").write_text(TEMPLATE.replace("Handler", "Handel"))
    wait_until(lambda: "Handel" in watching.log.read_text(), "the refusal")
    assert greeting(watching, "stepbridge") == "second"
    write_code(project, "third")
    (project / "template.yaml").write_text(TEMPLATE)
    wait_until(lambda: greeting(watching, "stepbridge") == "third", "the mended template")


def test_deploy_uses_nothing_of_the_users_configuration(
    stepbridge: EmulatorProcess, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    deployed = command(stepbridge, "deploy", str(project), "--stack-name", "isolated")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert re.match(r"Name = isolated-Greeter-\w{12}\n", deployed.stdout)
    again = command(stepbridge, "deploy", str(project), "--stack-name", "isolated")
    assert again.returncode == 0
    assert "is already what the template says" in again.stderr


def test_a_parameter_keeps_its_value_until_the_template_has_it_no_more(
    stepbridge: EmulatorProcess, project: Path
) -> None:
    def deploy(*options: str) -> None:
        deployed = command(stepbridge, "deploy", str(project), "--stack-name", "parametric", *options)
        assert deployed.returncode == 0, deployed.stderr

    stacks = stepbridge.client("cloudformation")
    parameters = "Parameters:\n  Stage: {Type: String, Default: test}\n"
    (project / "template.yaml").write_text(TEMPLATE + parameters)
    deploy("--parameter", "Stage=live")
    write_code(project, "second")
    deploy()
    stack = stacks.describe_stacks(StackName="parametric")["Stacks"][0]
    assert stack["Parameters"] == [{"ParameterKey": "Stage", "ParameterValue": "live"}]
    (project / "template.yaml").write_text(TEMPLATE.replace("Name:", "Called:"))
    deploy()
    assert not stacks.describe_stacks(StackName="parametric")["Stacks"][0].get("Parameters")
