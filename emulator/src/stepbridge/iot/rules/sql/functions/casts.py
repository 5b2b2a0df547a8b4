"""cast(value as type)."""

from collections.abc import Callable
from decimal import Decimal
from math import isfinite

from stepbridge.iot.rules.sql.values import UNDEFINED, Normalise, Value, to_boolean, to_int, to_number, to_text


def _to_string(value: Value, normalise: Normalise) -> Value:
    text = to_text(value)
    return UNDEFINED if text is None else text


def _to_int(value: Value, normalise: Normalise) -> Value:
    if isinstance(value, bool):
        return int(value)
    number = to_int(value)
    return UNDEFINED if number is None else number


def _to_decimal(value: Value, normalise: Normalise) -> Value:
    if isinstance(value, bool):
        return normalise(Decimal("1.0" if value else "0.0"))
    number = to_number(value)
    return UNDEFINED if number is None else number if isinstance(number, int) else normalise(number)


def _to_double(value: Value, normalise: Normalise) -> Value:
    """As a Decimal "with double precision"; an Int stays one, as in any cast to Decimal."""
    number = _to_decimal(value, normalise)
    if not isinstance(number, Decimal):
        return number
    double = float(number)
    return normalise(Decimal(repr(double))) if isfinite(double) else UNDEFINED


def _to_boolean(value: Value, normalise: Normalise) -> Value:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value != 0
    boolean = to_boolean(value)
    return UNDEFINED if boolean is None else boolean


CASTS: dict[str, Callable[[Value, Normalise], Value]] = {
    **dict.fromkeys(("string", "nvarchar", "text", "ntext", "varchar"), _to_string),
    **dict.fromkeys(("int", "integer"), _to_int),
    "double": _to_double,
    "decimal": _to_decimal,
    **dict.fromkeys(("bool", "boolean"), _to_boolean),
}
# developerguide/iot-sql-functions.html#iot-sql-function-cast: the others came with 2016-03-23.
CASTS_2015 = frozenset({"string", "nvarchar", "text", "ntext", "varchar", "int", "integer", "double"})
