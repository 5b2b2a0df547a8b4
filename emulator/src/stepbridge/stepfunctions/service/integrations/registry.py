"""Which integrations there are."""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from botocore.model import OperationModel

from stepbridge.api.errors import AwsError
from stepbridge.iam.sessions import RoleSession
from stepbridge.stepfunctions.language.resources import Integration as IntegrationResource
from stepbridge.stepfunctions.language.resources import LambdaFunction, Resource
from stepbridge.stepfunctions.service.integrations.aws_calls import AwsCalls
from stepbridge.stepfunctions.service.integrations.call import (
    Authorize,
    Integration,
    TaskCall,
    unrestricted,
)
from stepbridge.stepfunctions.service.integrations.lambda_functions import FunctionTask, LambdaInvoke, LambdaInvoker
from stepbridge.stepfunctions.service.integrations.map_storage import MapStorage
from stepbridge.stepfunctions.service.integrations.mocks import Mocks
from stepbridge.stepfunctions.service.integrations.optimized import ACTIONS, PutEvents, ServiceTask
from stepbridge.stepfunctions.service.integrations.sdk import SdkTask, find_operation

_SERVICE = "states.amazonaws.com"


class Permissions(Protocol):
    """What roles allow."""

    async def require(self, session: RoleSession, operation: OperationModel, members: Mapping[str, Any]) -> None:
        """Raises AwsError unless the role of `session` may call `operation` so."""
        ...

    async def may_assume(self, service: str, role_arn: str, source_arn: str) -> bool:
        """Whether `service` may assume the role for the resource `source_arn`."""
        ...


class TaskIntegrations:
    """The integrations by the resources that name them.

    `lambda_invoker` runs Lambda functions; `calls` reaches all other services, and without it only Lambda can be
    called.  `permissions` checks what the roles of state machines allow; without it they allow everything.
    `mocks` are the test cases of Step Functions Local, `wait_time_scale` is what it multiplies the time of Waits by.
    Activities are no integration: their tasks are not called but asked for.
    """

    def __init__(
        self,
        lambda_invoker: LambdaInvoker,
        calls: AwsCalls | None = None,
        permissions: Permissions | None = None,
        mocks: Mocks | None = None,
        wait_time_scale: float = 1.0,
    ) -> None:
        self.calls = calls
        self.mocks = mocks
        self.wait_time_scale = wait_time_scale
        self._permissions = permissions
        self._function = FunctionTask(lambda_invoker)
        self._by_action: dict[str, Integration] = {"lambda:invoke": LambdaInvoke(lambda_invoker)}
        if calls is not None:
            self._by_action["events:putEvents"] = PutEvents(calls)
            self._by_action |= {name: ServiceTask(calls, action) for name, action in ACTIONS.items()}

    def add(self, action: str, integration: Integration) -> None:
        """Offer one more integration, by its service and action: `states:startExecution`."""
        self._by_action[action] = integration

    def authorizer(self, role_arn: str | None, execution_arn: str) -> Authorize:
        """What checks the calls of an execution, in the role of its state machine."""
        permissions = self._permissions
        if permissions is None or role_arn is None:
            return unrestricted
        session = RoleSession(role_arn, hashlib.sha256(execution_arn.encode()).hexdigest()[:32])

        async def authorize(operation: OperationModel, members: Mapping[str, Any]) -> None:
            await permissions.require(session, operation, members)

        return authorize

    def map_storage(self, role_arn: str, execution_arn: str) -> MapStorage | None:
        """What map runs read from and write to in a role; None without other services."""
        return None if self.calls is None else MapStorage(self.calls, self.authorizer(role_arn, execution_arn))

    async def require_trust(self, role_arn: str, machine_arn: str) -> None:
        """Raises AwsError unless Step Functions may assume the role of a state machine, where IAM has the role."""
        if self._permissions is not None and not await self._permissions.may_assume(_SERVICE, role_arn, machine_arn):
            raise AwsError(
                "AccessDeniedException",
                f"Neither the global service principal {_SERVICE}, nor the regional one is authorized to assume the "
                "provided role.",
                status=400,
            )

    def for_call(self, call: TaskCall) -> Integration | None:
        """What makes `call`: a mock, or what its resource names."""
        if self.is_mocked(call):
            return self.mocks
        return self.find(call.resource)

    def is_mocked(self, call: TaskCall) -> bool:
        """Whether a mock makes `call`: its answer ends the task, also where another call would only begin it."""
        return self.mocks is not None and self.mocks.answers(call)

    def accepts(self, resource: Resource) -> bool:
        """Whether a definition may have `resource`: what can be called, and anything where there are mocks."""
        return self.mocks is not None or self.find(resource) is not None

    def find(self, resource: Resource) -> Integration | None:
        """What makes the call of `resource`, or None if that cannot be emulated."""
        match resource:
            case LambdaFunction():
                return self._function
            case IntegrationResource(service=service, action=action) if service.startswith("aws-sdk:"):
                operation = find_operation(service.removeprefix("aws-sdk:"), action)
                if self.calls is None or operation is None:
                    return None
                if not self.calls.offers(operation.service_model.service_name, operation.name):
                    return None
                return SdkTask(self.calls, operation)
            case IntegrationResource(service=service, action=action):
                return self._by_action.get(f"{service}:{action}")
            case _:
                return None
