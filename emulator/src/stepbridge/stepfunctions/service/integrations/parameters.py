"""Parameters that a service's API cannot take: refused when a definition is created, and before a task is scheduled.

AWS compares the parameters of every integration with the model of the service's API.  It refuses a definition whose
`Parameters` or `Arguments` cannot be right whatever their expressions give, and fails an execution, with an error that
nobody catches, whose evaluated parameters are not:

    The Parameters '{"FunctionName":"f","Payload":1}' could not be used to start the Task:
    [The value for the field 'Payload' must be a STRING]

https://docs.aws.amazon.com/step-functions/latest/dg/connect-parameters.html
"""

from collections.abc import Iterator, Mapping

from botocore.exceptions import UnknownServiceError
from botocore.model import ListShape, MapShape, Shape, ShapeResolver, StructureShape

from stepbridge.api.models import has_operation, operation_model
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.language import jsonata_expression
from stepbridge.stepfunctions.language.definition import JSONATA
from stepbridge.stepfunctions.language.resources import Integration
from stepbridge.stepfunctions.language.values import is_number
from stepbridge.stepfunctions.service.integrations.members import OPTIMIZED, SDK, Style
from stepbridge.stepfunctions.service.integrations.sdk import find_operation

# Integrations that do not take all that the API has: "Supported parameters" on the page of each.
_SUPPORTED = {
    "lambda:invoke": ("FunctionName", "Payload", "ClientContext", "InvocationType", "Qualifier"),
    "sqs:sendMessage": (
        "QueueUrl", "MessageBody", "DelaySeconds", "MessageAttributes", "MessageAttribute", "MessageDeduplicationId",
        "MessageGroupId",
    ),
    "states:startExecution": ("StateMachineArn", "Input", "Name", "TraceHeader"),
}  # fmt: skip

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
    """What of `parameters` the call of `resource` cannot take, in AWS's words.

    `template_language` is the query language whose expressions may be in them, None once they are evaluated.
    """
    style = SDK if resource.service.startswith("aws-sdk:") else OPTIMIZED
    if template_language is not None:
        parameters = _known(parameters, template_language)
    if isinstance(parameters, _Later):
        return []
    if not isinstance(parameters, Mapping):
        return [_must_be("Parameters", "OBJECT")]
    supported = _SUPPORTED.get(f"{resource.service}:{resource.action}", parameters)
    found = [_unsupported(name) for name in parameters if name not in supported]
    parameters = {name: value for name, value in parameters.items() if name in supported}
    return [*_mismatches(_input_shape(resource), parameters, "Parameters", style), *found]


def _input_shape(resource: Integration) -> Shape | None:
    """The shape of what `resource` is called with, or None if nothing is known of it."""
    if resource.service == "http":
        return _HTTP_INVOKE
    if resource.service.startswith("aws-sdk:"):
        operation = find_operation(resource.service.removeprefix("aws-sdk:"), resource.action)
        return operation.input_shape if operation is not None else None
    service = _MODELS.get(resource.service, resource.service)
    name = resource.action[:1].upper() + resource.action[1:]
    try:
        return operation_model(service, name).input_shape if has_operation(service, name) else None
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


def _mismatches(shape: Shape | None, value: Json, field: str, style: Style) -> Iterator[str]:
    if value is None or isinstance(value, _Later) or shape is None or getattr(shape, "is_document_type", False):
        return
    if isinstance(shape, StructureShape | MapShape):
        if not isinstance(value, Mapping):
            yield _must_be(field, "OBJECT")
        elif isinstance(shape, MapShape):
            for name, item in value.items():
                yield from _mismatches(shape.value, item, name, style)
        else:
            yield from _structure_mismatches(shape, value, style)
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            yield _must_be(field, "ARRAY")
            return
        for item in value:
            yield from _mismatches(shape.member, item, field, style)
    elif (kind := _wanted(shape, value, field, style)) is not None:
        yield _must_be(field, kind)


def _structure_mismatches(shape: StructureShape, value: Mapping[str, Json], style: Style) -> Iterator[str]:
    names = style.names(shape)
    for required in shape.required_members:
        # What makes a call unique is made by the SDK.
        if style.name(required) not in value and not shape.members[required].metadata.get("idempotencyToken"):
            yield f"The field '{style.name(required)}' is required but was missing"
    for name, item in value.items():
        if name not in names:
            yield _unsupported(name)
        else:
            yield from _mismatches(shape.members[names[name]], item, name, style)


def _wanted(shape: Shape, value: Json, field: str, style: Style) -> str | None:
    """The type that the scalar `shape` wants, where `value` is of another."""
    kind = shape.type_name
    if kind in ("integer", "long"):
        return None if is_number(value) and float(value).is_integer() else "INTEGER"
    if kind in ("float", "double"):
        return None if is_number(value) else "NUMBER"
    if kind == "boolean":
        return None if isinstance(value, bool) else "BOOLEAN"
    takes_json = style is SDK or field in _JSON_TEXTS
    if kind == "string" or (kind == "blob" and style is OPTIMIZED):
        return None if isinstance(value, str) or (takes_json and isinstance(value, Mapping | list)) else "STRING"
    return None


def _must_be(field: str, kind: str) -> str:
    return f"The value for the field '{field}' must be a{'n' if kind[0] in 'AIO' else ''} {kind}"


def _unsupported(name: str) -> str:
    return f'The field "{name}" is not supported by Step Functions'
