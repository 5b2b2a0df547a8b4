"""Calls of other AWS services: who makes them, and what their refusals look like in a workflow."""

import base64
import secrets
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from botocore.model import OperationModel, Shape

from stepbridge.api.errors import QUERY_ERROR_CODE, AwsError, NoAnswerError
from stepbridge.api.models import service_model
from stepbridge.api.validation import validate
from stepbridge.stepfunctions.service.integrations import java_sdk
from stepbridge.stepfunctions.service.integrations.call import TaskCall, TaskError
from stepbridge.stepfunctions.service.integrations.members import Style, to_members
from stepbridge.stepfunctions.service.integrations.sdk_metadata import new_request_id

_NOT_FOUND = {"HeadObject": "NoSuchKeyException", "HeadBucket": "NoSuchBucketException"}


class AwsCalls(Protocol):
    """Carries out an operation of any AWS service, named as in botocore's model.  Raises AwsError."""

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]: ...

    def offers(self, service: str, operation: str) -> bool:
        """Whether there is anything here that carries it out."""
        ...

    def has_event_rules(self) -> bool:
        """Whether EventBridge may have a rule that an event could match."""
        ...


async def make(
    calls: AwsCalls, operation: OperationModel, call: TaskCall, style: Style, **defaults: str
) -> dict[str, Any]:
    """Call `operation` with the parameters of `call`.  Raises AwsError, also for what is null or not allowed.

    `defaults` are members that are sent where the parameters do not have them.
    """
    service = operation.service_model.service_name
    shape = operation.input_shape
    members = {**defaults, **(to_members(shape, call.parameters, style) if shape is not None else {})}
    if service == "sqs":
        for name in shape.required_members if shape is not None else ():
            if members.get(name, "") == "":
                message = f"The request must contain the parameter {name}."
                raise AwsError("MissingParameter", message, status=400)
        if "://" not in members.get("QueueUrl", "://"):
            message = f"The address {members['QueueUrl']} is not valid for this endpoint."
            raise AwsError("InvalidAddress", message, status=404)
    await call.authorize(operation, members)
    validate(service, shape, members)
    return await calls.call(service, operation.name, **members)


def refused_by_sdk(service: str, operation: OperationModel, error: AwsError) -> TaskError:
    """The failure of an `aws-sdk:` task whose call was answered with `error`.

    `service` is the name that the AWS SDK for Java 2 has for the service (`Sfn`, `S3`, `DynamoDb`).
    """
    if isinstance(error, NoAnswerError):
        return TaskError(f"{service}.{error.code}", f"{error.message} (SDK Attempt Count: 1)")
    name, message = _modelled_name(operation, error, java_sdk.exception_2) or f"{service}Exception", error.message
    if operation.http["method"] == "HEAD":
        # An answer without a body: the SDK goes by its status, and has no message.
        name, message = _NOT_FOUND.get(operation.name, name) if error.status == 404 else name, "null"
    details = f"Service: {service}, Status Code: {_status(operation, error)}, Request ID: {new_request_id()}"
    if service == "S3":  # its answers have a second id, x-amz-id-2
        details += f", Extended Request ID: {base64.b64encode(secrets.token_bytes(56)).decode()}"
    return TaskError(f"{service}.{name}", f"{message} ({details}) (SDK Attempt Count: 1)")


def refused(prefix: str, service: str, operation: OperationModel, error: AwsError) -> TaskError:
    """The failure of a task of one of Step Functions' own integrations.

    `prefix` is what its error names begin with (`SQS`), `service` the name that the AWS SDK for Java 1, which these
    integrations use, has for the service (`AmazonSQS`).
    """
    if isinstance(error, NoAnswerError):
        return TaskError(f"{prefix}.{error.code}", error.message)
    name = _modelled_name(operation, error, java_sdk.exception_1) or f"{service.removesuffix('v2')}Exception"
    details = (
        f"Service: {service}; Status Code: {_status(operation, error)}; Error Code: {error.code}; "
        f"Request ID: {new_request_id()}; Proxy: null"
    )
    return TaskError(f"{prefix}.{name}", f"{error.message} ({details})")


def _modelled_name(operation: OperationModel, error: AwsError, exception: Callable[[str], str]) -> str | None:
    """The exception that the SDK throws for an error that the service's model knows, with any of its operations."""
    shape = _error_shape(operation, error)
    return None if shape is None else exception(shape.name)


def _status(operation: OperationModel, error: AwsError) -> int:
    """The HTTP status of a refusal: the JSON protocol has one for all, REST those of the model."""
    if error.status is not None:
        return error.status
    shape = _error_shape(operation, error)
    if shape is None or operation.service_model.metadata["protocol"] == "json":
        return 400
    status: int = shape.metadata.get("error", {}).get("httpStatusCode", 400)
    return status


def _error_shape(operation: OperationModel, error: AwsError) -> Shape | None:
    codes = (error.code, error.members.get(QUERY_ERROR_CODE))
    for shape in _error_shapes(operation.service_model.service_name):
        if shape.metadata.get("error", {}).get("code", shape.name) in codes or shape.name in codes:
            return shape
    return None


@cache
def _error_shapes(service: str) -> list[Shape]:
    model = service_model(service)
    shapes = map(model.shape_for, model.shape_names)
    return [shape for shape in shapes if shape.metadata.get("exception")]
