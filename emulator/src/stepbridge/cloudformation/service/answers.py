"""Records in the shapes of CloudFormation's answers.

What is recorded has the members of those shapes, and a few of our own, which no client may see.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore.model import StructureShape

from stepbridge.api.service import Members
from stepbridge.cloudformation.blueprint import Blueprint
from stepbridge.cloudformation.changes import Change
from stepbridge.cloudformation.parameters import as_text
from stepbridge.cloudformation.resources.shapes import service_model


@cache
def _structure(name: str) -> StructureShape:
    shape = service_model("cloudformation").shape_for(name)
    if not isinstance(shape, StructureShape):
        raise TypeError(f"{name} is not a structure of CloudFormation's model")
    return shape


def public(shape: str, document: Mapping[str, Any]) -> Members:
    """The members of a document that the shape of the API has."""
    members = _structure(shape).members
    return {name: value for name, value in document.items() if name in members and value is not None}


def parameters(blueprint: Blueprint) -> list[dict[str, str]]:
    """The parameters of a stack, without those that are secret (NoEcho)."""
    declared = blueprint.original.section("Parameters")
    return [
        {
            "ParameterKey": name,
            "ParameterValue": "****" if as_text(declared[name].get("NoEcho", False)) == "true" else value,
        }
        for name, value in blueprint.parameters.items()
    ]


def change_members(change: Change) -> Members:
    """A change as a change set tells of it."""
    details = [
        {
            "Target": {
                "Attribute": "Properties",
                "Name": name,
                "RequiresRecreation": "Always" if recreates else "Never",
            },
            "Evaluation": "Static",
            "ChangeSource": "DirectModification",
        }
        for name, recreates in change.properties
    ]
    members = {
        "Action": change.action,
        "LogicalResourceId": change.logical_id,
        "PhysicalResourceId": change.physical_id,
        "ResourceType": change.type_name,
        "Replacement": change.replacement,
        "Scope": list(change.scope),
        "Details": details,
    }
    return {"Type": "Resource", "ResourceChange": {name: each for name, each in members.items() if each is not None}}
