"""Payload templates: JSON with expressions in it, in either query language.

In JSONPath a field whose name ends in `.$` has a path or an intrinsic function as its value; in JSONata a string that
is written `{% … %}` is an expression, wherever it stands.

https://docs.aws.amazon.com/step-functions/latest/dg/input-output-inputpath-params.html
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from stepbridge.stepfunctions.language import intrinsics, jsonata_expression, jsonata_references, jsonpath
from stepbridge.stepfunctions.language.evaluation import EvaluationError, Scope
from stepbridge.stepfunctions.language.intrinsics import Call
from stepbridge.stepfunctions.language.jsonata_expression import Expression
from stepbridge.stepfunctions.language.jsonpath import Path
from stepbridge.stepfunctions.language.values import Json, to_text

_SCHEMA = "SCHEMA_VALIDATION_FAILED"


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


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field of a template.  `code` and `message` are AWS's, `location` is the field's path."""

    code: str
    message: str
    location: str = ""


class TemplateError(ValueError):
    """A template has fields that are no expressions."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


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
        raise TemplateError(Problem(_SCHEMA, f"Field '{twice}' is defined twice, with and without '.$'"))
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
        Problem(
            _SCHEMA, f"The value for the field '{field}' must be a valid JSONPath or a valid intrinsic function call"
        )
    )


def parse_jsonata(value: Json, location: str, offered: Collection[str] = jsonata_references.ALWAYS) -> Template:
    """Parse a template of a JSONata state.

    `location` is the field it stands in, `offered` are the fields of `$states` that it can read.  Raises TemplateError.
    """
    problems: list[Problem] = []
    template = _parse_jsonata(value, location, "", offered, problems)
    if problems:
        raise TemplateError(*problems)
    return template


def _parse_jsonata(
    value: Json, location: str, here: str, offered: Collection[str], problems: list[Problem]
) -> Template:
    """Parse what stands at `here` in a template, noting what is wrong."""
    if isinstance(value, str):
        return _parse_text(value, location, here, offered, problems)
    if isinstance(value, list):
        items = tuple(
            _parse_jsonata(item, f"{location}[{index}]", f"{here}[{index}]", offered, problems)
            for index, item in enumerate(value)
        )
        return Constant(value) if all(isinstance(item, Constant) for item in items) else Items(items)
    if isinstance(value, dict):
        members = tuple(
            (name, _parse_jsonata(member, f"{location}/{name}", f"{here}/{name}", offered, problems))
            for name, member in value.items()
        )
        return Constant(value) if all(isinstance(member, Constant) for _, member in members) else Members(members)
    return Constant(value)


def _parse_text(
    text: str, location: str, here: str, offered: Collection[str], problems: list[Problem]
) -> Constant | Expression:
    if text.startswith("{%") != text.endswith("%}") or text == "{%}":
        problems.append(Problem(_SCHEMA, "JSONata string must start with {% and end with %}", here))
    elif jsonata_expression.is_expression(text):
        try:
            expression = jsonata_expression.parse(text, location)
        except jsonata_expression.ExpressionError as problem:
            problems.append(Problem("INVALID_JSONATA_EXPRESSION", str(problem), here))
        else:
            unsupported = expression.unsupported(offered)
            problems += [Problem("UNSUPPORTED_JSONATA_EXPRESSION", message, here) for message in unsupported]
            return expression
    return Constant(text)
