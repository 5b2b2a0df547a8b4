"""`FunctionUrlConfig` of SAM, by `sam deploy` and by `stepbridge deploy`, and what its URLs answer."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.e2e.harness import command
from tests.e2e.test_sam_deploy import Sam, sam

from stepbridge.testing import EmulatorProcess

__all__ = ["sam"]

TEMPLATE = """\
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {CodeUri: code/, Handler: app.handler, Runtime: python3.13}
Resources:
  Public:
    Type: AWS::Serverless::Function
    Properties:
      AutoPublishAlias: live
      FunctionUrlConfig:
        AuthType: NONE
        Cors: {AllowOrigins: ["https://page.example"], AllowMethods: [GET]}
  Private:
    Type: AWS::Serverless::Function
    Properties:
      FunctionUrlConfig: {AuthType: AWS_IAM}
Outputs:
  Public: {Value: !GetAtt PublicUrl.FunctionUrl}
  Private: {Value: !GetAtt PrivateUrl.FunctionUrl}
"""


def write_project(folder: Path, template: str = TEMPLATE) -> None:
    (folder / "code").mkdir()
    (folder / "template.yaml").write_text(template)
    (folder / "code" / "app.py").write_text(
        "def handler(event, context):\n    return [event['rawPath'], context.invoked_function_arn]\n"
    )


def check(emulator: EmulatorProcess, stack: str) -> None:
    """The public URL answers, of the alias; the private one only who signs."""
    stacks = emulator.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}
    asked = urllib.request.Request(f"{outputs['Public']}a/b", headers={"Origin": "https://page.example"})
    with urllib.request.urlopen(asked) as answer:
        path, arn = json.loads(answer.read())
        assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert path == "/a/b"
    assert arn.endswith(":live")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(outputs["Private"])


def test_stepbridge_deploy(stepbridge: EmulatorProcess, tmp_path: Path) -> None:
    write_project(tmp_path)
    deployed = command(stepbridge, "deploy", str(tmp_path), "--stack-name", "urls-own")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    check(stepbridge, "urls-own")


def test_sam_deploy(stepbridge: EmulatorProcess, sam: Sam, tmp_path: Path) -> None:
    write_project(tmp_path)
    sam.deploy("urls-sam")
    check(stepbridge, "urls-sam")
    sam("delete", "--stack-name", "urls-sam", "--no-prompts")


def test_what_is_not_supported_is_refused_by_its_logical_id(stepbridge: EmulatorProcess, tmp_path: Path) -> None:
    write_project(tmp_path, TEMPLATE.replace("{AuthType: AWS_IAM}", "{AuthType: AWS_IAM, InvokeMode: RESPONSE_STREAM}"))
    refused = command(stepbridge, "deploy", str(tmp_path), "--stack-name", "urls-refused")
    assert refused.returncode == 1
    assert "PrivateUrl" in refused.stderr
    assert "RESPONSE_STREAM is not supported by stepbridge for functions with the runtime python3.13" in refused.stderr
