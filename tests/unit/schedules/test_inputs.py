"""What targets of rules and schedules are sent."""

import json
from typing import Any

import pytest

from stepbridge.schedules.inputs import at_path, rule_input, schedule_input

ARN = "arn:aws:events:us-east-1:123456789012:rule/nightly"
EVENT: dict[str, Any] = {"id": "1", "time": "2025-01-01T00:00:00Z", "resources": [ARN], "detail": {"a": {"b c": [1]}}}


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ({}, json.dumps(EVENT)),
        ({"Input": '{"a": 1}'}, '{"a": 1}'),
        ({"InputPath": "$.resources[0]"}, json.dumps(ARN)),
        ({"InputPath": "$.detail.a['b c'][0]"}, "1"),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"t": "$.time"},
                    "InputTemplate": '{"at": <t>, "said": "it is <t>"}',
                }
            },
            '{"at": "2025-01-01T00:00:00Z", "said": "it is 2025-01-01T00:00:00Z"}',
        ),
        (
            {"InputTransformer": {"InputPathsMap": {"d": "$.detail"}, "InputTemplate": '{"d": <d>, "x": "<d>"}'}},
            '{"d": {"a": {"b c": [1]}}, "x": "{\\"a\\": {\\"b c\\": [1]}}"}',
        ),
        ({"InputTransformer": {"InputTemplate": '"<aws.events.rule-name> fired"'}}, '"nightly fired"'),
        ({"InputTransformer": {"InputTemplate": '{"rule": <aws.events.rule-arn>}'}}, json.dumps({"rule": ARN})),
    ],
)
def test_the_input_of_a_rule(target: dict[str, Any], text: str) -> None:
    assert rule_input(target, EVENT, ARN) == text


def test_paths_that_are_none() -> None:
    assert at_path(EVENT, "$.nothing.here") is None
    for path in ("detail", "$..detail", "$.detail[*]"):
        with pytest.raises(ValueError, match="is not a JSONPath"):
            at_path(EVENT, path)


def test_the_input_of_a_schedule() -> None:
    text = '{"at": "<aws.scheduler.scheduled-time>", "other": "<aws.scheduler.other>"}'
    assert schedule_input(text, {"scheduled-time": "now"}) == '{"at": "now", "other": "<aws.scheduler.other>"}'
