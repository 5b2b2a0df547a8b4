"""The API of topic rules."""

import asyncio
from typing import Any

import pytest

from stepbridge.api.errors import AwsError

from .conftest import ROLE, Rules

LAMBDA = {"lambda": {"functionArn": "arn:aws:lambda:us-east-1:123456789012:function:f"}}
TIMESTREAM = {"roleArn": ROLE, "databaseName": "d", "tableName": "t"}
UNABLE_TO_ASSUME = (
    f"AWS IoT (iot.amazonaws.com) is unable to assume role (sts:AssumeRole) on resource: {ROLE}-not. "
    "If the role was just created or updated, please try again in a few seconds."
)


def _refused(rules: Rules, payload: dict[str, Any]) -> AwsError:
    request = {"ruleName": "r", "topicRulePayload": {"awsIotSqlVersion": "2016-03-23", "actions": [], **payload}}
    with pytest.raises(AwsError) as refused:
        asyncio.run(rules.service.create_topic_rule(rules.caller, request))
    assert not rules.engine.rules
    return refused.value


@pytest.mark.parametrize(
    ("payload", "code", "message"),
    [
        ({"sql": "SELECT"}, "SqlParseException", "expected an expression but found the end (line 1, column 7)"),
        ({"sql": f"SELECT '{'x' * 262_144}' FROM 'a'"}, "InvalidRequestException", "A rule has at most 262144 bytes"),
        ({"sql": "SELECT \ud800 FROM 'a'"}, "SqlParseException", "has no meaning here (line 1, column 8)"),
        ({"sql": "SELECT f() FROM 'a'"}, "SqlParseException", "there is no function f (line 1, column 8)"),
        (
            {"sql": "SELECT length(a) FROM 'a'", "awsIotSqlVersion": "2015-10-08"},
            "SqlParseException",
            "the function length needs awsIotSqlVersion 2016-03-23 or later (line 1, column 8)",
        ),
        (
            {"sql": "SELECT * FROM 'a'", "actions": [LAMBDA, {"salesforce": {"token": "t", "url": "u"}}]},
            "InvalidRequestException",
            "actions[1]: the action salesforce is not supported by stepbridge",
        ),
        (
            {"sql": "SELECT * FROM 'a'", "actions": [{"republish": {"roleArn": ROLE, "topic": "a/${b("}}]},
            "InvalidRequestException",
            "actions[0].republish.topic: expected an expression but found the end (line 1, column 7)",
        ),
        *[
            (
                {"sql": "SELECT * FROM 'a'", "actions": [{"republish": {"roleArn": ROLE, "topic": topic}}]},
                "InvalidRequestException",
                f"actions[0].republish.topic: {problem}",
            )
            for topic, problem in (
                ("", "the topic '' is not one that can be published to"),
                ("a/#", "the topic 'a/#' is not one that can be published to"),
                ("a/b/c/d/e/f/g/h/i", "the topic 'a/b/c/d/e/f/g/h/i' cannot be published to: it has 8 slashes"),
                ("$aws/things/t/shadow/update", "a reserved topic is written with two dollars, $$aws/things/t/"),
                ("$$aws/things/t/jobs/get", "the topic '$$aws/things/t/jobs/get' is of AWS IoT Jobs"),
            )
        ],
        *[
            (
                {"sql": "SELECT * FROM 'a'", "actions": [{"timestream": {**TIMESTREAM, "dimensions": [dimension]}}]},
                "InvalidRequestException",
                f"actions[0].timestream.dimensions[0].name: Timestream does not take the name {dimension['name']!r}",
            )
            for dimension in ({"name": name, "value": "v"} for name in ("time", "measure_name", "ts_x", "a:b"))
        ],
        (
            {"sql": "SELECT * FROM 'a'", "errorAction": {"lambda": {"functionArn": "${f()}"}}},
            "InvalidRequestException",
            "errorAction.lambda.functionArn: there is no function f (line 1, column 3)",
        ),
        ({"sql": "SELECT * FROM 'a'", "actions": [{}]}, "InvalidRequestException", "exactly one action must be given"),
        (
            {"sql": "SELECT * FROM 'a'", "errorAction": {"http": {"url": "https://x", "enableBatching": True}}},
            "InvalidRequestException",
            "errorAction.http.enableBatching: an error action cannot be batched",
        ),
        (
            {"sql": "SELECT * FROM 'a'", "actions": [{"http": {"url": "https://x", "auth": {"sigv4": {}}}}]},
            "InvalidRequestException",
            "actions[0].http.auth: SigV4 authorization of the http action is not supported by stepbridge",
        ),
        (
            {
                "sql": "SELECT * FROM 'a'",
                "actions": [{"http": {"url": "https://x/a", "confirmationUrl": "https://x/b"}}],
            },
            "InvalidRequestException",
            "actions[0].http.url: 'https://x/a' does not begin with the confirmationUrl",
        ),
        (
            {"sql": "SELECT * FROM 'a'", "actions": [{"http": {"url": "https://[::1]/a"}}]},
            "InvalidRequestException",
            "actions[0].http.url: 'https://[::1]/a' is not the URL of an endpoint: IPv6 addresses are not supported",
        ),
        (
            {"sql": "SELECT * FROM 'a'", "actions": [{"http": {"url": "ftp://x"}}]},
            "InvalidRequestException",
            "actions[0].http.url: 'ftp://x' is not the URL of an endpoint: it does not begin with https://",
        ),
        (
            {"sql": "SELECT * FROM 'a'", "actions": [{"republish": {"roleArn": f"{ROLE}-not", "topic": "b"}}]},
            "InvalidRequestException",
            UNABLE_TO_ASSUME,
        ),
        (
            {"sql": "SELECT * FROM 'a' WHERE get_thing_shadow('t', 'arn:aws:iam::123456789012:role/none').x = 1"},
            "InvalidRequestException",
            "arn:aws:iam::123456789012:role/none",
        ),
    ],
)
def test_what_aws_refuses_is_refused(rules: Rules, payload: dict[str, Any], code: str, message: str) -> None:
    error = _refused(rules, payload)
    assert error.code == code
    assert message in error.message


def test_the_life_of_a_rule(rules: Rules) -> None:
    async def test() -> None:
        service, caller, name = rules.service, rules.caller, {"ruleName": "r"}
        await rules.create("r", "SELECT * FROM 'a/+'", LAMBDA, description="d")
        with pytest.raises(AwsError) as twice:
            await rules.create("r", "SELECT * FROM 'a/+'", LAMBDA)
        assert twice.value.code == "ResourceAlreadyExistsException"
        assert twice.value.members["resourceArn"] == "arn:aws:iot:us-east-1:123456789012:rule/r"
        assert await service.get_topic_rule(caller, name) == {
            "ruleArn": "arn:aws:iot:us-east-1:123456789012:rule/r",
            "rule": {
                "ruleName": "r",
                "sql": "SELECT * FROM 'a/+'",
                "description": "d",
                "createdAt": 1_700_000_000.0,
                "actions": [LAMBDA],
                "ruleDisabled": False,
                "awsIotSqlVersion": "2016-03-23",
            },
        }
        payload = {"sql": "SELECT x FROM 'b'", "actions": [LAMBDA], "ruleDisabled": True}
        await service.replace_topic_rule(caller, {**name, "topicRulePayload": payload})
        rule = (await service.get_topic_rule(caller, name))["rule"]
        assert (rule["sql"], rule["awsIotSqlVersion"], rule["ruleDisabled"]) == (payload["sql"], "2015-10-08", True)
        await service.delete_topic_rule(caller, name)
        await service.delete_topic_rule(caller, name)
        for operation in (service.get_topic_rule, service.enable_topic_rule, service.disable_topic_rule):
            with pytest.raises(AwsError, match="Access to topic rule 'r' was denied"):
                await operation(caller, name)

    asyncio.run(test())


def test_rules_are_listed_in_pages(rules: Rules) -> None:
    async def test() -> None:
        for name, topic in (("c", "t"), ("a", "t"), ("b", "u")):
            await rules.create(name, f"SELECT * FROM '{topic}'", LAMBDA, ruleDisabled=name == "c")
        names: list[str] = []
        request: dict[str, Any] = {"maxResults": 2}
        while True:
            page = await rules.service.list_topic_rules(rules.caller, request)
            names += [rule["ruleName"] for rule in page["rules"]]
            if "nextToken" not in page:
                break
            request["nextToken"] = page["nextToken"]
        assert names == ["a", "b", "c"]
        by_topic = await rules.service.list_topic_rules(rules.caller, {"topic": "t"})
        assert [rule["ruleName"] for rule in by_topic["rules"]] == ["a", "c"]
        disabled = await rules.service.list_topic_rules(rules.caller, {"ruleDisabled": True})
        assert [rule["ruleName"] for rule in disabled["rules"]] == ["c"]

    asyncio.run(test())


def test_tags_of_a_new_rule_are_kept(rules: Rules) -> None:
    async def test() -> None:
        payload = {"sql": "SELECT * FROM 'a'", "actions": []}
        request = {"ruleName": "r", "topicRulePayload": payload, "tags": "team=a%20b&empty="}
        await rules.service.create_topic_rule(rules.caller, request)
        rows = rules.store.query("SELECT name, value FROM iot_tag ORDER BY name")
        assert [tuple(row) for row in rows] == [("empty", ""), ("team", "a b")]

    asyncio.run(test())
