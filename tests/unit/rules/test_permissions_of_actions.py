"""What the role of a rule must allow for each action, by the pages of the actions: no less, and no more."""

import asyncio
from typing import Any

import pytest

from .conftest import ROLE, Rules

QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/q"
NEEDS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("cloudwatchAlarm", {"alarmName": "a", "stateReason": "r", "stateValue": "OK"}, ["cloudwatch:SetAlarmState"]),
    (
        "cloudwatchLogs",
        {"logGroupName": "g"},
        ["logs:DescribeLogStreams", "logs:CreateLogStream", "logs:PutLogEvents"],
    ),
    (
        "cloudwatchMetric",
        {"metricName": "m", "metricNamespace": "n", "metricUnit": "None", "metricValue": "1"},
        ["cloudwatch:PutMetricData"],
    ),
    ("dynamoDB", {"tableName": "t", "hashKeyField": "k", "hashKeyValue": "v"}, ["dynamodb:PutItem"]),
    ("dynamoDBv2", {"putItem": {"tableName": "t"}}, ["dynamodb:PutItem"]),
    ("firehose", {"deliveryStreamName": "s"}, ["firehose:PutRecord"]),
    ("kinesis", {"streamName": "s", "partitionKey": "k"}, ["kinesis:PutRecord"]),
    ("republish", {"topic": "b"}, ["iot:Publish"]),
    ("s3", {"bucketName": "b", "key": "k"}, ["s3:PutObject"]),
    ("sns", {"targetArn": "arn:aws:sns:us-east-1:123456789012:t"}, ["sns:Publish"]),
    ("sqs", {"queueUrl": QUEUE}, ["sqs:SendMessage"]),
    ("stepFunctions", {"stateMachineName": "m"}, ["states:StartExecution"]),
    (
        "timestream",
        {"databaseName": "d", "tableName": "t", "dimensions": [{"name": "n", "value": "v"}]},
        ["timestream:DescribeEndpoints", "timestream:WriteRecords"],
    ),
]


async def _publish(rules: Rules, action: str, members: dict[str, Any]) -> None:
    await rules.create("r", "SELECT * FROM 'a'", {action: {**members, "roleArn": ROLE}})
    await rules.publish("a", {"n": 1})


@pytest.mark.parametrize(
    ("action", "members", "needed"), NEEDS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_an_action_needs_is_enough(rules: Rules, action: str, members: dict[str, Any], needed: list[str]) -> None:
    rules.calls.allowed = needed
    asyncio.run(_publish(rules, action, members))
    assert len(rules.hops("action-done")) == 1


@pytest.mark.parametrize(
    ("action", "members", "needed", "lacking"),
    [(action, members, needed, lacking) for action, members, needed in NEEDS for lacking in needed],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_one_of_them_it_fails(
    rules: Rules, action: str, members: dict[str, Any], needed: list[str], lacking: str
) -> None:
    rules.calls.allowed = [one for one in [*needed, "iam:None"] if one != lacking]
    asyncio.run(_publish(rules, action, members))
    [failed] = rules.hops("action-failed")
    assert f"is not authorized to perform: {lacking} on resource: " in failed.text
    assert rules.calls.made == []
    assert rules.publisher.published == []


def test_every_attribute_is_a_measure(rules: Rules) -> None:
    action = {"databaseName": "d", "tableName": "t", "dimensions": [{"name": "device", "value": "${device}"}]}

    async def test() -> None:
        await rules.create("r", "SELECT * FROM 'a'", {"timestream": {**action, "roleArn": ROLE}})
        payload = {"device": "x", "on": True, "n": 1, "t": 1.5, "whole": 2.0, "l": [1], "o": {"a": None}}
        await rules.publish("a", payload)

    asyncio.run(test())
    [(_, _, members)] = rules.calls.made
    assert members["CommonAttributes"]["Dimensions"] == [{"Name": "device", "Value": "x"}]
    assert [(one["MeasureName"], one["MeasureValue"], one["MeasureValueType"]) for one in members["Records"]] == [
        ("device", "x", "VARCHAR"),
        ("on", "true", "BOOLEAN"),
        ("n", "1", "BIGINT"),
        ("t", "1.5", "DOUBLE"),
        ("whole", "2", "BIGINT"),
        ("l", "[1]", "VARCHAR"),
        ("o", '{"a":null}', "VARCHAR"),
    ]
