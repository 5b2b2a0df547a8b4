"""The parsed form of statements: frozen dataclasses, equal when the statements mean the same.

`position` is where a node stands in the text, for errors found after parsing; it takes no part in equality.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, boolean or Null."""

    value: bool | int | Decimal | str | None


@dataclass(frozen=True, slots=True)
class Star:
    """`*`: the whole payload, or in a nested query the whole element."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the payload (or of the element of a nested query) by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`@name`, defined by the SET clause."""

    name: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Member:
    """`target.name`."""

    target: "Expression"
    name: str


@dataclass(frozen=True, slots=True)
class ArrayLiteral:
    """`[a, b]`."""

    items: tuple["Expression", ...]
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ObjectLiteral:
    """`{'key': value}`."""

    members: tuple[tuple[str, "Expression"], ...]
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """`NOT operand` or `-operand`."""

    operator: str
    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`; the operator in upper case."""

    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; the name in lower case."""

    name: str
    arguments: tuple["Expression", ...]
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Cast:
    """`cast(value as target)`; the target in lower case."""

    value: "Expression"
    target: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Case:
    """`CASE subject WHEN value THEN result … [ELSE otherwise] END`."""

    subject: "Expression"
    branches: tuple[tuple["Expression", "Expression"], ...]
    otherwise: "Expression | None"


@dataclass(frozen=True, slots=True)
class Column:
    """An item of a SELECT list; `alias` is the path after AS, empty if there is none."""

    expression: "Expression"
    alias: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """A nested query: `SELECT columns FROM source [AS alias] [WHERE condition]`, once per element of the source."""

    columns: tuple[Column, ...]
    is_value: bool
    source: "Expression"
    alias: str | None
    where: "Expression | None"
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Exists:
    """`EXISTS(query)`."""

    query: Query


@dataclass(frozen=True, slots=True)
class Assignment:
    """`@name = expression` in the SET clause."""

    name: str
    expression: "Expression"


@dataclass(frozen=True, slots=True)
class Select:
    """A whole statement; `topic_filter` is None where FROM is left out (rules for Basic Ingest only)."""

    assignments: tuple[Assignment, ...]
    columns: tuple[Column, ...]
    is_value: bool
    topic_filter: str | None
    where: "Expression | None"
    topic_filter_position: int = field(default=0, compare=False)


Expression = (
    Literal
    | Star
    | Attribute
    | Variable
    | Member
    | ArrayLiteral
    | ObjectLiteral
    | Unary
    | Binary
    | Call
    | Cast
    | Case
    | Query
    | Exists
)


def walk(node: object) -> Iterator[object]:
    """A node and all nodes below it."""
    if isinstance(node, tuple):
        for item in node:
            yield from walk(item)
    elif is_dataclass(node):
        yield node
        for member in fields(node):
            yield from walk(getattr(node, member.name))
