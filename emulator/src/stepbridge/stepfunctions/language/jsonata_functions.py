"""The functions that Step Functions adds to JSONata, and those of JSONata that it answers otherwise than the library.

What they do with arguments that are missing or of no use was measured on AWS: https://github.com/floci-io/floci/issues
has the measurements (2662, 2737). Arguments that are not whole are rounded towards zero; some give nothing (undefined)
where one would expect an error.

https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

from stepbridge.stepfunctions.language import json_text
from stepbridge.stepfunctions.language.evaluation import Scope
from stepbridge.stepfunctions.language.intrinsics import HASHES, random_uuid
from stepbridge.stepfunctions.language.values import Json, is_number

# AWS's error names the algorithms in this order.
_HASHES = ("SHA-1", "SHA-384", "SHA-256", "SHA-512", "MD5")
_EXACT = 2**63  # from here on AWS has an integer as a floating point number
_EXPONENT = 1e21  # from here on JavaScript, and AWS, writes a number with an exponent
_MAXIMUM_RANGE = 360_145  # elements that $range makes


class FunctionError(ValueError):
    """A function cannot do anything with its arguments.  `code` and the message are JSONata's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def functions(scope: Scope, library: Any) -> dict[str, Callable[..., Any]]:
    """The functions by name, for the library `jsonata`."""
    null = library.Utils.NULL_VALUE

    def random(seed: Any = None, *more: Any) -> Any:
        _no_more("random", 1, more)
        return scope.random() if seed is None else java_random(_whole(seed, "random", 1))

    def uuid(*more: Any) -> str:
        _no_more("uuid", 0, more)
        return random_uuid(scope.random)

    def parse(text: Any = None) -> Any:
        return from_json(_parse(text), null) if text is not None else None

    def string(value: Any = None, prettify: Any = None) -> Any:
        return text_of(value, library, prettify=bool(prettify))

    def number(value: Any = None) -> Any:
        try:
            return library.Functions.number(value)
        except ValueError:
            raise FunctionError("D3030", f"Unable to cast value to a number: {json.dumps(value)}") from None

    def parse_integer(value: Any = None, picture: Any = None) -> Any:
        try:
            return library.Functions.parse_integer(value, picture)
        except ValueError:
            return math.nan

    return {
        "partition": _partition,
        "range": _range,
        "hash": _hash,
        "random": random,
        "uuid": uuid,
        "parse": parse,
        "string": string,
        "number": number,
        "parseInteger": parse_integer,
        "count": lambda value=None: 0 if value is None else len(value) if isinstance(value, list) else 1,
        # The library reads a clock of its own; all time here comes from the event.
        "now": lambda picture=None, zone=None: library.Functions.datetime_from_millis(
            int(scope.now * 1000), picture, zone
        ),
        "millis": lambda: int(scope.now * 1000),
    }


ADDED = ("partition", "range", "hash", "random", "uuid", "parse")


def from_json(value: Json, null: Any) -> Any:
    """`value` with JSONata's null in place of None, which is undefined to the library."""
    if value is None:
        return null
    if isinstance(value, list):
        return [from_json(item, null) for item in value]
    if isinstance(value, dict):
        return {name: from_json(member, null) for name, member in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and not -_EXACT <= value < _EXACT:
        return float(value)
    return value


def java_random(seed: int) -> float:
    """The first nextDouble() of a java.util.Random with this seed.

    https://docs.oracle.com/javase/8/docs/api/java/util/Random.html
    """
    mask = (1 << 48) - 1
    state = (seed ^ 0x5DEECE66D) & mask
    bits = 0
    for width in (26, 27):
        state = (state * 0x5DEECE66D + 0xB) & mask
        bits = (bits << width) + (state >> (48 - width))
    return bits / (1 << 53)


def number_text(value: float) -> str:
    """A number as JavaScript, and so JSONata, writes it, with 15 digits of precision."""
    if not math.isfinite(value):
        return "null"
    value = float(f"{value:.15g}") if isinstance(value, float) or abs(value) >= 10**15 else value
    if value == int(value) and abs(value) < _EXPONENT:
        return str(int(value))
    text = repr(float(value))
    mantissa, _, exponent = text.partition("e")
    if not exponent or 1e-6 <= abs(value) < _EXPONENT:
        return f"{value:.20f}".rstrip("0") if exponent else text
    return f"{mantissa.removesuffix('.0')}e{'+' if int(exponent) > 0 else ''}{int(exponent)}"


def _no_more(function: str, takes: int, more: tuple[Any, ...]) -> None:
    if any(argument is not None for argument in more):
        raise _mismatch(function, takes + 1)


def _mismatch(function: str, argument: int) -> FunctionError:
    return FunctionError("T0410", f'Argument {argument} of function "{function}" does not match function signature')


def _whole(value: Any, function: str, argument: int) -> int:
    if not is_number(value):
        raise _mismatch(function, argument)
    return int(value)


def _partition(array: Any = None, size: Any = None, *more: Any) -> Any:
    _no_more("partition", 2, more)
    if array is None or array == []:
        return None
    if not isinstance(array, list):
        raise FunctionError("T0412", 'Argument 1 of function "partition" must be an array of undefined')
    if size is None:
        return [array]
    step = _whole(size, "partition", 2)
    if step < 0:
        raise FunctionError("D3137", "Second argument must be zero or greater")
    return [list(array[start : start + step]) for start in range(0, len(array), step)] if step else None


def _range(first: Any = None, last: Any = None, step: Any = None, *more: Any) -> Any:
    _no_more("range", 3, more)
    start, end = _whole(first, "range", 1), _whole(last, "range", 2)
    increment = 0 if step is None else _whole(step, "range", 3)
    if increment == 0 or (end - start) * increment < 0:
        return None
    if start == end:
        return start
    numbers = range(start, end + (1 if increment > 0 else -1), increment)
    if len(numbers) > _MAXIMUM_RANGE:
        raise FunctionError("", "Expression evaluation memory limit exceeded: Check for excessive memory usage")
    return list(numbers)


def _hash(data: Any = None, algorithm: Any = None, *more: Any) -> Any:
    _no_more("hash", 2, more)
    if not isinstance(data, str):
        raise _mismatch("hash", 1)
    if algorithm is None:
        return None
    if not isinstance(algorithm, str):
        raise _mismatch("hash", 2)
    if algorithm not in HASHES:
        raise FunctionError("D3137", f"Hash algorithm '{algorithm}' must be one of {', '.join(_HASHES)}")
    return hashlib.new(HASHES[algorithm], data.encode()).hexdigest()


def _parse(text: Any) -> Json:
    if not isinstance(text, str):
        raise _mismatch("parse", 1)
    try:
        return json_text.parse(text, unique_fields=True)
    except (json_text.JsonError, json_text.DuplicateFieldError):
        raise FunctionError("D3137", "Invalid JSON") from None


def text_of(value: Any, library: Any, *, prettify: bool = False) -> str | None:
    """`value` as text, as $string and & make it: JSON, and of a function nothing.  None if it is undefined."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise FunctionError("D3001", "Attempting to invoke string function on Infinity or NaN")
    null = library.Utils.NULL_VALUE
    if value is not null and not isinstance(value, bool | int | float | list | dict):
        return ""
    return _json(value, null, "\n" if prettify else "")


def _json(value: Any, null: Any, newline: str) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if value is null or value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    if not isinstance(value, list | dict):
        return '""'
    inner = f"{newline}  " if newline else ""
    if isinstance(value, list):
        parts, brackets = [_json(item, null, inner) for item in value], "[]"
    else:
        colon = ": " if newline else ":"
        parts = [
            f"{json.dumps(name, ensure_ascii=False)}{colon}{_json(item, null, inner)}" for name, item in value.items()
        ]
        brackets = "{}"
    if not parts:
        return brackets
    return f"{brackets[0]}{inner}{f',{inner}'.join(parts)}{newline}{brackets[1]}"
