"""JSONata as Step Functions has it: `{% $states.input.name %}`, with `$states`, the variables and six more functions.

The expressions are jsonata-python's; this module tells null from undefined, gives what AWS adds and takes away what it
does not offer, and words the failures as AWS does.

https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

import json
import math
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from stepbridge.stepfunctions.language import jsonata_functions, jsonata_references
from stepbridge.stepfunctions.language.evaluation import QUERY_EVALUATION_ERROR, EvaluationError, Scope
from stepbridge.stepfunctions.language.jsonata_functions import FunctionError
from stepbridge.stepfunctions.language.values import Json, to_text, type_name

# Long enough for any honest expression, short enough that a runaway one cannot hold up the emulator.  The time of the
# processor counts: that a machine is busy with other things is no fault of the expression.
TIME_LIMIT_MILLISECONDS = 2_000
# AWS's own bounds, as measured (https://github.com/floci-io/floci/issues/2737): how deep an evaluation may nest, and
# what one value may hold, a number counted as eight bytes and a character as one.
_DEEPEST = 100
_LARGEST = 6_990_256
_BYTES_PER_ITEM = 8


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

    def evaluate(self, scope: Scope, *expected: str) -> Json:
        """The value of the expression, of one of the JSON types `expected` if any are given.

        Raises EvaluationError.
        """
        library = _library()
        try:
            result = self._compiled.evaluate(None, _bindings(scope))
        except FunctionError as problem:
            raise self._threw(problem.code, str(problem)) from None
        except library.JException as problem:
            if problem.error == _TOO_DEEP:
                raise self._threw("", _too_deep_message()) from None
            raise self._threw(problem.error, _message(problem)) from None
        except RecursionError:
            raise self._threw("", _too_deep_message()) from None
        except Exception as problem:
            raise self._threw("", str(problem)) from None
        if result is None:
            raise self._error("returned nothing (undefined).")
        try:
            value = _to_json(result)
        except TypeError:
            raise self._error("returned an unexpected result type. The result is a function.") from None
        if expected and type_name(value) not in expected:
            raise self._error(
                f"returned an unexpected result type. Expected '{expected[0]}', "
                f"but was '{type_name(value)}' for value: {to_text(value)}"
            )
        return value

    def _threw(self, code: str, message: str) -> EvaluationError:
        return self._error(f"threw an error during evaluation. {f'{code}: ' if code else ''}{message}")

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
        builtin = {*_library().Jsonata.static_frame.bindings, *jsonata_functions.ADDED, "states", "", "$"}
        yield from (name for name in used if name not in bound and name not in builtin)

    def unsupported(self, offered: Collection[str]) -> list[str]:
        """What is wrong with the expression's references, if `$states` has the fields `offered`."""
        return jsonata_references.unsupported(self._compiled.ast, offered)


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
    expression = _evaluator()(text)
    expression.set_output_convert_nulls(False)  # null and undefined must be told apart
    expression.set_validate_input(False)
    return expression


@lru_cache(maxsize=1)
def _library() -> Any:
    """jsonata-python, imported when the first JSONata state machine is met."""
    import jsonata

    return jsonata


@lru_cache(maxsize=1)
def _evaluator() -> Any:
    """The library's evaluator, with texts and with numbers that are not finite as AWS has them: `1/0` is no error."""
    library = _library()

    class Evaluator(library.Jsonata):  # type: ignore[misc,name-defined]
        def evaluate_numeric_expression(self, lhs: Any, rhs: Any, op: Any) -> Any:
            try:
                return super().evaluate_numeric_expression(lhs, rhs, op)
            except ZeroDivisionError:
                return math.copysign(math.inf, lhs) if lhs else math.nan
            except ValueError:  # the remainder of a division by zero
                return math.nan
            except library.JException as problem:
                if problem.error != _NOT_FINITE or not (math.isfinite(lhs) and math.isfinite(rhs)):
                    raise
                return problem.current

        def evaluate_string_concat(self, lhs: Any, rhs: Any) -> str:
            parts = (jsonata_functions.text_of(value, library) for value in (lhs, rhs))
            return "".join(part or "" for part in parts)

    return Evaluator


_TOO_DEEP, _NOT_FINITE = "D1011", "D1001"
# What a function's signature asks of the items of an array: https://docs.jsonata.org/embedding-extending
_ITEM_TYPES = {
    "a": "arrays", "b": "booleans", "f": "functions", "n": "numbers", "o": "objects", "s": "strings",
}  # fmt: skip


def _too_deep_message() -> str:
    return (
        "Stack overflow error: Check for non-terminating recursive function. Consider rewriting as tail-recursive. "
        f"Depth={_DEEPEST + 1} max={_DEEPEST}"
    )


def _message(problem: Any) -> str:
    """The message as JSONata words it: the tokens it quotes are JSON.

    The library says "Object" where JSONata says "function".
    """
    template = problem.error_codes.get(problem.error)
    if template is None or "{{{" in template:
        return str(problem)
    details = [problem.current, problem.expected, problem.extra]
    if problem.error == "T0412":
        details[2] = _ITEM_TYPES.get(details[2], details[2])
    values = iter(details)
    return re.sub(
        r"\{\{\w+\}\}", lambda _: json.dumps(next(values), default=str), template.replace("Object", "function")
    )


def _bindings(scope: Scope) -> Any:
    library = _library()
    null = library.Utils.NULL_VALUE
    frame = library.Jsonata.static_frame.__class__(None)
    frame.set_runtime_bounds(None, _DEEPEST)
    frame.set_evaluate_exit_callback(_bounded(frame.lookup("__evaluate_exit")))
    for name, value in scope.variables.items():
        frame.bind(name, jsonata_functions.from_json(value, null))
    states = {name: jsonata_functions.from_json(value, null) for name, value in scope.states.items()}
    states["context"] = jsonata_functions.from_json(scope.context(), null)
    frame.bind("states", states)
    frame.bind("eval", None)  # AWS does not offer it
    make = library.Jsonata.JLambda
    for name, function in jsonata_functions.functions(scope, library).items():
        frame.bind(name, make(function))
    return frame


def _bounded(leave: Any) -> Any:
    """What is done after each step of an evaluation: what the library does, and a look at the clock and the result."""
    library = _library()
    lazy = library.Utils.RangeList  # holds no more than its ends
    last = time.thread_time() + TIME_LIMIT_MILLISECONDS / 1000

    def check(expression: Any, value: Any, environment: Any, result: Any) -> None:
        leave(expression, value, environment, result)
        if time.thread_time() > last:
            raise library.JException("D1012", -1, TIME_LIMIT_MILLISECONDS)
        size = len(result) if isinstance(result, str) else 0
        if isinstance(result, list) and not isinstance(result, lazy):
            size = _BYTES_PER_ITEM * len(result)
        if size > _LARGEST:
            raise FunctionError("", "Expression evaluation memory limit exceeded: Check for excessive memory usage")

    return check


def _to_json(value: Any) -> Json:
    """A result of the library as plain JSON.  Raises TypeError for a function."""
    if value is None or value is _library().Utils.NULL_VALUE:
        return None
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _to_json(member) for name, member in value.items()}
    raise TypeError(type(value).__name__)


def _number(value: float) -> Json:
    """A number as AWS writes it: exact while it fits in 64 bits, in text if JSON has no number for it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == int(value):
        return int(value) if abs(value) < 2**63 else float(value)
    return value


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
