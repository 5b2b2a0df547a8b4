"""Functions of numbers."""

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from stepbridge.iot.rules.sql import operators
from stepbridge.iot.rules.sql.evaluation import Frame
from stepbridge.iot.rules.sql.values import (
    CONTEXT,
    INT_LIMIT,
    UNDEFINED,
    Number,
    Value,
    normalise_for,
    to_int,
    to_number,
    truncate,
)

_MAX_PLACES = 34


def absolute(frame: Frame, value: Value) -> Value:
    """abs."""
    number = to_number(value)
    if number is None:
        return UNDEFINED
    return abs(number) if type(number) is int else _normalised(frame, CONTEXT.abs(number))


def in_double_precision(compute: Callable[[float], float]) -> Callable[[Frame, Value], Value]:
    """A function calculated on 64-bit floating point numbers; imaginary and infinite results are Undefined."""

    def evaluate(frame: Frame, value: Value) -> Value:
        number = to_number(value)
        if number is None:
            return UNDEFINED
        try:
            return _from_double(frame, compute(float(number)))
        except (ValueError, OverflowError):
            return UNDEFINED

    return evaluate


DOUBLE_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "acos": math.acos,
    "asin": math.asin,
    "atan": math.atan,
    "cos": math.cos,
    "cosh": math.cosh,
    "exp": math.exp,
    "ln": math.log,
    "log": math.log10,
    "sin": math.sin,
    "sinh": math.sinh,
    "sqrt": math.sqrt,
    "tan": math.tan,
    "tanh": math.tanh,
}


def atan2(frame: Frame, ordinate: Value, abscissa: Value) -> Value:
    """The angle of the point (abscissa, ordinate): arguments in Java's order, as the documented example shows."""
    return _of_two_doubles(frame, math.atan2, ordinate, abscissa)


def power(frame: Frame, base: Value, exponent: Value) -> Value:
    """`base` to the power of `exponent`, in double precision."""
    return _of_two_doubles(frame, math.pow, base, exponent)


BIT_FUNCTIONS: dict[str, Callable[[Value, Value], Value]] = {}


def _on_bits(name: str, compute: Callable[[int, int], int]) -> None:
    def evaluate(left: Value, right: Value) -> Value:
        one, other = to_int(left), to_int(right)
        return UNDEFINED if one is None or other is None else compute(one, other)

    BIT_FUNCTIONS[name] = evaluate


_on_bits("bitand", int.__and__)
_on_bits("bitor", int.__or__)
_on_bits("bitxor", int.__xor__)


def bitnot(value: Value) -> Value:
    """All bits turned."""
    number = to_int(value)
    return UNDEFINED if number is None else ~number


def ceil(value: Value) -> Value:
    """Rounded up to an Int."""
    return _rounded(value, ROUND_CEILING)


def floor(value: Value) -> Value:
    """Rounded down to an Int."""
    return _rounded(value, ROUND_FLOOR)


def round_half_up(value: Value) -> Value:
    """Rounded to the nearest Int, halves away from zero."""
    return _rounded(value, ROUND_HALF_UP)


def sign(value: Value) -> Value:
    """-1, 0 or 1."""
    number = to_number(value)
    return UNDEFINED if number is None else (number > 0) - (number < 0)


def trunc(frame: Frame, value: Value, places: Value) -> Value:
    """Cut after so many decimal places, without trailing zeros."""
    number, limit = to_number(value), to_int(places)
    if number is None or limit is None or isinstance(places, str):
        return UNDEFINED
    if type(number) is int:
        return number
    cut = truncate(Decimal(number), min(max(limit, 0), _MAX_PLACES)).normalize(CONTEXT)
    # trunc(2.00, 5) = 2: without its zeros a whole number is an Int in every version.
    return int(cut) if cut.is_finite() and 0 <= cut.as_tuple().exponent < _MAX_PLACES else _normalised(frame, cut)  # type: ignore[operator]


def remainder(frame: Frame, left: Value, right: Value) -> Value:
    """mod and remainder: the operator %."""
    return operators.remainder(left, right, normalise_for(frame.evaluation.version))


def rand(frame: Frame) -> Value:
    """At random from 0 up to 1."""
    return _from_double(frame, frame.evaluation.random().random())


def nanvl(value: Value, default: Value) -> Value:
    """`default` in place of nothing (a Decimal that is not a number is Undefined already)."""
    return default if value is UNDEFINED or value is None else value


def _normalised(frame: Frame, number: Decimal) -> Value:
    return normalise_for(frame.evaluation.version)(number)


def _from_double(frame: Frame, result: float) -> Value:
    return _normalised(frame, Decimal(repr(result)))


def _of_two_doubles(frame: Frame, compute: Callable[[float, float], float], left: Value, right: Value) -> Value:
    one, other = to_number(left), to_number(right)
    if one is None or other is None:
        return UNDEFINED
    try:
        return _from_double(frame, compute(float(one), float(other)))
    except (ValueError, OverflowError):
        return UNDEFINED


def _rounded(value: Value, rounding: str) -> Value:
    number: Number | None = to_number(value)
    if number is None or isinstance(number, int):
        return UNDEFINED if number is None else number
    if number.adjusted() >= len(str(INT_LIMIT)):
        return number  # whole already, and longer than an Int
    return int(number.to_integral_value(rounding))
