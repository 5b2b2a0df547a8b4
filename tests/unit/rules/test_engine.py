"""Messages through the rules engine."""

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stepbridge.api.errors import AwsError
from stepbridge.iot.message import Message, MessageProperties
from stepbridge.store import Store

from .conftest import ROLE, Rules, until_something_waits

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:f"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s-a1B2c3"
LAMBDA = {"lambda": {"functionArn": FUNCTION}}


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def republish(topic: str, **members: Any) -> dict[str, Any]:
    return {"republish": {"roleArn": ROLE, "topic": topic, **members}}


def test_a_message_that_matches_invokes_the_function(rules: Rules) -> None:
    async def test() -> None:
        await rules.create("hot", "SELECT temp, topic(2) AS device FROM 'a/+' WHERE temp > 50", LAMBDA)
        await rules.publish("a/1", {"temp": 60})
        await rules.publish("a/1", {"temp": 50})
        await rules.publish("b/1", {"temp": 60})

    run(test)
    assert rules.functions.invoked == [(FUNCTION, b'{"temp":60,"device":"1"}')]
    assert [hop.text for hop in rules.hops("no-match")] == ["hot does not match a/1: WHERE temp > 50 is false"]
    [done] = rules.hops("action-done")
    assert (done.source, done.fields["rule"], done.fields["topic"]) == ("rules", "hot", "a/1")


def test_a_disabled_rule_does_nothing(rules: Rules) -> None:
    async def test() -> None:
        await rules.create("r", "SELECT * FROM 'a'", LAMBDA, ruleDisabled=True)
        await rules.publish("a", {})
        await rules.service.enable_topic_rule(rules.caller, {"ruleName": "r"})
        await rules.publish("a", {"n": 1})
        await rules.service.disable_topic_rule(rules.caller, {"ruleName": "r"})
        await rules.publish("a", {"n": 2})

    run(test)
    assert [payload for _, payload in rules.functions.invoked] == [b'{"n":1}']


def test_basic_ingest_runs_one_rule_whatever_its_from(rules: Rules) -> None:
    async def test() -> None:
        await rules.create("one", "SELECT topic() AS t, topic(1) AS first FROM 'x'", LAMBDA)
        await rules.create("none", "SELECT *", LAMBDA)
        await rules.create("all", "SELECT * FROM '#'", LAMBDA)
        await rules.publish("$aws/rules/one/a/b", {})
        await rules.publish("$aws/rules/none", {"n": 1})
        await rules.publish("$aws/rules/missing/a", {})

    run(test)
    assert [payload for _, payload in rules.functions.invoked] == [b'{"t":"a/b","first":"a"}', b'{"n":1}']
    assert [hop.text for hop in rules.hops("rule-not-found")] == [
        "$aws/rules/missing/a: the rule missing does not exist"
    ]


def test_republish_with_headers_and_a_reserved_topic(rules: Rules) -> None:
    headers = {
        "payloadFormatIndicator": "UTF8_DATA",
        "contentType": "application/${type}",
        "responseTopic": "answers/${topic(2)}",
        "correlationData": base64.b64encode(b"id").decode(),
        "messageExpiry": "60",
        "userProperties": [{"key": "k-${topic(1)}", "value": "${n}"}],
    }

    async def test() -> None:
        action = republish("$$aws/things/${topic(2)}/shadow/update", qos=1, headers=headers)
        await rules.create("r", "SELECT n FROM 'a/+'", action)
        await rules.publish("a/b", {"n": 5, "type": "json"})

    run(test)
    [message] = rules.publisher.published
    assert (message.topic, message.payload, message.qos) == ("$aws/things/b/shadow/update", b'{"n":5}', 1)
    assert message.properties == MessageProperties(True, "application/json", "answers/b", b"id", 60, (("k-a", "5"),))


def test_jobs_topics_cannot_be_republished_to(rules: Rules) -> None:
    async def test() -> None:
        await rules.create("r", "SELECT * FROM 'a'", republish("$$aws/things/${thing}/jobs/start-next"))
        await rules.publish("a", {"thing": "t"})

    run(test)
    assert rules.publisher.published == []
    [failed] = rules.hops("action-failed")
    assert "the topic '$aws/things/t/jobs/start-next' is of AWS IoT Jobs" in failed.text


def test_chance_is_another_one_in_each_action(rules: Rules) -> None:
    async def test() -> None:
        await rules.create("r", "SELECT * FROM 'a'", republish("b/${newuuid()}"), republish("b/${newuuid()}"))
        await rules.publish("a", {})

    run(test)
    assert len({message.topic for message in rules.publisher.published}) == 2


def test_rules_that_republish_in_a_circle_come_to_an_end(rules: Rules) -> None:
    async def back(message: Message) -> None:
        rules.publisher.published.append(message)
        rules.engine.accept(message)

    rules.publisher.publish = back  # type: ignore[method-assign]

    async def test() -> None:
        await rules.create("there", "SELECT * FROM 'a'", republish("b"))
        await rules.create("back", "SELECT * FROM 'b'", republish("a"))
        await rules.publish("a", {})

    run(test)
    assert [message.topic for message in rules.publisher.published] == ["b", "a"] * 50
    [failed] = rules.hops("action-failed")
    assert "rules have republished this message 100 times in a row" in failed.text


def test_a_failed_action_is_told_to_the_error_action(rules: Rules) -> None:
    refusal = AwsError("AccessDeniedException", "User: iot.amazonaws.com is not authorized", status=403)
    rules.functions.refuse = refusal

    async def test() -> None:
        await rules.create(
            "r",
            "SELECT * FROM 'a'",
            LAMBDA,
            republish("bad/${nokey}/#"),
            republish("ok"),
            errorAction=republish("errors"),
        )
        await rules.publish("a", b'{"n":1}', client_id="c", trace_id="t", source_ip="10.0.0.1")

    run(test)
    messages = {message.topic: message.payload for message in rules.publisher.published}
    assert messages.keys() == {"ok", "errors"}
    assert json.loads(messages["errors"]) == {
        "ruleName": "r",
        "topic": "a",
        "cloudwatchTraceId": "t",
        "clientId": "c",
        "sourceIp": "10.0.0.1",
        "base64OriginalPayload": "eyJuIjoxfQ==",
        "failures": [
            {
                "failedAction": "LambdaAction",
                "failedResource": FUNCTION,
                "errorMessage": "Failed to invoke lambda function. Received Server error from Lambda. "
                "The error code is 403. The error received was "
                "User: iot.amazonaws.com is not authorized (Service: AWSLambda; Status Code: 403; "
                "Error Code: AccessDeniedException; Request ID: t). "
                f"Message arrived on: a, Action: lambda, Function arn: {FUNCTION}",
            },
            {
                "failedAction": "RepublishAction",
                "failedResource": "bad/${nokey}/#",
                "errorMessage": "Failed to republish to topic. The error received was "
                "the topic 'bad//#' is not one that can be published to. "
                "Message arrived on: a, Action: republish, Target Topic: bad/${nokey}/#",
            },
        ],
    }
    assert len(rules.hops("action-failed")) == 2


def test_a_binary_payload_cannot_go_to_a_function(rules: Rules) -> None:
    async def test() -> None:
        await rules.create("raw", "SELECT * FROM 'a'", LAMBDA, republish("raw"))
        await rules.create("encoded", "SELECT encode(*, 'base64') AS data FROM 'a'", LAMBDA)
        await rules.publish("a", b"\x00\xff")

    run(test)
    assert [payload for _, payload in rules.functions.invoked] == [b'{"data":"AP8="}']
    assert [message.payload for message in rules.publisher.published] == [b"\x00\xff"]
    assert "SELECT encode(*, 'base64') AS data" in rules.hops("action-failed")[0].text


def test_the_roles_permissions_are_checked_when_it_is_used(rules: Rules) -> None:
    rules.calls.allowed = ["sqs:*"]

    async def test() -> None:
        queue = "http://127.0.0.1:4566/123456789012/q"
        await rules.create("r", "SELECT * FROM 'a'", {"sqs": {"roleArn": ROLE, "queueUrl": queue}}, republish("b"))
        await rules.publish("a", {})
        rules.calls.allowed = ["iot:Publish"]
        rules.clock.advance(10)  # IAM's changes take seconds
        await rules.publish("a", {})

    run(test)
    assert [operation for _, operation, _ in rules.calls.made] == ["SendMessage"]
    assert [message.topic for message in rules.publisher.published] == ["b"]
    first, second = rules.hops("action-failed")
    assert (
        "is not authorized to perform: iot:Publish on resource: arn:aws:iot:us-east-1:123456789012:topic/b"
        in first.text
    )
    assert "sqs:SendMessage on resource: arn:aws:sqs:us-east-1:123456789012:q" in second.text


def test_a_transient_error_is_tried_again(rules: Rules) -> None:
    answers = iter([AwsError("ServiceUnavailable", "later", status=503), None])

    async def invoke(*_: Any, **__: Any) -> None:
        answer = next(answers)
        if answer is not None:
            raise answer

    rules.functions.invoke_as_service = invoke  # type: ignore[method-assign]

    async def test() -> None:
        await rules.create("r", "SELECT * FROM 'a'", LAMBDA)
        idle = asyncio.ensure_future(rules.publish("a", {}))
        await until_something_waits(rules.clock)
        rules.clock.advance(1)
        await idle

    run(test)
    assert not rules.hops("action-failed")
    assert len(rules.hops("action-done")) == 1


def test_what_was_accepted_survives_a_killed_process(tmp_path: Path) -> None:
    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    async def before() -> None:
        rules = Rules(Store(tmp_path / "db"))
        rules.functions.invoke_as_service = never  # type: ignore[method-assign]
        await rules.create("r", "SELECT *, clientid() AS c, topic(2) AS t FROM 'a/+'", LAMBDA)
        properties = MessageProperties(correlation_data=b"\x00", user_properties=(("k", "v"),))
        message = Message("a/b", b'{"n":1}', 1, False, 5.0, "client", "principal", "::1", "trace", properties)
        rules.engine.accept(message)
        rules.engine.accept(Message("a/b", b'{"n":0}', 0, False, 5.0))  # quality of service 0 is not kept
        await rules.store.committed()
        # The end of the event loop is the end of the process: nothing is stopped in order.

    async def after() -> Rules:
        rules = Rules(Store(tmp_path / "db"))
        await rules.engine.start()
        await rules.engine.idle()
        await rules.store.committed()
        assert rules.store.query("SELECT * FROM rules_delivery") == []
        return rules

    asyncio.run(before())
    assert asyncio.run(after()).functions.invoked == [(FUNCTION, b'{"n":1,"c":"client","t":"b"}')]
    assert asyncio.run(after()).functions.invoked == []


def test_stopping_finishes_what_is_in_hand_and_tells_what_is_not(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepbridge.iot.rules.engine._DRAIN_SECONDS", 0.05)

    async def test() -> None:
        await rules.create("quick", "SELECT * FROM 'a'", republish("b"))
        rules.engine.accept(Message("a", b"{}", 0, False, 0.0))
        await rules.engine.stop()
        assert [message.topic for message in rules.publisher.published] == ["b"]

        async def never(*_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

        rules.functions.invoke_as_service = never  # type: ignore[method-assign]
        await rules.create("slow", "SELECT * FROM 'c'", LAMBDA)
        rules.engine.accept(Message("c", b"{}", 0, False, 0.0))
        await rules.engine.stop()

    run(test)
    assert [hop.fields["rule"] for hop in rules.hops("dropped")] == ["slow"]


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"payloadFormatIndicator": "JSON"}, "payloadFormatIndicator is 'JSON'"),
        ({"correlationData": "!"}, "correlationData is not base64: '!'"),
        ({"correlationData": "é"}, "correlationData is not base64: 'é'"),
        ({"messageExpiry": "${n}"}, "messageExpiry is '0', and not a number of seconds from 1 to 604800"),
        ({"messageExpiry": "soon"}, "messageExpiry is 'soon'"),
    ],
)
def test_headers_that_are_wrong_fail_the_republish(rules: Rules, headers: dict[str, str], problem: str) -> None:
    async def test() -> None:
        await rules.create("r", "SELECT * FROM 'a'", republish("b", headers=headers))
        await rules.publish("a", {"n": 0})

    run(test)
    assert rules.publisher.published == []
    [failed] = rules.hops("action-failed")
    assert problem in failed.text


def test_an_external_function_is_asked_and_its_answer_used(rules: Rules) -> None:
    rules.functions.answer = SimpleNamespace(payload=b'{"x":1.0}', function_error=None)
    rules.calls.answers["GetItem"] = lambda **_: {
        "Item": {"id": {"S": "d"}, "n": {"N": "5"}, "l": {"L": [{"BOOL": True}]}}
    }
    rules.calls.answers["GetSecretValue"] = lambda **_: {"ARN": SECRET, "SecretString": '{"k":"s"}'}
    rules.calls.answers["GetThingShadow"] = lambda **_: {"payload": b'{"state":{"on":true}}'}
    rules.calls.answers["DescribeThing"] = lambda **_: {"thingName": "t", "version": 1}

    async def test() -> None:
        sql = f"""SELECT aws_lambda('{FUNCTION}', {{'a': n}}) AS f,
            get_dynamodb('table', 'id', 'd', '{ROLE}') AS i,
            get_secret('s', 'SecretString', 'k', '{ROLE}') AS k,
            get_thing_shadow('t', '{ROLE}').state.on AS on,
            get_registry_data('DescribeThing', 't', '{ROLE}').thingName AS t FROM 'a'"""
        await rules.create("r", sql, republish("b/${get_secret('s', 'SecretString', 'k', '" + ROLE + "')}"))
        await rules.publish("a", {"n": 2})
        await rules.publish("a", {"n": 2})

    run(test)
    expected = b'{"f":{"x":1},"i":{"id":"d","n":5,"l":[true]},"k":"s","on":true,"t":"t"}'
    assert [(message.topic, message.payload) for message in rules.publisher.published] == [("b/s", expected)] * 2
    assert rules.functions.invoked[0] == (FUNCTION, b'{"a":2}')
    assert [operation for _, operation, _ in rules.calls.made].count("GetSecretValue") == 1  # cached


@pytest.mark.parametrize("lacking", ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"])
def test_a_secret_needs_two_permissions_on_its_whole_arn(rules: Rules, lacking: str) -> None:
    rules.calls.answers["GetSecretValue"] = lambda **_: {"ARN": SECRET, "SecretString": "plain"}
    rules.calls.allowed = ["iot:Publish", "secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
    rules.calls.allowed.remove(lacking)

    async def test() -> None:
        await rules.create("r", f"SELECT get_secret('s', 'SecretString', '{ROLE}') AS x FROM 'a'", republish("b"))
        await rules.publish("a", {})

    run(test)
    [failed] = rules.hops("sql-failed")
    assert f"is not authorized to perform: {lacking} on resource: {SECRET}" in failed.text


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("get_secret('s', 'Other', '{role}')", "Other is not SecretString or SecretBinary"),
        ("get_secret('s', 'SecretString', 'k', '{role}')", "the secret is not a JSON object with the key k"),
        ("get_registry_data('ListThings', 't', '{role}')", "ListThings is not one of DescribeThing"),
        ("get_dynamodb('t', 'k', true, '{role}')", "a key value is a String or a number, not true"),
        ("get_dynamodb('t', 'k', nokey, '{role}')", "argument 3 is Undefined"),
        ("aws_lambda('f', 1)", "the function failed: boom"),
        ("aws_lambda(1, 1)", "the function is not a String but 1"),
    ],
)
def test_an_external_function_that_fails_ends_the_rule(rules: Rules, expression: str, reason: str) -> None:
    rules.functions.answer = SimpleNamespace(payload=b"boom", function_error="Unhandled")
    rules.calls.answers["GetSecretValue"] = lambda **_: {"ARN": SECRET, "SecretString": "plain"}

    async def test() -> None:
        await rules.create("r", f"SELECT {expression.format(role=ROLE)} AS x FROM 'a'", LAMBDA)
        await rules.publish("a", {})

    run(test)
    assert rules.functions.invoked == [] or "aws_lambda" in expression
    [failed] = rules.hops("sql-failed")
    assert reason in failed.text


def test_aws_lambda_has_two_seconds(rules: Rules) -> None:
    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    rules.functions.invoke_as_service = never  # type: ignore[method-assign]

    async def test() -> None:
        await rules.create("r", f"SELECT aws_lambda('{FUNCTION}', 1) AS x FROM 'a'", LAMBDA)
        idle = asyncio.ensure_future(rules.publish("a", {}))
        await until_something_waits(rules.clock)
        rules.clock.advance(2)
        await idle

    run(test)
    [failed] = rules.hops("sql-failed")
    assert "did not answer within 2000 ms" in failed.text


def test_log_entries_are_those_of_aws(rules: Rules) -> None:
    async def test() -> None:
        await rules.service.set_v2_logging_options(rules.caller, {"roleArn": ROLE, "defaultLogLevel": "INFO"})
        await rules.create("r", "SELECT * FROM 'a'", republish("b"))
        await rules.publish("a", {}, client_id="c", principal="p", trace_id="t")
        await rules.service.set_v2_logging_options(rules.caller, {"disableAllLogs": True})
        await rules.publish("a", {})

    run(test)
    written = [members for _, operation, members in rules.calls.made if operation == "PutLogEvents"]
    assert {members["logGroupName"] for members in written} == {"AWSIotLogsV2"}
    entries = [json.loads(event["message"]) for members in written for event in members["logEvents"]]
    assert [entry["eventType"] for entry in entries] == ["RuleMatch", "RuleExecution"]
    assert entries[1] == {
        "timestamp": "2023-11-14 22:13:20.000",
        "logLevel": "INFO",
        "traceId": "t",
        "accountId": "123456789012",
        "status": "Success",
        "eventType": "RuleExecution",
        "clientId": "c",
        "topicName": "a",
        "ruleName": "r",
        "ruleAction": "RepublishAction",
        "resources": {"RepublishTopic": "b"},
        "principalId": "p",
    }


def _entries(rules: Rules) -> list[dict[str, Any]]:
    written = [members for _, operation, members in rules.calls.made if operation == "PutLogEvents"]
    return [json.loads(event["message"]) for members in written for event in members["logEvents"]]


def test_everything_is_logged_at_its_level(rules: Rules) -> None:
    rules.functions.answer = SimpleNamespace(payload=b"1", function_error=None)
    rules.calls.answers["GetThingShadow"] = lambda **_: _refuse()

    def _refuse() -> dict[str, Any]:
        raise AwsError("ResourceNotFoundException", "No shadow exists with name: 't'", status=404)

    async def test() -> None:
        await rules.service.set_v2_logging_options(rules.caller, {"roleArn": ROLE, "defaultLogLevel": "DEBUG"})
        await rules.create("r", f"SELECT aws_lambda('{FUNCTION}', 1) AS x FROM 'a'", republish("b/${nokey}#"))
        await rules.create("s", f"SELECT get_thing_shadow('t', '{ROLE}') AS x FROM 'b'", republish("c"))
        await rules.publish("a", {}, client_id="c", trace_id="t")
        await rules.publish("b", {}, client_id="c")
        await rules.publish("$aws/rules/nosuch/x", {}, client_id="c")

    run(test)
    entries = _entries(rules)
    told = [(one["logLevel"], one["status"], one["eventType"], one.get("ruleAction")) for one in entries]
    assert told == [
        ("DEBUG", "Success", "FunctionExecution", "AwsLambda"),
        ("INFO", "Success", "RuleMatch", None),
        ("DEBUG", "Success", "StartingRuleExecution", "RepublishAction"),
        ("ERROR", "Failure", "RuleExecution", "RepublishAction"),
        ("ERROR", "Failure", "FunctionExecution", "GetThingShadow"),
        ("ERROR", "Failure", "RuleExecution", None),
        ("ERROR", "Failure", "RuleNotFound", None),
    ]
    assert entries[0]["clientId"] == "N/A"
    assert entries[3]["details"].startswith("Failed to republish to topic. The error received was ")
    assert entries[4]["details"] == "get_thing_shadow: No shadow exists with name: 't' (ResourceNotFoundException)"
    assert (entries[6]["reason"], entries[6]["details"]) == ("RuleNotFound", "Rule nosuch not found")
    assert (entries[6]["topicName"], entries[6]["ruleName"]) == ("$aws/rules/nosuch/x", "nosuch")
