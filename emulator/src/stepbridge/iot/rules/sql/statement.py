"""A rule's statement, ready to run, and the substitution templates of its actions."""

from dataclasses import dataclass

from stepbridge.iot.mqtt.topics import filter_fault, limit_fault
from stepbridge.iot.rules.sql.compiler import Compiler, Names
from stepbridge.iot.rules.sql.errors import SqlError
from stepbridge.iot.rules.sql.evaluation import Compiled, Evaluation, ExternalCall, Failed, Input, Stop
from stepbridge.iot.rules.sql.parser import parse_statement, parse_template_expression
from stepbridge.iot.rules.sql.printer import print_expression
from stepbridge.iot.rules.sql.tree import Attribute, Binary, Call, Column, Expression, Literal, Member, Star, walk
from stepbridge.iot.rules.sql.values import (
    UNDEFINED,
    VERSION_2015,
    VERSIONS,
    Value,
    json_text,
    to_text,
)


@dataclass(frozen=True, slots=True)
class Output:
    """What the actions get: the value of the SELECT clause and its bytes.

    `value` is UNDEFINED for a payload that is not JSON and passes as it came, and for a SELECT VALUE of Undefined.
    """

    value: Value
    payload: bytes


@dataclass(frozen=True, slots=True)
class NoMatch:
    """The WHERE clause is not true; `reason` says why."""

    reason: str


Outcome = Output | NoMatch | ExternalCall | Failed


class Statement:
    """A statement, compiled."""

    def __init__(self, text: str, version: str = VERSION_2015) -> None:
        """Compile `text`.  Raises SqlError if it is not a statement of the SQL `version`."""
        if version not in VERSIONS:
            raise SqlError(f"awsIotSqlVersion is one of {', '.join(VERSIONS)}, not {version!r}", text, 0)
        self.text = text
        self.version = version
        self.tree = tree = parse_statement(text)
        self.topic_filter = tree.topic_filter
        if self.topic_filter is not None:
            fault = filter_fault(self.topic_filter) or limit_fault(self.topic_filter)
            if fault:
                raise SqlError(f"the topic filter is not valid: {fault}", text, tree.topic_filter_position)
        compiler = Compiler(text, version)
        self._assignments: dict[str, Compiled] = {}
        for assignment in tree.assignments:
            names = Names(frozenset(self._assignments))
            self._assignments[assignment.name] = compiler.expression(assignment.expression, names)
        self.variables = frozenset(self._assignments)
        names = Names(self.variables)
        self._where = None if tree.where is None else compiler.expression(tree.where, names)
        self._select = compiler.select_list(tree.columns, tree.is_value, names)
        self._called_too_often = compiler.called_too_often
        self._is_star = tree.columns == (Column(Star()),)

    def start(self, message: Input) -> Evaluation:
        """Begin to evaluate `message`."""
        return Evaluation(message, self.version, self._assignments)

    def run(self, evaluation: Evaluation) -> Outcome:
        """What comes of the message.  Never raises.

        After an ExternalCall, give the evaluation its answer and run again.
        """
        if self._called_too_often:
            return Failed(self._called_too_often)
        if evaluation.values:
            evaluation.forget_variables()
        frame = evaluation.begin("statement")
        try:
            if self._where is not None and (condition := self._where(frame)) is not True:
                return NoMatch(self._explain(evaluation, condition))
            value = self._select(frame)
        except Stop as stop:
            return stop.outcome
        if value is UNDEFINED and self._is_star:
            return Output(UNDEFINED, evaluation.input.payload)  # not JSON: passes as it came
        return Output(value, json_text(value).encode(errors="replace"))

    def _explain(self, evaluation: Evaluation, condition: Value) -> str:
        where = self.tree.where
        assert where is not None  # noqa: S101 - only called when there is one
        outcome = "Undefined" if condition is UNDEFINED else json_text(condition)
        text = f"WHERE {print_expression(where)} is {outcome}"
        if condition is UNDEFINED:
            missing = sorted({name for name in _attributes(where) if self._is_missing(evaluation, name)})
            if evaluation.root is UNDEFINED:
                text += " (the payload is not JSON)"
            elif missing:
                text += f" (not in the payload: {', '.join(missing)})"
        return text

    def _is_missing(self, evaluation: Evaluation, path: str) -> bool:
        value = evaluation.root
        for name in path.split("."):
            value = value.get(name, UNDEFINED) if isinstance(value, dict) else UNDEFINED
        return value is UNDEFINED


def _attributes(expression: Expression) -> list[str]:
    """The paths of attributes that an expression of operators refers to."""
    match expression:
        case Attribute(name):
            return [name]
        case Member(target, name):
            return [f"{path}.{name}" for path in _attributes(target)]
        case Binary(_, left, right):
            return _attributes(left) + _attributes(right)
    return []


class Template:
    """A text with substitution templates, `${expression}`: developerguide/iot-substitution-templates.html."""

    def __init__(self, text: str, version: str, variables: frozenset[str] = frozenset(), place: str = "") -> None:
        """Compile `text`; `variables` are those the statement sets.  Raises SqlError.

        `place` is where it stands in the rule: chance is another one at each place.
        """
        self.text = text
        self._place = place
        self.expressions: list[Expression] = []
        self._parts: list[str | Compiled] = []
        compiler = Compiler(text, version)
        position = 0
        while (start := text.find("${", position)) >= 0:
            self._parts.append(text[position:start])
            expression, position = parse_template_expression(text, start + 2)
            for node in walk(expression):
                if isinstance(node, Call) and node.name == "decode" and Literal("proto") in node.arguments:
                    raise SqlError("decode of protobuf is not supported in substitution templates", text, node.position)
            self.expressions.append(expression)
            self._parts.append(compiler.expression(expression, Names(variables)))
        self._parts.append(text[position:])
        self.is_constant = len(self._parts) == 1

    def render(self, evaluation: Evaluation) -> str | ExternalCall | Failed:
        """The text with the values in place; Undefined leaves nothing.  Never raises."""
        if self.is_constant:
            return self.text
        frame = evaluation.begin(self._place)
        try:
            return "".join(part if isinstance(part, str) else _substituted(part(frame)) for part in self._parts)
        except Stop as stop:
            return stop.outcome


def _substituted(value: Value) -> str:
    text = to_text(value)
    return text if text is not None else "null" if value is None else ""
