"""Filter criteria of event source mappings: which messages a function is given at all.

A pattern is an object like the record it is about, with a list of rules where the record has a value; the record
matches when each of its keys does, by any one of the rules there.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html
"""

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MAX_FILTERS = 10
_MAX_PATTERN = 4096  # characters
_OR = "$or"
_ABSENT = object()
_Compare = Callable[[float, float], bool]
_COMPARISONS: Mapping[str, _Compare] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SCALARS = (str, int, float, bool, type(None))


class FilterError(Exception):
    """Filter criteria that Lambda does not take; the text says why."""


def parse_filters(criteria: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The patterns of a FilterCriteria.  Raises FilterError."""
    filters = criteria.get("Filters", [])
    if len(filters) > MAX_FILTERS:
        raise FilterError(f"An event source mapping has at most {MAX_FILTERS} filters.")
    return [_parse(each.get("Pattern", "{}")) for each in filters]


def matches(patterns: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> bool:
    """Whether the record of a message of SQS, with its body as text, matches any of `patterns`.

    A pattern for parts of the body takes bodies that are JSON only, one for the whole body takes text.
    """
    return not patterns or any(_matches(pattern, _with_body_for(pattern, record)) for pattern in patterns)


def _with_body_for(pattern: Mapping[str, Any], record: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(pattern.get("body"), dict):
        return record
    try:
        return {**record, "body": json.loads(record["body"])}
    except ValueError:
        return {name: value for name, value in record.items() if name != "body"}


def _parse(text: str) -> dict[str, Any]:
    try:
        pattern = json.loads(text)
    except ValueError:
        raise _invalid(text) from None
    if len(text) > _MAX_PATTERN or not isinstance(pattern, dict) or not _is_pattern(pattern):
        raise _invalid(text)
    return pattern


def _invalid(text: str) -> FilterError:
    return FilterError(f"Invalid filter pattern definition: {text}")


def _is_pattern(pattern: Mapping[str, Any]) -> bool:
    for name, value in pattern.items():
        if name == _OR:
            valid = isinstance(value, list) and len(value) > 1
            valid = valid and all(isinstance(each, dict) and _is_pattern(each) for each in value)
        elif isinstance(value, dict):
            valid = bool(value) and _is_pattern(value)
        else:
            valid = isinstance(value, list) and bool(value) and all(map(_is_rule, value))
        if not valid:
            return False
    return True


def _is_rule(rule: Any) -> bool:
    match rule:
        case {"prefix": str(), **others} | {"suffix": str(), **others} | {"equals-ignore-case": str(), **others}:
            return not others
        case {"exists": bool(), **others}:
            return not others
        case {"anything-but": list(values), **others}:
            return not others and bool(values) and all(isinstance(each, _SCALARS) for each in values)
        case {"anything-but": dict(value), **others}:
            return not others and set(value) <= {"prefix", "suffix", "equals-ignore-case"} and _is_rule(value)
        case {"anything-but": value, **others}:
            return not others and isinstance(value, _SCALARS)
        case {"numeric": [*parts], **others}:
            signs, numbers = parts[::2], parts[1::2]
            fits = len(parts) in (2, 4) and all(isinstance(sign, str) and sign in _COMPARISONS for sign in signs)
            return not others and fits and all(map(_is_number, numbers))
    return isinstance(rule, _SCALARS)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _matches(pattern: Mapping[str, Any], record: Any) -> bool:
    for name, wanted in pattern.items():
        if name == _OR:
            if not any(_matches(each, record) for each in wanted):
                return False
            continue
        value = record.get(name, _ABSENT) if isinstance(record, Mapping) else _ABSENT
        if isinstance(wanted, dict):
            if not _matches(wanted, value):
                return False
        elif not any(_takes(rule, value) for rule in wanted):
            return False
    return True


def _takes(rule: Any, value: Any) -> bool:
    if isinstance(rule, dict) and "exists" in rule:
        return bool(rule["exists"]) == (value is not _ABSENT and not isinstance(value, Mapping))
    if isinstance(value, list):
        return any(_takes(rule, each) for each in value)
    if value is _ABSENT or isinstance(value, Mapping):
        return False
    match rule:
        case {"prefix": start}:
            return isinstance(value, str) and value.startswith(start)
        case {"suffix": end}:
            return isinstance(value, str) and value.endswith(end)
        case {"equals-ignore-case": text}:
            return isinstance(value, str) and value.lower() == text.lower()
        case {"anything-but": list(others)}:
            return not any(_equal(other, value) for other in others)
        case {"anything-but": dict(other)}:
            return isinstance(value, str) and not _takes(other, value)
        case {"anything-but": other}:
            return not _equal(other, value)
        case {"numeric": parts}:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            return _is_number(value) and all(_COMPARISONS[sign](value, number) for sign, number in pairs)
    return _equal(rule, value)


def _equal(one: Any, other: Any) -> bool:
    """As JSON has it: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
