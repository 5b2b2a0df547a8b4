"""Files of cases that users keep beside their rules."""

import json
from pathlib import Path
from typing import Any

import pytest

from stepbridge.iot.rules.cases import CaseError, load_cases, run_case, try_statement, try_template
from stepbridge.iot.rules.sql import Failed, NoMatch, Output

CASE = {"id": "c", "sql": "SELECT x FROM 'a/+' WHERE x > 1", "topic": "a/b", "payload": {"x": 2}}


@pytest.mark.parametrize(
    ("changes", "passed", "observed"),
    [
        ({"expected": {"x": 2}}, True, '{"x":2}'),
        ({"expected": {"x": 2.0}}, True, '{"x":2}'),
        ({"expected": {"x": True}, "payload": {"x": 3}}, False, '{"x":3}'),
        ({"expected": {"no_match": True}}, False, '{"x":2}'),
        ({"expected": {"x": 2}, "topic": "b"}, False, "no match: FROM 'a/+' does not match the topic b"),
        (
            {"expected": {"no_match": True}, "payload": {}},
            True,
            "no match: WHERE x > 1 is Undefined (not in the payload: x)",
        ),
        ({"expected": {"x": 3}, "alternatives": [{"x": 2}]}, True, '{"x":2}'),
        ({"expected": {"x": 2}, "expected_text": '{"x": 2}', "compare": "exact_text"}, False, '{"x":2}'),
        ({"expected": {"x": 2.1}, "compare": "approx:0.1"}, True, '{"x":2}'),
        ({"expected": {"x": 2.1}, "compare": "approx:0.01"}, False, '{"x":2}'),
        ({"sql": "SELECT f()", "expected": {"sql_error": True}}, True, "there is no function f"),
        ({"sql": "SELECT VALUE y FROM 'a/b'", "expected": {"undefined": True}}, True, "Undefined: no bytes"),
        (
            {
                "sql": "SELECT VALUE aws_lambda('f', x) FROM 'a/b'",
                "context": {"stubs": {"aws_lambda": {"input": 3, "result": 1}}},
                "expected": 1,
            },
            False,
            "the rule fails: aws_lambda received [2], expected [3]",
        ),
        (
            {"sql": "SELECT VALUE aws_lambda('f', x) FROM 'a/b'", "expected": {"rule_error": True}},
            True,
            "no stub for it",
        ),
        (
            {"template": "${@v}", "sql": "SET @v = x + 1 SELECT *", "expected": {"template_output": "3"}},
            True,
            "3",
        ),
        ({"template": "t/${x}", "expected": {"template_output": "t/2"}}, True, "t/2"),
    ],
)
def test_a_case_passes_or_tells_what_was_observed(changes: dict[str, Any], passed: bool, observed: str) -> None:
    result = run_case({**CASE, **changes})
    assert result.passed is passed
    assert observed in result.observed


def test_files_and_folders_of_cases(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps({**CASE, "expected": {"x": 2}}))
    (tmp_path / "a.json").write_text(
        json.dumps([{"sql": "SELECT 1 AS x FROM 'a'", "topic": "a", "expected": {"x": 1}}])
    )
    cases = load_cases(tmp_path)
    assert [case["id"] for case in cases] == ["a[1]", "c"]
    assert all(run_case(case).passed for case in cases)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        ("[1]", "case 1: a case is an object"),
        ('[{"sql": "SELECT 1"}]', "case 1: topic, expected missing"),
        ('{"topic": "a", "expected": 1}', "case 1: sql (or template) missing"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "cases.json"
    file.write_text(content)
    with pytest.raises(CaseError, match=r"cases\.json") as refused:
        load_cases(file)
    assert problem in str(refused.value)


def test_a_folder_without_cases_and_a_file_that_is_not_there_are_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(CaseError, match=str(path)):
            load_cases(path)


def test_one_statement_on_one_message() -> None:
    context = {"clientid": "c", "timestamp": 5}
    sql = "SELECT clientid() AS c, timestamp() AS t FROM 'a'"
    assert try_statement(sql, "a", b"{}", context=context) == Output({"c": "c", "t": 5}, b'{"c":"c","t":5}')
    assert isinstance(try_statement(sql, "b", b"{}"), NoMatch)
    assert isinstance(try_statement("SELECT aws_lambda('f', 1) FROM 'a'", "a", b"{}"), Failed)
    assert try_template("$$aws/${topic(1)}", "a", b"{}") == "$aws/a"
