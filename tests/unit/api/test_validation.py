"""Requests checked against botocore's shapes, with AWS's texts."""

from typing import Any

import pytest

from stepbridge.api.errors import AwsError
from stepbridge.api.models import operation_model
from stepbridge.api.validation import validate

VIOLATIONS = [
    (
        "stepfunctions",
        "CreateStateMachine",
        {"name": "n"},
        (
            "2 validation errors detected: "
            "Value null at 'definition' failed to satisfy constraint: Member must not be null; "
            "Value null at 'roleArn' failed to satisfy constraint: Member must not be null"
        ),
    ),
    (
        "stepfunctions",
        "ListExecutions",
        {"maxResults": 1001},
        (
            "1 validation error detected: Value '1001' at 'maxResults' failed to satisfy constraint: "
            "Member must have value less than or equal to 1000"
        ),
    ),
    (
        "lambda",
        "CreateFunction",
        {"FunctionName": "f", "Role": "not an arn", "Code": {}},
        (
            "1 validation error detected: Value 'not an arn' at 'role' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: "
        ),
    ),
    (
        "lambda",
        "CreateFunction",
        {
            "FunctionName": "f",
            "Role": "arn:aws:iam::123456789012:role/r",
            "Code": {},
            "Architectures": ["arm64", "x86_64"],
        },
        (
            "1 validation error detected: Value '[arm64, x86_64]' at 'architectures' failed to satisfy constraint: "
            "Member must have length less than or equal to 1"
        ),
    ),
    (
        "stepfunctions",
        "CreateStateMachineAlias",
        {
            "name": "a",
            "routingConfiguration": [{"stateMachineVersionArn": "v", "weight": number} for number in (1, 2, 97)],
        },
        (
            "1 validation error detected: Value '[RoutingConfigurationListItem(stateMachineVersionArn=v, weight=1), "
            "RoutingConfigurationListItem(stateMachineVersionArn=v, weight=2), "
            "RoutingConfigurationListItem(stateMachineVersionArn=v, weight=97)]' at 'routingConfiguration' "
            "failed to satisfy constraint: Member must have length less than or equal to 2"
        ),
    ),
    (
        "lambda",
        "Invoke",
        {"FunctionName": "f", "InvocationType": "Later"},
        (
            "1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Event, RequestResponse, DryRun]"
        ),
    ),
    (
        "iot",
        "CreateThing",
        {"thingName": "a b"},
        (
            "1 validation error detected: Value 'a b' at 'thingName' failed to satisfy constraint: Member must satisfy "
            "regular expression pattern: [a-zA-Z0-9:_-]+"
        ),
    ),
    (
        "stepfunctions",
        "TagResource",
        {"resourceArn": "a", "tags": [{"key": ""}]},
        (
            "1 validation error detected: Value '' at 'tags.1.member.key' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1"
        ),
    ),
]


@pytest.mark.parametrize(("service", "operation", "members", "message"), VIOLATIONS)
def test_violations_are_named_as_aws_names_them(
    service: str, operation: str, members: dict[str, Any], message: str
) -> None:
    with pytest.raises(AwsError) as refusal:
        validate(service, operation_model(service, operation).input_shape, members)
    assert refusal.value.message.startswith(message)
    assert refusal.value.code == ("InvalidRequestException" if service == "iot" else "ValidationException")


def test_a_valid_request_passes() -> None:
    members = {"name": "n", "definition": "{}", "roleArn": "arn:aws:iam::123456789012:role/r"}
    validate("stepfunctions", operation_model("stepfunctions", "CreateStateMachine").input_shape, members)


@pytest.mark.parametrize(
    ("service", "operation", "members"),
    [
        ("glue", "GetDatabase", {"Name": "a \U0001f600"}),  # its pattern has the halves of surrogate pairs
        ("codeartifact", "DescribeDomain", {"domain": "domain"}),
        ("budgets", "DescribeBudget", {"AccountId": "123456789012", "BudgetName": "b"}),  # (?i) amid its pattern
    ],
)
def test_a_pattern_that_only_java_can_read_is_no_fault_of_the_caller(
    service: str, operation: str, members: dict[str, Any]
) -> None:
    validate(service, operation_model(service, operation).input_shape, members)
