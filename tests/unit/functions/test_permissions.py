"""Whether a function's resource policy lets a service invoke it."""

from typing import Any

import pytest

from stepbridge.api.errors import AwsError
from stepbridge.functions.permissions import ServiceCall, new_statement, why_refused

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
RULE = "arn:aws:iot:us-east-1:123456789012:rule/answers"
CALL = ServiceCall("iot.amazonaws.com", RULE, "123456789012")
BASE = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "iot.amazonaws.com"}


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({}, True),
        ({"SourceArn": RULE, "SourceAccount": "123456789012"}, True),
        ({"SourceArn": "arn:aws:iot:us-east-1:123456789012:rule/*"}, True),
        ({"Principal": "*"}, True),
        ({"Action": "lambda:*"}, True),
        ({"Action": "lambda:GetFunction"}, False),
        ({"Principal": "sns.amazonaws.com"}, False),
        ({"Principal": "123456789012"}, False),
        ({"SourceArn": "arn:aws:iot:us-east-1:123456789012:rule/other"}, False),
        ({"SourceArn": RULE, "SourceAccount": "999999999999"}, False),
        ({"EventSourceToken": "t"}, False),
    ],
)
def test_permissions(change: dict[str, Any], allowed: bool) -> None:
    refusal = why_refused([new_statement({**BASE, **change}, ARN)], CALL, ARN)
    assert (refusal is None) is allowed


def test_no_policy_allows_nothing() -> None:
    assert why_refused([], CALL, ARN) == "the function has no resource policy"


def test_a_principal_that_is_none() -> None:
    with pytest.raises(AwsError, match="The provided principal was invalid"):
        new_statement({**BASE, "Principal": "somebody"}, ARN)
