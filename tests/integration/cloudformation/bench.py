"""A CloudFormation for tests, on an empty database, with moto behind it."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from stepbridge.api.calls import AwsCalls
from stepbridge.api.dispatch import Dispatcher
from stepbridge.api.errors import AwsError
from stepbridge.api.moto_backend import MotoBackend
from stepbridge.api.service import Caller
from stepbridge.clock import SystemClock
from stepbridge.cloudformation.resources import resource_types
from stepbridge.cloudformation.service import CloudFormationService
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

ACCOUNT, REGION = "123456789012", "us-east-1"


Run = Callable[[Callable[["Bench"], Awaitable[None]]], None]


class Bench:
    """A CloudFormation on an empty database; every other service is moto's."""

    def __init__(self, store: Store, folder: Path) -> None:
        settings = Settings(folder, memory=True)
        clock = SystemClock()
        self.trace = Trace(clock)
        self.calls = AwsCalls(settings, Dispatcher(), MotoBackend(ACCOUNT), lambda: "http://127.0.0.1:1")
        self.service = CloudFormationService(
            settings, store, clock, self.trace, self.calls, lambda: "http://127.0.0.1:1"
        )

    async def call(self, operation: str, **members: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await getattr(self.service, operation)(Caller(ACCOUNT, REGION), members)
        return answer

    async def refused(self, operation: str, **members: Any) -> AwsError:
        with pytest.raises(AwsError) as refusal:
            await self.call(operation, **members)
        return refusal.value

    async def create(self, name: str, resources: dict[str, Any], **sections: Any) -> str:
        """Create a stack and wait for its end; its status."""
        await self.call("create_stack", StackName=name, TemplateBody=template(resources, **sections))
        return await self.status(name)

    async def status(self, name: str) -> str:
        await self.service.settled()
        status: str = (await self.call("describe_stacks", StackName=name))["Stacks"][0]["StackStatus"]
        return status

    async def events(self, name: str) -> list[tuple[str, str, str | None]]:
        """The events of a stack, oldest first: resource, status, reason."""
        events = (await self.call("describe_stack_events", StackName=name))["StackEvents"]
        return [
            (each["LogicalResourceId"], each["ResourceStatus"], each.get("ResourceStatusReason"))
            for each in reversed(events)
        ]

    @staticmethod
    def attributes(type_name: str) -> frozenset[str]:
        return resource_types()[type_name].attributes

    async def queues(self) -> list[str]:
        return [url.rpartition("/")[2] for url in (await self.calls.call("sqs", "ListQueues")).get("QueueUrls", [])]


def template(resources: dict[str, Any], **sections: Any) -> str:
    return json.dumps({"Resources": resources, **sections})


def queue(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": properties}
