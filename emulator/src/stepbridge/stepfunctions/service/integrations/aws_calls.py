"""Calls of other AWS services: who makes them, and what parameters, results and refusals look like in a workflow.

Step Functions writes the members of every service in PascalCase, whatever the service's API writes; the shapes of the
botocore model say what each member is.
"""

import base64
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from stepbridge.api.errors import QUERY_ERROR_CODE, AwsError, NoAnswerError
from stepbridge.api.models import service_model
from stepbridge.api.validation import validate
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.service.integrations.call import TaskCall, TaskError
from stepbridge.stepfunctions.service.integrations.parameter_types import check_types
from stepbridge.stepfunctions.service.integrations.sdk_metadata import new_request_id, to_json

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


async def make(calls: AwsCalls, operation: OperationModel, call: TaskCall, **defaults: str) -> dict[str, Any]:
    """Call `operation` with the parameters of `call`.  Raises AwsError, also for what is missing or not allowed.

    `defaults` are members that are sent where the parameters do not have them.
    """
    service = operation.service_model.service_name
    shape = operation.input_shape
    check_types(shape, call.parameters)
    members = {**defaults, **to_members(shape, call.parameters)}
    unknown = [name for name in members if shape is None or name not in shape.members]
    if unknown:
        raise TaskError("States.Runtime", f"The field '{unknown[0]}' is not supported by Step Functions")
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


def to_members(shape: Shape | None, value: Json) -> Any:
    """Parameters as a definition writes them, as members of the API: names in its spelling, blobs as bytes.

    A parameter that is null is one that is not there.
    """
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        names = {_pascal(name): name for name in shape.members}
        return {
            names.get(key, key): to_members(shape.members.get(names.get(key, key)), item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [to_members(shape.member, item) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, Mapping):
        return {key: to_members(shape.value, item) for key, item in value.items()}
    if shape is not None and shape.type_name == "blob":
        return to_json(value).encode()  # text too gets its quotes: so AWS stores it in S3
    if shape is not None and shape.type_name == "string" and not isinstance(value, str) and value is not None:
        return to_json(value)
    return value


def to_output(shape: Shape | None, value: Any, *, milliseconds: bool) -> Json:
    """The answer of an API as a workflow sees it.

    Times are ISO 8601 text in calls of the SDK, and `milliseconds` since the epoch in Step Functions' own
    integrations.
    """
    if shape is None:  # an operation without output
        return {}
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        return {
            _pascal(name): to_output(shape.members.get(name), item, milliseconds=milliseconds)
            for name, item in value.items()
            if name in shape.members and item is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [to_output(shape.member, item, milliseconds=milliseconds) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, Mapping):
        return {key: to_output(shape.value, item, milliseconds=milliseconds) for key, item in value.items()}
    if shape.type_name == "timestamp":
        return _time(value, milliseconds)
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return value


def refused_by_sdk(service: str, operation: OperationModel, error: AwsError) -> TaskError:
    """The failure of an `aws-sdk:` task whose call was answered with `error`.

    `service` is the name that the AWS SDK for Java 2 has for the service (`Sfn`, `S3`, `DynamoDb`).
    """
    if isinstance(error, NoAnswerError):
        return TaskError(f"{service}.{error.code}", f"{error.message} (SDK Attempt Count: 1)")
    name, message = _modelled_name(operation, error) or f"{service}Exception", error.message
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
    name = _modelled_name(operation, error) or f"{service.removesuffix('v2')}Exception"
    details = (
        f"Service: {service}; Status Code: {_status(operation, error)}; Error Code: {error.code}; "
        f"Request ID: {new_request_id()}; Proxy: null"
    )
    return TaskError(f"{prefix}.{name}", f"{error.message} ({details})")


def sdk_name(service_id: str) -> str:
    """The name that the AWS SDK for Java 2 makes of a model's service id: `SFN` → `Sfn`, `DynamoDB` → `DynamoDb`."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", service_id)
    return "".join(word.capitalize() for word in words)


def _modelled_name(operation: OperationModel, error: AwsError) -> str | None:
    """The exception that the SDK throws for an error that the service's model knows, with any of its operations."""
    shape = _error_shape(operation, error)
    if shape is None:
        return None
    name: str = shape.name
    return name if name.endswith("Exception") else f"{name}Exception"


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


def _pascal(name: str) -> str:
    return name[:1].upper() + name[1:]


def _time(value: Any, milliseconds: bool) -> Json:
    seconds = value.timestamp() if isinstance(value, datetime) else value
    if milliseconds:
        return round(seconds * 1000)
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds" if seconds % 1 else "seconds")
    return text.replace("+00:00", "Z")
