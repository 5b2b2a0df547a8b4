"""The real `sam`: build, deploy, nothing to change, change, invoke, list, delete."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.e2e.harness import ROOT

from stepbridge.testing import EmulatorProcess

SAM = ROOT / ".venv" / "sam" / "bin" / "sam"

ROLLED_BACK = """\
Parameters:
  Environment: {Type: String, Default: test, AllowedValues: [test, production]}
Conditions:
  IsTest: !Equals [!Ref Environment, test]
Mappings:
  Retention: {test: {Days: 7}, production: {Days: 90}}
Resources:
  Logs:
    Type: AWS::Logs::LogGroup
    Properties:
      LogGroupName: !Join ["/", ["", !If [IsTest, trial, real], !Select [0, !Split ["-", !Ref AWS::StackName]]]]
      RetentionInDays: !FindInMap [Retention, !Ref Environment, Days]
  Attachment:
    Type: AWS::IoT::PolicyPrincipalAttachment
    DependsOn: Logs
    Properties: {PolicyName: nobody, Principal: !Sub "arn:aws:iot:${AWS::Region}:${AWS::AccountId}:cert/none"}
"""


class Sam:
    """The `sam` command in one project folder."""

    def __init__(self, emulator: EmulatorProcess, folder: Path) -> None:
        self._environment = {
            **emulator.environment(),
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "1",
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
        }
        self._folder = folder

    def __call__(self, *arguments: str, succeeds: bool = True) -> str:
        done = subprocess.run(
            [SAM, *arguments], cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=120
        )
        output = done.stdout + done.stderr
        assert (done.returncode == 0) is succeeds, output
        assert 'File "/' not in output or "app.py" in output, output  # a traceback can only be the function's own
        return output

    def deploy(self, stack: str, *options: str, succeeds: bool = True) -> str:
        return self(
            "deploy", "--stack-name", stack, "--resolve-s3", "--capabilities", "CAPABILITY_IAM",
            "--no-confirm-changeset", *options, succeeds=succeeds,
        )  # fmt: skip


pytestmark = pytest.mark.skipif(not SAM.exists(), reason="aws-sam-cli is not installed: make test installs it")


@pytest.mark.slow
def test_the_life_of_our_own_stack(stepbridge: EmulatorProcess, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "aws-resources", tmp_path, dirs_exist_ok=True)
    template = tmp_path / "template.yaml"
    text = template.read_text()
    template.write_text(text.replace("Default: mqtt-container-client", "Default: sam-client"))
    sam = Sam(stepbridge, tmp_path)
    sam("build")

    assert "Successfully created/updated stack - sam-loop" in sam.deploy("sam-loop")
    functions = stepbridge.client("lambda")
    name = next(
        each["PhysicalResourceId"]
        for each in stepbridge.client("cloudformation").list_stack_resources(StackName="sam-loop")[
            "StackResourceSummaries"
        ]
        if each["LogicalResourceId"] == "DispatchFunction"
    )
    before = functions.get_function_configuration(FunctionName=name)

    assert "is up to date" in sam.deploy("sam-loop", succeeds=False)

    template.write_text(template.read_text().replace("MemorySize: 128", "MemorySize: 256"))
    sam("build")
    assert "UPDATE_COMPLETE" in sam.deploy("sam-loop")
    after = functions.get_function_configuration(FunctionName=name)
    assert (before["MemorySize"], after["MemorySize"]) == (128, 256)
    assert before["CodeSha256"] == after["CodeSha256"]

    listed = json.loads(sam("list", "resources", "--stack-name", "sam-loop", "--output", "json"))
    assert name in [each["PhysicalResourceId"] for each in listed]
    invoked = sam("remote", "invoke", "--stack-name", "sam-loop", "DispatchFunction", "--event", "{}")
    assert "errorType" in invoked or "errorMessage" in invoked  # an event without a task token is refused

    sam("delete", "--stack-name", "sam-loop", "--no-prompts", "--region", "us-east-1")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function_configuration(FunctionName=name)
    assert "sam-client" not in [thing["thingName"] for thing in stepbridge.client("iot").list_things()["things"]]


@pytest.mark.slow
def test_a_failing_resource_rolls_back_and_leaves_nothing(stepbridge: EmulatorProcess, tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(ROLLED_BACK)
    sam = Sam(stepbridge, tmp_path)
    output = sam.deploy("broken-stack", succeeds=False)
    assert "ROLLBACK_COMPLETE" in output
    stacks = stepbridge.client("cloudformation")
    assert stacks.describe_stacks(StackName="broken-stack")["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE"
    failed = next(
        event
        for event in stacks.describe_stack_events(StackName="broken-stack")["StackEvents"]
        if event["ResourceStatus"] == "CREATE_FAILED"
    )
    assert failed["LogicalResourceId"] == "Attachment"
    assert stepbridge.client("logs").describe_log_groups(logGroupNamePrefix="/trial")["logGroups"] == []
