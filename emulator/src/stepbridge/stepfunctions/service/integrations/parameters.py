"""Parameters that a service's API cannot take: refused when a definition is created, and before a task is scheduled.

AWS compares the parameters of every integration with the model of the service's API.  It refuses a definition whose
`Parameters` or `Arguments` cannot be right whatever their expressions give, and fails an execution, with an error that
nobody catches, whose evaluated parameters are not:

    The Parameters '{"FunctionName":"f","Payload":1}' could not be used to start the Task:
    [The value for the field 'Payload' must be a STRING]

https://docs.aws.amazon.com/step-functions/latest/dg/connect-parameters.html
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import islice

from botocore.exceptions import UnknownServiceError
from botocore.model import ListShape, MapShape, OperationModel, Shape, ShapeResolver, StructureShape

from stepbridge.api.models import has_operation, operation_model
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.language import jsonata_expression
from stepbridge.stepfunctions.language.definition import JSONATA
from stepbridge.stepfunctions.language.resources import Integration
from stepbridge.stepfunctions.language.values import is_number
from stepbridge.stepfunctions.service.integrations.members import BOOLEANS, OPTIMIZED, SDK, Style
from stepbridge.stepfunctions.service.integrations.sdk import find_operation

# Integrations that do not take all that the API has: "Supported parameters" on the page of each.
_SUPPORTED = {
    "lambda:invoke": ("FunctionName", "Payload", "ClientContext", "InvocationType", "Qualifier"),
    "sqs:sendMessage": (
        "QueueUrl", "MessageBody", "DelaySeconds", "MessageAttributes", "MessageDeduplicationId", "MessageGroupId",
    ),
    "states:startExecution": ("StateMachineArn", "Input", "Name", "TraceHeader"),
}  # fmt: skip
_REFUSED = {"ecs:runTask.sync": ("StartedBy", "Count")}

# Texts that may also be written as the JSON that they are to have.
_JSON_TEXTS = ("Payload", "MessageBody", "Message", "Input", "Detail")

_MODELS = {"states": "stepfunctions"}

# http:invoke is no operation of a service. https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html
_HTTP_INVOKE = ShapeResolver(
    {
        "Invoke": {
            "type": "structure",
            "required": ["ApiEndpoint", "Method"],
            "members": {
                "ApiEndpoint": {"shape": "Text"},
                "Method": {"shape": "Text"},
                "Authentication": {"shape": "Connection"},
                "InvocationConfig": {"shape": "Connection"},
                "Headers": {"shape": "Anything"},
                "QueryParameters": {"shape": "Anything"},
                "RequestBody": {"shape": "Anything"},
                "Transform": {"shape": "Anything"},
            },
        },
        "Connection": {"type": "structure", "members": {"ConnectionArn": {"shape": "Text"}}},
        "Anything": {"type": "structure", "members": {}, "document": True},
        "Text": {"type": "string"},
    }
).get_shape_by_name("Invoke")


class _Later:
    """The value that an expression of a template will have."""


_LATER = _Later()


def problems(resource: Integration, parameters: Json, template_language: str | None = None) -> list[str]:
    """What of `parameters` the call of `resource` cannot take, in AWS's words: all that is missing, or the first other.

    `template_language` is the query language whose expressions may be in them, None once they are evaluated.
    """
    if template_language is not None:
        parameters = _known(parameters, template_language)
    if isinstance(parameters, _Later):
        return []
    if not isinstance(parameters, Mapping):
        return [_must_be("Parameters", "OBJECT")]
    shape = _input_shape(resource)
    if shape is None:
        return []
    missing = [name for name in _required(shape, _style(resource)) if name not in parameters]
    if missing:
        return [f"The field '{name}' is required but was missing" for name in missing]
    return list(islice(_mismatches_of_call(resource, shape, parameters), 1))


def _style(resource: Integration) -> Style:
    return SDK if resource.service.startswith("aws-sdk:") else OPTIMIZED


def _required(shape: StructureShape, style: Style) -> list[str]:
    """The members that a call has to have, but for those that the SDK makes up: what makes a call unique."""
    required = [name for name in shape.required_members if not shape.members[name].metadata.get("idempotencyToken")]
    return [style.name(name) for name in (*required, *_stream(shape))]


def _stream(shape: StructureShape) -> tuple[str, ...]:
    """The member that the SDK reads from a stream, if there is one."""
    return tuple(name for name, member in shape.members.items() if member.serialization.get("streaming"))


def _mismatches_of_call(resource: Integration, shape: StructureShape, parameters: Mapping[str, Json]) -> Iterator[str]:
    style = _style(resource)
    call = f"{resource.service}:{resource.action_with_pattern}"
    names = style.names(shape)
    for name, value in parameters.items():
        if name not in names:
            yield _unsupported(name) + (_suggestion(name, shape, style) if style is SDK else "")
        elif name not in _SUPPORTED.get(call.partition(".")[0], names) or name in _REFUSED.get(call, ()):
            yield f"The field '{name}' is not supported by Step Functions"
        else:
            yield from _mismatches(shape.members[names[name]], value, name, resource)


def _suggestion(name: str, shape: StructureShape, style: Style) -> str:
    stream = _stream(shape)
    names = [each for each, member in style.names(shape).items() if member not in stream]
    nearest = get_close_matches(name, names, n=1, cutoff=0)
    return f". Did you mean '{nearest[0]}'?" if nearest else ""


def _input_shape(resource: Integration) -> StructureShape | None:
    """The shape of what `resource` is called with, or None if nothing is known of it."""
    if resource.service == "http":
        return _HTTP_INVOKE
    operation = called_operation(resource)
    return operation.input_shape if operation is not None else None


def called_operation(resource: Integration) -> OperationModel | None:
    """The operation of an AWS API that a Task with `resource` calls, or None if it calls none that is known."""
    if resource.service.startswith("aws-sdk:"):
        return find_operation(resource.service.removeprefix("aws-sdk:"), resource.action)
    service = _MODELS.get(resource.service, resource.service)
    name = resource.action[:1].upper() + resource.action[1:]
    try:
        return operation_model(service, name) if has_operation(service, name) else None
    except UnknownServiceError:
        return None


def _known(template: Json, language: str) -> Json:
    """A template as far as it is known before it is evaluated."""
    if isinstance(template, list):
        return [_known(item, language) for item in template]
    if isinstance(template, Mapping):
        if language == JSONATA:
            return {name: _known(value, language) for name, value in template.items()}
        return {
            name.removesuffix(".$"): _LATER if name.endswith(".$") else _known(value, language)
            for name, value in template.items()
        }
    return _LATER if language == JSONATA and jsonata_expression.is_expression(template) else template


def _mismatches(shape: Shape, value: Json, field: str, resource: Integration) -> Iterator[str]:
    if value is None or isinstance(value, _Later) or getattr(shape, "is_document_type", False):
        return
    if isinstance(shape, StructureShape | MapShape):
        if not isinstance(value, Mapping):
            yield _not_an_object(shape, value, field, resource)
        elif isinstance(shape, MapShape):
            for name, item in value.items():
                yield from _mismatches(shape.value, item, name, resource)
        else:
            names = _style(resource).names(shape)
            for name, item in value.items():
                if name in names:
                    yield from _mismatches(shape.members[names[name]], item, name, resource)
                else:
                    yield _unsupported(name)
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            yield _must_be(field, "ARRAY")
            return
        for item in value:
            yield from _mismatches(shape.member, item, field, resource)
    elif shape.type_name == "boolean":
        yield from _no_boolean(value)
    elif (kind := _wanted(shape, value, field, resource)) is not None:
        yield _must_be(field, kind)


def _not_an_object(shape: Shape, value: Json, field: str, resource: Integration) -> str:
    if _style(resource) is OPTIMIZED or not isinstance(shape, StructureShape) or not isinstance(value, str):
        return _must_be(field, "OBJECT")
    # No text of Step Functions, but of the reader of JSON that it makes the SDK's requests with.
    package = f"software.amazon.awssdk.services.{resource.service.removeprefix('aws-sdk:')}.model"
    return (
        f"Cannot construct instance of `{package}.{shape.name}$BuilderImpl` "
        "(although at least one Creator exists): no String-argument constructor/factory method to deserialize from "
        f"String value ('{value}')"
    )


def _no_boolean(value: Json) -> Iterator[str]:
    """Why `value` can be read as no boolean: an integer can, and so can some texts."""
    if isinstance(value, float):
        kind = "Floating-point value (token `JsonToken.VALUE_NUMBER_FLOAT`)"
    elif isinstance(value, str):
        if value.strip() in BOOLEANS:
            return
        kind = f'String "{value}": only "true" or "false" recognized'
    elif isinstance(value, list):
        kind = "Array value (token `JsonToken.START_ARRAY`)"
    elif isinstance(value, Mapping):
        kind = "Object value (token `JsonToken.START_OBJECT`)"
    else:
        return
    yield f"Cannot deserialize value of type `java.lang.Boolean` from {kind}"


def _wanted(shape: Shape, value: Json, field: str, resource: Integration) -> str | None:
    """The type that the scalar `shape` wants, where `value` is of another."""
    kind = shape.type_name
    if kind in ("integer", "long"):
        return None if is_number(value) and not isinstance(value, float) else "INTEGER"
    if kind in ("float", "double"):
        return None if is_number(value) else "NUMBER"
    takes_json = (style := _style(resource)) is SDK or field in _JSON_TEXTS
    if kind == "string" or (kind == "blob" and style is OPTIMIZED):
        return None if isinstance(value, str) or (takes_json and isinstance(value, Mapping | list)) else "STRING"
    return None


def _must_be(field: str, kind: str) -> str:
    return f"The value for the field '{field}' must be a{'n' if kind[0] in 'AIO' else ''} {kind}"


def _unsupported(name: str) -> str:
    return f'The field "{name}" is not supported by Step Functions'
