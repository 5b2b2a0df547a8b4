"""AWS Lambda: a function's ARN as Resource, and `lambda:invoke`.

https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html
"""

import json
from typing import Protocol

from stepbridge.api.errors import AwsError
from stepbridge.api.models import operation_model
from stepbridge.api.validation import validate
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.service.integrations.aws_calls import refused
from stepbridge.stepfunctions.service.integrations.call import TaskCall, TaskError
from stepbridge.stepfunctions.service.integrations.sdk_metadata import (
    http_metadata,
    new_trace_id,
    to_json,
)


class InvocationResult(Protocol):
    """How Lambda answers Invoke."""

    @property
    def status_code(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def function_error(self) -> str | None: ...
    @property
    def executed_version(self) -> str: ...
    @property
    def request_id(self) -> str: ...


class LambdaInvoker(Protocol):
    """The part of the Lambda service that Step Functions uses.  Raises AwsError as Invoke does."""

    async def invoke(
        self,
        function: str,
        payload: bytes,
        /,
        *,
        qualifier: str | None = None,
        invocation_type: str = "RequestResponse",
        client_context: str | None = None,
    ) -> InvocationResult: ...


class FunctionTask:
    """A Task state whose Resource is the ARN of a function: the payload is the whole output."""

    def __init__(self, invoker: LambdaInvoker) -> None:
        self._invoker = invoker

    async def __call__(self, call: TaskCall) -> Json:
        operation = operation_model("lambda", "Invoke")
        try:
            await call.authorize(operation, {"FunctionName": call.resource.arn})
            result = await self._invoker.invoke(call.resource.arn, to_json(call.parameters).encode())
        except AwsError as error:
            raise refused("Lambda", "AWSLambda", operation, error) from None
        return _payload(result)


class LambdaInvoke:
    """`lambda:invoke`: the parameters are those of Invoke, the output its answer with the payload as JSON."""

    def __init__(self, invoker: LambdaInvoker) -> None:
        self._invoker = invoker

    async def __call__(self, call: TaskCall) -> Json:
        parameters = call.parameters
        payload = parameters.get("Payload")
        if payload is not None and not isinstance(payload, str):  # text is JSON already
            payload = to_json(payload)
        operation = operation_model("lambda", "Invoke")
        invocation_type = parameters.get("InvocationType") or "RequestResponse"
        try:
            await call.authorize(operation, parameters)
            named = {"FunctionName": "any"} if parameters["FunctionName"] is not None else {}
            validate("lambda", operation.input_shape, {**named, "InvocationType": invocation_type})
            result = await self._invoker.invoke(
                parameters["FunctionName"],
                (payload or "").encode(),
                qualifier=parameters.get("Qualifier"),
                invocation_type=invocation_type,
                client_context=parameters.get("ClientContext"),
            )
        except AwsError as error:
            raise refused("Lambda", "AWSLambda", operation, error) from None
        output: dict[str, Json] = {"Payload": _payload(result)}
        headers = {
            "x-amzn-Remapped-Content-Length": "0",
            "Content-Length": str(len(result.payload)),
            "X-Amzn-Trace-Id": new_trace_id(call.time),
        }
        if invocation_type != "Event":  # which version takes the event is not known yet
            headers["X-Amz-Executed-Version"] = output["ExecutedVersion"] = result.executed_version
        if result.payload:
            headers["Content-Type"] = "application/json"
        metadata = http_metadata(call.time, headers, result.request_id, result.status_code)
        return {**output, **metadata, "StatusCode": result.status_code}


def _payload(result: InvocationResult) -> Json:
    """The payload as JSON.  Raises TaskError if it is the error of a function."""
    text = result.payload.decode("utf-8", "replace")
    if result.function_error is not None:
        raise _function_error(text)
    if not text:
        return ""  # an asynchronous invocation answers with no payload
    try:
        return json.loads(text)
    except ValueError:
        return text


def _function_error(payload: str) -> TaskError:
    try:
        error_type = json.loads(payload).get("errorType")
    except (ValueError, AttributeError):
        error_type = None
    if not error_type:
        return TaskError(
            "Lambda.Unknown",
            "The cause could not be determined because Lambda did not return an error type. "
            f"Returned payload: {payload}",
        )
    return TaskError(str(error_type), payload)
