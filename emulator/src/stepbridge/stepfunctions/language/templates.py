"""Payload templates: JSON with expressions in it, in either query language.

In JSONPath a field whose name ends in `.$` has a path or an intrinsic function as its value; in JSONata a string that
is written `{% … %}` is an expression, wherever it stands.

https://docs.aws.amazon.com/step-functions/latest/dg/input-output-inputpath-params.html
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stepbridge.stepfunctions.language import intrinsics, jsonata_expression, jsonpath
from stepbridge.stepfunctions.language.evaluation import EvaluationError, Scope
from stepbridge.stepfunctions.language.intrinsics import Call
from stepbridge.stepfunctions.language.jsonata_expression import Expression
from stepbridge.stepfunctions.language.jsonpath import Path
from stepbridge.stepfunctions.language.values import Json, to_text


@dataclass(frozen=True, slots=True)
class Constant:
    """A part without expressions."""

    value: Json

    def evaluate(self, scope: Scope) -> Json:
        return self.value

    def variables(self) -> Iterator[str]:
        yield from ()


@dataclass(frozen=True, slots=True)
class Reference:
    """`"field.$": "$.path"`."""

    field: str
    path: Path

    def evaluate(self, scope: Scope) -> Json:
        found = self.path.lookup(scope)
        # AWS reads an index past the end of an array as null, and only that.
        if found.missing is not None and not found.past_end:
            raise not_found(self.path, self.field, scope)
        return found.value

    def variables(self) -> Iterator[str]:
        if self.path.variable:
            yield self.path.variable


def not_found(path: Path, field: str, scope: Scope) -> EvaluationError:
    """The failure of a field whose path leads nowhere."""
    return EvaluationError(
        f"The JSONPath '{path.text}' specified for the field '{field}' could not be found in the input "
        f"'{to_text(scope.input)}'"
    )


@dataclass(frozen=True, slots=True)
class Members:
    """An object."""

    members: tuple[tuple[str, "Template"], ...]

    def evaluate(self, scope: Scope) -> Json:
        return {name: member.evaluate(scope) for name, member in self.members}

    def variables(self) -> Iterator[str]:
        for _, member in self.members:
            yield from member.variables()


@dataclass(frozen=True, slots=True)
class Items:
    """An array."""

    items: tuple["Template", ...]

    def evaluate(self, scope: Scope) -> Json:
        return [item.evaluate(scope) for item in self.items]

    def variables(self) -> Iterator[str]:
        for item in self.items:
            yield from item.variables()


Template = Constant | Reference | Members | Items | Call | Expression


class TemplateError(ValueError):
    """A template has a field that is no expression.  `code` and `message` are AWS's, `location` the field's path."""

    def __init__(self, code: str, message: str, location: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.location = location


def parse_jsonpath(value: Json) -> Template:
    """Parse a payload template of a JSONPath state.  Raises TemplateError."""
    if isinstance(value, list):
        items = tuple(parse_jsonpath(item) for item in value)
        return Constant(value) if all(isinstance(item, Constant) for item in items) else Items(items)
    if not isinstance(value, dict):
        return Constant(value)
    members: list[tuple[str, Template]] = []
    for name, member in value.items():
        if name.endswith(".$"):
            members.append((name[:-2], parse_reference(name, member)))
        else:
            members.append((name, parse_jsonpath(member)))
    names = [name for name, _ in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TemplateError("SCHEMA_VALIDATION_FAILED", f"Field '{twice}' is defined twice, with and without '.$'")
    constant = all(isinstance(member, Constant) for _, member in members)
    return Constant(value) if constant else Members(tuple(members))


def parse_reference(field: str, text: Json) -> Reference | Call:
    """Parse the value of a field whose name ends in `.$`.  Raises TemplateError."""
    try:
        if isinstance(text, str) and text.startswith("$"):
            return Reference(field, jsonpath.parse(text))
        if isinstance(text, str) and text.startswith("States."):
            return intrinsics.parse(text)
    except (jsonpath.PathError, intrinsics.IntrinsicError):
        pass
    raise TemplateError(
        "SCHEMA_VALIDATION_FAILED",
        f"The value for the field '{field}' must be a valid JSONPath or a valid intrinsic function call",
    )


def parse_jsonata(value: Json, location: str, here: str = "") -> Template:
    """Parse a template of a JSONata state; `location` is the field it stands in.  Raises TemplateError."""
    if isinstance(value, str):
        if value.startswith("{%") != value.endswith("%}") or value == "{%}":
            raise TemplateError("SCHEMA_VALIDATION_FAILED", "JSONata string must start with {% and end with %}", here)
        if not jsonata_expression.is_expression(value):
            return Constant(value)
        try:
            return jsonata_expression.parse(value, location)
        except jsonata_expression.ExpressionError as problem:
            raise TemplateError("INVALID_JSONATA_EXPRESSION", str(problem), here) from None
    if isinstance(value, list):
        items = tuple(
            parse_jsonata(item, f"{location}[{index}]", f"{here}[{index}]") for index, item in enumerate(value)
        )
        return Constant(value) if all(isinstance(item, Constant) for item in items) else Items(items)
    if isinstance(value, dict):
        members = tuple(
            (name, parse_jsonata(member, f"{location}/{name}", f"{here}/{name}")) for name, member in value.items()
        )
        return Constant(value) if all(isinstance(member, Constant) for _, member in members) else Members(members)
    return Constant(value)
