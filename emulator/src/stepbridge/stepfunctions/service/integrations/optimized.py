"""Step Functions' own integrations with SQS, SNS, DynamoDB and EventBridge.

https://docs.aws.amazon.com/step-functions/latest/dg/integrate-optimized.html
"""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from stepbridge.api.errors import AwsError, NoAnswerError
from stepbridge.api.models import operation_model
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.service.integrations.aws_calls import AwsCalls, make, refused
from stepbridge.stepfunctions.service.integrations.call import TaskCall, TaskError
from stepbridge.stepfunctions.service.integrations.members import OPTIMIZED, to_output
from stepbridge.stepfunctions.service.integrations.sdk_metadata import http_metadata, new_request_id, to_json

_JSON = "application/x-amz-json-1.0"


@dataclass(frozen=True, slots=True)
class ServiceAction:
    """An action of an integration: one operation of a service.

    `error_prefix` is what its error names begin with, `sdk_service` the name in its causes.
    """

    service: str
    operation: str
    error_prefix: str
    sdk_service: str
    content_type: str = _JSON


ACTIONS = {
    "sqs:sendMessage": ServiceAction("sqs", "SendMessage", "SQS", "AmazonSQS"),
    "sns:publish": ServiceAction("sns", "Publish", "SNS", "AmazonSNS", "text/xml"),
    "dynamodb:getItem": ServiceAction("dynamodb", "GetItem", "DynamoDB", "AmazonDynamoDBv2"),
    "dynamodb:putItem": ServiceAction("dynamodb", "PutItem", "DynamoDB", "AmazonDynamoDBv2"),
    "dynamodb:updateItem": ServiceAction("dynamodb", "UpdateItem", "DynamoDB", "AmazonDynamoDBv2"),
    "dynamodb:deleteItem": ServiceAction("dynamodb", "DeleteItem", "DynamoDB", "AmazonDynamoDBv2"),
}


class ServiceTask:
    """Makes the call of one action."""

    def __init__(self, calls: AwsCalls, action: ServiceAction) -> None:
        self._calls = calls
        self._action = action

    async def __call__(self, call: TaskCall) -> Json:
        action = self._action
        operation = operation_model(action.service, action.operation)
        try:
            answer = await make(self._calls, operation, call, OPTIMIZED)
        except AwsError as error:
            refusal = error
            if action.service == "sqs" and not await _has_address(host := _host(call.parameters.get("QueueUrl"))):
                refusal = NoAnswerError(f"{host}: Name or service not known")
            raise refused(action.error_prefix, action.sdk_service, operation, refusal) from None
        output = to_output(operation.output_shape, answer, OPTIMIZED)
        headers = {"Content-Type": action.content_type, "Content-Length": str(len(to_json(output)))}
        return {**output, **http_metadata(call.time, headers, new_request_id())}


def _host(url: Json) -> str | None:
    try:
        return urlsplit(url).hostname if isinstance(url, str) else None
    except ValueError:
        return None


async def _has_address(host: str | None) -> bool:
    """Whether a request to a queue at `host` would reach anything.  The SDK sends it where the QueueUrl says."""
    if host is None or host == "localhost" or host.endswith((".localhost", ".amazonaws.com", ".amazonaws.com.cn")):
        return True
    try:
        await asyncio.get_running_loop().getaddrinfo(host, None)
    except OSError:
        return False
    return True


class PutEvents:
    """`events:putEvents`: an entry that EventBridge does not take fails the task."""

    def __init__(self, calls: AwsCalls) -> None:
        self._calls = calls

    async def __call__(self, call: TaskCall) -> Json:
        operation = operation_model("events", "PutEvents")
        try:
            answer = await make(self._calls, operation, call, OPTIMIZED)
        except AwsError as error:
            raise refused("EventBridge", "AmazonCloudWatchEvents", operation, error) from None
        output = to_output(operation.output_shape, answer, OPTIMIZED)
        output.setdefault("FailedEntryCount", 0)
        if output["FailedEntryCount"]:
            raise TaskError("EventBridge.FailedEntry", to_json(output))
        return output
