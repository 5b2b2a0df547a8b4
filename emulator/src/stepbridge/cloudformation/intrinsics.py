"""Intrinsic functions: values of a template with `Ref`, `Fn::Sub` … to plain values.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html

Conditions are evaluated first (:func:`evaluate_conditions`), as they choose which resources and which branches of
`Fn::If` there are.  :func:`references` then tells what a value depends on and :func:`resolve` gives the value.
"""

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.parameters import as_text

PSEUDO_PARAMETERS = frozenset({
    "AWS::AccountId", "AWS::NotificationARNs", "AWS::NoValue", "AWS::Partition", "AWS::Region", "AWS::StackId",
    "AWS::StackName", "AWS::URLSuffix",
})  # fmt: skip
LANGUAGE_EXTENSIONS = "AWS::LanguageExtensions"

_FUNCTIONS = (
    "Fn::Base64", "Fn::GetAtt", "Fn::GetAZs", "Fn::ImportValue", "Fn::Join", "Fn::Split", "Fn::FindInMap",
    "Fn::Select", "Ref", "Fn::Equals", "Fn::If", "Fn::Not", "Condition", "Fn::And", "Fn::Or", "Fn::Sub", "Fn::Cidr",
)  # fmt: skip
_EXTENSION_FUNCTIONS = ("Fn::Length", "Fn::ToJsonString")
_CONDITION_FUNCTIONS = frozenset({"Fn::And", "Fn::Or", "Fn::Not", "Fn::Equals"})
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_PLACEHOLDER_NAME = re.compile(r"[A-Za-z0-9_.:]+")


class _NoValue:
    pass


_NO_VALUE = _NoValue()


@dataclass(frozen=True, slots=True)
class Scope:
    """What the functions of a template can refer to.

    `parameters` has the values of parameters and pseudo parameters (strings or lists of strings), `conditions` the
    outcome of each condition, `exports` the exports of the account, `resource` gives a resource's `Ref` (attribute
    None) or attribute.  `resource_names` are the logical ids that exist once conditions are applied.
    """

    parameters: Mapping[str, Any]
    mappings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, bool] = field(default_factory=dict)
    exports: Mapping[str, str] = field(default_factory=dict)
    resource_names: frozenset[str] = frozenset()
    resource: Callable[[str, str | None], Any] = lambda name, attribute: f"{name}.{attribute}"
    language_extensions: bool = False


def function_of(value: Any) -> str | None:
    """The name of the function that `value` calls, or None if it is plain."""
    if isinstance(value, dict) and len(value) == 1:
        name = next(iter(value))
        if name == "Ref" or (isinstance(name, str) and name.startswith("Fn::")):
            return str(name)
    return None


def references(value: Any, conditions: Mapping[str, bool]) -> Iterator[tuple[str, str | None]]:
    """Each (name, attribute) that `value` refers to; the attribute is None for `Ref`.

    Only the branch of `Fn::If` that `conditions` choose counts.  Names may be of parameters or resources.
    """
    function = function_of(value)
    if function == "Ref":
        yield as_text(value["Ref"]), None
    elif function == "Fn::GetAtt":
        name, attribute = _attribute_reference(value["Fn::GetAtt"])
        yield name, attribute if isinstance(attribute, str) else ""
        yield from references(attribute, conditions)
    elif function == "Fn::Sub":
        text, variables = _sub_arguments(value["Fn::Sub"])
        for name in _placeholders(text):
            if name not in variables:
                base, _, attribute = name.partition(".")
                yield base, attribute or None
        yield from references(variables, conditions)
    elif function == "Fn::If":
        yield from references(_chosen(value["Fn::If"], conditions), conditions)
    elif isinstance(value, dict):
        for member in value.values():
            yield from references(member, conditions)
    elif isinstance(value, list):
        for member in value:
            yield from references(member, conditions)


def evaluate_conditions(conditions: Mapping[str, Any], scope: Scope) -> dict[str, bool]:
    """The outcome of each condition of the section Conditions.  Raises TemplateError."""
    outcomes: dict[str, bool] = {}
    pending: list[str] = []

    def outcome(name: str) -> bool:
        if name not in conditions:
            raise TemplateError(
                f"Template format error: Unresolved condition dependency {name} in the Conditions block"
            )
        if name in pending:
            raise TemplateError(f"Template error: Circular dependency between conditions: [{', '.join(pending)}]")
        if name not in outcomes:
            pending.append(name)
            outcomes[name] = evaluate(conditions[name])
            pending.pop()
        return outcomes[name]

    def evaluate(value: Any) -> bool:
        if isinstance(value, dict) and len(value) == 1:
            function, argument = next(iter(value.items()))
            if function == "Condition":
                return outcome(argument)
            if function == "Fn::Equals":
                if not isinstance(argument, list) or len(argument) != 2:
                    raise TemplateError(
                        "Template error: every Fn::Equals object requires a list of 2 string parameters."
                    )
                for name, _ in references(argument, outcomes):
                    if name not in scope.parameters:
                        raise TemplateError(
                            f"Template format error: Unresolved dependencies [{name}]. Cannot reference resources in "
                            "the Conditions block of the template"
                        )
                left, right = (resolve(side, scope) for side in argument)
                return bool(_comparable(left) == _comparable(right))
            if function == "Fn::Not":
                if not isinstance(argument, list) or len(argument) != 1:
                    raise TemplateError("Template error: Fn::Not object requires a list with one condition.")
                return not evaluate(argument[0])
            if function in {"Fn::And", "Fn::Or"}:
                if not isinstance(argument, list) or not 2 <= len(argument) <= 10:
                    raise TemplateError(
                        f"Template error: every {function} object requires a list of at least 2 and at most 10 "
                        "boolean parameters."
                    )
                results = [evaluate(item) for item in argument]
                return all(results) if function == "Fn::And" else any(results)
        raise TemplateError("Template format error: Every Condition member must be a boolean function.")

    for name in conditions:
        outcome(name)
    return outcomes


def _comparable(value: Any) -> Any:
    return value if isinstance(value, list) else as_text(value)


def resolve(value: Any, scope: Scope) -> Any:
    """`value` with all functions carried out.  Raises TemplateError with CloudFormation's text."""
    result = _resolve(value, scope)
    return None if result is _NO_VALUE else result


def _resolve(value: Any, scope: Scope) -> Any:
    if isinstance(value, list):
        return [item for item in (_resolve(member, scope) for member in value) if item is not _NO_VALUE]
    if not isinstance(value, dict):
        return value
    function = function_of(value)
    if function is None:
        for name in value:
            if isinstance(name, str) and name.startswith("Fn::"):
                raise TemplateError(f"Template error: {name} must be the only member of its object")
        resolved = {name: _resolve(member, scope) for name, member in value.items()}
        return {name: member for name, member in resolved.items() if member is not _NO_VALUE}
    handler = _HANDLERS.get(function)
    if handler is None or (function in _EXTENSION_FUNCTIONS and not scope.language_extensions):
        hint = f" {function} needs Transform: {LANGUAGE_EXTENSIONS}." if function in _EXTENSION_FUNCTIONS else ""
        raise TemplateError(
            f"Template error: Encountered unsupported function: {function} Supported functions are: "
            f"[{', '.join(_FUNCTIONS)}]{hint}"
        )
    return handler(value[function], scope)


def _ref(argument: Any, scope: Scope) -> Any:
    if argument == "AWS::NoValue":
        return _NO_VALUE
    if argument in scope.parameters:
        return scope.parameters[argument]
    if argument in scope.resource_names:
        return scope.resource(argument, None)
    raise _unresolved(as_text(argument))


def _unresolved(name: str) -> TemplateError:
    return TemplateError(
        f"Template format error: Unresolved resource dependencies [{name}] in the Resources block of the template"
    )


def _attribute_reference(argument: Any) -> tuple[str, Any]:
    if isinstance(argument, str) and "." in argument:
        name, attribute = argument.split(".", 1)
        return name, attribute
    if isinstance(argument, list) and len(argument) >= 2 and isinstance(argument[0], str):
        if len(argument) > 2:
            return argument[0], ".".join(as_text(part) for part in argument[1:])
        return argument[0], argument[1]
    raise TemplateError(
        "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource "
        "attribute"
    )


def _get_att(argument: Any, scope: Scope) -> Any:
    name, attribute = _attribute_reference(argument)
    if name not in scope.resource_names:
        raise TemplateError(f"Template error: instance of Fn::GetAtt references undefined resource {name}")
    return scope.resource(name, as_text(_resolve(attribute, scope)))


def _sub_arguments(argument: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(argument, str):
        return argument, {}
    if isinstance(argument, list) and [type(part) for part in argument] == [str, dict]:
        return argument[0], argument[1]
    raise TemplateError(
        "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as "
        "first argument, and an optional second argument to specify a mapping of values to replace in the string"
    )


def _placeholders(text: str) -> Iterator[str]:
    for match in _PLACEHOLDER.finditer(text):
        name = match[1]
        if name.startswith("!"):
            continue
        if not _PLACEHOLDER_NAME.fullmatch(name.strip()):
            raise TemplateError(
                "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, "
                "underscores, periods, and colons"
            )
        yield name.strip()


def _sub(argument: Any, scope: Scope) -> str:
    text, variables = _sub_arguments(argument)
    for _ in _placeholders(text):  # refuses what is not a name
        pass

    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("!"):
            return "${" + name[1:] + "}"
        name = name.strip()
        if name in variables:
            value = _resolve(variables[name], scope)
        elif "." in name:
            value = _get_att(name, scope)
        else:
            value = _ref(name, scope)
        if isinstance(value, (list, dict)):
            raise TemplateError(f"Template error: the variable {name} of Fn::Sub is not a string")
        return "" if value is _NO_VALUE else as_text(value)

    return _PLACEHOLDER.sub(replacement, text)


def _join(argument: Any, scope: Scope) -> str:
    refusal = TemplateError(
        "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of "
        "strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
    )
    if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str):
        raise refusal
    items = _resolve(argument[1], scope)
    if not isinstance(items, list) or any(isinstance(item, (dict, list)) for item in items):
        raise refusal
    return argument[0].join(as_text(item) for item in items)


def _split(argument: Any, scope: Scope) -> list[str]:
    if isinstance(argument, list) and len(argument) == 2 and isinstance(argument[0], str):
        text = _resolve(argument[1], scope)
        if isinstance(text, (str, int, float)) and argument[0]:
            return as_text(text).split(argument[0])
    raise TemplateError(
        "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be "
        "split or a function that returns a string to be split."
    )


def _select(argument: Any, scope: Scope) -> Any:
    if not isinstance(argument, list) or len(argument) != 2:
        raise TemplateError(
            "Template error: Fn::Select requires a list argument with two elements: an integer index and a list"
        )
    index, items = _resolve(argument[0], scope), _resolve(argument[1], scope)
    if not isinstance(items, list):
        raise TemplateError("Template error: Fn::Select requires a list argument with a valid index")
    try:
        position = int(index)
    except (TypeError, ValueError):
        raise TemplateError("Template error: Fn::Select requires a list argument with a valid index") from None
    if not 0 <= position < len(items):
        raise TemplateError(f"Template error: Fn::Select cannot select nonexistent value at index {position}")
    return items[position]


def _chosen(argument: Any, conditions: Mapping[str, bool]) -> Any:
    if not isinstance(argument, list) or len(argument) != 3 or not isinstance(argument[0], str):
        raise TemplateError(
            "Template error: Fn::If requires a list argument with three elements, the first of them a condition name"
        )
    if argument[0] not in conditions:
        raise TemplateError(f"Template error: unresolved condition dependency {argument[0]} in Fn::If")
    return argument[1] if conditions[argument[0]] else argument[2]


def _if(argument: Any, scope: Scope) -> Any:
    return _resolve(_chosen(argument, scope.conditions), scope)


def _find_in_map(argument: Any, scope: Scope) -> Any:
    has_default = scope.language_extensions and isinstance(argument, list) and len(argument) == 4
    if not isinstance(argument, list) or not (len(argument) == 3 or has_default):
        raise TemplateError(
            "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the "
            "attribute for return value"
        )
    name, top, second = (as_text(_resolve(part, scope)) for part in argument[:3])
    if has_default and isinstance(argument[3], dict) and "DefaultValue" in argument[3]:
        found = scope.mappings.get(name, {}).get(top, {})
        return found[second] if second in found else _resolve(argument[3]["DefaultValue"], scope)
    if name not in scope.mappings:
        raise TemplateError(
            f"Template error: Mapping named '{name}' is not present in the 'Mappings' section of template."
        )
    try:
        return scope.mappings[name][top][second]
    except (KeyError, TypeError):
        raise TemplateError(f"Template error: Unable to get mapping for {name}::{top}::{second}") from None


def _base64(argument: Any, scope: Scope) -> str:
    text = _resolve(argument, scope)
    if isinstance(text, (dict, list)):
        raise TemplateError("Template error: every Fn::Base64 object must have a String-typed value.")
    return base64.b64encode(as_text(text).encode()).decode()


def _import_value(argument: Any, scope: Scope) -> str:
    name = as_text(_resolve(argument, scope))
    if name not in scope.exports:
        raise TemplateError(f"No export named {name} found.")
    return scope.exports[name]


def _get_azs(argument: Any, scope: Scope) -> list[str]:
    region = as_text(_resolve(argument, scope)) or scope.parameters["AWS::Region"]
    return [f"{region}{zone}" for zone in "abc"]


def _cidr(argument: Any, scope: Scope) -> list[str]:
    refusal = TemplateError(
        "Template error: Every Fn::Cidr object requires two or three parameters: the ip block, the count of blocks "
        "and the number of bits of each of them"
    )
    if not isinstance(argument, list) or len(argument) not in {2, 3}:
        raise refusal
    resolved = [_resolve(part, scope) for part in argument]
    try:
        network = ipaddress.ip_network(as_text(resolved[0]), strict=False)
        count = int(resolved[1])
        bits = int(resolved[2]) if len(resolved) == 3 else (8 if network.version == 4 else 64)
        subnets = network.subnets(new_prefix=network.max_prefixlen - bits)
        blocks = [str(next(subnets)) for _ in range(count)]
    except (StopIteration, TypeError, ValueError):
        raise refusal from None
    return blocks


def _length(argument: Any, scope: Scope) -> int:
    items = _resolve(argument, scope)
    if not isinstance(items, list):
        raise TemplateError("Template error: Fn::Length requires a list")
    return len(items)


def _to_json_string(argument: Any, scope: Scope) -> str:
    resolved = _resolve(argument, scope)
    if not isinstance(resolved, (dict, list)):
        raise TemplateError("Template error: Fn::ToJsonString requires an object or an array")
    return json.dumps(resolved, separators=(",", ":"), ensure_ascii=False)


_HANDLERS: Mapping[str, Callable[[Any, Scope], Any]] = {
    "Ref": _ref,
    "Fn::Base64": _base64,
    "Fn::Cidr": _cidr,
    "Fn::FindInMap": _find_in_map,
    "Fn::GetAZs": _get_azs,
    "Fn::GetAtt": _get_att,
    "Fn::If": _if,
    "Fn::ImportValue": _import_value,
    "Fn::Join": _join,
    "Fn::Length": _length,
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::Sub": _sub,
    "Fn::ToJsonString": _to_json_string,
}
