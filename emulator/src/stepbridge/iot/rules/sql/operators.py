"""Operators, compiled: developerguide/iot-sql-operators.html."""

import operator
from collections.abc import Callable
from decimal import Decimal

from stepbridge.iot.rules.sql.evaluation import Compiled, Frame
from stepbridge.iot.rules.sql.values import (
    CONTEXT,
    INT_LIMIT,
    UNDEFINED,
    Normalise,
    Number,
    Value,
    equal,
    to_boolean,
    to_number,
    to_text,
)


def negate(operand: Compiled, normalise: Normalise) -> Compiled:
    """`-operand`."""

    def evaluate(frame: Frame) -> Value:
        number = to_number(operand(frame))
        if number is None:
            return UNDEFINED
        return -number if type(number) is int else normalise(CONTEXT.minus(number))

    return evaluate


def logical_not(operand: Compiled) -> Compiled:
    """`NOT operand`."""

    def evaluate(frame: Frame) -> Value:
        value = to_boolean(operand(frame))
        return UNDEFINED if value is None else not value

    return evaluate


def binary(symbol: str, left: Compiled, right: Compiled, normalise: Normalise) -> Compiled:
    """`left symbol right`."""
    if symbol in _COMPARISONS:
        return _comparison(_COMPARISONS[symbol], left, right)
    if symbol in _ARITHMETIC:
        ints, decimals = _ARITHMETIC[symbol]
        return (
            _addition(left, right, normalise) if symbol == "+" else _arithmetic(ints, decimals, left, right, normalise)
        )
    return _OTHERS[symbol](left, right)


def remainder(left: Value, right: Value, normalise: Normalise) -> Value:
    """`left % right`, for the functions of that meaning."""
    return _calculate(*_ARITHMETIC["%"], left, right, normalise)


def _comparison(compare: Callable[[Number, Number], bool], left: Compiled, right: Compiled) -> Compiled:
    # Always as numbers, never as text: "abc" > "abd" is Undefined.
    def evaluate(frame: Frame) -> Value:
        one, other = to_number(left(frame)), to_number(right(frame))
        if one is None or other is None:
            return UNDEFINED
        return compare(one, other)

    return evaluate


def _equality(left: Compiled, right: Compiled) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        one, other = left(frame), right(frame)
        return UNDEFINED if one is UNDEFINED or other is UNDEFINED else equal(one, other)

    return evaluate


def _inequality(left: Compiled, right: Compiled) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        one, other = left(frame), right(frame)
        return UNDEFINED if one is UNDEFINED or other is UNDEFINED else not equal(one, other)

    return evaluate


def _logical_and(left: Compiled, right: Compiled) -> Compiled:
    # By the table both operands count: `false AND Undefined` is Undefined.
    def evaluate(frame: Frame) -> Value:
        one, other = to_boolean(left(frame)), to_boolean(right(frame))
        return UNDEFINED if one is None or other is None else one and other

    return evaluate


def _logical_or(left: Compiled, right: Compiled) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        one, other = to_boolean(left(frame)), to_boolean(right(frame))
        return UNDEFINED if one is None or other is None else one or other

    return evaluate


def _contained(left: Compiled, right: Compiled) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        item, items = left(frame), right(frame)
        if item is UNDEFINED or type(items) is not list:
            return UNDEFINED
        return any(equal(item, one) for one in items)

    return evaluate


def _addition(left: Compiled, right: Compiled, normalise: Normalise) -> Compiled:
    ints, decimals = _ARITHMETIC["+"]

    def evaluate(frame: Frame) -> Value:
        one, other = left(frame), right(frame)
        if type(one) is str or type(other) is str:
            start, end = to_text(one), to_text(other)
            return UNDEFINED if start is None or end is None else start + end
        return _calculate(ints, decimals, one, other, normalise)

    return evaluate


_OnInts = Callable[[int, int], int | None]
_OnDecimals = Callable[[Number, Number], Decimal]


def _arithmetic(
    ints: _OnInts, decimals: _OnDecimals, left: Compiled, right: Compiled, normalise: Normalise
) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        return _calculate(ints, decimals, left(frame), right(frame), normalise)

    return evaluate


def _calculate(ints: _OnInts, decimals: _OnDecimals, left: Value, right: Value, normalise: Normalise) -> Value:
    one, other = to_number(left), to_number(right)
    if one is None or other is None:
        return UNDEFINED
    if type(one) is int and type(other) is int:
        result = ints(one, other)
        if result is None:
            return UNDEFINED
        return result if -INT_LIMIT < result < INT_LIMIT else normalise(CONTEXT.create_decimal(result))
    return normalise(decimals(one, other))


# Integer division and its remainder are Java's: towards zero, the remainder has the sign of the dividend.  Division by
# zero is not documented; Undefined is what every other impossible calculation gives.


def _divide(one: int, other: int) -> int | None:
    if other == 0:
        return None
    quotient = abs(one) // abs(other)
    return quotient if (one < 0) == (other < 0) else -quotient


def _remainder(one: int, other: int) -> int | None:
    if other == 0:
        return None
    rest = abs(one) % abs(other)
    return -rest if one < 0 else rest


_COMPARISONS: dict[str, Callable[[Number, Number], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, tuple[_OnInts, _OnDecimals]] = {
    "+": (operator.add, CONTEXT.add),
    "-": (operator.sub, CONTEXT.subtract),
    "*": (operator.mul, CONTEXT.multiply),
    "/": (_divide, CONTEXT.divide),
    "%": (_remainder, CONTEXT.remainder),
}
_OTHERS: dict[str, Callable[[Compiled, Compiled], Compiled]] = {
    "=": _equality,
    "<>": _inequality,
    "AND": _logical_and,
    "OR": _logical_or,
    "IN": _contained,
}
