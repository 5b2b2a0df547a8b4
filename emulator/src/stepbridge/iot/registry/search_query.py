"""The query language of fleet indexing: terms, phrases, fields, prefixes, ranges, AND, OR, NOT and groups.

Pure: a query compiles to a function that says whether a document fits.

https://docs.aws.amazon.com/iot/latest/developerguide/query-syntax.html
"""

import re
from collections.abc import Callable, Mapping, Sequence

# A document: the values of each field, in the spelling of the registry
Document = Mapping[str, Sequence[str]]
Matcher = Callable[[Document], bool]

_TOKEN = re.compile(
    r'\s*(?:(?P<phrase>"(?:[^"\\]|\\.)*")|(?P<sign>>=|<=|[():\[\]{}<>])|(?P<word>(?:\\.|[^\s():\[\]{}<>"])+))'
)
_MOST_TERMS = 12


class QueryError(ValueError):
    """A query that cannot be read; the text says why."""


def compile_query(query: str) -> Matcher:
    """Compile a query.  Raises QueryError."""
    try:
        return _Parser(query).parse()
    except RecursionError:
        raise QueryError("it is nested too deeply") from None


class _Parser:
    def __init__(self, query: str) -> None:
        self._tokens = _tokens(query)
        self._position = 0
        self._terms = 0

    def parse(self) -> Matcher:
        matcher = self._any_of(None)
        if self._position < len(self._tokens):
            raise QueryError(f"unexpected {self._peek()}")
        return matcher

    def _any_of(self, field: str | None) -> Matcher:
        choices = [self._all_of(field)]
        while self._peek() == "OR":
            self._next()
            choices.append(self._all_of(field))
        return choices[0] if len(choices) == 1 else lambda document: any(choice(document) for choice in choices)

    def _all_of(self, field: str | None) -> Matcher:
        parts = [self._one(field)]
        while self._peek() not in (None, "OR", ")"):
            if self._peek() == "AND":
                self._next()
            parts.append(self._one(field))
        return parts[0] if len(parts) == 1 else lambda document: all(part(document) for part in parts)

    def _one(self, field: str | None) -> Matcher:
        word = self._next()
        if word == "NOT":
            inner = self._one(field)
            return lambda document: not inner(document)
        if len(word) > 1 and word[0] == "-":
            self._position -= 1
            self._tokens[self._position] = word[1:]
            inner = self._one(field)
            return lambda document: not inner(document)
        if word == "(":
            inner = self._any_of(field)
            self._expect(")")
            return inner
        if self._peek() == ":":
            self._next()
            return self._field(word)
        if self._peek() in ("<", ">", "<=", ">="):
            return self._compare(word, self._next(), self._next())
        return self._term(field, word)

    def _field(self, field: str) -> Matcher:
        word = self._next()
        if word == "(":
            inner = self._any_of(field)
            self._expect(")")
            return inner
        if word in ("<", ">", "<=", ">="):
            return self._compare(field, word, self._next())
        if word in ("[", "{"):
            low = self._next()
            self._expect("TO")
            high = self._next()
            end = self._next()
            if end not in ("]", "}"):
                raise QueryError(f"a range ends with ] or }}, not {end}")
            above = self._compare(field, ">=" if word == "[" else ">", low) if low != "*" else None
            below = self._compare(field, "<=" if end == "]" else "<", high) if high != "*" else None
            return lambda document: (above is None or above(document)) and (below is None or below(document))
        return self._term(field, word)

    def _term(self, field: str | None, word: str) -> Matcher:
        self._count()
        if word in (":", "[", "]", "{", "}", "(", ")", "AND", "OR", "TO"):
            raise QueryError(f"unexpected {word}")
        if word == "*":
            return (lambda document: True) if field is None else lambda document: bool(document.get(field))
        if word.startswith('"'):
            phrase = re.sub(r"\\(.)", r"\1", word[1:-1]).casefold()
            return _over_values(field, lambda value: phrase in value)
        if word[0] in "*?":
            raise QueryError(f"{word} begins with a wildcard")
        expression = re.compile(_expression(word.casefold()), re.DOTALL)
        return _over_values(
            field, lambda value: any(expression.fullmatch(part) is not None for part in (value, *value.split()))
        )

    def _compare(self, field: str, sign: str, bound: str) -> Matcher:
        self._count()
        return _over_values(field, lambda value: _holds(value, sign, bound.strip('"').casefold()))

    def _count(self) -> None:
        self._terms += 1
        if self._terms > _MOST_TERMS:
            raise QueryError(f"there are more than {_MOST_TERMS} terms")

    def _peek(self) -> str | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _next(self) -> str:
        word = self._peek()
        if word is None:
            raise QueryError("the query ends too early")
        self._position += 1
        return word

    def _expect(self, wanted: str) -> None:
        word = self._next()
        if word != wanted:
            raise QueryError(f"expected {wanted}, not {word}")


def _tokens(query: str) -> list[str]:
    tokens: list[str] = []
    position, text = 0, query.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise QueryError(f"cannot read {text[position:]}")
        tokens.append(found["phrase"] or found["sign"] or found["word"])
        position = found.end()
    if not tokens:
        raise QueryError("the query is empty")
    return tokens


def _expression(term: str) -> str:
    """A term as a regular expression: `*` and `?` are wildcards, a backslash makes the next character ordinary."""
    pieces: list[str] = []
    for escaped, plain in re.findall(r"\\(.)|(.)", term, re.DOTALL):
        pieces.append(re.escape(escaped) if escaped else {"*": ".*", "?": "."}.get(plain, re.escape(plain)))
    return "".join(pieces)


def _over_values(field: str | None, test: Callable[[str], bool]) -> Matcher:
    def matches(document: Document) -> bool:
        fields = document.values() if field is None else [document.get(field, ())]
        return any(test(value.casefold()) for values in fields for value in values)

    return matches


def _holds(value: str, sign: str, bound: str) -> bool:
    """Compare as numbers where both are, else as text."""
    order: int
    try:
        difference = float(value) - float(bound)
        order = (difference > 0) - (difference < 0)
    except ValueError:
        order = (value > bound) - (value < bound)
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[sign]
