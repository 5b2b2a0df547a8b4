"""The real `sam`: build, deploy, use, change, look, delete; on our own template and on others."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.e2e.harness import ROOT, Deployment, Worker, command, ended, wait_until

from stepbridge.testing import EmulatorProcess

SAM = ROOT / ".venv" / "sam" / "bin" / "sam"
RUNTIME = "python3.13"  # of our template

# A template with conditions that leave resources out, mappings, nested functions, an export and a layer of its own.
CONDITIONAL = """\
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Environment: {Type: String, Default: test, AllowedValues: [test, production]}
  Names: {Type: CommaDelimitedList, Default: "left,right"}
Conditions:
  IsTest: !Equals [!Ref Environment, test]
  IsBusy: !And [!Not [!Condition IsTest], !Equals [!Select [0, !Ref Names], left]]
Mappings:
  Sizes:
    test: {Memory: 128, Days: 7}
    production: {Memory: 256, Days: 90}
Resources:
  Greeter:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code/
      Handler: app.handler
      Runtime: RUNTIME
      MemorySize: !FindInMap [Sizes, !Ref Environment, Memory]
      AutoPublishAlias: live
      ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions: 1}
      Environment:
        Variables:
          GREETING: !Join [" ", [!If [IsTest, trial, real], !Select [1, !Split ["-", !Sub "${AWS::StackName}-x"]]]]
          BUSY: !If [IsBusy, !GetAtt Waiting.QueueName, !Ref AWS::NoValue]
  Waiting:
    Type: AWS::SQS::Queue
    Condition: IsBusy
    Properties:
      QueueName: !Sub
        - "${AWS::StackName}-${Name}"
        - {Name: !Select [1, !Ref Names]}
  Logs:
    Type: AWS::Logs::LogGroup
    Properties:
      LogGroupName: !Sub "/conditional/${AWS::StackName}"
      RetentionInDays: !FindInMap [Sizes, !Ref Environment, Days]
Outputs:
  Function:
    Value: !Ref Greeter
    Export: {Name: !Sub "${AWS::StackName}-function"}
  Queue:
    Condition: IsBusy
    Value: !Ref Waiting
""".replace("RUNTIME", RUNTIME)

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

    def __call__(self, *arguments: str, succeeds: bool = True, answers: str | None = None) -> str:
        done = subprocess.run(
            [SAM, *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            input=answers,
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


@pytest.fixture
def sam(stepbridge: EmulatorProcess, tmp_path: Path) -> Sam:
    """sam in an empty folder.  That it or the runtime is not there is a failure: nothing else tests this."""
    if not SAM.exists():
        pytest.fail("aws-sam-cli is not in .venv/sam: 'make check' installs it")
    if shutil.which(RUNTIME) is None:
        pytest.fail(f"'sam build' needs a {RUNTIME} on the PATH, the runtime of the templates")
    return Sam(stepbridge, tmp_path)


def physical_id(emulator: EmulatorProcess, stack: str, logical_id: str) -> str:
    stacks = emulator.client("cloudformation")
    found = stacks.describe_stack_resource(StackName=stack, LogicalResourceId=logical_id)
    name: str = found["StackResourceDetail"]["PhysicalResourceId"]
    return name


@pytest.mark.slow
def test_the_life_of_our_own_stack(stepbridge: EmulatorProcess, sam: Sam, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "aws-resources", tmp_path, dirs_exist_ok=True)
    template = tmp_path / "template.yaml"
    text = template.read_text()
    template.write_text(
        text.replace("Default: mqtt-container-client", "Default: sam-client").replace("tenant1/to/", "sam/to/")
    )
    sam("build")
    assert "Successfully created/updated stack - sam-loop" in sam.deploy("sam-loop")

    # What sam has deployed works: a worker takes the job and answers.
    stack = stepbridge.client("cloudformation").describe_stacks(StackName="sam-loop")["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    policy = ("--policy", outputs["WorkerPolicyName"])
    created = command(stepbridge, "device", "create", outputs["ThingName"], "--out", str(tmp_path / "device"), *policy)
    assert created.returncode == 0, created.stdout + created.stderr
    worker = Worker(Deployment(outputs, tmp_path / "device"))
    try:
        states = stepbridge.client("stepfunctions")
        started = states.start_execution(stateMachineArn=outputs["StateMachineArn"], input='{"a": 15, "b": 42}')
        execution = ended(stepbridge, started["executionArn"])
        assert json.loads(execution["output"])["lambdaOutput"] == {"result": 57}
        # The same by sam, which waits for the output; and a function that refuses its event.
        event = ("--event", '{"a": 1, "b": 2}')
        assert '"result":3' in sam("remote", "invoke", "--stack-name", "sam-loop", "DispatchStateMachine", *event)
        assert "errorType" in sam("remote", "invoke", "--stack-name", "sam-loop", "DispatchFunction", "--event", "{}")
    finally:
        worker.stop()

    assert "is up to date" in sam.deploy("sam-loop", succeeds=False)

    functions = stepbridge.client("lambda")
    name = physical_id(stepbridge, "sam-loop", "DispatchFunction")
    before = functions.get_function_configuration(FunctionName=name)
    template.write_text(template.read_text().replace("MemorySize: 128", "MemorySize: 256"))
    sam("build")
    assert "UPDATE_COMPLETE" in sam.deploy("sam-loop")
    after = functions.get_function_configuration(FunctionName=name)
    assert (before["MemorySize"], after["MemorySize"]) == (128, 256)
    assert before["CodeSha256"] == after["CodeSha256"]

    listed = json.loads(sam("list", "resources", "--stack-name", "sam-loop", "--output", "json"))
    assert name in [each["PhysicalResourceId"] for each in listed]
    shown = json.loads(sam("list", "stack-outputs", "--stack-name", "sam-loop", "--output", "json"))
    assert outputs["StateMachineArn"] in [each["OutputValue"] for each in shown]
    wait_until(
        lambda: "REPORT RequestId" in sam("logs", "--stack-name", "sam-loop", "--name", "DispatchFunction"),
        "the function's log",
    )

    # What the device was given outside of the stack holds on to the stack's thing and policy, here as on AWS.
    iot = stepbridge.client("iot")
    for principal in iot.list_thing_principals(thingName=outputs["ThingName"])["principals"]:
        iot.detach_thing_principal(thingName=outputs["ThingName"], principal=principal)
        iot.detach_policy(policyName=outputs["WorkerPolicyName"], target=principal)
    sam("delete", "--stack-name", "sam-loop", "--no-prompts", "--region", "us-east-1")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function_configuration(FunctionName=name)
    assert "sam-client" not in [thing["thingName"] for thing in iot.list_things()["things"]]


@pytest.mark.slow
def test_conditions_and_guided_deploy(stepbridge: EmulatorProcess, sam: Sam, tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(CONDITIONAL)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("import os\ndef handler(event, context): return os.environ['GREETING']\n")
    sam("build")
    # The questions: stack, region, the two parameters, confirm changes, create roles, disable rollback, save the
    # arguments, the file and the environment to save them in.
    answers = "guided-one\nus-east-1\ntest\nleft,right\nn\ny\nn\ny\n\n\n"
    output = sam("deploy", "--guided", answers=answers)
    assert "Successfully created/updated stack - guided-one" in output
    assert 'stack_name = "guided-one"' in (tmp_path / "samconfig.toml").read_text()
    functions, stacks = stepbridge.client("lambda"), stepbridge.client("cloudformation")
    name = physical_id(stepbridge, "guided-one", "Greeter")
    configuration = functions.get_function_configuration(FunctionName=name)
    assert configuration["MemorySize"] == 128
    assert configuration["Environment"]["Variables"] == {"GREETING": "trial one"}
    answer = functions.invoke(FunctionName=name, Qualifier="live")
    assert json.loads(answer["Payload"].read()) == "trial one"
    provisioned = functions.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    assert (provisioned["Status"], provisioned["AllocatedProvisionedConcurrentExecutions"]) == ("READY", 1)
    assert [each["OutputKey"] for each in stacks.describe_stacks(StackName="guided-one")["Stacks"][0]["Outputs"]] == [
        "Function"
    ]

    # The other branch of each condition: a queue comes, the function changes.
    sam("deploy", "--parameter-overrides", "Environment=production", "--no-confirm-changeset")
    configuration = functions.get_function_configuration(FunctionName=name)
    assert configuration["MemorySize"] == 256
    assert configuration["Environment"]["Variables"] == {"GREETING": "real one", "BUSY": "guided-one-right"}
    assert physical_id(stepbridge, "guided-one", "Waiting").endswith("/guided-one-right")
    groups = stepbridge.client("logs").describe_log_groups(logGroupNamePrefix="/conditional/")["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [90]

    sam("delete", "--stack-name", "guided-one", "--no-prompts", "--region", "us-east-1")
    assert stepbridge.client("logs").describe_log_groups(logGroupNamePrefix="/conditional/")["logGroups"] == []
    assert stacks.list_exports()["Exports"] == []


@pytest.mark.slow
def test_a_failing_resource_rolls_back_and_leaves_nothing(
    stepbridge: EmulatorProcess, sam: Sam, tmp_path: Path
) -> None:
    (tmp_path / "template.yaml").write_text(ROLLED_BACK)
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
    sam("delete", "--stack-name", "broken-stack", "--no-prompts", "--region", "us-east-1")
