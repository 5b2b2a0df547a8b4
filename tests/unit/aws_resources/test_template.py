"""What the template grants and takes, after the transform that AWS applies to it."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

AWS_RESOURCES = Path(__file__).parents[3] / "aws-resources"


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The template as written."""
    parsed: dict[str, Any] = yaml_parse((AWS_RESOURCES / "template.yaml").read_text())
    return parsed


@pytest.fixture(scope="module")
def statements(template: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """By logical id, the statements of each policy in it."""
    found = {}
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        documents = [*properties.get("Policies", []), properties.get("PolicyDocument", {})]
        found[name] = [statement for document in documents for statement in document.get("Statement", [])]
    return {name: granted for name, granted in found.items() if granted}


def arn(resource: str) -> dict[str, str]:
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:iot:${{AWS::Region}}:${{AWS::AccountId}}:{resource}"}


def allow(action: str | list[str], resource: object) -> dict[str, object]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def test_grants_each_part_what_its_hop_needs_and_no_more(statements: dict[str, list[dict[str, Any]]]) -> None:
    assert statements == {
        "DispatchStateMachine": [allow("lambda:InvokeFunction", {"Fn::GetAtt": ["DispatchFunction", "Arn"]})],
        "DispatchFunction": [allow("iot:Publish", arn("topic/${WorkerTopic}"))],
        "CallbackFunction": [
            allow(["states:SendTaskSuccess", "states:SendTaskFailure"], {"Ref": "DispatchStateMachine"})
        ],
        "WorkerPolicy": [
            allow("iot:Connect", arn("client/${MQTTClientID}")),
            allow("iot:Subscribe", arn("topicfilter/${WorkerTopic}")),
            allow("iot:Receive", arn("topic/${WorkerTopic}")),
            allow(["iot:Publish", "iot:RetainPublish"], arn("topic/${LambdaTopic}")),
        ],
    }


def test_only_our_rule_may_invoke_the_callback(template: dict[str, Any]) -> None:
    permission = template["Resources"]["CallbackRulePermission"]["Properties"]
    assert permission["Principal"] == "iot.amazonaws.com"
    assert permission["SourceArn"] == {"Fn::GetAtt": ["CallbackRule", "Arn"]}
    assert permission["SourceAccount"] == {"Ref": "AWS::AccountId"}


@pytest.mark.parametrize(
    ("parameter", "value", "allowed"),
    [
        ("MQTTClientID", "mqtt-container-client", True),
        ("MQTTClientID", "a:b_C-9", True),
        ("MQTTClientID", "*", False),
        ("MQTTClientID", "a/b", False),
        ("MQTTClientID", "", False),
        ("MQTTContainerNameInIoT", "two words", False),
        ("WorkerTopic", "tenant1/to/worker", True),
        ("WorkerTopic", "1/2/3/4/5/6/7/8", True),
        ("WorkerTopic", "1/2/3/4/5/6/7/8/9", False),
        ("WorkerTopic", "/leading", False),
        ("WorkerTopic", "a//b", False),
        ("WorkerTopic", "$aws/things", False),
        ("LambdaTopic", "tenant1/#", False),
        ("LambdaTopic", "tenant1/+/lambda", False),
        ("LambdaTopic", "it's", False),
        ("LambdaTopic", "a*", False),
        ("LambdaTopic", "a?", False),
        ("LambdaTopic", "${iot:ClientId}", False),
    ],
)
def test_parameters_take_only_what_is_safe_in_arns_and_sql(
    template: dict[str, Any], parameter: str, value: str, allowed: bool
) -> None:
    assert bool(re.fullmatch(template["Parameters"][parameter]["AllowedPattern"], value)) is allowed


def test_the_transform_yields_what_aws_will_create(template: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    # samtranslator changes what it is given, and wants artefacts where `sam package` puts them.
    packaged = json.loads(json.dumps(template))
    for resource in packaged["Resources"].values():
        for member in ("CodeUri", "DefinitionUri"):
            if member in resource["Properties"]:
                resource["Properties"][member] = {"Bucket": "bucket", "Key": "key"}
    resources = transform(packaged, {}, NoManagedPolicies())["Resources"]
    assert {name: resource["Type"] for name, resource in resources.items()} == {
        "DispatchStateMachine": "AWS::StepFunctions::StateMachine",
        "DispatchStateMachineRole": "AWS::IAM::Role",
        "DispatchFunction": "AWS::Lambda::Function",
        "DispatchFunctionRole": "AWS::IAM::Role",
        "CallbackRule": "AWS::IoT::TopicRule",
        "CallbackRulePermission": "AWS::Lambda::Permission",
        "CallbackFunction": "AWS::Lambda::Function",
        "CallbackFunctionRole": "AWS::IAM::Role",
        "WorkerThing": "AWS::IoT::Thing",
        "WorkerPolicy": "AWS::IoT::Policy",
    }


class NoManagedPolicies:
    """What the translator asks for the ARNs of managed policies that are named without one."""

    def load(self) -> dict[str, str]:
        return {}


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    """The state of the state machine."""
    definition = json.loads((AWS_RESOURCES / "statemachine" / "dispatch.asl.json").read_text())
    found: dict[str, Any] = definition["States"][definition["StartAt"]]
    return found


def test_the_state_machine_waits_for_the_answer_and_keeps_the_input(state: dict[str, Any]) -> None:
    assert state["Resource"] == "arn:aws:states:::lambda:invoke.waitForTaskToken"
    assert state["Parameters"]["Payload"] == {"Input.$": "$", "TaskToken.$": "$$.Task.Token"}
    assert state["ResultPath"] == "$.lambdaOutput"
    assert 0 < state["HeartbeatSeconds"] < state["TimeoutSeconds"]


def test_an_outage_of_five_minutes_is_ridden_out(state: dict[str, Any]) -> None:
    (retrier,) = state["Retry"]
    assert retrier["JitterStrategy"] == "FULL"  # so what waits does not come back all at once
    delays = [
        min(retrier["IntervalSeconds"] * retrier["BackoffRate"] ** attempt, retrier["MaxDelaySeconds"])
        for attempt in range(retrier["MaxAttempts"])
    ]
    # The sum of independent delays, each uniform from 0 to its bound: bounded below by Hoeffding's inequality.
    # P(sum <= mean - t) <= exp(-2 t² / Σ bound²)
    short_of_the_mean = sum(delays) / 2 - 300
    assert short_of_the_mean > 0
    assert math.exp(-2 * short_of_the_mean**2 / sum(delay**2 for delay in delays)) < 0.01
    assert sum(delays) < 30 * 60  # a permanent failure is told within half an hour


def test_what_is_retried_is_what_may_pass(state: dict[str, Any]) -> None:
    (retrier,) = state["Retry"]
    assert retrier["ErrorEquals"] == [
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
        "Sandbox.Timedout",
        "TransientPublishError",  # of functions/dispatch_job/app.py
    ]
