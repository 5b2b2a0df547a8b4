"""Stacks on a running emulator."""

import json
import time
from typing import Any

from stepbridge.testing import EmulatorProcess

_STEP_SECONDS = 0.05


class Stacks:
    """CloudFormation of a running emulator, waiting for the end of what it begins."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self.emulator = emulator
        self.client = emulator.client("cloudformation")

    def create(self, name: str, resources: dict[str, Any], **sections: Any) -> str:
        """Create a stack; its status in the end."""
        self.client.create_stack(StackName=name, **_request(resources, sections))
        return self.status(name)

    def update(self, name: str, resources: dict[str, Any], **sections: Any) -> str:
        """Update a stack; its status in the end."""
        self.client.update_stack(StackName=name, **_request(resources, sections))
        return self.status(name)

    def delete(self, name: str) -> str:
        """Delete a stack; its status in the end."""
        stack_id = self.client.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
        self.client.delete_stack(StackName=name)
        return self.status(stack_id)

    def status(self, name: str, seconds: float = 30) -> str:
        """The status of the stack, when nothing is under way."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status: str = self.client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
            if not status.endswith("_IN_PROGRESS"):
                return status
            time.sleep(_STEP_SECONDS)
        raise AssertionError(f"the stack is still {status} after {seconds} s: {self.events(name)}")

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """The events, oldest first: logical id, status, reason."""
        pages = self.client.get_paginator("describe_stack_events").paginate(StackName=name)
        events = [event for page in pages for event in page["StackEvents"]]
        return [
            (each["LogicalResourceId"], each["ResourceStatus"], each.get("ResourceStatusReason", ""))
            for each in reversed(events)
        ]

    def outputs(self, name: str) -> dict[str, str]:
        stack = self.client.describe_stacks(StackName=name)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def physical_id(self, name: str, logical_id: str) -> str:
        found = self.client.describe_stack_resource(StackName=name, LogicalResourceId=logical_id)
        physical_id: str = found["StackResourceDetail"]["PhysicalResourceId"]
        return physical_id


def _request(resources: dict[str, Any], sections: dict[str, Any]) -> dict[str, Any]:
    parameters = sections.pop("values", {})
    return {
        "TemplateBody": json.dumps({"Resources": resources, **sections}),
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    }


ROLE: dict[str, Any] = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": ["lambda.amazonaws.com", "states.amazonaws.com", "iot.amazonaws.com"]},
                    "Action": "sts:AssumeRole",
                }
            ],
        },
        "ManagedPolicyArns": ["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"],
    },
}


def function(source: str, **properties: Any) -> dict[str, Any]:
    """A Python function with its code in the template; it wants a role called `Role`."""
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"ZipFile": source},
            "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Runtime": "python3.13",
            "Timeout": 10,
            **properties,
        },
    }
