"""The condition operators.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import lru_cache

from stepbridge.authorization.patterns import Context, Template

# (value in the request, value in the policy) -> whether they agree
_Comparison = Callable[[str, str], bool]


class Quantifier(Enum):
    """How a condition looks at a key with several values."""

    SINGLE = ""
    ALL = "ForAllValues"
    ANY = "ForAnyValue"


@dataclass(frozen=True, slots=True)
class Operator:
    """A condition operator without its quantifier and `IfExists`.

    `compare` is the positive comparison; `negated` operators are true where no value agrees.  `wildcards` says that
    `*` and `?` in the policy's values are wildcards, `arn` that they are so within each component of an ARN.
    """

    name: str
    compare: _Comparison | None = None
    negated: bool = False
    wildcards: bool = False
    arn: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of a Condition block under one operator."""

    operator: Operator
    quantifier: Quantifier
    if_exists: bool
    key: str
    values: tuple[Template, ...]

    @property
    def name(self) -> str:
        """The operator as written in the policy."""
        prefix = f"{self.quantifier.value}:" if self.quantifier is not Quantifier.SINGLE else ""
        return f"{prefix}{self.operator.name}{'IfExists' if self.if_exists else ''}"

    def holds(self, context: Context) -> bool:
        """Whether the request fulfils it.  A value whose variable cannot be resolved agrees with nothing."""
        present = context.get(self.key)
        if self.operator.name == "Null":
            # "… if the context key exists and its value is not null": a set without members is null too
            expected = [(value.text(context) or "").lower() for value in self.values]
            return ("false" if present else "true") in expected
        if not present:
            if self.if_exists:
                return True
            if self.quantifier is Quantifier.SINGLE:
                return self.operator.negated
            # "ForAllValues … also returns true if there are no context keys in the request"; ForAnyValue is false
            return self.quantifier is Quantifier.ALL
        tests = [test for value in self.values if (test := self._test(value, context)) is not None]
        agrees = [any(test(candidate) for test in tests) for candidate in present]
        if self.operator.negated:
            differs = [not agreed for agreed in agrees]
            return any(differs) if self.quantifier is Quantifier.ANY else all(differs)
        return all(agrees) if self.quantifier is Quantifier.ALL else any(agrees)

    def unresolved(self, context: Context) -> tuple[str, ...]:
        """The names of the variables in its values that have no value in this request."""
        return tuple(name for value in self.values for name in value.unresolved(context))

    def _test(self, value: Template, context: Context) -> Callable[[str], bool] | None:
        if self.operator.arn:
            return _arn_test(value, context)
        if self.operator.wildcards:
            glob = value.glob(context)
            return glob.matches if glob is not None else None
        text = value.text(context)
        compare = self.operator.compare
        if text is None or compare is None:
            return None
        return lambda candidate: compare(candidate, text)


def _equals(candidate: str, expected: str) -> bool:
    return candidate == expected


def _equals_ignoring_case(candidate: str, expected: str) -> bool:
    return candidate.casefold() == expected.casefold()


def _numbers(relation: Callable[[Decimal, Decimal], bool]) -> _Comparison:
    def compare(candidate: str, expected: str) -> bool:
        try:
            return relation(Decimal(candidate), Decimal(expected))
        except InvalidOperation:
            return False

    return compare


def _dates(relation: Callable[[float, float], bool]) -> _Comparison:
    def compare(candidate: str, expected: str) -> bool:
        one, other = parse_date(candidate), parse_date(expected)
        return one is not None and other is not None and relation(one, other)

    return compare


@lru_cache(maxsize=1024)
def parse_date(text: str) -> float | None:
    """Seconds since the epoch of a date as policies write it (W3C ISO 8601, or epoch seconds); None if it is none."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@lru_cache(maxsize=1024)
def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The range that an IpAddress condition names; None if it is none."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _in_network(candidate: str, expected: str) -> bool:
    network = parse_network(expected)
    try:
        address = ipaddress.ip_address(candidate)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return network is not None and address in network


def _arn_test(value: Template, context: Context) -> Callable[[str], bool] | None:
    # "Each of the six colon-delimited components of the ARN is checked separately and each can include multi-character
    # match wildcards (*) or single-character match wildcards (?)."
    globs = value.globs(context, ":", 5)
    if globs is None:
        return None

    def test(candidate: str) -> bool:
        parts = candidate.split(":", 5)
        return len(parts) == len(globs) == 6 and all(
            glob.matches(part) for glob, part in zip(globs, parts, strict=True)
        )

    return test


def _both(
    name: str,
    negated_name: str,
    compare: _Comparison | None = None,
    *,
    wildcards: bool = False,
    arn: bool = False,
) -> tuple[Operator, ...]:
    return (
        Operator(name, compare, wildcards=wildcards, arn=arn),
        Operator(negated_name, compare, negated=True, wildcards=wildcards, arn=arn),
    )


OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        *_both("StringEquals", "StringNotEquals", _equals),
        *_both("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", _equals_ignoring_case),
        *_both("StringLike", "StringNotLike", wildcards=True),
        *_both("NumericEquals", "NumericNotEquals", _numbers(lambda one, other: one == other)),
        Operator("NumericLessThan", _numbers(lambda one, other: one < other)),
        Operator("NumericLessThanEquals", _numbers(lambda one, other: one <= other)),
        Operator("NumericGreaterThan", _numbers(lambda one, other: one > other)),
        Operator("NumericGreaterThanEquals", _numbers(lambda one, other: one >= other)),
        *_both("DateEquals", "DateNotEquals", _dates(lambda one, other: one == other)),
        Operator("DateLessThan", _dates(lambda one, other: one < other)),
        Operator("DateLessThanEquals", _dates(lambda one, other: one <= other)),
        Operator("DateGreaterThan", _dates(lambda one, other: one > other)),
        Operator("DateGreaterThanEquals", _dates(lambda one, other: one >= other)),
        Operator("Bool", _equals_ignoring_case),
        Operator("BinaryEquals", _equals),
        *_both("IpAddress", "NotIpAddress", _in_network),
        *_both("ArnEquals", "ArnNotEquals", arn=True),
        *_both("ArnLike", "ArnNotLike", arn=True),
        Operator("Null"),
    )
}


def parse_operator(written: str) -> tuple[Operator, Quantifier, bool] | None:
    """The operator, quantifier and IfExists of an operator as written, or None if there is no such operator."""
    prefix, colon, name = written.rpartition(":")
    if colon and prefix not in (Quantifier.ALL.value, Quantifier.ANY.value):
        return None
    if_exists = name.endswith("IfExists")
    operator = OPERATORS.get(name.removesuffix("IfExists"))
    if operator is None or (operator.name == "Null" and (if_exists or colon)):
        return None
    return operator, Quantifier(prefix), if_exists
