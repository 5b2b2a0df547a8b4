"""CloudFormation's properties beside the shapes of botocore's models.

Nearly every property is a member of an API's request under another spelling (`AwsIotSqlVersion` for
`awsIotSqlVersion`), of scalars that may come as strings.  So one walk over botocore's shape checks names and types
and gives what the API wants.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.loaders
import botocore.model

from stepbridge.cloudformation.parameters import as_text

# What stands for a value that is known only once the resource it comes from is made.
KNOWN_AFTER_APPLY = "{{changeSet:KNOWN_AFTER_APPLY}}"

_INTEGERS = frozenset({"integer", "long"})


@cache
def service_model(service: str) -> botocore.model.ServiceModel:
    """Botocore's model of `service`."""
    loader = botocore.loaders.Loader()
    return botocore.model.ServiceModel(loader.load_service_model(service, "service-2"), service)


@cache
def shape_at(service: str, path: str) -> botocore.model.Shape:
    """The shape of `Operation.member.member…` in the request of an operation; `[]` steps into a list."""
    operation, *members = path.split(".")
    shape = service_model(service).operation_model(operation).input_shape
    for member in members:
        shape = shape.member if member == "[]" else shape.members[member]
    return shape


def member_name(shape: botocore.model.Shape, property_name: str) -> str | None:
    """The member of a structure that a property names: the same, but for the case of its first letter."""
    if property_name in shape.members:
        return property_name if property_name[:1].isupper() else None
    lowered = property_name[:1].lower() + property_name[1:]
    return lowered if lowered in shape.members and lowered != property_name else None


def problems(shape: botocore.model.Shape, value: Any, path: str) -> Iterator[str]:
    """What is wrong with a property's value, each as `#/Path: …`."""
    if value == KNOWN_AFTER_APPLY or (isinstance(value, str) and KNOWN_AFTER_APPLY in value):
        return
    kind = shape.type_name
    if kind == "structure" and not getattr(shape, "is_document_type", False):
        if not isinstance(value, dict):
            yield f"{path}: expected type: JSONObject, found: {_found(value)}"
            return
        given = set()
        for name, member in value.items():
            known = member_name(shape, name)
            if known is None:
                yield f"{path}: extraneous key [{name}] is not permitted"
            else:
                given.add(known)
                yield from problems(shape.members[known], member, f"{path}/{name}")
        for name in shape.required_members:
            if name not in given:
                yield f"{path}: required key [{name[:1].upper() + name[1:]}] not found"
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{path}: expected type: JSONArray, found: {_found(value)}"
            return
        for index, member in enumerate(value):
            yield from problems(shape.member, member, f"{path}/{index}")
    elif kind == "map":
        if not isinstance(value, dict):
            yield f"{path}: expected type: JSONObject, found: {_found(value)}"
            return
        for name, member in value.items():
            yield from problems(shape.value, member, f"{path}/{name}")
    elif isinstance(value, (dict, list)):
        if kind != "structure":
            expected = {"boolean": "Boolean"}.get(kind, "Number" if kind in _INTEGERS else "String")
            yield f"{path}: expected type: {expected}, found: {_found(value)}"
    else:
        yield from _scalar_problems(shape, value, path)


def _scalar_problems(shape: botocore.model.Shape, value: Any, path: str) -> Iterator[str]:
    try:
        converted = to_api(shape, value)
    except ValueError:
        expected = "Boolean" if shape.type_name == "boolean" else "Number"
        yield f"{path}: expected type: {expected}, found: {_found(value)}"
        return
    enum = getattr(shape, "enum", None)
    if enum and converted not in enum:
        yield f"{path}: #: {as_text(value)} is not a valid enum value"


def _found(value: Any) -> str:
    if isinstance(value, dict):
        return "JSONObject"
    if isinstance(value, list):
        return "JSONArray"
    if isinstance(value, bool):
        return "Boolean"
    return "Integer" if isinstance(value, int) else "String"


def to_api(shape: botocore.model.Shape, value: Any) -> Any:
    """A checked property's value as the API wants it.  Raises ValueError for a scalar that is not of its type."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        converted = {}
        for name, member in value.items():
            known = member_name(shape, name)
            if known is None:
                raise ValueError(name)
            converted[known] = to_api(shape.members[known], member)
        return converted
    if kind == "list":
        return [to_api(shape.member, member) for member in value]
    if kind == "map":
        return {name: to_api(shape.value, member) for name, member in value.items()}
    if kind in _INTEGERS:
        return int(value)
    if kind in {"double", "float"}:
        return float(value)
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        if as_text(value).lower() not in {"true", "false"}:
            raise ValueError(value)
        return as_text(value).lower() == "true"
    if kind == "blob":
        return as_text(value).encode()
    return as_text(value)


def json_text(value: Any) -> str:
    """A policy or definition that a template gives as an object or as text: as text."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
