"""JSONata as Step Functions has it: `{% $states.input.name %}`, with `$states`, the variables and six more functions.

The expressions are jsonata-python's; this module tells null from undefined, gives what AWS adds and takes away what it
does not offer, and words the failures as AWS does.

https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from stepbridge.stepfunctions.language.evaluation import QUERY_EVALUATION_ERROR, EvaluationError, Scope
from stepbridge.stepfunctions.language.intrinsics import HASHES, random_uuid
from stepbridge.stepfunctions.language.values import Json, is_number, to_text, type_name

# Long enough for any honest expression, short enough that a runaway one cannot hold up the emulator.
TIME_LIMIT_MILLISECONDS = 2_000
_RECURSION_LIMIT = 500
_MAXIMUM_RANGE = 1_000


class ExpressionError(ValueError):
    """The text is not a JSONata expression; the message is the parser's own."""


def is_expression(text: Json) -> bool:
    """True for a string that is written as an expression."""
    return isinstance(text, str) and text.startswith("{%") and text.endswith("%}") and len(text) >= 4


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression: what is between `{%` and `%}`, and the field that it stands in (`Output/items[0]`)."""

    text: str
    location: str
    _compiled: Any = field(compare=False, repr=False)

    def evaluate(self, scope: Scope, expected: str | None = None) -> Json:
        """The value of the expression, of the JSON type `expected` if that is given.  Raises EvaluationError."""
        library = _library()
        try:
            result = self._compiled.evaluate(None, _bindings(scope))
        except library.JException as problem:
            message = _message(problem)
            raise self._error(f"threw an error during evaluation. {problem.error}: {message}") from None
        except RecursionError:
            raise self._error("threw an error during evaluation. U1001: Stack overflow error") from None
        except ZeroDivisionError:
            raise self._error("threw an error during evaluation. D1001: Number out of range: Infinity") from None
        except Exception as problem:
            raise self._error(f"threw an error during evaluation. {problem}") from None
        if result is None:
            raise self._error("returned nothing (undefined).")
        try:
            value = _to_json(result)
        except TypeError:
            raise self._error("returned an unexpected result type. The result is a function.") from None
        if expected is not None and type_name(value) != expected:
            raise self._error(
                f"returned an unexpected result type. Expected '{expected}', "
                f"but was '{type_name(value)}' for value: {to_text(value)}"
            )
        return value

    def _error(self, problem: str) -> EvaluationError:
        return EvaluationError(
            f"The JSONata expression '{self.text}' specified for the field '{self.location}' {problem}",
            QUERY_EVALUATION_ERROR,
            self.location,
        )

    def variables(self) -> Iterator[str]:
        """The names of the workflow variables that the expression refers to."""
        bound: set[str] = set()
        used: list[str] = []
        _collect_variables(self._compiled.ast, bound, used, set())
        builtin = set(_library().Jsonata.static_frame.bindings) | set(_FUNCTION_NAMES) | {"states", "", "$"}
        yield from (name for name in used if name not in bound and name not in builtin)


def parse(text: str, location: str) -> Expression:
    """Parse `{% … %}`.  Raises ExpressionError."""
    inner = text[2:-2].strip()
    library = _library()
    try:
        return Expression(inner, location, _compile(inner))
    except library.JException as problem:
        raise ExpressionError(_message(problem)) from None
    except (RecursionError, ValueError, IndexError, AttributeError, TypeError) as problem:
        raise ExpressionError(str(problem)) from None


@lru_cache(maxsize=4096)
def _compile(text: str) -> Any:
    expression = _library().Jsonata(text)
    expression.set_output_convert_nulls(False)  # null and undefined must be told apart
    expression.set_validate_input(False)
    return expression


@lru_cache(maxsize=1)
def _library() -> Any:
    """jsonata-python, imported when the first JSONata state machine is met."""
    import jsonata

    return jsonata


def _message(problem: Any) -> str:
    """The message as JSONata words it: the tokens it quotes are JSON."""
    template = problem.error_codes.get(problem.error)
    if template is None or "{{{" in template:
        return str(problem)
    values = iter((problem.current, problem.expected, problem.extra))
    return re.sub(r"\{\{\w+\}\}", lambda _: json.dumps(next(values), default=str), template)


def _bindings(scope: Scope) -> Any:
    library = _library()
    frame = library.Jsonata.static_frame.__class__(None)
    frame.set_runtime_bounds(TIME_LIMIT_MILLISECONDS, _RECURSION_LIMIT)
    for name, value in scope.variables.items():
        frame.bind(name, _from_json(value))
    states = {name: _from_json(value) for name, value in scope.states.items()}
    states["context"] = _from_json(scope.context())
    frame.bind("states", states)
    frame.bind("eval", None)  # AWS does not offer it
    make = library.Jsonata.JLambda
    for name, function in _functions(scope).items():
        frame.bind(name, make(function))
    return frame


def _from_json(value: Json) -> Any:
    """`value` with JSONata's null in place of None, which is undefined to the library."""
    if value is None:
        return _library().Utils.NULL_VALUE
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if isinstance(value, dict):
        return {name: _from_json(member) for name, member in value.items()}
    return value


def _to_json(value: Any) -> Json:
    """A result of the library as plain JSON.  Raises TypeError for a function."""
    if value is None or value is _library().Utils.NULL_VALUE:
        return None
    if isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _to_json(member) for name, member in value.items()}
    raise TypeError(type(value).__name__)


# --- The functions that Step Functions adds --------------------------------------------------------------------------

_FUNCTION_NAMES = ("partition", "range", "hash", "random", "uuid", "parse", "now", "millis")


def _functions(scope: Scope) -> dict[str, Callable[..., Any]]:
    def random(seed: Any = None) -> float:
        if seed is None:
            return scope.random()
        from random import Random

        return Random(seed).random()  # noqa: S311

    return {
        "partition": _partition,
        "range": _range,
        "hash": _hash,
        "random": random,
        "uuid": lambda: random_uuid(scope.random),
        "parse": _parse,
        # The library reads a clock of its own; all time here comes from the event.
        "now": lambda picture=None, zone=None: _library().Functions.datetime_from_millis(
            int(scope.now * 1000), picture, zone
        ),
        "millis": lambda: int(scope.now * 1000),
    }


def _partition(array: Any = None, size: Any = None) -> Any:
    if array is None:
        return None
    if not isinstance(array, list):
        array = [array]
    if not is_number(size) or int(size) <= 0:
        raise ValueError("The second argument of the partition function must be a positive integer")
    step = int(size)
    return [list(array[start : start + step]) for start in range(0, len(array), step)]


def _range(first: Any = None, last: Any = None, step: Any = None) -> Any:
    if not (is_number(first) and is_number(last) and is_number(step)) or not step:
        raise ValueError("The arguments of the range function must be numbers, and the step not zero")
    values: list[Any] = []
    value = first
    while (value <= last) if step > 0 else (value >= last):
        values.append(value)
        value += step
        if len(values) > _MAXIMUM_RANGE:
            raise ValueError(f"The range function makes at most {_MAXIMUM_RANGE} elements")
    return values


def _hash(data: Any = None, algorithm: Any = None) -> Any:
    if data is None:
        return None
    if algorithm not in HASHES:
        raise ValueError(f"The algorithm of the hash function must be one of {', '.join(HASHES)}")
    text = data if isinstance(data, str) else to_text(_to_json(data))
    return hashlib.new(HASHES[algorithm], text.encode()).hexdigest()


def _parse(text: Any = None) -> Any:
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError("The argument of the parse function must be a string")
    try:
        return _from_json(json.loads(text))
    except ValueError:
        raise ValueError("The argument of the parse function is not valid JSON") from None


def _collect_variables(node: Any, bound: set[str], used: list[str], seen: set[int]) -> None:
    """Walk the syntax tree: `bound` gets what the expression itself names, `used` every variable."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, list | tuple):
        for item in node:
            _collect_variables(item, bound, used, seen)
        return
    attributes = getattr(node, "__dict__", None)
    if attributes is None or not hasattr(node, "type"):
        return
    if node.type == "variable" and isinstance(node.value, str) and node.value not in used:
        used.append(node.value)
    if node.type == "bind":
        bound.add(getattr(attributes.get("lhs"), "value", ""))
    if node.type == "lambda":
        bound.update(getattr(argument, "value", "") for argument in attributes.get("arguments") or [])
    for name, attribute in attributes.items():
        if name not in ("_outer_instance", "outer_instance", "bp", "parser"):
            _collect_variables(attribute, bound, used, seen)
