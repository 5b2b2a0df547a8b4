"""The filters of JSONPath: `?(@.price < 10 && @.category == 'fiction')`, as Jayway evaluates them."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stepbridge.stepfunctions.language.values import Json, is_number

if TYPE_CHECKING:
    from stepbridge.stepfunctions.language.jsonpath import Path

Condition = Callable[[Json, Json], bool]  # (candidate, document) → does it match
Operand = Callable[[Json, Json], Any]


class FilterError(ValueError):
    """The text is not a filter."""


class _Missing:
    """The value of a path that leads nowhere."""


MISSING = _Missing()

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<operator>&&|\|\||==|!=|<=|>=|=~|<|>|!|\(|\)) |
      (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*") |
      (?P<regex>/(?:[^/\\]|\\.)+/[a-z]*) |
      (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?) |
      (?P<array>\[[^\[\]]*\]) |
      (?P<path>[@$](?:\.\.?[\w\-*]+(?:\(\s*\))?|\[(?:'[^']*'|"[^"]*"|[^\]'"]*)\])*) |
      (?P<word>[A-Za-z]+)
    )""",
    re.VERBOSE,
)


def _equal(left: Any, right: Any) -> bool:
    if left is MISSING or right is MISSING:
        return False
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(left: Any, right: Any) -> bool:
        comparable = (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str))
        return comparable and compare(left, right)

    return test


def _contained(left: Any, right: Any) -> bool:
    return isinstance(right, list) and any(_equal(left, item) for item in right)


def _subset(left: Any, right: Any) -> bool:
    return isinstance(left, list) and isinstance(right, list) and all(_contained(item, right) for item in left)


def _any_of(left: Any, right: Any) -> bool:
    return isinstance(left, list) and isinstance(right, list) and any(_contained(item, right) for item in left)


def _contains(left: Any, right: Any) -> bool:
    return (isinstance(left, str) and isinstance(right, str) and right in left) or _contained(right, left)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
    "=~": lambda left, right: isinstance(left, str) and isinstance(right, re.Pattern) and bool(right.fullmatch(left)),
    "in": _contained,
    "nin": lambda left, right: left is not MISSING and not _contained(left, right),
    "subsetof": _subset,
    "anyof": _any_of,
    "noneof": lambda left, right: not _any_of(left, right),
    "contains": _contains,
    "size": lambda left, right: isinstance(left, str | list) and len(left) == right,
    "empty": lambda left, right: isinstance(left, str | list) and (not left) == right,
}


def parse(text: str, parse_path: Callable[[str], "Path"]) -> Condition:
    """Parse what is between `?(` and `)`.  Raises FilterError."""
    tokens: list[tuple[str, str]] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise FilterError(f"unexpected text in the filter: {text[position:]}")
        tokens.append((match.lastgroup, match.group(match.lastgroup)))
        position = match.end()
    parser = _Parser(tokens, parse_path)
    condition = parser.either()
    if parser.tokens:
        raise FilterError(f"unexpected {parser.tokens[0][1]} in the filter")
    return condition


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], parse_path: Callable[[str], "Path"]) -> None:
        self.tokens = tokens
        self.parse_path = parse_path

    def _take(self, *texts: str) -> str | None:
        if self.tokens and self.tokens[0][0] in ("operator", "word") and self.tokens[0][1].lower() in texts:
            return self.tokens.pop(0)[1].lower()
        return None

    def either(self) -> Condition:
        conditions = [self.both()]
        while self._take("||"):
            conditions.append(self.both())
        return lambda candidate, root: any(condition(candidate, root) for condition in conditions)

    def both(self) -> Condition:
        conditions = [self.negation()]
        while self._take("&&"):
            conditions.append(self.negation())
        return lambda candidate, root: all(condition(candidate, root) for condition in conditions)

    def negation(self) -> Condition:
        if self._take("!"):
            negated = self.negation()
            return lambda candidate, root: not negated(candidate, root)
        if self._take("("):
            inner = self.either()
            if not self._take(")"):
                raise FilterError("a ) is missing in the filter")
            return inner
        return self.comparison()

    def comparison(self) -> Condition:
        left = self.operand()
        operator = self._take(*_COMPARISONS)
        if operator is None:
            return lambda candidate, root: left(candidate, root) is not MISSING
        right = self.operand()
        compare = _COMPARISONS[operator]
        return lambda candidate, root: compare(left(candidate, root), right(candidate, root))

    def operand(self) -> Operand:
        if not self.tokens:
            raise FilterError("the filter is incomplete")
        kind, text = self.tokens.pop(0)
        if kind == "path":
            return _path_operand(self.parse_path(text))
        constant = _constant(kind, text)
        return lambda candidate, root: constant


def _constant(kind: str, text: str) -> Any:
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if kind == "number":
        return json.loads(text)
    if kind == "regex":
        pattern, _, flags = text[1:].rpartition("/")
        try:
            return re.compile(pattern, re.IGNORECASE if "i" in flags else 0)
        except re.error as problem:
            raise FilterError(f"{text} is not a regular expression: {problem}") from None
    if kind == "array":
        try:
            return json.loads(re.sub(r"'((?:[^'\\]|\\.)*)'", lambda match: json.dumps(match.group(1)), text))
        except ValueError:
            raise FilterError(f"{text} is not an array") from None
    words = {"true": True, "false": False, "null": None}
    if text.lower() not in words:
        raise FilterError(f"unexpected {text} in the filter")
    return words[text.lower()]


def _path_operand(path: "Path") -> Operand:
    def evaluate(candidate: Json, root: Json) -> Any:
        found = path.follow(candidate if path.root == "@" else root)
        if found.missing is not None or (not path.definite and not found.value):
            return MISSING
        return found.value

    return evaluate
