"""What a definition probably does not mean: it can be created, and ValidateStateMachineDefinition warns of it.

The codes and their meaning: https://docs.aws.amazon.com/step-functions/latest/apireference/API_ValidateStateMachineDefinition.html
"""

from collections.abc import Iterator
from typing import Any

from stepbridge.stepfunctions.language.diagnostics import Diagnostic

_TEMPLATES = ("Parameters", "ItemSelector", "ResultSelector", "Assign")
_WITH_PATH = ("Error", "Cause")  # and the comparisons of Choice rules
_COMPARISONS = ("String", "Numeric", "Boolean", "Timestamp")


def warnings(definition: Any) -> Iterator[Diagnostic]:
    """The findings of severity WARNING in a definition, of whatever shape it is."""
    if isinstance(definition, dict):
        yield from _of_machine(definition, "", definition.get("QueryLanguage", "JSONPath"))


def _of_machine(machine: dict[str, Any], path: str, language: object) -> Iterator[Diagnostic]:
    states = machine.get("States")
    for name, state in states.items() if isinstance(states, dict) else ():
        if isinstance(state, dict):
            yield from _of_state(state, f"{path}/States/{name}", state.get("QueryLanguage", language), language)


def _of_state(state: dict[str, Any], path: str, language: object, outer: object) -> Iterator[Diagnostic]:
    if language == "JSONPath":
        for name in _TEMPLATES:
            yield from _of_template(state.get(name), f"{path}/{name}")
        for number, catcher in enumerate(_objects(state.get("Catch"))):
            yield from _of_template(catcher.get("Assign"), f"{path}/Catch[{number}]/Assign")
        yield from _of_fields(state, _WITH_PATH, path)
        for number, rule in enumerate(_objects(state.get("Choices"))):
            yield from _of_rule(rule, f"{path}/Choices[{number}]")
            yield from _of_template(rule.get("Assign"), f"{path}/Choices[{number}]/Assign")
        if state.get("Type") == "Pass" and any(_looks_like_path(value) for value in _leaves(state.get("Result"))):
            message = "Attempt to use a path in the result of a pass state."
            yield _warning("PASS_RESULT_IS_STATIC", message, f"{path}/Result")
    for number, branch in enumerate(_objects(state.get("Branches"))):
        yield from _of_machine(branch, f"{path}/Branches[{number}]", outer)
    for name in ("ItemProcessor", "Iterator"):
        if isinstance(state.get(name), dict):
            yield from _of_machine(state[name], f"{path}/{name}", outer)


def _of_template(template: Any, path: str) -> Iterator[Diagnostic]:
    if isinstance(template, dict):
        for name, value in template.items():
            if not name.endswith(".$") and _looks_like_path(value):
                message = f'No ".$" on field "{name}" that appears to be a JSONPath or Intrinsic Function.'
                yield _warning("NO_DOLLAR", message, f"{path}/{name}")
            yield from _of_template(value, f"{path}/{name}")
    elif isinstance(template, list):
        for number, item in enumerate(template):
            yield from _of_template(item, f"{path}[{number}]")


def _of_rule(rule: dict[str, Any], path: str) -> Iterator[Diagnostic]:
    comparisons = [name for name in rule if name.startswith(_COMPARISONS) and not name.endswith(("Path", "Matches"))]
    yield from _of_fields(rule, comparisons, path)
    for name in ("And", "Or"):
        for number, inner in enumerate(_objects(rule.get(name))):
            yield from _of_rule(inner, f"{path}/{name}[{number}]")
    if isinstance(rule.get("Not"), dict):
        yield from _of_rule(rule["Not"], f"{path}/Not")


def _of_fields(holder: dict[str, Any], names: Any, path: str) -> Iterator[Diagnostic]:
    for name in names:
        if _looks_like_path(holder.get(name)):
            message = f"Field \"{name}\" has a value that looks like a path, but its name does not end with 'Path'."
            yield _warning("NO_PATH", message, f"{path}/{name}")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


def _looks_like_path(value: Any) -> bool:
    return isinstance(value, str) and (value == "$" or value.startswith(("$.", "$[", "$$", "States.")))


def _warning(code: str, message: str, location: str) -> Diagnostic:
    return Diagnostic(code, message, location, "WARNING")
