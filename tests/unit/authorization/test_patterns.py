"""Wildcards and policy variables."""

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.authorization.patterns import Context, Template

EMPTY = Context({})


def matches(pattern: str, text: str, context: Context = EMPTY) -> bool:
    glob = Template(pattern).glob(context)
    return glob is not None and glob.matches(text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/bc", False),
        ("*", "", True),
        ("a/*", "a/b/c", True),
        ("a/*", "a", False),
        ("*/c", "a/b/c", True),
        ("a*c*e", "abcde", True),
        ("a*c*e", "abde", False),
        ("ab*ba", "aba", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("?*?", "a", False),
        ("?*?", "ab", True),
        ("x*?b?*y", "xabcy", True),
        ("a/+/c", "a/b/c", False),
        ("a/+/c", "a/+/c", True),
        ("a/#", "a/b", False),
        ("$aws/things/*", "$aws/things/t/shadow", True),
        ("a/${*}", "a/*", True),
        ("a/${*}", "a/b", False),
        ("a/${?}", "a/?", True),
        ("a/${$}{x}", "a/${x}", True),
        ("a/${open", "a/${open", True),
        ("line\n*", "line\nnext\n", True),
    ],
)
def test_wildcards_and_escapes(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_as_shell_patterns(pattern: str, text: str) -> None:
    assert matches(pattern, text) is bool(re.fullmatch(fnmatch.translate(pattern), text))


def test_matching_takes_no_more_than_linear_time() -> None:
    pattern, text = "*a" * 60 + "*b", "a" * 2000
    start = time.perf_counter()
    assert not matches(pattern, text)
    assert time.perf_counter() - start < 10  # not linear, it would not end in this century


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("x/${iot:ClientId}", "x/me", True),
        ("x/${IOT:clientid}", "x/me", True),
        ("x/${iot:ClientId}/*", "x/me/a/b", True),
        ("x/${star}", "x/anything", False),
        ("x/${star}", "x/*", True),
        ("x/${absent}", "x/${absent}", False),
        ("x/${absent}", "x/", False),
        ("x/${absent, 'none'}", "x/none", True),
        ("x/${iot:ClientId, 'none'}", "x/me", True),
        ("x/${opaque}", "x/a+b", False),
        ("x/${several}", "x/a", False),
    ],
)
def test_variables(pattern: str, text: str, expected: bool) -> None:
    values = {"iot:ClientId": ("me",), "star": ("*",), "opaque": ("a+b",), "several": ("a", "b")}
    assert matches(pattern, text, Context(values, opaque={"opaque"})) is expected
