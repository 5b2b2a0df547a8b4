"""Tree to closures: done once per rule, so that a message costs no more than the calls."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from stepbridge.iot.rules.sql import operators
from stepbridge.iot.rules.sql.errors import SqlError
from stepbridge.iot.rules.sql.evaluation import Compiled, Failed, Frame, Stop
from stepbridge.iot.rules.sql.functions import CATALOGUE, REFUSED
from stepbridge.iot.rules.sql.functions.casts import CASTS, CASTS_2015
from stepbridge.iot.rules.sql.functions.collections import encode_bytes
from stepbridge.iot.rules.sql.functions.outside import MOST_CALLS, NO_VARIABLES
from stepbridge.iot.rules.sql.functions.regular_expressions import unsupported_pattern
from stepbridge.iot.rules.sql.functions.time_to_epoch import unsupported_time_pattern
from stepbridge.iot.rules.sql.printer import print_expression
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
    Star,
    Unary,
    Variable,
    walk,
)
from stepbridge.iot.rules.sql.values import (
    UNDEFINED,
    VERSION_2015,
    VERSION_2016,
    Value,
    equal,
    normalise_for,
)

# What checks the second argument of these functions.
_PATTERNS: dict[str, Callable[[str], str | None]] = {
    **dict.fromkeys(("regexp_matches", "regexp_replace", "regexp_substr"), unsupported_pattern),
    "time_to_epoch": unsupported_time_pattern,
}


@dataclass(frozen=True, slots=True)
class Names:
    """What names mean where an expression stands: the variables set, and the alias of the element of a nested query."""

    variables: frozenset[str] = frozenset()
    alias: str | None = None
    is_nested: bool = False


class Compiler:
    """Compiles the expressions of one text in one SQL version.

    The text is for the places in errors.  Every method that compiles raises SqlError for what does not exist or does
    not exist yet in the version.
    """

    def __init__(self, text: str, version: str) -> None:
        self._text = text
        self._version = version
        self._normalise = normalise_for(version)
        self._calls: Counter[str] = Counter()
        # What a statement calls more often than it may: accepted when the rule is created, but "causes the rule to
        # terminate without invoking any actions" (iot-sql-functions.html#iot-sql-function-get-dynamodb).
        self.called_too_often: str | None = None

    def expression(self, node: Expression, names: Names) -> Compiled:
        """A closure that gives the value of `node`."""
        match node:
            case Literal(value):
                return self._literal(value)
            case Star():
                return _current
            case Attribute(name):
                return _current if name == names.alias else _attribute(name)
            case Variable(name, position):
                if name not in names.variables:
                    raise self._error(f"the variable @{name} is not set before it is used", position)
                return lambda frame: frame.evaluation.variable(name)
            case Member(target, name):
                return _member(self.expression(target, names), name)
            case ArrayLiteral(items, position):
                self._require_2016("an array literal", position)
                return _array([self.expression(item, names) for item in items])
            case ObjectLiteral(members, position):
                self._require_2016("an object literal", position)
                return _object([(key, self.expression(value, names)) for key, value in members])
            case Unary("-", Literal(value)) if isinstance(value, int) and not isinstance(value, bool):
                return self._literal(-value)
            case Unary("-", operand):
                return operators.negate(self.expression(operand, names), self._normalise)
            case Unary(_, operand):
                return operators.logical_not(self.expression(operand, names))
            case Binary(symbol, left, right):
                return operators.binary(
                    symbol, self.expression(left, names), self.expression(right, names), self._normalise
                )
            case Call():
                return self._call(node, names)
            case Cast():
                return self._cast(node, names)
            case Case(subject, branches, otherwise):
                return _case(
                    self.expression(subject, names),
                    [(self.expression(value, names), self.expression(result, names)) for value, result in branches],
                    None if otherwise is None else self.expression(otherwise, names),
                )
            case Query():
                return self._query(node, names)
            case Exists(query):
                return _exists(self._query(query, names))

    def select_list(self, columns: tuple[Column, ...], is_value: bool, names: Names) -> Compiled:
        """A closure that gives what a SELECT list makes of the frame's value."""
        if is_value or (len(columns) == 1 and columns[0] == Column(Star())):
            return self.expression(columns[0].expression, names)
        return _columns([self._column(column, names) for column in columns])

    def _column(self, column: Column, names: Names) -> "_Put":
        if column == Column(Star()):
            return _put_all
        path = column.alias or (_default_name(column.expression),)
        return _put(path, self.expression(column.expression, names))

    def _error(self, problem: str, position: int) -> SqlError:
        return SqlError(problem, self._text, position)

    def _require_2016(self, what: str, position: int) -> None:
        if self._version == VERSION_2015:
            raise self._error(f"{what} needs awsIotSqlVersion {VERSION_2016} or later", position)

    def _literal(self, value: Value) -> Compiled:
        constant = value if value is None or isinstance(value, bool | int | str) else self._normalise(value)  # type: ignore[arg-type]
        return lambda frame: constant

    def _call(self, node: Call, names: Names) -> Compiled:
        if node.name in REFUSED:
            raise self._error(f"the function {node.name} is not supported: {REFUSED[node.name]}", node.position)
        function = CATALOGUE.get(node.name)
        if function is None:
            raise self._error(f"there is no function {node.name}", node.position)
        if function.since == VERSION_2016:
            self._require_2016(f"the function {node.name}", node.position)
        self._require_supported(node)
        self._refuse_variables(node)
        self._count(node)
        arguments = [self.expression(argument, names) for argument in node.arguments]
        count = len(arguments)
        if count < function.least or (function.most is not None and count > function.most):
            return lambda frame: UNDEFINED
        if node.name == "encode" and node.arguments[0] == Star() and not names.is_nested:
            return _encode_payload(arguments[1])
        if node.name == "decode" and node.arguments[0] == Star() and not names.is_nested:
            arguments[0] = _encoded_for_proto(arguments[1])
        if node.name == "get_or_default":
            arguments[0] = _undefined_on_failure(arguments[0])
        return _apply(function.compute, arguments)

    def _count(self, node: Call) -> None:
        """Only decoding protobuf counts as calling decode: the rest needs nothing from outside."""
        most = MOST_CALLS.get(node.name)
        if most is None or (node.name == "decode" and Literal("proto") not in node.arguments[1:2]):
            return
        self._calls[node.name] += 1
        if self._calls[node.name] > most:
            times = "once" if most == 1 else f"{most} times"
            self.called_too_often = f"{node.name} may be called only {times} in a statement"

    def _refuse_variables(self, node: Call) -> None:
        for index in NO_VARIABLES.get(node.name, ()):
            for inner in walk(node.arguments[index:][:1]):
                if isinstance(inner, Variable):
                    problem = f"{node.name} takes no variable for its {'role' if index == -1 else 'mode'}"
                    raise self._error(problem, inner.position)

    def _require_supported(self, node: Call) -> None:
        """A pattern that is not one makes the call Undefined; one that stepbridge cannot follow must not."""
        check = _PATTERNS.get(node.name)
        match node.arguments:
            case (_, Literal(str(pattern)), *_) if check is not None:
                problem = check(pattern)
                if problem is not None:
                    raise self._error(problem, node.position)

    def _cast(self, node: Cast, names: Names) -> Compiled:
        convert = CASTS.get(node.target)
        if convert is None:
            known = ", ".join(name.capitalize() for name in CASTS)
            raise self._error(f"there is no type {node.target} to cast to (there are {known})", node.position)
        if node.target not in CASTS_2015:
            self._require_2016(f"a cast to {node.target}", node.position)
        value = self.expression(node.value, names)
        normalise = self._normalise
        return lambda frame: convert(value(frame), normalise)

    def _query(self, node: Query, names: Names) -> Compiled:
        self._require_2016("a nested query", node.position)
        inner = Names(names.variables, node.alias, is_nested=True)
        select = self.select_list(node.columns, node.is_value, inner)
        where = None if node.where is None else self.expression(node.where, inner)
        return _nested(self.expression(node.source, names), where, select)


def _default_name(expression: Expression) -> str:
    """The name of a column without AS: the last of a path, the function's name."""
    match expression:
        case Attribute(name) | Variable(name) | Call(name) | Member(_, name):
            return name
        case Cast():
            return "cast"
    return print_expression(expression)


def _current(frame: Frame) -> Value:
    return frame.value


def _attribute(name: str) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        value = frame.value
        return value.get(name, UNDEFINED) if type(value) is dict else UNDEFINED

    return evaluate


def _member(target: Compiled, name: str) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        value = target(frame)
        return value.get(name, UNDEFINED) if type(value) is dict else UNDEFINED

    return evaluate


def _array(items: list[Compiled]) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        return [value for item in items if (value := item(frame)) is not UNDEFINED]

    return evaluate


def _object(members: list[tuple[str, Compiled]]) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        return {key: value for key, item in members if (value := item(frame)) is not UNDEFINED}

    return evaluate


def _apply(compute: Callable[..., Value], arguments: list[Compiled]) -> Compiled:
    if not arguments:
        return compute
    if len(arguments) == 1:
        only = arguments[0]
        return lambda frame: compute(frame, only(frame))
    return lambda frame: compute(frame, *[argument(frame) for argument in arguments])


def _encode_payload(scheme: Compiled) -> Compiled:
    return lambda frame: encode_bytes(frame.evaluation.input.payload, scheme(frame))


def _encoded_for_proto(scheme: Compiled) -> Compiled:
    # decode(*, 'proto', …) takes the payload as it came, other schemes a string.
    def evaluate(frame: Frame) -> Value:
        if scheme(frame) == "proto":
            return encode_bytes(frame.evaluation.input.payload, "base64")
        return frame.value

    return evaluate


def _undefined_on_failure(value: Compiled) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        try:
            return value(frame)
        except Stop as stop:
            if isinstance(stop.outcome, Failed):
                return UNDEFINED
            raise

    return evaluate


def _case(subject: Compiled, branches: list[tuple[Compiled, Compiled]], otherwise: Compiled | None) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        value = subject(frame)
        if value is UNDEFINED:
            return UNDEFINED
        for candidate, result in branches:
            if (one := candidate(frame)) is not UNDEFINED and equal(value, one):
                return result(frame)
        return UNDEFINED if otherwise is None else otherwise(frame)

    return evaluate


def _nested(source: Compiled, where: Compiled | None, select: Compiled) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        elements = source(frame)
        if type(elements) is dict:
            elements = [elements]
        if type(elements) is not list:
            return UNDEFINED
        results: list[Value] = []
        inner = Frame(frame.evaluation, UNDEFINED)
        for element in elements:
            inner.value = element
            if where is not None and where(inner) is not True:
                continue
            value = select(inner)
            if value is not UNDEFINED:
                results.append(value)
        return results

    return evaluate


def _exists(query: Compiled) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        found = query(frame)
        return UNDEFINED if found is UNDEFINED else bool(found)

    return evaluate


# SELECT lists: each column puts its part into the object that is growing.

_Put = Callable[[Frame, dict[str, Value]], None]


def _columns(puts: list[_Put]) -> Compiled:
    def evaluate(frame: Frame) -> Value:
        result: dict[str, Value] = {}
        for put in puts:
            put(frame, result)
        return result

    return evaluate


def _put_all(frame: Frame, result: dict[str, Value]) -> None:
    value = frame.value
    if type(value) is dict:
        result.update(value)
    elif value is not UNDEFINED or frame.evaluation.input.payload:
        # developerguide/binary-payloads.html: columns can be added to an empty payload or a JSON payload.
        raise Stop(Failed("SELECT * with further columns needs a payload that is a JSON object or empty"))


def _put(path: tuple[str, ...], expression: Compiled) -> _Put:
    if len(path) == 1:
        name = path[0]

        def put(frame: Frame, result: dict[str, Value]) -> None:
            value = expression(frame)
            if value is not UNDEFINED:
                result[name] = value

        return put

    *parents, last = path

    def put_nested(frame: Frame, result: dict[str, Value]) -> None:
        value = expression(frame)
        if value is UNDEFINED:
            return
        place = result
        for parent in parents:
            # A copy: what stands there may be part of the payload.
            there = place.get(parent)
            place[parent] = child = dict(there) if type(there) is dict else {}
            place = child
        place[last] = value

    return put_nested
