"""How functions are named."""

import pytest

from stepbridge.api.errors import AwsError
from stepbridge.functions.names import FunctionName, parse_function_name

ACCOUNT, REGION = "123456789012", "us-east-1"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"


@pytest.mark.parametrize(
    ("text", "qualifier", "expected"),
    [
        ("f", None, None),
        ("f:live", None, "live"),
        ("f", "7", "7"),
        ("f:7", "7", "7"),
        ("f:$LATEST", None, "$LATEST"),
        ("function:f", None, None),
        (f"{ACCOUNT}:function:f", None, None),
        (f"{ACCOUNT}:f:live", None, "live"),
        (ARN, None, None),
        (f"{ARN}:live", None, "live"),
        (ARN, "live", "live"),
    ],
)
def test_names(text: str, qualifier: str | None, expected: str | None) -> None:
    name = parse_function_name(text, account=ACCOUNT, region=REGION, qualifier=qualifier)
    assert name == FunctionName(ACCOUNT, REGION, "f", expected)
    assert name.arn == (f"{ARN}:{expected}" if expected else ARN)


@pytest.mark.parametrize(
    ("text", "qualifier", "code"),
    [
        ("f g", None, "ValidationException"),
        ("", None, "ValidationException"),
        ("f:a:b:c:d", None, "ValidationException"),
        ("x" * 65, None, "ValidationException"),
        ("f:1", "2", "InvalidParameterValueException"),
        ("arn:aws:lambda:us-east-1:999999999999:function:f", None, "ResourceNotFoundException"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f", None, "ResourceNotFoundException"),
    ],
)
def test_names_that_are_refused(text: str, qualifier: str | None, code: str) -> None:
    with pytest.raises(AwsError) as refused:
        parse_function_name(text, account=ACCOUNT, region=REGION, qualifier=qualifier)
    assert refused.value.code == code
