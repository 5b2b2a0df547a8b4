"""No payload breaks an action: it is carried out, or fails for a reason that is told."""

import asyncio
from typing import Any

import pytest

from stepbridge.iot.rules.actions import ACTIONS

from .conftest import ROLE, Rules

X = "${x}"
DIMENSION = {"name": "d", "value": X}
MEMBERS: dict[str, list[dict[str, Any]]] = {
    "cloudwatchAlarm": [{"alarmName": X, "stateReason": X, "stateValue": X}],
    "cloudwatchLogs": [{"logGroupName": X}, {"logGroupName": "g", "batchMode": True}],
    "cloudwatchMetric": [
        {"metricName": X, "metricNamespace": X, "metricUnit": X, "metricValue": X},
        {"metricName": X, "metricNamespace": X, "metricUnit": X, "metricValue": "1", "metricTimestamp": X},
    ],
    "dynamoDB": [
        {"tableName": X, "hashKeyField": X, "hashKeyValue": X, "operation": operation}
        for operation in ("INSERT", "UPDATE", X)
    ],
    "dynamoDBv2": [{"putItem": {"tableName": X}}],
    "firehose": [{"deliveryStreamName": X}, {"deliveryStreamName": "s", "batchMode": True}],
    "http": [{"url": "https://x.invalid/" + X, "confirmationUrl": "https://x.invalid"}],
    "kinesis": [{"streamName": X, "partitionKey": X}],
    "lambda": [{"functionArn": X}],
    "republish": [
        {"topic": X},
        {"topic": "b", "headers": {"userProperties": [{"key": X, "value": X}], "contentType": X, "responseTopic": X}},
        *[
            {"topic": "b", "headers": {name: X}}
            for name in ("payloadFormatIndicator", "correlationData", "messageExpiry")
        ],
    ],
    "s3": [{"bucketName": X, "key": X}],
    "sns": [{"targetArn": X}],
    "sqs": [{"queueUrl": X}, {"queueUrl": "https://x/123456789012/q", "useBase64": True}],
    "stepFunctions": [{"stateMachineName": X, "executionNamePrefix": X}],
    "timestream": [
        {"databaseName": X, "tableName": X, "dimensions": [DIMENSION]},
        {
            "databaseName": "d",
            "tableName": "t",
            "dimensions": [DIMENSION],
            "timestamp": {"value": X, "unit": "SECONDS"},
        },
        {"databaseName": "d", "tableName": "t", "dimensions": [DIMENSION], "timestamp": {"value": "1", "unit": X}},
    ],
}
PAYLOADS: list[Any] = [
    *[
        {"x": x}
        for x in (None, True, 5, -1.5, "", "text", "é", "a/+/#", "\u0000", "\ud800", "x" * 300, [], [1], {"a": 1})
    ],
    *[{"x": x} for x in ("NaN", "Infinity", "1E400", "1e30", "-1", "99999999999999999999", "\u0661", "$$aws/x")],
    *[b"", b"not json", b"\xff\xfe", b"5", b"null", b'"text"', b"[1, [2], {}]", b'[{"timestamp": true, "message": 1}]'],
    b'[{"timestamp": 1, "message": "m"}]',
    b'{"x": 1E400000000}',
]


def test_every_action_is_here() -> None:
    assert MEMBERS.keys() == ACTIONS.keys()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("select", ["*", "VALUE x", "x AS y"])
def test_no_payload_breaks_an_action(rules: Rules, action: str, select: str) -> None:
    role = {} if action in ("lambda", "http") else {"roleArn": ROLE}

    async def test() -> None:
        for index, members in enumerate(MEMBERS[action]):
            await rules.create(f"r{index}", f"SELECT {select} FROM 'a'", {action: {**members, **role}})
        for payload in PAYLOADS:
            await rules.publish("a", payload)

    asyncio.run(test())
    matched = len(rules.hops("rule-matched"))
    assert matched == len(MEMBERS[action]) * len(PAYLOADS)
    told = rules.hops("action-done") + rules.hops("action-failed")
    assert len(told) == matched
    assert [hop.text for hop in told if "in stepbridge, see its log" in hop.text] == []
