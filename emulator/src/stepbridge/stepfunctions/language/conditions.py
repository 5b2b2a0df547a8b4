"""The rules of Choice states in JSONPath: comparisons, and And, Or, Not over them.

https://docs.aws.amazon.com/step-functions/latest/dg/state-choice.html
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stepbridge.stepfunctions.language import timestamps
from stepbridge.stepfunctions.language.evaluation import EvaluationError, Scope
from stepbridge.stepfunctions.language.jsonpath import Path
from stepbridge.stepfunctions.language.values import Json, is_number


def _is_string(value: Json) -> bool:
    return isinstance(value, str)


def _is_boolean(value: Json) -> bool:
    return isinstance(value, bool)


def _is_timestamp(value: Json) -> bool:
    return timestamps.parse(value) is not None


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "GreaterThan": operator.gt,
    "LessThanEquals": operator.le,
    "GreaterThanEquals": operator.ge,
}


def _ordered(
    is_of_type: Callable[[Json], bool], key: Callable[[Json], Any], order: str
) -> Callable[[Json, Json], bool]:
    compare = _ORDERS[order]

    def test(value: Json, operand: Json) -> bool:
        return is_of_type(value) and is_of_type(operand) and compare(key(value), key(operand))

    return test


def _matches(value: Json, pattern: Json) -> bool:
    r"""`*` stands for any characters; `\*` is an asterisk, `\\` a backslash."""
    if not isinstance(value, str) or not isinstance(pattern, str):
        return False
    pieces = re.split(r"(\\[*\\]|\*)", pattern)
    expression = "".join(
        ".*" if piece == "*" else re.escape(piece[1:] if piece[:1] == "\\" else piece) for piece in pieces
    )
    return re.fullmatch(expression, value, re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class Operator:
    """A comparison.  `operand` is the JSON type that its operand must have."""

    test: Callable[[Json, Json], bool]
    operand: str


def _operators() -> dict[str, Operator]:
    table: dict[str, Operator] = {}
    for order in _ORDERS:
        table[f"String{order}"] = Operator(_ordered(_is_string, lambda value: value, order), "string")
        table[f"Numeric{order}"] = Operator(_ordered(is_number, lambda value: value, order), "number")
        table[f"Timestamp{order}"] = Operator(_ordered(_is_timestamp, timestamps.parse, order), "timestamp")
    table["BooleanEquals"] = Operator(_ordered(_is_boolean, lambda value: value, "Equals"), "boolean")
    table["StringMatches"] = Operator(_matches, "string")
    types: dict[str, Callable[[Json], bool]] = {
        "IsNull": lambda value: value is None,
        "IsString": _is_string,
        "IsNumeric": is_number,
        "IsBoolean": _is_boolean,
        "IsTimestamp": _is_timestamp,
    }
    for name, is_of_type in types.items():
        table[name] = Operator(lambda value, wanted, test=is_of_type: test(value) == wanted, "boolean")  # type: ignore[misc]
    return table


OPERATORS = _operators()
PATH_OPERATORS = {
    f"{name}Path": name
    for name in OPERATORS
    if name.startswith(("String", "Numeric", "Timestamp", "Boolean")) and name != "StringMatches"
}
IS_PRESENT = "IsPresent"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One test of one variable, with a constant or the value at a path."""

    variable: Path
    operator: str
    operand: Json | Path

    def evaluate(self, scope: Scope) -> bool:
        """Raises EvaluationError if a path leads nowhere."""
        found = self.variable.lookup(scope)
        if self.operator == IS_PRESENT:
            return (found.missing is None) == self.operand
        if found.missing is not None:
            raise _invalid_path(self.variable)
        operand = self.operand
        if isinstance(operand, Path):
            other = operand.lookup(scope)
            if other.missing is not None:
                raise _invalid_path(operand)
            operand = other.value
        return OPERATORS[self.operator].test(found.value, operand)

    def variables(self) -> Iterator[str]:
        for path in (self.variable, self.operand):
            if isinstance(path, Path) and path.variable:
                yield path.variable


def _invalid_path(path: Path) -> EvaluationError:
    return EvaluationError(
        f"Invalid path '{path.text}': The choice state's condition path references an invalid value."
    )


@dataclass(frozen=True, slots=True)
class And:
    rules: tuple["Condition", ...]

    def evaluate(self, scope: Scope) -> bool:
        return all(rule.evaluate(scope) for rule in self.rules)

    def variables(self) -> Iterator[str]:
        for rule in self.rules:
            yield from rule.variables()


@dataclass(frozen=True, slots=True)
class Or:
    rules: tuple["Condition", ...]

    def evaluate(self, scope: Scope) -> bool:
        return any(rule.evaluate(scope) for rule in self.rules)

    def variables(self) -> Iterator[str]:
        for rule in self.rules:
            yield from rule.variables()


@dataclass(frozen=True, slots=True)
class Not:
    rule: "Condition"

    def evaluate(self, scope: Scope) -> bool:
        return not self.rule.evaluate(scope)

    def variables(self) -> Iterator[str]:
        yield from self.rule.variables()


Condition = Comparison | And | Or | Not
