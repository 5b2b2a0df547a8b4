"""Java's regular expressions: every row is what java.util.regex.Pattern does with it."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.iot.rules.sql import Failed, Input, SqlError, Statement
from stepbridge.iot.rules.sql.functions.regular_expressions import (
    InvalidPatternError,
    UnsupportedPatternError,
    compile_java,
    replace_all,
)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("a++b", "aaab", "aaab"),
        ("a++a", "aaa", None),
        ("(?>a|ab)c", "abc", None),
        ("a{2}{3}", "a" * 7, "a" * 6),
        ("(?<year>\\d{4})-\\k<year>", "2020-2020", "2020-2020"),
        ("(a)\\1", "aa", "aa"),
        ("\\1(a)", "aa", None),
        ("(a)\\10", "aa0", "aa0"),
        ("[a-z&&[^aeiou]]+", "aebcd", "bcd"),
        ("[a-c[x-z]]+", "mazb", "azb"),
        ("[^a&&b]+", "abc", "abc"),
        ("[]a]+", "a]b", "a]"),
        ("[a-]+", "b-a", "-a"),
        ("[\\w&&[^\\d_]]+", "1_ab2", "ab"),
        ("\\p{Alpha}+", "1éab", "ab"),
        ("\\P{Alpha}+", "ab12", "12"),
        ("[\\P{Alpha}_]+", "ab1", "1"),
        ("\\p{L}+", "1éab", "éab"),
        ("\\pN+", "a½2", "½2"),
        ("\\p{IsLu}\\p{Ll}", "aBc", "Bc"),
        ("\\p{gc=Sc}", "5 €", "€"),
        ("(?i)straße", "STRAßE", "STRAßE"),
        ("(?i)é", "É", None),
        ("(?iu)é", "É", "É"),
        ("a(?i)b|c", "C", "C"),
        ("(?i:a)b", "AB", None),
        ("(?i)[^a]", "A", None),
        ("(?i)(a)\\1", "aA", "aA"),
        (".+", "ab\rc", "ab"),
        ("(?d).+", "ab\rc\nd", "ab\rc"),
        ("(?s).+", "a\nb", "a\nb"),
        ("b$", "ab\n", "b"),
        ("b$", "ab\r\n", "b"),
        ("b\\z", "ab\n", None),
        ("b\\Z", "ab\n", "b"),
        ("(?m)^b$", "a\nb\nc", "b"),
        ("(?x) a b  # the beginning", "ab", "ab"),
        ("\\Qa.b*\\E+", "a.b***", "a.b***"),
        ("\\x41\\u0042\\0103\\x{44}\\cJ", "ABCD\n", "ABCD\n"),
        ("\\h+\\v", "a \t\n", " \t\n"),
        ("a\\Rb", "a\r\nb", "a\r\nb"),
        ("\\N{EURO SIGN}", "€", "€"),
        ("(?<=a|bc)d", "bcd", "d"),
        ("(?<!a|bc)d", "bcd", None),
        ("\\bé", "a é", "é"),
        ("\\B", "", ""),
        ("\\w", "é", None),
        ("x*", "", ""),
        ("\\-\\_\\é", "-_é", "-_é"),
    ],
)
def test_what_is_found(pattern: str, text: str, found: str | None) -> None:
    match = compile_java(pattern).search(text)
    assert (match and match[0]) == found


@pytest.mark.parametrize(
    "pattern",
    [
        *[
            "(",
            ")",
            "[",
            "[]",
            "[^]",
            "*a",
            "a**",
            "a|*",
            "{",
            "a{",
            "a{,3}",
            "a{2,1}",
            "[b-a]",
            "[a-\\d]",
            "\\y",
            "\\",
        ],
        *[
            "\\08",
            "\\xg",
            "\\u12",
            "(?P<n>a)",
            "(?#x)a",
            "(?<1>a)",
            "(?<n>a)(?<n>b)",
            "\\k<n>",
            "(?q)",
            "\\p{L",
            "[\\b]",
        ],
        *[
            "\\N{NO SUCH SIGN}",
            "(?i",
            "(" * 9_000 + ")" * 9_000,
            "[" * 9_000,
            "a{99999999999999999999}",
            f"a{{{'9' * 5000}}}",
        ],
    ],
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(InvalidPatternError):
        compile_java(pattern)


@pytest.mark.parametrize("pattern", ["\\Ga", "\\X", "\\b{g}", "(?U)a", "(?<=a{1,2})b", "\\p{IsGreek}"])
def test_what_only_java_can_do_is_refused_when_the_rule_is_created(pattern: str) -> None:
    with pytest.raises(UnsupportedPatternError):
        compile_java(pattern)
    with pytest.raises(SqlError, match=r"stepbridge cannot match .* \(line 1, column 8\)"):
        Statement(f"SELECT regexp_matches(x, '{pattern}') FROM 'a'")
    statement = Statement("SELECT regexp_matches(x, p) FROM 'a'")
    outcome = statement.run(statement.start(Input("a", json.dumps({"x": "", "p": pattern}).encode(), 0, "1")))
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("stepbridge cannot match the regular expression ")


@pytest.mark.parametrize(
    ("pattern", "replacement", "text", "expected"),
    [
        ("b", "x", "abcb", "axcx"),
        ("(b)(c)?", "[$1$2$0]", "abcb", "a[bcbc][bb]"),
        ("(?<n>b)", "${n}${n}", "abc", "abbc"),
        ("(b)", "$12", "abc", "ab2c"),
        ("b", "\\$1\\\\", "abc", "a$1\\c"),
        ("b*", "-", "abc", "-a--c-"),
        ("|a", "-", "ba", "-b-a-"),
    ],
)
def test_what_is_replaced(pattern: str, replacement: str, text: str, expected: str) -> None:
    assert replace_all(compile_java(pattern), replacement, text, 100) == expected


@pytest.mark.parametrize("replacement", ["$", "$1", "$x", "${n}", "a\\"])
def test_what_is_no_replacement(replacement: str) -> None:
    with pytest.raises((IndexError, ValueError)):
        replace_all(compile_java("b"), replacement, "abc", 100)


_PIECES = ["a", "B", "(", "(?:", "(?i)", "(?<n>", ")", "[", "^", "&&", "]", "-", "*", "+", "?", "{2}", "{", "|", "\\"]
_PIECES += ["\\d", "\\p{Lu}", "\\k<n>", "\\1", "\\Q", "\\E", "$", ".", "(?<=", "(?x)", "#", " ", "é", "\\u00e9", "\n"]


@given(st.lists(st.sampled_from(_PIECES), max_size=12).map("".join) | st.text(max_size=12))
def test_any_pattern_is_compiled_or_refused(pattern: str) -> None:
    with suppress(InvalidPatternError, UnsupportedPatternError):
        compile_java(pattern).search("aB é\n")
