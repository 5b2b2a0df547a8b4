"""Parameters of a task that are of a type which the service's API cannot take."""

from collections.abc import Iterator, Mapping

from botocore.model import ListShape, MapShape, Shape, StructureShape

from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.language.values import is_number
from stepbridge.stepfunctions.service.integrations.call import TaskError
from stepbridge.stepfunctions.service.integrations.sdk_metadata import to_json


def check_types(shape: Shape | None, parameters: Json) -> None:
    """Raise TaskError unless `parameters` can be made members of `shape`.

    Members that are text in the API take any JSON, which is written as text; null is what is not there.
    """
    if not isinstance(parameters, Mapping):
        _refuse(parameters, [_must_be("Parameters", "OBJECT")])
    _refuse(parameters, list(_mismatches(shape, parameters, "Parameters")))


def check_texts(parameters: Json, required: str, *optional: str) -> None:
    """Raise TaskError unless `parameters` has the text `required`, and has of the `optional` ones only text or null."""
    if not isinstance(parameters, Mapping):
        found = [_must_be("Parameters", "OBJECT")]
    elif parameters.get(required) is None:
        found = [f"The field '{required}' is required but was missing"]
    else:
        texts = {name: parameters.get(name) for name in (required, *optional)}
        found = [_must_be(name, "STRING") for name, value in texts.items() if not isinstance(value, str | None)]
    _refuse(parameters, found)


def _refuse(parameters: Json, found: list[str]) -> None:
    if found:
        cause = f"The Parameters '{to_json(parameters)}' could not be used to start the Task: [{', '.join(found)}]"
        raise TaskError("States.Runtime", cause)


def _mismatches(shape: Shape | None, value: Json, field: str) -> Iterator[str]:
    if value is None or shape is None or getattr(shape, "is_document_type", False):
        return
    if isinstance(shape, StructureShape | MapShape):
        if not isinstance(value, Mapping):
            yield _must_be(field, "OBJECT")
            return
        for name, item in value.items():
            yield from _mismatches(_member(shape, name), item, name)
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            yield _must_be(field, "ARRAY")
            return
        for item in value:
            yield from _mismatches(shape.member, item, field)
    elif shape.type_name in ("integer", "long", "float", "double"):
        if not is_number(value):
            yield _must_be(field, "NUMBER")
    elif shape.type_name == "boolean" and not isinstance(value, bool):
        yield _must_be(field, "BOOLEAN")


def _member(shape: StructureShape | MapShape, name: str) -> Shape | None:
    if isinstance(shape, MapShape):
        return shape.value
    members: Mapping[str, Shape] = shape.members
    return members.get(name) or members.get(name[:1].lower() + name[1:])


def _must_be(field: str, kind: str) -> str:
    return f"The value for the field '{field}' must be a{'n' if kind[0] in 'AO' else ''} {kind}"
