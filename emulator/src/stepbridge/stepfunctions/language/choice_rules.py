"""Reads the rules of a Choice state."""

from collections.abc import Callable
from typing import Any

from stepbridge.stepfunctions.language import jsonpath, timestamps
from stepbridge.stepfunctions.language.checker import Fields
from stepbridge.stepfunctions.language.conditions import (
    IS_PRESENT,
    OPERATORS,
    PATH_OPERATORS,
    And,
    Comparison,
    Condition,
    Not,
    Or,
)
from stepbridge.stepfunctions.language.definition import ROOT, Choice, ChoiceRule
from stepbridge.stepfunctions.language.jsonata_expression import Expression
from stepbridge.stepfunctions.language.values import Json, is_number

_ANY_OPERATOR = (*OPERATORS, *PATH_OPERATORS, IS_PRESENT)
_SELECTORS = ("And", "Or", "Not", "Variable", "Condition")
_NEVER = Comparison(ROOT, IS_PRESENT, False)


def parse_choice(fields: Fields, common: dict[str, Any], assign: Callable[[Fields], Any]) -> Choice:
    """Read a Choice state, whose common fields are read already."""
    fields.require("Choices")
    rules = []
    for rule in fields.objects("Choices"):
        rule.require("Next")
        condition: Condition | Expression | bool
        if rule.is_jsonata:
            rule.allow(
                ("Condition", "Next", "Assign", "Output", *(name for name in rule.members if name == "Variable"))
            )
            rule.require("Condition")
            condition = _jsonata_condition(rule)
        else:
            condition = _rule(rule, nested=False)
        rules.append(
            ChoiceRule(
                condition=condition,
                next=rule.text("Next"),
                assign=assign(rule),
                output=rule.template("Output") if rule.is_jsonata else None,
            )
        )
    default = fields.text("Default") if fields.has("Default") else None
    return Choice(**common, rules=tuple(rules), default=default)


def _jsonata_condition(rule: Fields) -> Expression | bool:
    condition = rule.members.get("Condition")
    if isinstance(condition, bool):
        return condition
    expression = rule.expression("Condition")
    if expression is None and rule.has("Condition"):
        rule.error("Value must be a boolean or a JSONata expression that evaluates to a boolean", "Condition")
    return expression if expression is not None else False


def _rule(rule: Fields, *, nested: bool) -> Condition:
    if sum(name in rule.members for name in _SELECTORS) != 1:
        rule.error(f"The object must have only one of the following fields, [{', '.join(_SELECTORS)}]")
        return _NEVER
    outer = () if nested else ("Next", "Assign")
    for name, combine in (("And", And), ("Or", Or)):
        if rule.has(name):
            rule.allow((name, *outer))
            return combine(tuple(_rule(inner, nested=True) for inner in rule.objects(name)))
    if rule.has("Not"):
        rule.allow(("Not", *outer))
        return Not(_rule(rule.object("Not"), nested=True))
    rule.allow(("Variable", *_ANY_OPERATOR, *outer, *(name for name in rule.members if name == "Condition")))
    return _comparison(rule)


def _comparison(rule: Fields) -> Condition:
    if _starts_no_path(rule, "Variable"):
        return _NEVER
    variable = rule.path("Variable")
    if rule.members.get("Variable", "") is None:
        rule.error("Value must be a valid JSONPath.", "Variable")
    operators = [name for name in _ANY_OPERATOR if name in rule.members]
    if len(operators) != 1:
        words = "There should only be one of" if operators else "This object should have only one of"
        rule.error(f"{words} the following fields: [{', '.join(operators or _ANY_OPERATOR)}]")
        return _NEVER
    name = operators[0]
    operand = rule.members[name]
    if variable is None:
        return _NEVER
    if name in PATH_OPERATORS:
        if _starts_no_path(rule, name):
            return _NEVER
        try:
            return Comparison(variable, PATH_OPERATORS[name], jsonpath.parse(operand))
        except jsonpath.PathError:
            rule.error("Value must be a valid JSONPath.", name)
            return _NEVER
    _check_operand(rule, name, operand)
    return Comparison(variable, name, operand)


def _starts_no_path(rule: Fields, name: str) -> bool:
    value = rule.members.get(name)
    if not isinstance(value, str) or value.startswith("$"):
        return False
    rule.error("Value is not a Reference Path: Reference path didn't start with '$'", name)
    return True


def _check_operand(rule: Fields, name: str, operand: Json) -> None:
    wanted = "boolean" if name == IS_PRESENT else OPERATORS[name].operand
    if wanted == "timestamp":
        if timestamps.parse(operand) is None:
            rule.error("String does not match RFC3339 timestamp", name)
        return
    fits = {"string": isinstance(operand, str), "number": is_number(operand), "boolean": isinstance(operand, bool)}
    if not fits[wanted]:
        kind = {"string": "String", "number": "Number", "boolean": "Boolean"}[wanted]
        rule.error(f"Expected value of type {kind}", name)
