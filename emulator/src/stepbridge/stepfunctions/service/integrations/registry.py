"""Which integrations there are."""

from stepbridge.stepfunctions.service.integrations.call import Integration
from stepbridge.stepfunctions.service.integrations.lambda_functions import FunctionTask, LambdaInvoke, LambdaInvoker
from stepbridge.stepfunctions.service.integrations.resource import Pattern, Resource

_REQUEST_RESPONSE = frozenset({Pattern.REQUEST_RESPONSE})
_CALLBACK = frozenset({Pattern.REQUEST_RESPONSE, Pattern.WAIT_FOR_TASK_TOKEN})


class TaskIntegrations:
    """The integrations by the names that resources give them.

    `lambda_invoker` runs Lambda functions.
    """

    def __init__(self, lambda_invoker: LambdaInvoker) -> None:
        self._by_name: dict[str, tuple[Integration, frozenset[Pattern]]] = {
            "function": (FunctionTask(lambda_invoker), _REQUEST_RESPONSE),
            "lambda:invoke": (LambdaInvoke(lambda_invoker), _CALLBACK),
        }

    def find(self, resource: Resource) -> Integration | None:
        """What makes the call of `resource`, or None if there is no such integration or not in its pattern."""
        integration, patterns = self._by_name.get(resource.name, (None, _REQUEST_RESPONSE))
        return integration if resource.pattern in patterns else None
