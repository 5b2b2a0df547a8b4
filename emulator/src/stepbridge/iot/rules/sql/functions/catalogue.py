"""Every function by its name: what computes it, how many arguments it takes, and since which SQL version it exists."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stepbridge.iot.rules.sql.evaluation import Frame
from stepbridge.iot.rules.sql.functions import collections, message, numbers, outside, strings
from stepbridge.iot.rules.sql.functions.parse_time import parse_time
from stepbridge.iot.rules.sql.functions.time_to_epoch import time_to_epoch
from stepbridge.iot.rules.sql.values import VERSION_2015, VERSION_2016, Value


@dataclass(frozen=True, slots=True)
class Function:
    """A function: `compute(frame, *arguments)`.

    Fewer arguments than `least` or more than `most` make it Undefined; `most` is None where there is no limit.
    `since` is the SQL version it came with.
    """

    compute: Callable[..., Value]
    least: int
    most: int | None
    since: str = VERSION_2016


def _pure(compute: Callable[..., Any]) -> Callable[..., Value]:
    def evaluate(frame: Frame, *arguments: Value) -> Value:
        return compute(*arguments)  # type: ignore[no-any-return]

    return evaluate


def _old(compute: Callable[..., Value], least: int, most: int | None = -1) -> Function:
    return Function(compute, least, least if most == -1 else most, VERSION_2015)


def _new(compute: Callable[..., Value], least: int, most: int | None = -1) -> Function:
    return Function(compute, least, least if most == -1 else most, VERSION_2016)


CATALOGUE: dict[str, Function] = {
    "abs": _old(numbers.absolute, 1),
    **{name: _old(numbers.in_double_precision(compute), 1) for name, compute in numbers.DOUBLE_FUNCTIONS.items()},
    "atan2": _old(numbers.atan2, 2),
    "power": _old(numbers.power, 2),
    **{name: _old(_pure(compute), 2) for name, compute in numbers.BIT_FUNCTIONS.items()},
    "bitnot": _old(_pure(numbers.bitnot), 1),
    "ceil": _old(_pure(numbers.ceil), 1),
    "floor": _old(_pure(numbers.floor), 1),
    "round": _old(_pure(numbers.round_half_up), 1),
    "sign": _old(_pure(numbers.sign), 1),
    "trunc": _old(numbers.trunc, 2),
    "mod": _old(numbers.remainder, 2),
    "remainder": _old(numbers.remainder, 2),
    "rand": _old(numbers.rand, 0),
    "nanvl": _old(_pure(numbers.nanvl), 2),
    "concat": _old(_pure(strings.concat), 0, None),
    "lower": _old(_pure(strings.lower), 1),
    "upper": _old(_pure(strings.upper), 1),
    "trim": _old(_pure(strings.trim), 1),
    "ltrim": _old(_pure(strings.ltrim), 1),
    "rtrim": _old(_pure(strings.rtrim), 1),
    "lpad": _old(_pure(strings.lpad), 2),
    "rpad": _old(_pure(strings.rpad), 2),
    "length": _new(_pure(strings.length), 1),
    "numbytes": _new(_pure(strings.numbytes), 1),
    "indexof": _new(_pure(strings.indexof), 2),
    "substring": _old(_pure(strings.substring), 2, 3),
    "replace": _old(_pure(strings.replace), 3),
    "regexp_matches": _old(_pure(strings.regexp_matches), 2),
    "regexp_substr": _old(_pure(strings.regexp_substr), 2),
    "regexp_replace": _old(_pure(strings.regexp_replace), 3),
    "startswith": _old(_pure(strings.startswith), 2),
    "endswith": _old(_pure(strings.endswith), 2),
    "chr": _old(_pure(strings.chr_), 1),
    **{name: _old(_pure(strings.digest(name)), 1) for name in strings.DIGESTS},
    "get": _old(_pure(collections.get), 2),
    "get_or_default": _new(_pure(collections.get_or_default), 1, 2),
    "isnull": _old(_pure(collections.is_null), 1),
    "isundefined": _new(_pure(collections.is_undefined), 1),
    "encode": _new(collections.encode, 2),
    "decode": _new(collections.decode, 2, 6),
    "transform": _new(_pure(collections.transform), 3),
    "parse_time": _new(_pure(parse_time), 2, 3),
    "time_to_epoch": _new(_pure(time_to_epoch), 2),
    "timestamp": _old(message.timestamp, 0),
    "newuuid": _old(message.newuuid, 0),
    "accountid": _old(message.accountid, 0),
    "sql_version": _old(message.sql_version, 0),
    "topic": _old(message.topic, 0, 1),
    "clientid": _old(message.clientid, 0),
    "traceid": _old(message.traceid, 0),
    "principal": _old(message.principal, 0),
    "sourceip": _new(message.sourceip, 0),
    "get_mqtt_property": _new(message.get_mqtt_property, 1),
    "get_user_properties": _new(message.get_user_properties, 0, 1),
    **{
        name: Function(outside.request(name), least, most, VERSION_2015 if name == "aws_lambda" else VERSION_2016)
        for name, (least, most) in outside.EXTERNAL.items()
    },
}

# What exists on AWS and cannot be emulated: refused by name when the rule is created.
REFUSED = {
    "machinelearning_predict": "Amazon Machine Learning is not emulated (and AWS takes no new users for it)",
}
