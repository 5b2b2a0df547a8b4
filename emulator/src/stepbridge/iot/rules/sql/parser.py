"""Tokens to tree: a Pratt parser.

AWS publishes no table of precedence; this is SQL's, from weakest to strongest: OR, AND, NOT, comparisons and IN,
`+ -`, `* / %`, sign, `.`.
"""

from decimal import Decimal

from stepbridge.iot.rules.sql.errors import SqlError
from stepbridge.iot.rules.sql.lexer import END, NAME, NUMBER, STRING, SYMBOL, VARIABLE, Token, scan
from stepbridge.iot.rules.sql.tree import (
    ArrayLiteral,
    Assignment,
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

BINDING = {"OR": 10, "AND": 20, "NOT": 30} | dict.fromkeys(("=", "<>", "<", "<=", ">", ">=", "IN"), 40)
BINDING |= dict.fromkeys("+-", 50) | dict.fromkeys("*/%", 60) | {"SIGN": 70, ".": 80}

_CONSTANTS: dict[str, Literal] = {"NULL": Literal(None), "TRUE": Literal(True), "FALSE": Literal(False)}
RESERVED = {*"SELECT FROM WHERE AS AND OR NOT IN EXISTS CASE WHEN THEN ELSE END".split(), *_CONSTANTS}  # noqa: SIM905

# Far more than anything written by hand, and well within the interpreter's recursion limit: an expression in another
# costs four calls to parse, an operator after another one to evaluate and two to print.
MAX_DEPTH = 320
_NESTED, _CHAINED = 4, 1
# developerguide/iot-sql-set.html: limits of the SET clause.
MAX_VARIABLES = 10
MAX_VARIABLE_NAME = 64


def parse_statement(text: str) -> Select:
    """The tree of a whole statement.  Raises SqlError."""
    return _Parser(text, 0).statement()


def parse_template_expression(text: str, position: int) -> tuple[Expression, int]:
    """The expression that begins at `position` of a template, and the position after the `}` that closes it."""
    parser = _Parser(text, position)
    expression = parser.expression()
    closing = parser.token
    if closing.kind == SYMBOL and closing.text == "}":
        return expression, closing.end
    raise parser.unexpected("an operator or the '}' that closes the substitution template")


class _Parser:
    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self._depth = 0
        self.token = scan(text, position)

    # Tokens

    def unexpected(self, expected: str) -> SqlError:
        return SqlError(f"expected {expected} but found {self.token}", self._text, self.token.start)

    def _advance(self) -> Token:
        token = self.token
        self.token = scan(self._text, token.end)
        return token

    def _is(self, symbol: str) -> bool:
        return self.token.kind == SYMBOL and self.token.text == symbol

    def _accept(self, symbol: str) -> bool:
        found = self._is(symbol)
        if found:
            self._advance()
        return found

    def _accept_keyword(self, keyword: str) -> bool:
        found = self.token.keyword == keyword
        if found:
            self._advance()
        return found

    def _expect(self, symbol: str, context: str) -> None:
        if not self._accept(symbol):
            raise self.unexpected(f"'{symbol}' {context}")

    # Statements

    def statement(self) -> Select:
        assignments = self._assignments() if self._accept_keyword("SET") else ()
        if not self._accept_keyword("SELECT"):
            raise self.unexpected("SELECT" if assignments else "SELECT or SET")
        is_value, columns = self._select_list()
        topic_filter, position = None, 0
        if self._accept_keyword("FROM"):
            if self.token.kind != STRING:
                raise self.unexpected("the topic filter, in single quotes,")
            position = self.token.start
            topic_filter = self._advance().text
        where = self.expression() if self._accept_keyword("WHERE") else None
        if self.token.kind != END:
            expected = "an operator or the end of the statement" if where else "FROM, WHERE or the end of the statement"
            raise self.unexpected(expected if topic_filter is None else expected.replace("FROM, ", ""))
        return Select(assignments, columns, is_value, topic_filter, where, position)

    def _assignments(self) -> tuple[Assignment, ...]:
        found: dict[str, Assignment] = {}
        while True:
            if self.token.kind != VARIABLE:
                raise self.unexpected("a variable (@name)")
            token = self._advance()
            name = token.text[1:]
            if name in found:
                raise SqlError(f"the variable @{name} is set twice", self._text, token.start)
            if len(name) > MAX_VARIABLE_NAME:
                raise SqlError(f"a variable name has at most {MAX_VARIABLE_NAME} characters", self._text, token.start)
            if len(found) == MAX_VARIABLES:
                raise SqlError(f"a statement sets at most {MAX_VARIABLES} variables", self._text, token.start)
            self._expect("=", f"after @{name}")
            found[name] = Assignment(name, self.expression())
            if not self._accept(","):
                return tuple(found.values())

    def _select_list(self) -> tuple[bool, tuple[Column, ...]]:
        if self.token.keyword == "VALUE" and self._begins_expression(scan(self._text, self.token.end)):
            self._advance()
            return True, (Column(self.expression()),)
        columns = [self._column()]
        while self._accept(","):
            columns.append(self._column())
        return False, tuple(columns)

    @staticmethod
    def _begins_expression(token: Token) -> bool:
        """Whether `value` before this token is the keyword, and not an attribute of that name."""
        if token.kind == SYMBOL:
            return token.text in "*([{-"
        if token.kind == NAME:
            return token.keyword not in RESERVED or token.keyword in ("NOT", "CASE", "EXISTS", *_CONSTANTS)
        return token.kind != END

    def _column(self) -> Column:
        expression = self.expression()
        if not self._accept_keyword("AS"):
            return Column(expression)
        if self.token.keyword == "FROM" and scan(self._text, self.token.end).kind == STRING:
            raise self.unexpected("a name after AS")
        path = [self._name("a name after AS")]
        while self._accept("."):
            path.append(self._name("a name after '.'"))
        return Column(expression, tuple(path))

    def _name(self, expected: str) -> str:
        if self.token.kind != NAME:
            raise self.unexpected(expected)
        return self._advance().text

    def _query(self) -> Query:
        position = self.token.start
        self._advance()
        is_value, columns = self._select_list()
        if not self._accept_keyword("FROM"):
            raise self.unexpected("FROM: a nested query says what it selects from")
        source = self.expression(BINDING["SIGN"])
        alias = None
        if self._accept_keyword("AS"):
            alias = self._name("a name after AS")
        where = self.expression() if self._accept_keyword("WHERE") else None
        return Query(columns, is_value, source, alias, where, position)

    # Expressions

    def expression(self, binding: int = 0) -> Expression:
        """The expression that begins here, as far as its operators bind more strongly than `binding`."""
        entered = self._depth
        self._deepen(_NESTED)
        left = self._operand()
        while True:
            operator = self.token.keyword or (self.token.text if self.token.kind == SYMBOL else "")
            strength = BINDING.get(operator, 0)
            if operator == "NOT" or strength <= binding:
                self._depth = entered
                return left
            self._deepen(_CHAINED)
            self._advance()
            if operator == ".":
                left = Member(left, self._name("an attribute name after '.' (others are reached with get())"))
            else:
                left = Binary(operator, left, self.expression(strength))

    def _deepen(self, by: int) -> None:
        self._depth += by
        if self._depth > MAX_DEPTH:
            raise SqlError("the expression is nested too deeply, or too long", self._text, self.token.start)

    def _operand(self) -> Expression:
        token = self.token
        if token.kind == NUMBER:
            self._advance()
            return Literal(self._number(token))
        if token.kind == STRING:
            return Literal(self._advance().text)
        if token.kind == VARIABLE:
            self._advance()
            return Variable(token.text[1:], token.start)
        if token.kind == NAME:
            return self._named()
        if self._accept("*"):
            return Star()
        if self._accept("-"):
            return Unary("-", self.expression(BINDING["SIGN"]))
        if self._accept("("):
            inner = self._query() if self.token.keyword == "SELECT" else self.expression()
            self._expect(")", "to close the parenthesis")
            return inner
        if self._accept("["):
            return ArrayLiteral(self._list("]", "an array"), token.start)
        if self._accept("{"):
            return self._object(token.start)
        raise self.unexpected("an expression")

    def _number(self, token: Token) -> int | Decimal:
        if token.text.isdecimal() and len(token.text) <= 34:
            return int(token.text)
        exponent = token.text.upper().partition("E")[2]
        # developerguide/iot-sql-data-types.html: a Decimal lies between 1E-999 and 9.99…E999.
        if abs(int(exponent[:6] or 0)) > 999 or len(token.text) > 1000:
            raise SqlError(f"the number {token.text[:40]} is out of range", self._text, token.start)
        return Decimal(token.text)

    def _named(self) -> Expression:
        token = self.token
        keyword = token.keyword
        if keyword in _CONSTANTS:
            self._advance()
            return _CONSTANTS[keyword]
        if keyword == "NOT":
            self._advance()
            return Unary("NOT", self.expression(BINDING["NOT"]))
        if keyword == "CASE":
            return self._case()
        if keyword == "EXISTS":
            return self._exists()
        if keyword in RESERVED:
            raise self.unexpected("an expression")
        self._advance()
        if not self._accept("("):
            return Attribute(token.text)
        if keyword == "CAST":
            return self._cast(token.start)
        return Call(token.text.lower(), self._list(")", f"the call of {token.text}"), token.start)

    def _list(self, closing: str, what: str) -> tuple[Expression, ...]:
        items: list[Expression] = []
        if self._accept(closing):
            return ()
        while True:
            items.append(self._query() if self.token.keyword == "SELECT" else self.expression())
            if self._accept(closing):
                return tuple(items)
            self._expect(",", f"or '{closing}' in {what}")

    def _object(self, position: int) -> ObjectLiteral:
        members: list[tuple[str, Expression]] = []
        if self._accept("}"):
            return ObjectLiteral((), position)
        while True:
            if self.token.kind != STRING:
                raise self.unexpected("a key, in quotes,")
            key = self._advance().text
            self._expect(":", "after the key")
            members.append((key, self._query() if self.token.keyword == "SELECT" else self.expression()))
            if self._accept("}"):
                return ObjectLiteral(tuple(members), position)
            self._expect(",", "or '}' in an object")

    def _cast(self, position: int) -> Cast:
        value = self._query() if self.token.keyword == "SELECT" else self.expression()
        if not self._accept_keyword("AS"):
            raise self.unexpected("AS and a type in cast(value as type)")
        target = self._name("a type (String, Int, Decimal, Boolean, …)").lower()
        self._expect(")", "to close cast")
        return Cast(value, target, position)

    def _case(self) -> Case:
        self._advance()
        if self.token.keyword == "WHEN":
            raise self.unexpected("the value to compare (CASE value WHEN … THEN … END)")
        subject = self.expression()
        branches: list[tuple[Expression, Expression]] = []
        while self._accept_keyword("WHEN"):
            value = self.expression()
            if not self._accept_keyword("THEN"):
                raise self.unexpected("THEN")
            branches.append((value, self.expression()))
        if not branches:
            raise self.unexpected("WHEN")
        otherwise = self.expression() if self._accept_keyword("ELSE") else None
        if not self._accept_keyword("END"):
            raise self.unexpected("END" if otherwise else "WHEN, ELSE or END")
        return Case(subject, tuple(branches), otherwise)

    def _exists(self) -> Exists:
        self._advance()
        self._expect("(", "and a query after EXISTS")
        if self.token.keyword != "SELECT":
            raise self.unexpected("SELECT in EXISTS( … )")
        query = self._query()
        self._expect(")", "to close EXISTS")
        return Exists(query)
