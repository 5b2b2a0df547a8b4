"""The intrinsic functions of JSONPath states: `States.Format('Hello {}', $.name)`.

https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html
"""

import base64
import binascii
import hashlib
import json
import math
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from stepbridge.stepfunctions.language import jsonpath
from stepbridge.stepfunctions.language.evaluation import INTRINSIC_FAILURE, RUNTIME, EvaluationError, Scope
from stepbridge.stepfunctions.language.values import Json, is_number, to_text

_MAXIMUM_TEXT = 10_000  # characters that Base64Encode, Base64Decode and Hash take
_MAXIMUM_RANGE = 1_000  # elements that ArrayRange makes
_MAXIMUM_NESTING = 10


class IntrinsicError(ValueError):
    """The text is not a call of an intrinsic function."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a string, true, false or null as an argument."""

    value: Json


@dataclass(frozen=True, slots=True)
class Call:
    """A call; `text` is how it was written."""

    text: str
    name: str
    arguments: tuple["Literal | Call | jsonpath.Path", ...]

    def evaluate(self, scope: Scope) -> Json:
        """The function's result.  Raises EvaluationError, which names the outermost call."""
        try:
            return self._result(scope)
        except _ArgumentError as problem:
            error = f"The function '{self.text}' had the following error: {problem}"
            raise EvaluationError(error, problem.error) from None

    def _result(self, scope: Scope) -> Json:
        values = [self._argument(argument, scope) for argument in self.arguments]
        return _FUNCTIONS[self.name].implementation(scope, *values)

    def _argument(self, argument: "Literal | Call | jsonpath.Path", scope: Scope) -> Json:
        if isinstance(argument, Literal):
            return argument.value
        if isinstance(argument, Call):
            return argument._result(scope)
        found = argument.lookup(scope)
        if found.missing is not None:
            # AWS tells of the context object as if it were the input.
            field = argument.text[1:] if argument.root == "$$" else argument.text
            raise _ArgumentError(
                f"The JsonPath argument for the field '{field}' could not be found in the input "
                f"'{to_text(scope.input)}'",
                RUNTIME,
            )
        return found.value

    def variables(self) -> Iterator[str]:
        """The names of the variables that the call refers to."""
        for argument in self.arguments:
            if isinstance(argument, Call):
                yield from argument.variables()
            elif isinstance(argument, jsonpath.Path) and argument.variable:
                yield argument.variable


class _ArgumentError(ValueError):
    """An argument is not what the function takes."""

    def __init__(self, problem: str, error: str = INTRINSIC_FAILURE) -> None:
        super().__init__(problem)
        self.error = error


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise _ArgumentError(message)


def _integer(value: Json) -> int:
    """A number as an integer, rounded half up as Java's Math.round does."""
    _need(is_number(value), "The argument must be a number")
    if isinstance(value, int):
        return value
    rounded: int = math.floor(value + 0.5)
    return rounded


def java_text(value: Json) -> str:
    """A value as Java's toString writes it: how States.Format shows what is not a string."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={java_text(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(java_text, value)) + "]"
    return to_text(value)


def _format(scope: Scope, template: Json, *arguments: Json) -> str:
    _need(isinstance(template, str), "The first argument of States.Format must be a string")
    pieces = re.split(r"(\\.|\{\})", template)
    _need(pieces.count("{}") == len(arguments), "The number of arguments does not match the occurrences of {}")
    remaining = iter(arguments)
    written = []
    for piece in pieces:
        if piece == "{}":
            written.append(java_text(next(remaining)))
        else:
            written.append(piece[1] if len(piece) == 2 and piece[0] == "\\" and piece[1] in "{}\\'" else piece)
    return "".join(written)


def _string_to_json(scope: Scope, text: Json) -> Json:
    _need(isinstance(text, str), "The argument of States.StringToJson must be a string")
    if not text.strip():
        return None
    try:
        return json.loads(text, parse_constant=_not_json)
    except ValueError:
        raise _ArgumentError("The argument of States.StringToJson is not valid JSON") from None


def _not_json(constant: str) -> Json:
    raise ValueError(constant)


def _partition(scope: Scope, array: Json, size: Json) -> list[Json]:
    _need(isinstance(array, list), "The first argument must be an array")
    count = _integer(size)
    _need(count > 0, "The chunk size must be a positive integer")
    return [array[start : start + count] for start in range(0, len(array), count)]


def equal(left: Json, right: Json) -> bool:
    """Equality of JSON values: 1 and true differ, 1 and 1.0 do not."""
    return bool(left == right) and to_text(_as_float(left)) == to_text(_as_float(right))


def _as_float(value: Json) -> Json:
    if is_number(value):
        return float(value)
    if isinstance(value, list):
        return [_as_float(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_float(value[name]) for name in sorted(value)}
    return value


def _contains(scope: Scope, array: Json, wanted: Json) -> bool:
    _need(isinstance(array, list), "The first argument must be an array")
    return any(equal(item, wanted) for item in array)


def _range(scope: Scope, first: Json, last: Json, step: Json) -> list[int]:
    start, end, increment = _integer(first), _integer(last), _integer(step)
    _need(increment != 0, "The increment must not be zero")
    numbers = range(start, end + (1 if increment > 0 else -1), increment)
    _need(len(numbers) <= _MAXIMUM_RANGE, f"The array cannot have more than {_MAXIMUM_RANGE} elements")
    return list(numbers)


def _get_item(scope: Scope, array: Json, index: Json) -> Json:
    _need(isinstance(array, list), "The first argument must be an array")
    _need(isinstance(index, int) and not isinstance(index, bool), "The index must be an integer")
    _need(0 <= index < len(array), "The index is out of the bounds of the array")
    return array[index]


def _length(scope: Scope, array: Json) -> int:
    _need(isinstance(array, list), "The argument must be an array")
    return len(array)


def _unique(scope: Scope, array: Json) -> list[Json]:
    _need(isinstance(array, list), "The argument must be an array")
    unique: dict[str, Json] = {}
    for item in array:
        unique.setdefault(to_text(_as_float(item)), item)
    return list(unique.values())


def _encode(scope: Scope, text: Json) -> str:
    _need(isinstance(text, str), "The argument must be a string")
    _need(len(text) <= _MAXIMUM_TEXT, f"The argument cannot be longer than {_MAXIMUM_TEXT} characters")
    return base64.b64encode(text.encode()).decode()


def _decode(scope: Scope, text: Json) -> str:
    _need(isinstance(text, str), "The argument must be a string")
    _need(len(text) <= _MAXIMUM_TEXT, f"The argument cannot be longer than {_MAXIMUM_TEXT} characters")
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise _ArgumentError("The argument is not a Base64 encoded string") from None


HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


def _hash(scope: Scope, data: Json, algorithm: Json) -> str:
    _need(isinstance(algorithm, str) and algorithm in HASHES, f"The algorithm must be one of {', '.join(HASHES)}")
    text = data if isinstance(data, str) else to_text(data)
    _need(len(text) <= _MAXIMUM_TEXT, f"The argument cannot be longer than {_MAXIMUM_TEXT} characters")
    return hashlib.new(HASHES[algorithm], text.encode()).hexdigest()


def _merge(scope: Scope, left: Json, right: Json, deep: Json) -> Json:
    _need(isinstance(left, dict) and isinstance(right, dict), "The first two arguments must be objects")
    _need(deep is False, "Only the shallow merge (false) is supported")
    return {**left, **right}


def _random(scope: Scope, start: Json, end: Json, *seed: Json) -> int:
    first, last = _integer(start), _integer(end)
    _need(first < last, "The first argument must be less than the second")
    chance = Random(_integer(seed[0])).random() if seed else scope.random()  # noqa: S311
    return first + int(chance * (last - first))


def _add(scope: Scope, left: Json, right: Json) -> int:
    return _integer(left) + _integer(right)


def _split(scope: Scope, text: Json, separators: Json) -> list[str]:
    _need(isinstance(text, str) and isinstance(separators, str), "Both arguments must be strings")
    if not separators:
        return [text]
    return [piece for piece in re.split("[" + re.escape(separators) + "]", text) if piece]


def random_uuid(random: Callable[[], float]) -> str:
    """A version 4 UUID from the given source of chance."""
    bits = 0
    for _ in range(4):
        bits = bits << 32 | int(random() * 2**32)
    return str(uuid.UUID(int=bits, version=4))


@dataclass(frozen=True, slots=True)
class _Function:
    implementation: Callable[..., Json]
    least: int
    most: int | None  # None: any number of arguments


_FUNCTIONS = {
    "States.Format": _Function(_format, 1, None),
    "States.StringToJson": _Function(_string_to_json, 1, 1),
    "States.JsonToString": _Function(lambda scope, value: to_text(value), 1, 1),
    "States.Array": _Function(lambda scope, *values: list(values), 0, None),
    "States.ArrayPartition": _Function(_partition, 2, 2),
    "States.ArrayContains": _Function(_contains, 2, 2),
    "States.ArrayRange": _Function(_range, 3, 3),
    "States.ArrayGetItem": _Function(_get_item, 2, 2),
    "States.ArrayLength": _Function(_length, 1, 1),
    "States.ArrayUnique": _Function(_unique, 1, 1),
    "States.Base64Encode": _Function(_encode, 1, 1),
    "States.Base64Decode": _Function(_decode, 1, 1),
    "States.Hash": _Function(_hash, 2, 2),
    "States.JsonMerge": _Function(_merge, 3, 3),
    "States.MathRandom": _Function(_random, 2, 3),
    "States.MathAdd": _Function(_add, 2, 2),
    "States.StringSplit": _Function(_split, 2, 2),
    "States.UUID": _Function(lambda scope: random_uuid(scope.random), 0, 0),
}

_NAME = re.compile(r"States\.[A-Za-z0-9]+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"true|false|null")
# In a string, only ' { } and \ may be escaped.
_STRING = re.compile(r"'((?:[^'\\]|\\['{}\\])*)'")


def parse(text: str) -> Call:
    """Parse a call.  Raises IntrinsicError."""
    call, end = _call(text, _skip(text, 0), 1)
    if text[end:].strip():
        raise IntrinsicError(f"unexpected text after the call: {text[end:]}")
    return call


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _call(text: str, start: int, depth: int) -> tuple[Call, int]:
    if depth > _MAXIMUM_NESTING:
        raise IntrinsicError(f"intrinsic functions may be nested {_MAXIMUM_NESTING} deep")
    name = _NAME.match(text, start)
    if name is None or name.group(0) not in _FUNCTIONS:
        raise IntrinsicError("there is no such intrinsic function")
    position = _skip(text, name.end())
    if text[position : position + 1] != "(":
        raise IntrinsicError("a ( is missing")
    position = _skip(text, position + 1)
    arguments: list[Literal | Call | jsonpath.Path] = []
    while text[position : position + 1] != ")":
        if arguments:
            if text[position : position + 1] != ",":
                raise IntrinsicError("a , or ) is missing")
            position = _skip(text, position + 1)
        # States.Format reads the escapes of its template itself: \{\} is a literal {}.
        is_template = name.group(0) == "States.Format" and not arguments
        argument, position = _parse_argument(text, position, depth, keep_escapes=is_template)
        arguments.append(argument)
        position = _skip(text, position)
    function = _FUNCTIONS[name.group(0)]
    if len(arguments) < function.least or (function.most is not None and len(arguments) > function.most):
        raise IntrinsicError("wrong number of arguments")
    end = position + 1
    return Call(text[start:end], name.group(0), tuple(arguments)), end


def _parse_argument(
    text: str, position: int, depth: int, *, keep_escapes: bool
) -> tuple["Literal | Call | jsonpath.Path", int]:
    if text.startswith("States.", position):
        return _call(text, position, depth + 1)
    if text.startswith("$", position):
        end = _end_of_path(text, position)
        try:
            return jsonpath.parse(text[position:end].rstrip()), end
        except jsonpath.PathError as problem:
            raise IntrinsicError(str(problem)) from None
    if (match := _STRING.match(text, position)) is not None:
        escaped = match.group(1)
        return Literal(escaped if keep_escapes else re.sub(r"\\(.)", r"\1", escaped)), match.end()
    for pattern in (_NUMBER, _WORD):
        if (match := pattern.match(text, position)) is not None:
            return Literal(json.loads(match.group(0))), match.end()
    raise IntrinsicError("an argument is missing or not valid")


def _end_of_path(text: str, position: int) -> int:
    """Where the path that starts at `position` ends: at a , or ) outside brackets and quotes."""
    depth = 0
    quote = ""
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character in "[(":
            depth += 1
        elif character == "]" or (character == ")" and depth):
            depth -= 1
        elif character in ",)" and not depth:
            break
        position += 1
    return position
