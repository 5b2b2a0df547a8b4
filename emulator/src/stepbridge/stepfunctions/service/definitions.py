"""Definitions as callers send them: checked by the language, and their resources by what can be called."""

import json
from collections.abc import Iterator
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.stepfunctions import language
from stepbridge.stepfunctions.service.integrations import Pattern, Resource, TaskIntegrations


def check(text: str, machine_type: str, integrations: TaskIntegrations) -> None:
    """Raise AwsError InvalidDefinition, as CreateStateMachine does, unless `text` defines a machine that can run."""
    try:
        language.parse(text)
    except language.InvalidDefinition as error:
        raise _invalid([_place(diagnostic) for diagnostic in error.diagnostics]) from None
    problems = list(_unsupported(json.loads(text), "", machine_type, integrations))
    if problems:
        raise _invalid([f"SCHEMA_VALIDATION_FAILED: {message} at {location}" for location, message in problems])


def diagnostics(text: str, machine_type: str, integrations: TaskIntegrations) -> list[dict[str, str]]:
    """What ValidateStateMachineDefinition says of `text`."""
    found = [
        {
            "severity": diagnostic.severity,
            "code": diagnostic.code,
            "message": diagnostic.message,
            **({"location": diagnostic.location} if diagnostic.location else {}),
        }
        for diagnostic in language.validate(text)
    ]
    if not any(diagnostic["severity"] == "ERROR" for diagnostic in found):
        found += [
            {"severity": "ERROR", "code": "SCHEMA_VALIDATION_FAILED", "message": message, "location": location}
            for location, message in _unsupported(json.loads(text), "", machine_type, integrations)
        ]
    return found


def _invalid(problems: list[str]) -> AwsError:
    return AwsError("InvalidDefinition", f"Invalid State Machine Definition: '{', '.join(problems)}'")


def _place(diagnostic: language.Diagnostic) -> str:
    place = f" at {diagnostic.location}" if diagnostic.location else ""
    return f"{diagnostic.code}: {diagnostic.message}{place}"


def _unsupported(
    scope: dict[str, Any], path: str, machine_type: str, integrations: TaskIntegrations
) -> Iterator[tuple[str, str]]:
    """The place of each Task state's Resource that cannot be called, and why."""
    for name, state in scope["States"].items():
        place = f"{path}/States/{name}"
        if state["Type"] == "Task":
            message = _refusal(state["Resource"], machine_type, integrations)
            if message is not None:
                yield f"{place}/Resource", message
        for number, branch in enumerate(state.get("Branches", [])):
            yield from _unsupported(branch, f"{place}/Branches[{number}]", machine_type, integrations)
        for member in ("ItemProcessor", "Iterator"):
            if member in state:
                processor = state[member]
                kind = processor.get("ProcessorConfig", {}).get("ExecutionType", machine_type)
                yield from _unsupported(processor, f"{place}/{member}", kind, integrations)


def _refusal(text: str, machine_type: str, integrations: TaskIntegrations) -> str | None:
    resource = Resource.parse(text)
    if resource is not None and machine_type == "EXPRESS":
        # Express executions last five minutes at most and cannot wait for anything to call back.
        # https://docs.aws.amazon.com/step-functions/latest/dg/choosing-workflow-type.html
        if resource.pattern is not Pattern.REQUEST_RESPONSE:
            kind = "sync" if resource.pattern is Pattern.SYNC_2 else resource.pattern.value
            return f"Express state machine does not support '.{kind}' service integration"
        if resource.name == "activity":
            return "Express state machine does not support activities"
    if resource is None or integrations.find(resource) is None:
        return (
            f"The resource provided {text} is not recognized. The value is not a valid resource ARN, "
            "or the resource is not available in this region."
        )
    return None
