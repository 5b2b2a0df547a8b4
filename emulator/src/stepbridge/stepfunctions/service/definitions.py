"""Definitions as callers send them: checked by the language, and their resources by what can be called here."""

import json
from collections.abc import Iterator
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.stepfunctions import language
from stepbridge.stepfunctions.language import json_text, resources
from stepbridge.stepfunctions.service.integrations import TaskIntegrations, parameters
from stepbridge.stepfunctions.service.integrations.sdk import find_operation


def check(text: str, machine_type: str, integrations: TaskIntegrations) -> None:
    """Raise AwsError InvalidDefinition, as CreateStateMachine does, unless `text` defines a machine that can run."""
    errors = [finding for finding in diagnostics(text, machine_type, integrations) if finding.severity == "ERROR"]
    if errors:
        raise AwsError("InvalidDefinition", language.InvalidDefinition(errors).message)


def diagnostics(text: str, machine_type: str, integrations: TaskIntegrations) -> list[language.Diagnostic]:
    """What ValidateStateMachineDefinition says of `text`."""
    found = language.validate(text, express=machine_type == "EXPRESS", check_parameters=parameters.problems)
    if not any(diagnostic.severity == "ERROR" for diagnostic in found):
        found = [*found, *_not_emulated(json.loads(text), "", integrations)]
    return found


def warnings(text: str) -> list[language.Diagnostic]:
    """What ValidateStateMachineDefinition warns of in `text`."""
    try:
        return list(language.warnings(json_text.parse(text)))
    except json_text.JsonError:
        return []


def _not_emulated(scope: dict[str, Any], path: str, integrations: TaskIntegrations) -> Iterator[language.Diagnostic]:
    """A finding for each Task state in `scope` with a Resource that AWS has and stepbridge has not."""
    for name, state in scope["States"].items():
        place = f"{path}/States/{name}"
        if state["Type"] == "Task" and not _can_call(resources.parse(state["Resource"]), integrations):
            message = _why_not(state["Resource"])
            yield language.Diagnostic("SCHEMA_VALIDATION_FAILED", message, f"{place}/Resource")
        for number, branch in enumerate(state.get("Branches", [])):
            yield from _not_emulated(branch, f"{place}/Branches[{number}]", integrations)
        for member in ("ItemProcessor", "Iterator"):
            if member in state:
                yield from _not_emulated(state[member], f"{place}/{member}", integrations)


def _can_call(resource: resources.Resource, integrations: TaskIntegrations) -> bool:
    return isinstance(resource, resources.Activity) or integrations.accepts(resource)


def _why_not(arn: str) -> str:
    resource = resources.parse(arn)
    if isinstance(resource, resources.Integration):
        kind, _, service = resource.service.partition(":")
        if kind == "aws-sdk" and find_operation(service, resource.action) is None:
            return resources.unrecognized(arn)
    return f"AWS has the resource {arn}, but stepbridge cannot emulate it"
