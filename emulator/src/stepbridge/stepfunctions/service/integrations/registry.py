"""Which integrations there are."""

from stepbridge.stepfunctions.language.resources import Integration as IntegrationResource
from stepbridge.stepfunctions.language.resources import LambdaFunction, Resource
from stepbridge.stepfunctions.service.integrations.aws_calls import AwsCalls
from stepbridge.stepfunctions.service.integrations.call import Integration
from stepbridge.stepfunctions.service.integrations.lambda_functions import FunctionTask, LambdaInvoke, LambdaInvoker
from stepbridge.stepfunctions.service.integrations.map_storage import MapStorage
from stepbridge.stepfunctions.service.integrations.optimized import ACTIONS, PutEvents, ServiceTask
from stepbridge.stepfunctions.service.integrations.sdk import SdkTask, find_operation


class TaskIntegrations:
    """The integrations by the resources that name them.

    `lambda_invoker` runs Lambda functions; `calls` reaches all other services, and without it only Lambda can be
    called.  Activities are no integration: their tasks are not called but asked for.
    """

    def __init__(self, lambda_invoker: LambdaInvoker, calls: AwsCalls | None = None) -> None:
        self.calls = calls
        self._function = FunctionTask(lambda_invoker)
        self._by_action: dict[str, Integration] = {"lambda:invoke": LambdaInvoke(lambda_invoker)}
        self.map_storage = MapStorage(calls) if calls is not None else None
        if calls is not None:
            self._by_action["events:putEvents"] = PutEvents(calls)
            self._by_action |= {name: ServiceTask(calls, action) for name, action in ACTIONS.items()}

    def add(self, action: str, integration: Integration) -> None:
        """Offer one more integration, by its service and action: `states:startExecution`."""
        self._by_action[action] = integration

    def find(self, resource: Resource) -> Integration | None:
        """What makes the call of `resource`, or None if that cannot be emulated."""
        match resource:
            case LambdaFunction():
                return self._function
            case IntegrationResource(service=service, action=action) if service.startswith("aws-sdk:"):
                operation = find_operation(service.removeprefix("aws-sdk:"), action)
                if self.calls is None or operation is None:
                    return None
                return SdkTask(self.calls, operation)
            case IntegrationResource(service=service, action=action):
                return self._by_action.get(f"{service}:{action}")
            case _:
                return None
