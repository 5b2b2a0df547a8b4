"""The result of a Task that a test mocks, compared with the model of the API that the Task calls.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_MockInput.html
"""

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from stepbridge.api.models import operation_model
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.language.resources import Integration
from stepbridge.stepfunctions.language.values import is_number
from stepbridge.stepfunctions.service.integrations.members import OPTIMIZED, SDK, Style
from stepbridge.stepfunctions.service.integrations.parameters import called_operation


def problem(resource: Integration, result: Json, *, strict: bool) -> str | None:
    """What in `result` is not as the API of `resource` answers, or None.

    `strict` tells whether what is required must be there.  Members that the model does not know are let through.
    """
    operation = _answering(resource)
    if operation is None:
        return None
    style = SDK if resource.service.startswith("aws-sdk:") else OPTIMIZED
    return _mismatch(operation.output_shape, result, style, strict=strict)


def _answering(resource: Integration) -> OperationModel | None:
    """The operation whose answer is the Task's result, where that is known.

    What a callback gives is no API's.  A Task that waits for its job has what describes the job: so AWS refuses
    `Output` and `StopDate` that are no strings for startExecution.sync:2 (https://github.com/boto/boto3/issues/4683).
    """
    if resource.pattern is None:
        return called_operation(resource)
    if resource.service == "states" and resource.pattern.startswith("sync"):
        return operation_model("stepfunctions", "DescribeExecution")
    return None


def _mismatch(shape: Shape | None, value: Json, style: Style, *, strict: bool, name: str = "result") -> str | None:
    if shape is None:
        return None
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            return f"Field '{name}' must be an object"
        members = {style.name(member): inner for member, inner in shape.members.items()}
        if strict:
            for member in map(style.name, shape.required_members):
                if member not in value:
                    return f"Required field '{member}' is missing"
        found = (
            _mismatch(members[key], item, style, strict=strict, name=key)
            for key, item in value.items()
            if key in members
        )
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            return f"Field '{name}' must be an array"
        found = (_mismatch(shape.member, item, style, strict=strict, name=name) for item in value)
    elif isinstance(shape, MapShape):
        if not isinstance(value, dict):
            return f"Field '{name}' must be an object"
        found = (_mismatch(shape.value, item, style, strict=strict, name=name) for item in value.values())
    else:
        return _scalar_mismatch(shape, value, name)
    return next((mismatch for mismatch in found if mismatch is not None), None)


def _scalar_mismatch(shape: Shape, value: Json, name: str) -> str | None:
    kind = shape.type_name
    if kind in ("integer", "long", "float", "double") and not is_number(value):
        return f"Field '{name}' must be a number"
    if kind == "boolean" and not isinstance(value, bool):
        return f"Field '{name}' must be a boolean"
    if kind in ("string", "timestamp") and not isinstance(value, str):
        return f"Field '{name}' must be a string"
    if kind == "string" and getattr(shape, "enum", None) and value not in shape.enum:
        return f"Field '{name}' is not an expected value"
    return None
