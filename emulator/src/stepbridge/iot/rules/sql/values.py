"""The values of IoT SQL and how they turn into one another.

| SQL       | Python                                    |
| Undefined | UNDEFINED                                 |
| Null      | None                                      |
| Boolean   | bool                                      |
| Int       | int                                       |
| Decimal   | decimal.Decimal, always finite            |
| String, Array, Object | str, list, dict               |

developerguide/iot-sql-data-types.html, whose tables of conversions are the functions below.
"""

import re
from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from enum import Enum
from json import JSONDecoder
from json.encoder import encode_basestring
from typing import Any, Final, Literal

VERSION_2015: Final = "2015-10-08"
VERSION_2016: Final = "2016-03-23"
VERSION_BETA: Final = "beta"
VERSIONS: Final = (VERSION_2015, VERSION_2016, VERSION_BETA)


class _Undefined(Enum):
    UNDEFINED = "Undefined"

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED: Final = _Undefined.UNDEFINED
Value = Literal[_Undefined.UNDEFINED] | None | bool | int | Decimal | str | list[Any] | dict[str, Any]
Number = int | Decimal

# 34 digits: IEEE 754 decimal128, Java's MathContext.DECIMAL128.
CONTEXT: Final = Context(prec=34, rounding=ROUND_HALF_EVEN, Emin=-999, Emax=999, traps=[])
INT_LIMIT: Final = 10**34
_INT_DIGITS = 34

_NUMERIC_STRING = re.compile(r"-?\d+(\.\d+)?([eE]-?\d+)?", re.ASCII)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# Payloads nested deeper than this are taken as not being JSON: they come from nobody's device.
_MAX_NESTING = 200

Normalise = Callable[[Decimal], "int | Decimal | Literal[_Undefined.UNDEFINED]"]


def normalise_2015(number: Decimal) -> Decimal | Literal[_Undefined.UNDEFINED]:
    """A result of the first SQL version: a Decimal stays one (`10.0`), and like Java's it knows no negative zero."""
    if not number:
        return number.copy_abs()
    return number if number.is_finite() else UNDEFINED


def normalise_2016(number: Decimal) -> int | Decimal | Literal[_Undefined.UNDEFINED]:
    """A result of the later SQL versions: a whole number is an Int (`10.0` is `10`)."""
    if not number:
        return 0
    if not number.is_finite():
        return UNDEFINED
    if number.adjusted() < _INT_DIGITS and number == (whole := int(number)):
        return whole
    return number


def normalise_for(version: str) -> Normalise:
    """How `version` treats a whole Decimal."""
    return normalise_2015 if version == VERSION_2015 else normalise_2016


# Conversions.  Each answers None where the standard conversion gives Undefined.


def to_number(value: Value) -> Number | None:
    """As Int or Decimal; a numeric String is always a Decimal."""
    kind = type(value)
    if kind is int or kind is Decimal:
        return value  # type: ignore[return-value]
    if kind is str and _NUMERIC_STRING.fullmatch(value):  # type: ignore[arg-type]
        number = CONTEXT.create_decimal(value)  # type: ignore[arg-type]
        return number if number.is_finite() else None
    return None


def to_int(value: Value) -> int | None:
    """As Int, rounded down: what the tables of functions say of an Int argument."""
    number = to_number(value)
    if number is None or isinstance(number, int):
        return number
    if number.adjusted() > _INT_DIGITS:  # further than any index or bit reaches; do not expand a thousand digits
        return INT_LIMIT if number > 0 else -INT_LIMIT
    return int(number.to_integral_value(ROUND_FLOOR))


def to_boolean(value: Value) -> bool | None:
    """As Boolean: only Booleans and the strings "true" and "false", in any case."""
    if value is True or value is False:
        return value
    if isinstance(value, str):
        lowered = value.lower()
        return True if lowered == "true" else False if lowered == "false" else None
    return None


def to_text(value: Value) -> str | None:
    """As String."""
    if type(value) is str:
        return value
    if value is UNDEFINED or value is None:
        return None
    return json_text(value)


def truncate(number: Decimal, places: int) -> Decimal:
    """`number` cut after `places` decimal places."""
    if number.is_zero() or -number.as_tuple().exponent <= places:  # type: ignore[operator]
        return number
    if number.adjusted() < -places - 1:
        return Decimal(0)
    return number.quantize(Decimal((0, (1,), -places)), ROUND_DOWN, Context(prec=number.adjusted() + places + 40))


def equal(left: Value, right: Value) -> bool:
    """`=` of two values neither of which is Undefined: values of different types are different."""
    kind, other = type(left), type(right)
    if kind is int or kind is Decimal:
        return (other is int or other is Decimal) and left == right
    if kind is not other:
        return False
    if kind is list:
        return len(left) == len(right) and all(map(equal, left, right))  # type: ignore[arg-type]
    if kind is dict:
        return left.keys() == right.keys() and all(  # type: ignore[union-attr]
            equal(value, right[key])  # type: ignore[index]
            for key, value in left.items()  # type: ignore[union-attr]
        )
    return left == right


# JSON


def json_text(value: Value) -> str:
    """`value` as AWS prints it: no spaces, characters beyond ASCII as they are, Decimals as Java's BigDecimal does."""
    kind = type(value)
    if kind is str:
        return encode_basestring(value)  # type: ignore[arg-type]
    if kind is int or kind is Decimal:
        return str(value)
    if kind is dict:
        members = [f"{encode_basestring(key)}:{json_text(item)}" for key, item in value.items()]  # type: ignore[union-attr]
        return f"{{{','.join(members)}}}"
    if kind is list:
        return f"[{','.join(map(json_text, value))}]"  # type: ignore[arg-type]
    if value is None:
        return "null"
    return "" if value is UNDEFINED else "true" if value else "false"


def _refuse_constant(name: str) -> Value:
    raise ValueError(f"{name} is not JSON")


def _decimal(text: str) -> Number:
    number = Decimal(text)
    return number or number.copy_abs()


def _whole_or_decimal(text: str) -> Number:
    number = Decimal(text)
    # Most fractions are told from whole numbers by their last digit alone.
    if text[-1] != "0" and "e" not in text and "E" not in text:
        return number
    normalised = normalise_2016(number)
    return number if normalised is UNDEFINED else normalised


_DECODERS = {
    VERSION_2015: JSONDecoder(parse_float=_decimal, parse_constant=_refuse_constant),
    VERSION_2016: JSONDecoder(parse_float=_whole_or_decimal, parse_constant=_refuse_constant),
}
_DECODERS[VERSION_BETA] = _DECODERS[VERSION_2016]


def parse_json(data: bytes | str, version: str) -> Value:
    """The value of a JSON text in a SQL version, or UNDEFINED if it is not JSON."""
    try:
        text = data.decode() if isinstance(data, bytes) else data
        if text.count("[") + text.count("{") > _MAX_NESTING and _nesting(text) > _MAX_NESTING:
            return UNDEFINED
        value: Value = _DECODERS[version].decode(text)
        if "\\u" in text and _SURROGATE.search(text):
            value = _without_surrogates(value)
    except (ValueError, ArithmeticError):  # an exponent beyond what decimal holds is an ArithmeticError
        return UNDEFINED
    return value


def _without_surrogates(value: Value) -> Value:
    """With `?` for halves of characters, which JSON can write and UTF-8 cannot: as Java encodes them."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {str(_without_surrogates(key)): _without_surrogates(item) for key, item in value.items()}
    return value


def _nesting(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[\[{\]}]', text):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest
