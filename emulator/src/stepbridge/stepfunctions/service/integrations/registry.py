"""Which integrations there are."""

from stepbridge.stepfunctions.language.resources import Integration as IntegrationResource
from stepbridge.stepfunctions.language.resources import LambdaFunction, Resource
from stepbridge.stepfunctions.service.integrations.call import Integration
from stepbridge.stepfunctions.service.integrations.lambda_functions import FunctionTask, LambdaInvoke, LambdaInvoker


class TaskIntegrations:
    """The integrations by the resources that name them.

    Activities are none: their tasks are not called but asked for.

    `lambda_invoker` runs Lambda functions.
    """

    def __init__(self, lambda_invoker: LambdaInvoker) -> None:
        self._function = FunctionTask(lambda_invoker)
        self._by_action: dict[str, Integration] = {"lambda:invoke": LambdaInvoke(lambda_invoker)}

    def find(self, resource: Resource) -> Integration | None:
        """What makes the call of `resource`, or None if that cannot be emulated."""
        match resource:
            case LambdaFunction():
                return self._function
            case IntegrationResource(service=service, action=action):
                return self._by_action.get(f"{service}:{action}")
            case _:
                return None
