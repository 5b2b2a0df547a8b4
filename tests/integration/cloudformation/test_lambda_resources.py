"""What AWS::Lambda::* resources do beyond being there, and which are refused before anything is made."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.e2e.harness import wait_until
from tests.integration.cloudformation.stacks import ROLE, Stacks, function

from stepbridge.testing import EmulatorProcess

KIND = """
import os
def handler(event, context): return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
# It allows no logs: their groups would outlive the stacks.
SILENT_ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {"AssumeRolePolicyDocument": ROLE["Properties"]["AssumeRolePolicyDocument"]},
}
PROFILE = "arn:aws:signer:us-east-1:123456789012:/signing-profiles/edge/aBcDeFgHiJ"
FAILED_VERSION = ("V", "CREATE_FAILED")


@pytest.fixture(scope="module")
def stacks(stepbridge: EmulatorProcess) -> Stacks:
    return Stacks(stepbridge)


def version(of: str = "F", **properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": of}, **properties}}


def alias(to: str, **properties: Any) -> dict[str, Any]:
    target = {"FunctionName": {"Ref": "F"}, "Name": "live", "FunctionVersion": {"Fn::GetAtt": [to, "Version"]}}
    return {"Type": "AWS::Lambda::Alias", "Properties": {**target, **properties}}


def provisioned(count: int) -> dict[str, Any]:
    return {"ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": count}}


def test_an_alias_with_provisioned_concurrency_moves_to_another_version(stacks: Stacks) -> None:
    functions = stacks.emulator.client("lambda")

    def kind(qualifier: str) -> Any:
        return json.load(functions.invoke(FunctionName=name, Qualifier=qualifier)["Payload"])

    first = {"Role": SILENT_ROLE, "F": function(KIND), "V": version()}
    assert stacks.create("moving", {**first, "A": alias("V", **provisioned(1))}) == "CREATE_COMPLETE"
    name = stacks.physical_id("moving", "F")
    assert kind("live") == "provisioned-concurrency"
    second = {
        "Role": SILENT_ROLE,
        "F": function(KIND, MemorySize=256),
        "V": version(),
        "W": version(Description="second"),
    }
    second["W"]["DependsOn"] = "F"
    assert stacks.update("moving", {**second, "A": alias("W", **provisioned(2))}) == "UPDATE_COMPLETE"
    assert [kind("live"), kind("2"), kind("1")] == ["provisioned-concurrency", "provisioned-concurrency", "on-demand"]
    config = functions.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    assert (config["Status"], config["RequestedProvisionedConcurrentExecutions"]) == ("READY", 2)
    assert stacks.update("moving", {**second, "A": alias("W")}) == "UPDATE_COMPLETE"
    assert functions.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []
    assert stacks.delete("moving") == "DELETE_COMPLETE"


def test_what_cannot_be_initialised_fails_the_stack(stacks: Stacks) -> None:
    broken = {"Role": SILENT_ROLE, "F": function("raise ValueError('no')"), "V": version(**provisioned(1))}
    assert stacks.create("uninitialised", broken) == "ROLLBACK_COMPLETE"
    reason = next(
        reason for logical, status, reason in stacks.events("uninitialised") if (logical, status) == FAILED_VERSION
    )
    assert "Provisioned Concurrency configuration failed to be applied. Reason: FUNCTION_ERROR_INIT_FAILURE" in reason
    stacks.delete("uninitialised")


def test_kill_9_while_what_is_provisioned_is_waited_for(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slow = f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\n{KIND}"
    resources = {"Role": SILENT_ROLE, "F": function(slow), "V": version(), "A": alias("V", **provisioned(1))}
    made = ("A", "CREATE_IN_PROGRESS", "Resource creation Initiated")
    emulator = EmulatorProcess(tmp_path / "data")
    emulator.start()
    try:
        before = Stacks(emulator)
        body = json.dumps({"Resources": resources})
        before.client.create_stack(StackName="cut-off", TemplateBody=body, Capabilities=["CAPABILITY_IAM"])
        wait_until(lambda: made in before.events("cut-off"), "the alias is made")
        emulator.kill()
        emulator.start()
        after = Stacks(emulator)
        assert after.client.describe_stacks(StackName="cut-off")["Stacks"][0]["StackStatus"] == "CREATE_IN_PROGRESS"
        gate.touch()
        assert after.status("cut-off") == "CREATE_COMPLETE"
        assert [status for logical, status, _ in after.events("cut-off") if logical == "A"][-1] == "CREATE_COMPLETE"
        where = {"FunctionName": after.physical_id("cut-off", "F"), "Qualifier": "live"}
        config = emulator.client("lambda").get_provisioned_concurrency_config(**where)
        assert (config["Status"], config["AvailableProvisionedConcurrentExecutions"]) == ("READY", 1)
    finally:
        emulator.close()


def test_a_version_that_is_there_already_is_not_taken_over(stacks: Stacks) -> None:
    twice = {"Role": SILENT_ROLE, "F": function(KIND), "First": version(), "V": {**version(), "DependsOn": "First"}}
    assert stacks.create("twice", twice) == "ROLLBACK_COMPLETE"
    reason = next(reason for logical, status, reason in stacks.events("twice") if (logical, status) == FAILED_VERSION)
    assert "A version for this Lambda function exists ( 1 ). Modify the function to create a new version." in reason
    stacks.delete("twice")


def test_the_settings_of_a_function_that_have_operations_of_their_own(stacks: Stacks) -> None:
    functions = stacks.emulator.client("lambda")
    signing: dict[str, Any] = {
        "Type": "AWS::Lambda::CodeSigningConfig",
        "Properties": {"AllowedPublishers": {"SigningProfileVersionArns": [PROFILE]}},
    }
    settings = {
        "CodeSigningConfigArn": {"Ref": "Signing"},
        "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/a",
        "LoggingConfig": {"LogFormat": "JSON"},
        "RecursiveLoop": "Allow",
        "RuntimeManagementConfig": {"UpdateRuntimeOn": "FunctionUpdate"},
    }
    resources = {"Role": SILENT_ROLE, "Signing": signing, "F": function(KIND, **settings)}
    assert stacks.create("settings", resources) == "CREATE_COMPLETE", stacks.events("settings")
    name = stacks.physical_id("settings", "F")
    arn = stacks.physical_id("settings", "Signing")
    assert functions.get_function_code_signing_config(FunctionName=name)["CodeSigningConfigArn"] == arn
    assert functions.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    assert functions.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "FunctionUpdate"
    metrics = stacks.emulator.client("cloudwatch").list_metrics(Namespace="AWS/Lambda")["Metrics"]
    assert [
        metric["MetricName"] for metric in metrics if {"Name": "FunctionName", "Value": name} in metric["Dimensions"]
    ] == ["SignatureValidationErrors"]

    assert stacks.update("settings", {**resources, "F": function(KIND)}) == "UPDATE_COMPLETE"
    assert "CodeSigningConfigArn" not in functions.get_function_code_signing_config(FunctionName=name)
    assert functions.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    assert functions.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
    configuration = functions.get_function_configuration(FunctionName=name)
    assert "KMSKeyArn" not in configuration
    assert configuration["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}

    enforced = {"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"}}
    signing["Properties"] = {**signing["Properties"], **enforced}
    unsigned = {"F": function("def handler(event, context): return 2", **settings)}
    assert stacks.update("settings", {**resources, **unsigned}) == "UPDATE_ROLLBACK_COMPLETE"
    assert any("Check the provided signature for unsigned." in reason for _, _, reason in stacks.events("settings"))
    assert stacks.delete("settings") == "DELETE_COMPLETE"


def test_what_is_not_offered_is_refused_by_its_logical_id(stacks: Stacks) -> None:
    resources = {
        "Role": SILENT_ROLE,
        "F": function(KIND, TenancyConfig={"TenantIsolationMode": "PER_TENANT"}, ImageConfig={"Command": ["c"]}),
    }
    with pytest.raises(ClientError) as refused:
        stacks.create("refused", resources)
    message = refused.value.response["Error"]["Message"]
    assert message.startswith("Properties validation failed for resource F with message:")
    assert "#/TenancyConfig: is not supported by stepbridge" in message
    assert "#/ImageConfig: is not supported by stepbridge" in message
