"""Statements to trees and back, and the places of what is wrong."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.iot.rules.sql import (
    VERSION_2015,
    VERSION_2016,
    VERSIONS,
    ExternalCall,
    Failed,
    Input,
    NoMatch,
    Output,
    SqlError,
    Statement,
    Template,
)
from stepbridge.iot.rules.sql.functions import CATALOGUE
from stepbridge.iot.rules.sql.functions.casts import CASTS
from stepbridge.iot.rules.sql.parser import parse_statement
from stepbridge.iot.rules.sql.printer import print_statement
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


@pytest.mark.parametrize(
    ("sql", "line", "column", "problem"),
    [
        ("", 1, 1, "expected SELECT or SET but found the end"),
        ("UPDATE x", 1, 1, "expected SELECT or SET but found 'UPDATE'"),
        ("SELECT FROM 'a'", 1, 8, "expected an expression but found 'FROM'"),
        ("SELECT *, FROM 'a'", 1, 11, "expected an expression but found 'FROM'"),
        ("SELECT * FROM a/b", 1, 15, "expected the topic filter, in single quotes, but found 'a'"),
        ("SELECT * FROM 'a' WHERE", 1, 24, "expected an expression but found the end"),
        ("SELECT * FROM 'a' WHERE x > 1 y", 1, 31, "expected an operator or the end of the statement but found 'y'"),
        ("SELECT *\nFROM 'a'\nWHERE x != 1", 3, 9, "'!' is not an operator; 'not equal' is written <>"),
        ("SELECT 'a FROM 'b", 1, 17, "but found 'b'"),
        ("SELECT 'a FROM", 1, 8, "the string that begins here is not closed"),
        ("SELECT `a` FROM 'b'", 1, 8, "quoted identifiers are not supported"),
        ("SELECT a.0 FROM 'b'", 1, 10, "expected an attribute name after '.'"),
        ("SELECT a[0] FROM 'b'", 1, 9, "expected FROM, WHERE or the end of the statement but found '['"),
        ("SELECT f( FROM 'b'", 1, 11, "expected an expression but found 'FROM'"),
        ("SELECT abs(1 FROM 'b'", 1, 14, "expected ',' or ')' in the call of abs but found 'FROM'"),
        ("SELECT nosuch(1) FROM 'b'", 1, 8, "there is no function nosuch"),
        ("SELECT machinelearning_predict(1) FROM 'b'", 1, 8, "machinelearning_predict is not supported"),
        ("SELECT cast(1 as Float) FROM 'b'", 1, 8, "there is no type float"),
        ("SELECT CASE WHEN 1 THEN 2 END FROM 'b'", 1, 13, "expected the value to compare"),
        ("SELECT CASE a END FROM 'b'", 1, 15, "expected WHEN but found 'END'"),
        ("SELECT * FROM 'a/#/b'", 1, 15, "the topic filter is not valid"),
        ("SELECT * FROM 'a+'", 1, 15, "the topic filter is not valid"),
        ("SELECT * FROM ''", 1, 15, "the topic filter is not valid"),
        ("SELECT * FROM '1/2/3/4/5/6/7/8/9'", 1, 15, "the topic filter is not valid"),
        ("SELECT @v FROM 'a'", 1, 8, "the variable @v is not set before it is used"),
        ("SET @v = @w, @w = 1 SELECT @v FROM 'a'", 1, 10, "the variable @w is not set before it is used"),
        ("SET @v = 1, @v = 2 SELECT @v FROM 'a'", 1, 13, "the variable @v is set twice"),
        ("SET v = 1 SELECT v FROM 'a'", 1, 5, "expected a variable (@name)"),
        (f"SET @{'v' * 65} = 1 SELECT 1 FROM 'a'", 1, 5, "at most 64 characters"),
        (f"SET {', '.join(f'@v{n} = 1' for n in range(11))} SELECT 1 FROM 'a'", 1, 95, "at most 10 variables"),
        (
            "SET @r = 'x' SELECT get_thing_shadow('t', @r) AS s",
            1,
            43,
            "get_thing_shadow takes no variable for its role",
        ),
        ("SET @m = 'x' SELECT transform(@m, a, b) AS s", 1, 31, "transform takes no variable for its mode"),
        ("SET @m = 'x' SELECT get_secret('s', @m.a, 'r')", 1, 37, "get_secret takes no variable for its mode"),
        ("SELECT a AS FROM 'a'", 1, 13, "expected a name after AS but found 'FROM'"),
        ("SELECT 1e5000 FROM 'a'", 1, 8, "out of range"),
        ("SELECT {a: 1} FROM 'a'", 1, 9, "expected a key, in quotes,"),
        ("SELECT * FROM 'a';", 1, 18, "a statement has no ';' at its end"),
        ("SELECT (SELECT a) FROM 'a'", 1, 17, "a nested query says what it selects from"),
        ("SELECT EXISTS(a) FROM 'a'", 1, 15, "expected SELECT in EXISTS( … ) but found 'a'"),
        (f"SELECT {'(' * 200}1 FROM 'a'", 1, 88, "nested too deeply"),
        (f"SELECT {'1+' * 400}1 FROM 'a'", 1, 634, "too long"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(sql: str, line: int, column: int, problem: str) -> None:
    with pytest.raises(SqlError) as refused:
        Statement(sql, VERSION_2016)
    assert problem in refused.value.problem
    assert (refused.value.line, refused.value.column) == (line, column)
    assert str(refused.value).endswith(f"(line {line}, column {column})")


@pytest.mark.parametrize(
    "expression",
    ["[1]", "{'a': 1}", "(SELECT a FROM b)", "EXISTS(SELECT a FROM b)", "length('a')", "cast(a as Decimal)"],
)
def test_what_came_with_2016_is_refused_in_2015(expression: str) -> None:
    sql = f"SELECT {expression} AS x FROM 'a'"
    Statement(sql, VERSION_2016)
    Statement(sql, "beta")
    with pytest.raises(SqlError, match="needs awsIotSqlVersion 2016-03-23 or later"):
        Statement(sql, VERSION_2015)


def test_a_version_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SqlError, match="awsIotSqlVersion is one of"):
        Statement("SELECT * FROM 'a'", "2020-01-01")


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("a/${", 5, "expected an expression but found the end"),
        ("a/${x", 6, "expected an operator or the '}' that closes the substitution template"),
        ("a/${nosuch()}", 5, "there is no function nosuch"),
        (
            "${decode(*, 'proto', 'b', 'k', 'f', 'm')}",
            3,
            "decode of protobuf is not supported in substitution templates",
        ),
        ("${@v}", 3, "the variable @v is not set"),
    ],
)
def test_a_template_that_is_wrong_is_told_with_its_place(text: str, column: int, problem: str) -> None:
    with pytest.raises(SqlError) as refused:
        Template(text, VERSION_2016)
    assert problem in refused.value.problem
    assert refused.value.column == column


@pytest.mark.parametrize(
    ("sql", "is_value"),
    [
        ("SELECT value FROM 'a'", False),
        ("SELECT value, a FROM 'a'", False),
        ("SELECT value.x FROM 'a'", False),
        ("SELECT value AS v FROM 'a'", False),
        ("SELECT VALUE a FROM 'a'", True),
        ("select value *.a from 'a'", True),
        ("SELECT VALUE (a) FROM 'a'", True),
        ("SELECT VALUE value FROM 'a'", True),
        ("SELECT VALUE NOT a FROM 'a'", True),
    ],
)
def test_value_is_a_keyword_only_before_an_expression(sql: str, is_value: bool) -> None:
    assert parse_statement(sql).is_value is is_value


_names = st.sampled_from(["a", "b", "temp", "value", "VALUE", "topic", "_x", "größe", "$version"])
_texts = st.text(max_size=8)
_literals = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 10**34 - 1),
    st.decimals(0, 10**20, allow_nan=False, allow_infinity=False).filter(lambda number: "." in str(number)),
    _texts,
).map(Literal)
_leaves: st.SearchStrategy[Expression] = st.one_of(
    _literals, _names.map(Attribute), st.just(Star()), st.just(Variable("v"))
)
# After a dot and after AS a keyword is a name as any other.
_any_names = _names | st.sampled_from(["from", "END", "select", "where", "null"])
_paths = st.lists(_any_names, max_size=3).map(tuple)


def _columns(expressions: st.SearchStrategy[Expression]) -> st.SearchStrategy[tuple[Column, ...]]:
    return st.lists(st.builds(Column, expressions, _paths), min_size=1, max_size=3).map(tuple)


def _queries(expressions: st.SearchStrategy[Expression]) -> st.SearchStrategy[Query]:
    many = st.builds(
        Query, _columns(expressions), st.just(False), expressions, st.none() | _any_names, st.none() | expressions
    )
    value = st.tuples(expressions.map(Column))
    one = st.builds(Query, value, st.just(True), expressions, st.none() | _names, st.none() | expressions)
    return many | one


def _grow(expressions: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    some = st.lists(expressions, max_size=3).map(tuple)
    operators = st.sampled_from("+ - * / % = <> < <= > >= IN AND OR".split())  # noqa: SIM905
    return st.one_of(
        st.builds(Binary, operators, expressions, expressions),
        st.builds(Unary, st.sampled_from(["NOT", "-"]), expressions),
        st.builds(Member, expressions, _any_names),
        st.builds(ArrayLiteral, some),
        st.builds(ObjectLiteral, st.lists(st.tuples(_texts, expressions), max_size=3).map(tuple)),
        st.builds(Call, st.sampled_from(sorted(CATALOGUE)), some),
        st.builds(Cast, expressions, st.sampled_from(sorted(CASTS))),
        st.builds(
            Case,
            expressions,
            st.lists(st.tuples(expressions, expressions), min_size=1, max_size=2).map(tuple),
            st.none() | expressions,
        ),
        _queries(expressions),
        _queries(expressions).map(Exists),
    )


_expressions = st.recursive(_leaves, _grow, max_leaves=8)
_statements = st.builds(
    Select,
    st.lists(st.builds(Assignment, st.just("v"), _expressions), max_size=1).map(tuple),
    _columns(_expressions),
    st.just(False),
    st.none() | st.just("a/+/#"),
    st.none() | _expressions,
)


@given(_statements)
def test_what_is_printed_parses_to_the_same_tree(statement: Select) -> None:
    assert parse_statement(print_statement(statement)) == statement


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | st.just("base64"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=6,
)


@given(_statements, _values, st.sampled_from(VERSIONS))
def test_any_statement_on_any_payload_ends_in_an_outcome(statement: Select, payload: Any, version: str) -> None:
    try:
        compiled = Statement(print_statement(statement), version)
    except SqlError:
        return
    evaluation = compiled.start(Input("a/b", json.dumps(payload).encode(), 0, "123456789012"))
    outcome = compiled.run(evaluation)
    assert isinstance(outcome, Output | NoMatch | Failed | ExternalCall)
    if isinstance(outcome, Output) and outcome.payload:
        json.loads(outcome.payload)


@given(st.text(alphabet="SELECTFROMWHERE abc'\"(){}[]@.,*+-/%<>=0123456789\n$#", max_size=60))
def test_any_text_is_parsed_or_refused_with_a_place(text: str) -> None:
    for sql in (text, f"SELECT {text}", f"SELECT * FROM 'a' WHERE {text}"):
        place = (1, 1)
        try:
            Statement(sql, VERSION_2016)
        except SqlError as error:
            place = (error.line, error.column)
        assert min(place) >= 1


def test_numbers_keep_their_digits() -> None:
    columns = parse_statement("SELECT 0.10, 1E3, 12345678901234567890123456789012345 FROM 'a'").columns
    assert [column.expression for column in columns] == [
        Literal(Decimal("0.10")),
        Literal(Decimal("1E+3")),
        Literal(Decimal("12345678901234567890123456789012345")),
    ]


@pytest.mark.parametrize(
    "expression",
    ["+".join(["1"] * 300), "abs(" * 75 + "1" + ")" * 75, "-" * 75 + "1", "NOT " * 75 + "true", "[" * 75 + "]" * 75],
)
def test_what_is_accepted_can_be_compiled_printed_and_run(expression: str) -> None:
    statement = Statement(f"SELECT {expression} AS x FROM 'a'", VERSION_2016)
    assert parse_statement(print_statement(statement.tree)) == statement.tree
    outcome = statement.run(statement.start(Input("a", b"{}", 0, "1")))
    assert isinstance(outcome, Output)
