"""Parameters: their declarations, constraints and values.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
"""

import re
from collections.abc import Mapping
from typing import Any

from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.template import Template

_ATTRIBUTES = frozenset({
    "AllowedPattern", "AllowedValues", "ConstraintDescription", "Default", "Description", "MaxLength", "MaxValue",
    "MinLength", "MinValue", "NoEcho", "Type",
})  # fmt: skip
_SSM_VALUE = re.compile(r"AWS::SSM::Parameter::Value<(.+)>$")
_AWS_TYPE = re.compile(r"(AWS::(EC2|Route53)::[A-Za-z:]+|AWS::SSM::Parameter::Name)$")


def as_text(value: Any) -> str:
    """A scalar of a template as CloudFormation hands it on: everything is a string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def is_list(parameter_type: str) -> bool:
    """Whether a reference to a parameter of this type gives a list."""
    inner = _SSM_VALUE.match(parameter_type)
    parameter_type = inner[1] if inner else parameter_type
    return parameter_type == "CommaDelimitedList" or parameter_type.startswith("List<")


def ssm_name_is_value(parameter_type: str) -> bool:
    """Whether a parameter's value is the name of the SSM parameter that has the real value."""
    return _SSM_VALUE.match(parameter_type) is not None


def check_declarations(template: Template) -> None:
    """Raise TemplateError if the section Parameters declares something that CloudFormation would refuse."""
    for name, declaration in template.section("Parameters").items():
        place = template.place("Parameters", name)
        if not name.isalnum() or not name.isascii():
            raise TemplateError(f"Template format error: Parameter name {name} is non alphanumeric.{place}")
        if not isinstance(declaration, dict) or not isinstance(declaration.get("Type"), str):
            raise TemplateError(f"Template format error: Every Parameters object must contain a Type member.{place}")
        unknown = [attribute for attribute in declaration if attribute not in _ATTRIBUTES]
        if unknown:
            raise TemplateError(f"Invalid template parameter property '{unknown[0]}'{place}")
        if not _known_type(declaration["Type"]):
            raise TemplateError(f"Template format error: Unrecognized parameter type: {declaration['Type']}{place}")
        if isinstance(declaration.get("Default"), (dict, list)) or declaration.get("Default", "") is None:
            raise TemplateError(
                f"Template format error: Every Default member must be a string.{template.place('Parameters', name)}"
            )
        problem = _problem_of_constraints(declaration)
        if problem is not None:
            raise TemplateError(f"Template format error: {problem} in parameter {name}{place}")


def _problem_of_constraints(declaration: Mapping[str, Any]) -> str | None:
    allowed = declaration.get("AllowedValues", [])
    if not isinstance(allowed, list) or any(isinstance(value, (dict, list)) for value in allowed):
        return "Every AllowedValues member must be a list of strings"
    for attribute in ("MaxLength", "MaxValue", "MinLength", "MinValue"):
        try:
            float(declaration.get(attribute, 0))
        except (TypeError, ValueError):
            return f"Every {attribute} member must be a number"
    try:
        re.compile(declaration.get("AllowedPattern", ""))
    except (TypeError, re.error) as error:
        return f"The AllowedPattern is no regular expression ({error})"
    return None


def _known_type(parameter_type: str) -> bool:
    inner = _SSM_VALUE.match(parameter_type)
    if inner:
        return inner[1] != "Number" and _known_type(inner[1])
    if parameter_type.startswith("List<") and parameter_type.endswith(">"):
        element = parameter_type[5:-1]
        return element in {"String", "Number"} or _AWS_TYPE.match(element) is not None
    return parameter_type in {"String", "Number", "CommaDelimitedList"} or _AWS_TYPE.match(parameter_type) is not None


def parameter_values(template: Template, given: Mapping[str, str]) -> dict[str, str]:
    """The text of each declared parameter: as given, else its default.

    Raises TemplateError with CloudFormation's text for values that are missing, not declared, or against a constraint.
    """
    declared = template.section("Parameters")
    unknown = sorted(name for name in given if name not in declared)
    if unknown:
        raise TemplateError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    values, missing = {}, []
    for name, declaration in declared.items():
        if name in given:
            values[name] = given[name]
        elif "Default" in declaration:
            values[name] = as_text(declaration["Default"])
        else:
            missing.append(name)
    if missing:
        raise TemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    for name, value in values.items():
        _check_constraints(name, declared[name], value)
    return values


def _check_constraints(name: str, declaration: Mapping[str, Any], value: str) -> None:
    parameter_type = declaration["Type"]
    items = [item.strip() for item in value.split(",")] if is_list(parameter_type) else [value]
    for item in items:
        broken = _broken_constraint(name, declaration, parameter_type, item)
        if broken:
            description = declaration.get("ConstraintDescription")
            raise TemplateError(
                f"Parameter {name} failed to satisfy constraint: {description}" if description else broken
            )


def _broken_constraint(name: str, declaration: Mapping[str, Any], parameter_type: str, item: str) -> str | None:
    if "AllowedValues" in declaration:
        allowed = [as_text(value) for value in declaration["AllowedValues"]]
        if item not in allowed:
            return f"Parameter '{name}' must be one of AllowedValues"
    pattern = declaration.get("AllowedPattern")
    if pattern is not None and not re.fullmatch(pattern, item):
        return f"Parameter '{name}' must match pattern {pattern}"
    if "MinLength" in declaration and len(item) < int(declaration["MinLength"]):
        return f"Parameter '{name}' must contain at least {declaration['MinLength']} characters"
    if "MaxLength" in declaration and len(item) > int(declaration["MaxLength"]):
        return f"Parameter '{name}' must contain at most {declaration['MaxLength']} characters"
    if parameter_type in {"Number", "List<Number>"}:
        try:
            number = float(item)
        except ValueError:
            return f"Parameter '{name}' must be a number"
        if "MinValue" in declaration and number < float(declaration["MinValue"]):
            return f"Parameter '{name}' must be a number not less than {declaration['MinValue']}"
        if "MaxValue" in declaration and number > float(declaration["MaxValue"]):
            return f"Parameter '{name}' must be a number not greater than {declaration['MaxValue']}"
    return None


def referenced_value(parameter_type: str, text: str) -> str | list[str]:
    """What `Ref` gives for a parameter of this type whose text is `text`."""
    if not is_list(parameter_type):
        return text
    return [item.strip() for item in text.split(",")] if text else []
