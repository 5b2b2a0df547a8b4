"""JSONPath as Step Functions has it: Jayway's JSONPath over `$`, the context object `$$` and variables `$name`.

A path is *definite* if it can lead to one value only.  A definite path that leads nowhere is an error; any other path
gives a list, empty if nothing matches.  A *reference path* is a definite path of names and indexes alone.

https://docs.aws.amazon.com/step-functions/latest/dg/amazon-states-language-paths.html
https://github.com/json-path/JsonPath
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stepbridge.stepfunctions.language import path_filters
from stepbridge.stepfunctions.language.evaluation import EvaluationError, Scope
from stepbridge.stepfunctions.language.values import Json, is_number, to_text, type_name

_FUNCTIONS = {
    "min",
    "max",
    "avg",
    "stddev",
    "length",
    "sum",
    "keys",
    "concat",
    "append",
    "first",
    "last",
    "index",
    "size",
}
_NAME = re.compile(r"[^\s.\[\]()'\",*?@:$]+(?:[ ]+[^\s.\[\]()'\",*?@:$]+)*")
_ROOT = re.compile(r"\$\$|\$(?P<variable>[^\W\d]\w*)?")


class PathError(ValueError):
    """The text is not a path."""


@dataclass(frozen=True, slots=True)
class Names:
    """`.name`, `['name']` or `['a','b']`."""

    names: tuple[str, ...]

    definite = True

    def select(self, value: Json, root: Json) -> Iterator[Json]:
        if not isinstance(value, dict):
            return
        if len(self.names) == 1:
            if self.names[0] in value:
                yield value[self.names[0]]
        else:
            yield {name: value[name] for name in self.names if name in value}

    def __str__(self) -> str:
        return "[" + ", ".join(f"'{name}'" for name in self.names) + "]"


@dataclass(frozen=True, slots=True)
class Indexes:
    """`[0]`, `[-1]` or `[0,2]`."""

    indexes: tuple[int, ...]

    @property
    def definite(self) -> bool:
        return len(self.indexes) == 1

    def select(self, value: Json, root: Json) -> Iterator[Json]:
        if isinstance(value, list):
            for index in self.indexes:
                if -len(value) <= index < len(value):
                    yield value[index]

    def __str__(self) -> str:
        return "[" + ",".join(map(str, self.indexes)) + "]"


@dataclass(frozen=True, slots=True)
class Slice:
    """`[start:end]`."""

    start: int | None
    end: int | None

    definite = False

    def select(self, value: Json, root: Json) -> Iterator[Json]:
        if isinstance(value, list):
            yield from value[self.start : self.end]

    def __str__(self) -> str:
        return f"[{'' if self.start is None else self.start}:{'' if self.end is None else self.end}]"


@dataclass(frozen=True, slots=True)
class Wildcard:
    """`.*` or `[*]`."""

    definite = False

    def select(self, value: Json, root: Json) -> Iterator[Json]:
        if isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, list):
            yield from value

    def __str__(self) -> str:
        return "[*]"


@dataclass(frozen=True, slots=True)
class Descend:
    """`..`: the value and all that is in it, for the next step to select from."""

    definite = False

    def select(self, value: Json, root: Json) -> Iterator[Json]:
        yield value
        if isinstance(value, dict | list):
            for child in value.values() if isinstance(value, dict) else value:
                if isinstance(child, dict | list):
                    yield from self.select(child, root)

    def __str__(self) -> str:
        return ".."


@dataclass(frozen=True, slots=True)
class Filter:
    """`[?(…)]`, which lets through objects alone, as AWS documents of `@`.

    https://docs.aws.amazon.com/step-functions/latest/dg/amazon-states-language-paths.html
    """

    text: str
    condition: path_filters.Condition

    definite = False

    def select(self, value: Json, root: Json) -> Iterator[Json]:
        for candidate in value if isinstance(value, list) else [value]:
            if isinstance(candidate, dict) and self.condition(candidate, root):
                yield candidate

    def __str__(self) -> str:
        return "[?]"


PathStep = Names | Indexes | Slice | Wildcard | Descend | Filter


@dataclass(frozen=True, slots=True)
class Found:
    """What a path led to; `missing` tells why it led nowhere."""

    value: Json
    missing: str | None = None
    past_end: bool = False  # the path ends in an index beyond the end of an array


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path.  `root` is "$", "$$" or a variable's name with its `$`."""

    text: str
    root: str
    steps: tuple[PathStep, ...]
    function: str | None = None

    @property
    def definite(self) -> bool:
        return all(step.definite for step in self.steps)

    @property
    def is_reference(self) -> bool:
        """True for a path of names and indexes alone."""
        return self.function is None and all(
            (isinstance(step, Names) and len(step.names) == 1) or (isinstance(step, Indexes) and step.definite)
            for step in self.steps
        )

    @property
    def variable(self) -> str | None:
        """The variable that the path starts from, if it does."""
        return self.root[1:] if self.root not in ("$", "$$") else None

    def start(self, scope: Scope) -> Found:
        """The value that the path starts from; never raises."""
        if self.root == "$":
            return Found(scope.input)
        if self.root == "$$":
            return Found(scope.context())
        if self.root[1:] in scope.variables:
            return Found(scope.variables[self.root[1:]])
        return Found(None, f"No results for path: {self.root}")

    def lookup(self, scope: Scope) -> Found:
        """Follow the path.  Raises EvaluationError if the input is null: to AWS no path, not even `$`, leads anywhere
        from there (https://github.com/awslabs/states-language/issues/29).
        """
        start = self.start(scope)
        if start.missing is not None:
            return start
        if start.value is None and self.root == "$":
            raise EvaluationError("Unable to apply Path transformation to null or empty input.")
        found = self.follow(start.value)
        if self.function is None or found.missing is not None:
            return found
        return _apply_function(self.function, found.value)

    def follow(self, start: Json) -> Found:
        """Follow the steps of the path from `start`, which is its root."""
        if not self.definite:
            values = [start]
            for step in self.steps:
                values = [selected for value in values for selected in step.select(value, start)]
            return Found(values)
        value = start
        for position, step in enumerate(self.steps):
            selected = list(step.select(value, start))
            if isinstance(step, Names) and len(step.names) > 1 and position < len(self.steps) - 1:
                path = "$" + "".join(map(str, self.steps[: position + 1]))
                return Found(None, f"Multi properties can only be used as path leafs: {path}")
            if not selected:
                last = position == len(self.steps) - 1
                past_end = last and isinstance(step, Indexes) and isinstance(value, list)
                return Found(None, self._why_missing(position, value), past_end)
            value = selected[0]
        return Found(value)

    def _why_missing(self, position: int, value: Json) -> str:
        before = "$" + "".join(map(str, self.steps[:position]))
        step = self.steps[position]
        if isinstance(step, Indexes):
            if value is None:
                return f"The path {before} is null"
            if not isinstance(value, list):
                return f"Filter: {step} can only be applied to arrays. Current context is: {to_text(value)}"
        elif not isinstance(value, dict):
            return f"Expected to find an object with property {step} in path {before} but found '{type_name(value)}'."
        if position < len(self.steps) - 1 and isinstance(step, Names):
            return f"Missing property in path {before}{step}"
        return "No results for path: $" + "".join(map(str, self.steps))


def _apply_function(name: str, value: Json) -> Found:
    """Jayway's functions at the end of a path."""
    if name in ("length", "size"):
        if isinstance(value, list | dict | str):
            return Found(len(value))
        return Found(None, f"Function {name}() cannot be applied")
    if name == "keys":
        return Found(list(value)) if isinstance(value, dict) else Found(None, "Function keys() cannot be applied")
    if name in ("first", "last"):
        if isinstance(value, list) and value:
            return Found(value[0 if name == "first" else -1])
        return Found(None, f"Function {name}() cannot be applied")
    if name == "concat":
        return Found("".join(item for item in value if isinstance(item, str)) if isinstance(value, list) else "")
    numbers = [item for item in value if is_number(item)] if isinstance(value, list) else []
    if not numbers:
        return Found(None, "Aggregation function attempted to calculate value using empty array")
    mean = sum(numbers) / len(numbers)
    results: dict[str, float] = {
        "min": min(numbers),
        "max": max(numbers),
        "sum": sum(numbers),
        "avg": mean,
        "stddev": (sum((number - mean) ** 2 for number in numbers) / len(numbers)) ** 0.5,
    }
    return Found(float(results[name])) if name in results else Found(None, f"Function {name}() cannot be applied")


def parse(text: str) -> Path:
    """Parse a path.  Raises PathError."""
    if not isinstance(text, str) or not text.startswith("$"):
        raise PathError("a path starts with $")
    root = _ROOT.match(text)
    if root is None:
        raise PathError("a path starts with $")
    reader = _Reader(text, root.end())
    steps: list[PathStep] = []
    function = None
    while not reader.at_end():
        if reader.take(".."):
            steps.append(Descend())
            if reader.at_end():
                raise PathError("a path cannot end in ..")
            if not reader.peek("["):
                steps.append(reader.name_or_wildcard())
        elif reader.take("."):
            function = reader.function()
            if function is not None:
                if not reader.at_end():
                    raise PathError("a function ends a path")
                break
            steps.append(reader.name_or_wildcard())
        elif reader.take("["):
            steps.append(reader.bracket())
        else:
            raise PathError(f"unexpected '{text[reader.position]}'")
    return Path(text, root.group(0), tuple(steps), function)


class _Reader:
    """The text of a path and how far it is read."""

    def __init__(self, text: str, position: int) -> None:
        self.text = text
        self.position = position

    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def peek(self, text: str) -> bool:
        return self.text.startswith(text, self.position)

    def take(self, text: str) -> bool:
        if not self.peek(text):
            return False
        self.position += len(text)
        return True

    def function(self) -> str | None:
        match = re.compile(r"(\w+)\(\s*\)").match(self.text, self.position)
        if match is None or match.group(1) not in _FUNCTIONS:
            return None
        self.position = match.end()
        return match.group(1)

    def name_or_wildcard(self) -> PathStep:
        if self.take("*"):
            return Wildcard()
        match = _NAME.match(self.text, self.position)
        if match is None:
            raise PathError("a name is missing")
        self.position = match.end()
        return Names((match.group(0),))

    def bracket(self) -> PathStep:
        content = self._until_closing_bracket()
        stripped = content.strip()
        if stripped == "*":
            return Wildcard()
        if stripped.startswith("?"):
            expression = stripped[1:].strip()
            if not (expression.startswith("(") and expression.endswith(")")):
                raise PathError("a filter is written [?(…)]")
            try:
                return Filter(content, path_filters.parse(expression[1:-1], parse_relative))
            except path_filters.FilterError as problem:
                raise PathError(str(problem)) from None
        if stripped[:1] in ("'", '"'):
            return Names(tuple(_quoted_names(stripped)))
        if ":" in stripped:
            match = re.fullmatch(r"(-?\d+)?\s*:\s*(-?\d+)?", stripped)
            if match is None:
                raise PathError(f"[{content}] is not a slice")
            start, end = match.groups()
            return Slice(None if start is None else int(start), None if end is None else int(end))
        if not re.fullmatch(r"-?\d+(\s*,\s*-?\d+)*", stripped):
            raise PathError(f"[{content}] is not an index")
        return Indexes(tuple(int(index) for index in stripped.split(",")))

    def _until_closing_bracket(self) -> str:
        start = self.position
        depth = 1
        quote = ""
        while self.position < len(self.text):
            character = self.text[self.position]
            self.position += 1
            if quote:
                if character == "\\":
                    self.position += 1
                elif character == quote:
                    quote = ""
            elif character in "'\"":
                quote = character
            elif character == "[":
                depth += 1
            elif character == "]":
                depth -= 1
                if not depth:
                    return self.text[start : self.position - 1]
        raise PathError("a ] is missing")


def _quoted_names(text: str) -> Iterator[str]:
    position = 0
    pattern = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*(,|$)""")
    while position < len(text):
        match = pattern.match(text, position)
        if match is None:
            raise PathError(f"[{text}] is not a name")
        name = match.group(1) if match.group(1) is not None else match.group(2)
        yield re.sub(r"\\(.)", r"\1", name)
        position = match.end()


def parse_relative(text: str) -> Path:
    """Parse the path of a filter: `@.name` from the candidate, `$.name` from the document."""
    path = parse("$" + text[1:])
    return Path(text, text[0], path.steps, path.function)
