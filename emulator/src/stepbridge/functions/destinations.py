"""Where the records of asynchronous invocations may be sent.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.functions.aws_calls import RoleCalls
from stepbridge.functions.queues import queue_url
from stepbridge.functions.refusals import invalid
from stepbridge.iam import RoleSession


async def check_destination(calls: RoleCalls, session: RoleSession, destination: str) -> None:
    """Raise InvalidParameterValueException unless the function whose role `session` is in may send to an ARN."""
    service = destination.split(":")[2] if destination.count(":") > 4 else ""
    if service == "s3":
        raise invalid("Destinations of s3 are not supported by stepbridge: those of sqs, sns, lambda and events are.")
    if service not in _SENDING:
        raise invalid(f"The destination ARN {destination} is invalid.")
    action, members = _SENDING[service][0], _members(service, destination)
    try:
        await calls.require(session, service, action, members)
    except AwsError as error:
        shown = "InvokeFunction" if service == "lambda" else action
        raise invalid(
            f"The function's execution role does not have permissions to call {shown} on {destination}"
        ) from error
    try:
        await calls.call_unchecked(service, _SENDING[service][1], **_identity(service, destination))
    except AwsError as error:
        raise invalid(f"The destination ARN {destination} is invalid.") from error


# By service: the operation that sends, and one that finds out whether there is such a destination.
_SENDING = {
    "events": ("PutEvents", "DescribeEventBus"),
    "lambda": ("Invoke", "GetFunctionConfiguration"),
    "sns": ("Publish", "GetTopicAttributes"),
    "sqs": ("SendMessage", "GetQueueAttributes"),
}


def _members(service: str, destination: str) -> dict[str, Any]:
    return {"Entries": [{"EventBusName": destination}]} if service == "events" else _identity(service, destination)


def _identity(service: str, destination: str) -> dict[str, Any]:
    match service:
        case "events":
            return {"Name": destination}
        case "lambda":
            return {"FunctionName": destination}
        case "sns":
            return {"TopicArn": destination}
    return {"QueueUrl": queue_url(destination)}
