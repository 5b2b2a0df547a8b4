"""Files of policy cases, and single questions."""

import json
from typing import Any

import pytest

from stepbridge.authorization.cases import CaseError, explain_request, load_cases, run_case

ARN = "arn:aws:iot:us-east-1:123456789012"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "iot:Publish", "Resource": f"{ARN}:topic/${{iot:ClientId}}/*"}],
}
DENY_ALL = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}
CASE: dict[str, Any] = {
    "id": "own topic",
    "policy": POLICY,
    "client_id": "w",
    "action": "iot:Publish",
    "resource": f"{ARN}:topic/w/a",
    "expected": "allow",
}


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, True),
        ({"expected": "deny"}, False),
        ({"client_id": "other"}, False),
        ({"policy": [POLICY, DENY_ALL], "expected": "deny"}, True),
    ],
)
def test_running_cases(changes: dict[str, Any], passed: bool) -> None:
    [case] = load_cases(json.dumps([CASE | changes]))
    result = run_case(case)
    assert result.passed is passed
    assert result.case.name == "own topic"
    assert CASE["resource"] in result.explanation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1, column 2"),
        ("{}", "list of cases"),
        ("[1]", "case 1 is not"),
        (json.dumps([{"id": "x", "policy": POLICY}]), "x has no action, resource, expected"),
        (json.dumps([CASE | {"expected": "yes"}]), "own topic: expected is neither"),
        (json.dumps([CASE | {"policy": {}}]), "own topic: the policy is malformed"),
    ],
)
def test_files_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(CaseError, match=message):
        load_cases(text)


def test_one_question() -> None:
    verdict, text = explain_request([("mine", json.dumps(POLICY))], "iot:Publish", f"{ARN}:topic/w/a", client_id="w")
    assert verdict.allowed
    assert "policy mine, statement 1" in text
    verdict, text = explain_request([("mine", json.dumps(POLICY))], "iot:Publish", f"{ARN}:topic/w/a")
    assert not verdict.allowed
    assert "${iot:ClientId} has no value here" in text
