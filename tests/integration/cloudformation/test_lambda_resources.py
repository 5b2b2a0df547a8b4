"""What AWS::Lambda::* resources do beyond being there, and which are refused before anything is made."""

import json
from typing import Any

import pytest
from tests.integration.cloudformation.stacks import ROLE, Stacks, function

from stepbridge.testing import EmulatorProcess

KIND = """
import os
def handler(event, context): return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""


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

    first = {"Role": ROLE, "F": function(KIND), "V": version()}
    assert stacks.create("moving", {**first, "A": alias("V", **provisioned(1))}) == "CREATE_COMPLETE"
    name = stacks.physical_id("moving", "F")
    assert kind("live") == "provisioned-concurrency"
    second = {"Role": ROLE, "F": function(KIND, MemorySize=256), "V": version(), "W": version(Description="second")}
    second["W"]["DependsOn"] = "F"
    assert stacks.update("moving", {**second, "A": alias("W", **provisioned(2))}) == "UPDATE_COMPLETE"
    assert [kind("live"), kind("2"), kind("1")] == ["provisioned-concurrency", "provisioned-concurrency", "on-demand"]
    config = functions.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    assert (config["Status"], config["RequestedProvisionedConcurrentExecutions"]) == ("READY", 2)
    assert stacks.update("moving", {**second, "A": alias("W")}) == "UPDATE_COMPLETE"
    assert functions.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []
    assert stacks.delete("moving") == "DELETE_COMPLETE"


def test_what_cannot_be_initialised_fails_the_stack(stacks: Stacks) -> None:
    broken = {"Role": ROLE, "F": function("raise ValueError('no')"), "V": version(**provisioned(1))}
    assert stacks.create("uninitialised", broken) == "ROLLBACK_COMPLETE"
    reason = next(
        reason for logical, status, reason in stacks.events("uninitialised") if (logical, status) == FAILED_VERSION
    )
    assert "Provisioned Concurrency configuration failed to be applied. Reason: FUNCTION_ERROR_INIT_FAILURE" in reason
    stacks.delete("uninitialised")


def test_a_version_that_is_there_already_is_not_taken_over(stacks: Stacks) -> None:
    twice = {"Role": ROLE, "F": function(KIND), "First": version(), "V": {**version(), "DependsOn": "First"}}
    assert stacks.create("twice", twice) == "ROLLBACK_COMPLETE"
    reason = next(reason for logical, status, reason in stacks.events("twice") if (logical, status) == FAILED_VERSION)
    assert "A version for this Lambda function exists ( 1 ). Modify the function to create a new version." in reason
    stacks.delete("twice")


FAILED_VERSION = ("V", "CREATE_FAILED")
