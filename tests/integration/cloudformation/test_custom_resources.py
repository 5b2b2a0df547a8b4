"""Custom resources: a provider that is a Lambda function, answering with cfnresponse over the emulator's port."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.harness import wait_until
from tests.integration.cloudformation.stacks import ROLE, Stacks, function

from stepbridge.testing import EmulatorProcess

PROVIDER = """
import json
import cfnresponse

def handler(event, context):
    properties = event["ResourceProperties"]
    print("REQUEST " + json.dumps(event))
    if event["RequestType"] == properties.get("SilentOn"):
        return
    if event["RequestType"] == properties.get("FailOn"):
        cfnresponse.send(event, context, cfnresponse.FAILED, {}, properties["Name"], reason="as asked")
        return
    data = {"Greeting": "hello " + properties["Name"], "Kinds": type(properties["Number"]).__name__}
    cfnresponse.send(event, context, cfnresponse.SUCCESS, data, properties["Name"], noEcho=True)
"""


class Provider:
    """The provider's stack, and the requests that it was sent."""

    def __init__(self, stacks: Stacks) -> None:
        self.stacks = stacks
        outputs = {"Arn": {"Value": {"Fn::GetAtt": ["Provider", "Arn"]}}}
        assert stacks.create("provider", {"Role": ROLE, "Provider": function(PROVIDER)}, Outputs=outputs) == (
            "CREATE_COMPLETE"
        ), stacks.events("provider")
        self.arn = stacks.outputs("provider")["Arn"]
        self._group = f"/aws/lambda/{stacks.physical_id('provider', 'Provider')}"

    def resource(self, name: str, **properties: Any) -> dict[str, Any]:
        return {
            "Type": "Custom::Thing",
            "Properties": {"ServiceToken": self.arn, "Name": name, "Number": 3} | properties,
        }

    def requests(self, stack: str, count: int) -> list[dict[str, Any]]:
        """The requests for a stack, once there are `count` of them."""
        logs = self.stacks.emulator.client("logs")

        def probe() -> list[dict[str, Any]] | None:
            events = logs.filter_log_events(logGroupName=self._group)["events"]
            events.sort(key=lambda event: event["timestamp"])
            found = [
                json.loads(each["message"].partition(" ")[2])
                for each in events
                if each["message"].startswith("REQUEST ") and f":stack/{stack}/" in each["message"]
            ]
            return found if len(found) >= count else None

        return wait_until(probe, f"{count} requests to the provider")


@pytest.fixture(scope="module")
def provider(stepbridge: EmulatorProcess) -> Iterator[Provider]:
    stacks = Stacks(stepbridge)
    yield Provider(stacks)
    stacks.delete("provider")


def test_the_life_of_a_custom_resource(provider: Provider) -> None:
    stacks = provider.stacks
    copy = {
        "Type": "AWS::SSM::Parameter",
        "Properties": {"Type": "String", "Value": {"Fn::GetAtt": ["It", "Greeting"]}},
    }
    outputs: dict[str, Any] = {name: {"Value": {"Fn::GetAtt": ["It", name]}} for name in ("Greeting", "Kinds")}
    outputs["Ref"] = {"Value": {"Ref": "It"}}
    resources = {"It": provider.resource("first"), "Copy": copy}
    assert stacks.create("custom", resources, Outputs=outputs) == "CREATE_COMPLETE", stacks.events("custom")
    assert stacks.outputs("custom") == {"Greeting": "hello first", "Kinds": "str", "Ref": "first"}
    parameters = stacks.emulator.client("ssm")
    name = stacks.physical_id("custom", "Copy")
    assert parameters.get_parameter(Name=name)["Parameter"]["Value"] == "hello first"

    resources = {"It": provider.resource("second"), "Copy": copy}
    change_set = stacks.client.create_change_set(
        StackName="custom", ChangeSetName="look", TemplateBody=json.dumps({"Resources": resources, "Outputs": outputs})
    )
    described = stacks.client.describe_change_set(ChangeSetName=change_set["Id"])
    changed = [each["ResourceChange"]["LogicalResourceId"] for each in described["Changes"]]
    assert changed == ["Copy", "It"]  # what the provider will answer may be anything
    assert stacks.update("custom", resources, Outputs=outputs) == "UPDATE_COMPLETE", stacks.events("custom")
    assert stacks.outputs("custom")["Ref"] == "second"
    assert parameters.get_parameter(Name=name)["Parameter"]["Value"] == "hello second"
    # NoEcho: the provider's data is in no event.
    events = stacks.client.describe_stack_events(StackName="custom")["StackEvents"]
    assert not [event for event in events if "hello" in event.get("ResourceProperties", "")]
    assert [event for event in events if "*****" in event.get("ResourceProperties", "")]
    assert stacks.delete("custom") == "DELETE_COMPLETE"

    requests = provider.requests("custom", 4)
    assert [(each["RequestType"], each.get("PhysicalResourceId")) for each in requests] == [
        ("Create", None),
        ("Update", "first"),
        ("Delete", "first"),
        ("Delete", "second"),
    ]
    assert requests[1]["OldResourceProperties"]["Name"] == "first"
    assert requests[1]["ResourceProperties"] == {"ServiceToken": provider.arn, "Name": "second", "Number": "3"}
    assert {each["ResourceType"] for each in requests} == {"Custom::Thing"}


def test_a_provider_that_fails_is_asked_to_delete(provider: Provider) -> None:
    stacks = provider.stacks
    assert stacks.create("refused", {"It": provider.resource("half-made", FailOn="Create")}) == "ROLLBACK_COMPLETE"
    request = provider.requests("refused", 2)[0]
    reason = (
        "Received response status [FAILED] from custom resource. Message returned: as asked "
        f"(RequestId: {request['RequestId']})"
    )
    assert ("It", "CREATE_FAILED", reason) in stacks.events("refused")
    assert [(each["RequestType"], each.get("PhysicalResourceId")) for each in provider.requests("refused", 2)] == [
        ("Create", None),
        ("Delete", "half-made"),
    ]
    stacks.delete("refused")


def test_an_update_that_fails_is_taken_back(provider: Provider) -> None:
    stacks = provider.stacks
    assert stacks.create("returning", {"It": provider.resource("one")}) == "CREATE_COMPLETE"
    broken = {"It": provider.resource("two"), "Bad": provider.resource("bad", FailOn="Create") | {"DependsOn": "It"}}
    assert stacks.update("returning", broken) == "UPDATE_ROLLBACK_COMPLETE", stacks.events("returning")
    assert stacks.physical_id("returning", "It") == "one"
    requests = provider.requests("returning", 6)
    assert [(each["RequestType"], each.get("PhysicalResourceId")) for each in requests] == [
        ("Create", None),
        ("Update", "one"),
        ("Create", None),
        ("Update", "two"),
        ("Delete", "bad"),
        ("Delete", "two"),
    ]
    assert stacks.delete("returning") == "DELETE_COMPLETE"


def test_a_provider_that_does_not_answer(provider: Provider) -> None:
    stacks = provider.stacks
    silent = provider.resource("silent", SilentOn="Create", ServiceTimeout=1)
    assert stacks.create("waiting", {"It": silent}) == "ROLLBACK_COMPLETE"
    failed = next(event for event in stacks.events("waiting") if event[1] == "CREATE_FAILED")
    assert failed[2].startswith("CloudFormation did not receive a response from your Custom Resource.")
    url = provider.requests("waiting", 1)[0]["ResponseURL"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(url, data=b"{}", method="PUT"))
    stacks.delete("waiting")


def test_an_attribute_that_the_provider_does_not_give(provider: Provider) -> None:
    stacks = provider.stacks
    outputs = {"No": {"Value": {"Fn::GetAtt": ["It", "Nothing"]}}}
    assert stacks.create("lacking", {"It": provider.resource("x")}, Outputs=outputs) == "ROLLBACK_COMPLETE"
    reasons = [event[2] for event in stacks.events("lacking")]
    assert any("Vendor response doesn't contain Nothing attribute" in reason for reason in reasons)
    stacks.delete("lacking")


def test_what_is_refused_at_once(provider: Provider) -> None:
    client = provider.stacks.client
    for resource, message in (
        (provider.resource("x") | {"Properties": {"Name": "x"}}, r"required key \[ServiceToken\] not found"),
        (provider.resource("x", ServiceToken="arn:aws:sns:us-east-1:123456789012:t"), "not the ARN of a Lambda"),
        (provider.resource("x", ServiceTimeout=4000), "ServiceTimeout: 4000"),
        (
            {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "{{resolve:ssm-secure:a:1}}"}},
            r"SSM Secure reference is not supported in: \[AWS::SSM::Parameter/Properties/Value\]",
        ),
    ):
        with pytest.raises(client.exceptions.ClientError, match=message):
            client.create_stack(StackName="never", TemplateBody=json.dumps({"Resources": {"It": resource}}))


def test_parameters_with_no_echo_are_in_no_event(stepbridge: EmulatorProcess) -> None:
    stacks = Stacks(stepbridge)
    resource = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": {"Fn::Sub": "<${Secret}>"}}}
    stacks.create(
        "quiet", {"It": resource}, Parameters={"Secret": {"Type": "String", "NoEcho": True}}, values={"Secret": "hush"}
    )
    events = stacks.client.describe_stack_events(StackName="quiet")["StackEvents"]
    assert "hush" not in json.dumps(events, default=str)
    assert any("<****>" in event.get("ResourceProperties", "") for event in events)
    name = stacks.physical_id("quiet", "It")
    assert stepbridge.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "<hush>"
    stacks.delete("quiet")
