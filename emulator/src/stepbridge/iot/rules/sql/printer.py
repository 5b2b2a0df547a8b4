"""Tree to text: what is printed parses to the same tree."""

from decimal import Decimal

from stepbridge.iot.rules.sql.lexer import scan
from stepbridge.iot.rules.sql.parser import BINDING
from stepbridge.iot.rules.sql.tree import (
    ArrayLiteral,
    Attribute,
    Binary,
    Call,
    Case,
    Cast,
    Column,
    Exists,
    Expression,
    Literal,
    Member,
    ObjectLiteral,
    Query,
    Select,
    Star,
    Unary,
    Variable,
)

_ATOM = 100


def print_statement(statement: Select) -> str:
    """The text of a statement, on one line."""
    text = ""
    if statement.assignments:
        text = "SET " + ", ".join(f"@{one.name} = {print_expression(one.expression)}" for one in statement.assignments)
        text += " "
    text += _select(statement.is_value, statement.columns)
    if statement.topic_filter is not None:
        text += f" FROM {_string(statement.topic_filter)}"
    return text if statement.where is None else f"{text} WHERE {print_expression(statement.where)}"


def print_expression(expression: Expression, binding: int = 0) -> str:
    """The text of an expression, in parentheses if an operator of strength `binding` stands beside it."""
    text, own = _print(expression)
    return f"({text})" if own < binding else text


def _print(node: Expression) -> tuple[str, int]:
    match node:
        case Literal(value):
            return _literal(value), _ATOM
        case Star():
            return "*", _ATOM
        case Attribute(name):
            return name, _ATOM
        case Variable(name):
            return f"@{name}", _ATOM
        case Member(target, name):
            return f"{print_expression(target, BINDING['.'])}.{name}", BINDING["."]
        case ArrayLiteral(items):
            return f"[{_items(items)}]", _ATOM
        case ObjectLiteral(members):
            inner = ", ".join(f"{_string(key)}: {print_expression(value)}" for key, value in members)
            return f"{{{inner}}}", _ATOM
        case Unary("-", operand):
            # An operator of the same strength does not follow a sign, so `- -x` needs no parentheses but a space.
            return f"- {print_expression(operand, BINDING['SIGN'])}", BINDING["SIGN"]
        case Unary(operator, operand):
            return f"{operator} {print_expression(operand, BINDING['NOT'])}", BINDING["NOT"]
        case Binary(operator, left, right):
            own = BINDING[operator]
            return f"{print_expression(left, own)} {operator} {print_expression(right, own + 1)}", own
        case Call(name, arguments):
            return f"{name}({_items(arguments)})", _ATOM
        case Cast(value, target):
            return f"cast({print_expression(value)} AS {target})", _ATOM
        case Case(subject, branches, otherwise):
            whens = " ".join(
                f"WHEN {print_expression(value)} THEN {print_expression(result)}" for value, result in branches
            )
            ending = "" if otherwise is None else f" ELSE {print_expression(otherwise)}"
            return f"CASE {print_expression(subject)} {whens}{ending} END", _ATOM
        case Query():
            return f"({_query(node)})", _ATOM
        case Exists(query):
            return f"EXISTS({_query(query)})", _ATOM


def _query(query: Query) -> str:
    alias = "" if query.alias is None else f" AS {query.alias}"
    where = "" if query.where is None else f" WHERE {print_expression(query.where)}"
    source = print_expression(query.source, BINDING["."])
    return f"{_select(query.is_value, query.columns)} FROM {source}{alias}{where}"


def _select(is_value: bool, columns: tuple[Column, ...]) -> str:
    return ("SELECT VALUE " if is_value else "SELECT ") + ", ".join(_column(column) for column in columns)


def _column(column: Column) -> str:
    text = print_expression(column.expression)
    if scan(text, 0).keyword == "VALUE":
        text = f"({text})"  # an attribute of that name, not the keyword
    return f"{text} AS {'.'.join(column.alias)}" if column.alias else text


def _items(items: tuple[Expression, ...]) -> str:
    return ", ".join(print_expression(item) for item in items)


def _literal(value: bool | int | Decimal | str | None) -> str:
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    return str(value)


def _string(value: str) -> str:
    quote = '"' if "'" in value and '"' not in value else "'"
    return quote + value.replace(quote, quote * 2) + quote
