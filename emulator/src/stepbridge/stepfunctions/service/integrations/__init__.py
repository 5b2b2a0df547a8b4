"""The services that a Task state can call.

A Task state's Resource names an integration: `arn:aws:states:::lambda:invoke.waitForTaskToken` is the `invoke` action
of the `lambda` integration in the pattern `waitForTaskToken`.  An integration is a coroutine that makes the call: it
returns the task's output as AWS shapes it or raises :class:`TaskError` with AWS's error name and cause.
https://docs.aws.amazon.com/step-functions/latest/dg/integrate-services.html
"""

from stepbridge.stepfunctions.service.integrations.aws_calls import AwsCalls
from stepbridge.stepfunctions.service.integrations.call import Integration, TaskCall, TaskError
from stepbridge.stepfunctions.service.integrations.lambda_functions import InvocationResult, LambdaInvoker
from stepbridge.stepfunctions.service.integrations.mocks import Mocks
from stepbridge.stepfunctions.service.integrations.registry import TaskIntegrations
from stepbridge.stepfunctions.service.integrations.remote_functions import RemoteFunctions

__all__ = [
    "AwsCalls",
    "Integration",
    "InvocationResult",
    "LambdaInvoker",
    "Mocks",
    "RemoteFunctions",
    "TaskCall",
    "TaskError",
    "TaskIntegrations",
]
