"""Documents, conditions and verdicts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.authorization import (
    IAM_IDENTITY,
    IAM_RESOURCE,
    IAM_TRUST,
    IOT,
    Context,
    Dialect,
    MalformedPolicyError,
    Outcome,
    Principal,
    Request,
    evaluate,
    explain,
    parse_policy,
)
from stepbridge.authorization.conditions import OPERATORS
from stepbridge.authorization.device_context import CertificateFacts, ThingFacts, device_context

ARN = "arn:aws:iot:us-east-1:123456789012"
VERSION = "Unknown policy document version. It must be version 2012-10-17"
SYNTAX = "Invalid policy syntax."
ALLOW: dict[str, Any] = {"Effect": "Allow", "Action": "iot:Publish", "Resource": "*"}


def document(*statements: Any, **elements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)} | elements


@pytest.mark.parametrize(
    ("text", "reason", "place"),
    [
        ("./policy.json", SYNTAX, "line 1, column 1: Expecting value"),
        ("[]", SYNTAX, "the document is not a JSON object"),
        ('{"Statement": []}', VERSION, "Version"),
        (document(ALLOW, Version="2008-10-17"), VERSION, "Version"),
        (document(), "Policy has no statements", ""),
        (document(ALLOW, Foo=1), SYNTAX, "unknown element Foo"),
        (document("x"), SYNTAX, "Statement[0] is not an object"),
        (document(ALLOW, {**ALLOW, "Effect": "Permit"}), "Invalid effect: Permit", "Statement[1].Effect"),
        (document({"Action": "iot:*", "Resource": "*"}), SYNTAX, "Statement[0] has no Effect"),
        (document({**ALLOW, "Action": []}), SYNTAX, "Statement[0].Action is empty"),
        (
            document({**ALLOW, "Action": "Publish"}),
            "The following actions are invalid : Publish",
            "Statement[0].Action",
        ),
        (document({**ALLOW, "Resource": "\\"}), "The following resources are invalid : \\", "Statement[0].Resource"),
        (document({**ALLOW, "Resource": 1}), SYNTAX, "Statement[0].Resource is neither a string nor a list of strings"),
        (
            document({**ALLOW, "Principal": "*"}),
            SYNTAX,
            "Statement[0].Principal is not an element of an AWS IoT policy",
        ),
        (document({**ALLOW, "NotAction": "iot:*"}), SYNTAX, "Statement[0] has both Action and NotAction"),
        (
            document({**ALLOW, "Condition": {"StringIs": {"a": "b"}}}),
            SYNTAX,
            "Statement[0].Condition.StringIs: no such condition operator",
        ),
        (
            document({**ALLOW, "Condition": {"IpAddress": {"aws:SourceIp": "here"}}}),
            SYNTAX,
            "Statement[0].Condition.IpAddress.aws:SourceIp: here is not an address range",
        ),
        (document({**ALLOW, "Sid": "a"}, {**ALLOW, "Sid": "a"}), SYNTAX, "the Sid a is used twice"),
        ('{"Version": "2012-10-17", "Version": "2012-10-17"}', SYNTAX, "Version is there twice in one object"),
    ],
)
def test_malformed_documents(text: Any, reason: str, place: str) -> None:
    with pytest.raises(MalformedPolicyError) as refusal:
        parse_policy("p", text if isinstance(text, str) else json.dumps(text), IOT)
    assert (refusal.value.reason, refusal.value.place) == (reason, place)


def test_the_size_counts_without_white_space() -> None:
    def written(length: int) -> str:
        empty = json.dumps(document({**ALLOW, "Resource": f"{ARN}:topic/"}))
        filled = "x" * (length - len(empty.replace(" ", "")))
        return json.dumps(document({**ALLOW, "Resource": f"{ARN}:topic/{filled}"})).replace(" ", " " * 500)

    parse_policy("p", written(2048), IOT)
    with pytest.raises(MalformedPolicyError, match="2048"):
        parse_policy("p", written(2049), IOT)


def test_a_document_nested_too_deeply() -> None:
    with pytest.raises(MalformedPolicyError):
        parse_policy("p", '{"Version": "2012-10-17", "Statement": ' + "[" * 200_000, IAM_IDENTITY)


@pytest.mark.parametrize(
    ("operator", "values", "present", "expected"),
    [
        ("StringEquals", "a", ("a",), True),
        ("StringEquals", ["a", "b"], ("b",), True),
        ("StringEquals", "a*", ("ab",), False),
        ("StringEquals", "${other}", ("value",), True),
        ("StringEquals", "${none}", ("value",), False),
        ("StringEquals", ["value", "${none}"], ("value",), True),
        ("StringNotEquals", "${none}", ("value",), True),
        ("StringNotEquals", ["value", "${none}"], ("value",), False),
        ("StringEquals", "a", None, False),
        ("StringEqualsIfExists", "a", None, True),
        ("StringEqualsIfExists", "a", ("b",), False),
        ("StringNotEquals", ["a", "b"], ("b",), False),
        ("StringNotEquals", ["a", "b"], ("c",), True),
        ("StringNotEquals", "a", None, True),
        ("StringEqualsIgnoreCase", "ABC", ("abc",), True),
        ("StringLike", "a*", ("abc",), True),
        ("StringNotLike", "a*", ("abc",), False),
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "b"), True),
        ("ForAllValues:StringEquals", ["a"], ("a", "b"), False),
        ("ForAllValues:StringEquals", ["a"], None, True),
        ("ForAllValues:StringEquals", [], ("a",), False),
        ("ForAllValues:StringNotEquals", ["a"], ("b", "a"), False),
        ("ForAnyValue:StringEquals", ["a"], ("b", "a"), True),
        ("ForAnyValue:StringEquals", ["a"], (), False),
        ("ForAnyValue:StringEquals", ["a"], None, False),
        ("ForAnyValue:StringNotEquals", ["a"], ("a", "b"), True),
        ("NumericLessThan", "10", ("9.5",), True),
        ("NumericLessThan", 10, ("10",), False),
        ("NumericEquals", "1.0", ("1",), True),
        ("NumericEquals", "1", ("one",), False),
        ("NumericNotEquals", "1", ("2",), True),
        ("NumericGreaterThanEquals", "10", ("10",), True),
        ("DateLessThan", "2026-01-01T00:00:00Z", ("2025-12-31T23:59:59Z",), True),
        ("DateGreaterThan", "1700000000", ("2025-12-31T23:59:59Z",), True),
        ("DateEquals", "2026-01-01", ("2026-01-01T00:00:00Z",), True),
        ("Bool", True, ("true",), True),
        ("Bool", "true", ("false",), False),
        ("IpAddress", "192.168.0.0/16", ("192.168.3.4",), True),
        ("IpAddress", "192.168.0.0/16", ("::ffff:192.168.3.4",), True),
        ("IpAddress", "192.168.0.0/16", ("10.0.0.1",), False),
        ("IpAddress", ["2001:db8::/32"], ("2001:db8::1",), True),
        ("NotIpAddress", "10.0.0.0/8", ("192.168.3.4",), True),
        ("ArnLike", "arn:aws:iot:*:123456789012:rule/*", ("arn:aws:iot:us-east-1:123456789012:rule/r",), True),
        ("ArnEquals", "arn:aws:*:rule/*", ("arn:aws:iot:us-east-1:123456789012:rule/r",), False),
        ("ArnNotEquals", "arn:aws:iot:*:*:rule/r", ("arn:aws:iot:us-east-1:1:rule/s",), True),
        ("ArnLike", "arn:aws:iot:*:*:rule/r", ("rule/r",), False),
        ("ArnEquals", "${arn}", ("arn:aws:iot:us-east-1:1:topic/will",), True),
        ("ArnLike", "arn:aws:iot:us-east-1:1:topic/${stars}", ("arn:aws:iot:us-east-1:1:topic/will",), False),
        ("ArnLike", "arn:aws:iot:us-east-1:1:topic/${stars}", ("arn:aws:iot:us-east-1:1:topic/a*:?",), True),
        ("ArnLike", "arn:aws:iot:us-east-1:1:topic/${*}", ("arn:aws:iot:us-east-1:1:topic/will",), False),
        ("ArnNotEquals", "arn:aws:iot:us-east-1:1:topic/${none}", ("arn:aws:iot:us-east-1:1:topic/a",), True),
        ("Null", "true", None, True),
        ("Null", "True", None, True),
        ("Null", "true", (), True),
        ("Null", "false", (), False),
        ("Null", "false", None, False),
        ("Null", "false", ("x",), True),
        ("BinaryEquals", "QmFzZTY0", ("QmFzZTY0",), True),
    ],
)
def test_conditions(operator: str, values: Any, present: tuple[str, ...] | None, expected: bool) -> None:
    policy = parse_policy("p", document({**ALLOW, "Condition": {operator: {"key": values}}}), IOT)
    variables = {"other": ("value",), "stars": ("a*:?",), "arn": ("arn:aws:iot:us-east-1:1:topic/will",)}
    context = Context(variables | ({} if present is None else {"Key": present}))
    request = Request("iot:Publish", f"{ARN}:topic/a", context)
    assert evaluate([policy], request).allowed is expected


def test_all_conditions_of_a_statement_must_hold() -> None:
    condition = {"StringEquals": {"a": "1", "b": "1"}}
    policy = parse_policy("p", document({**ALLOW, "Condition": condition}), IOT)
    for b, allowed in (("1", True), ("2", False)):
        request = Request("iot:Publish", "x", Context({"a": ("1",), "b": (b,)}))
        assert evaluate([policy], request).allowed is allowed


@pytest.mark.parametrize(
    ("statement", "action", "resource", "expected"),
    [
        ({"Action": "iot:*"}, "iot:Publish", "topic/a", True),
        ({"Action": "IOT:publish"}, "iot:Publish", "topic/a", True),
        ({"Action": "iot:Pub*"}, "iot:Subscribe", "topicfilter/a", False),
        ({"NotAction": "iot:Publish"}, "iot:Publish", "topic/a", False),
        ({"NotAction": "iot:Publish"}, "iot:Receive", "topic/a", True),
        ({"Resource": f"{ARN}:topic/A"}, "iot:Publish", "topic/a", False),
        ({"NotResource": f"{ARN}:topic/a"}, "iot:Publish", "topic/a", False),
        ({"NotResource": f"{ARN}:topic/a"}, "iot:Publish", "topic/b", True),
    ],
)
def test_actions_and_resources(statement: dict[str, str], action: str, resource: str, expected: bool) -> None:
    written = {"Effect": "Allow", **({} if "NotAction" in statement else {"Action": "*"}), **statement}
    if "NotResource" not in statement:
        written.setdefault("Resource", "*")
    policy = parse_policy("p", document(written), IOT)
    assert evaluate([policy], Request(action, f"{ARN}:{resource}")).allowed is expected


def test_a_deny_in_any_policy_wins_and_is_named() -> None:
    allow = parse_policy("allow", document(ALLOW), IOT)
    deny = parse_policy("deny", document(ALLOW, {**ALLOW, "Effect": "Deny", "Sid": "Never"}), IOT)
    request = Request("iot:Publish", f"{ARN}:topic/a")
    verdict = evaluate([allow, deny], request)
    assert verdict.outcome is Outcome.EXPLICIT_DENY
    assert explain([allow, deny], request, verdict).endswith("is denied by policy deny, statement 2 (Never)")


def test_an_explanation_names_what_a_near_miss_lacks() -> None:
    statements = (
        {**ALLOW, "Resource": f"{ARN}:topic/${{iot:Connection.Thing.ThingName}}"},
        {**ALLOW, "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}},
    )
    policy = parse_policy("p", document(*statements), IOT)
    request = Request("iot:Publish", f"{ARN}:topic/a", device_context(client_id="a"))
    text = explain([policy], request, evaluate([policy], request))
    assert "statement 1 does not apply: ${iot:Connection.Thing.ThingName} has no value here" in text
    assert "statement 2 does not apply: its condition Bool iot:Connection.Thing.IsAttached [true]" in text


def test_an_explanation_names_the_first_near_misses_only() -> None:
    statements = [{**ALLOW, "Resource": f"{ARN}:topic/{number}"} for number in range(9)]
    policy = parse_policy("p", document(*statements), IOT)
    request = Request("iot:Publish", f"{ARN}:topic/a")
    text = explain([policy], request, evaluate([policy], request))
    assert "statement 5 does not apply" in text
    assert "statement 6" not in text
    assert "4 more statements do not apply. It would take" in text


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("iot:Publsh", "iot:Publish"),
        (["iot:Connect", "iot:Recieve"], "iot:Receive"),
        ("iot:GetThingSadow", "iot:GetThingShadow"),
    ],
)
def test_an_explanation_names_an_action_that_may_be_mistyped(written: str | list[str], asked: str) -> None:
    policy = parse_policy("p", document({**ALLOW, "Action": written}), IOT)  # as AWS does, which takes any action
    request = Request(asked, f"{ARN}:topic/a")
    wrong = written if isinstance(written, str) else written[-1]
    text = explain([policy], request, evaluate([policy], request))
    assert f"policy p, statement 1 does not apply: its Action is {wrong} (mistyped?)" in text


def test_an_action_that_is_another_one_is_not_mistyped() -> None:
    for written in ("iot:GetRetainedMessage", "iot:UpdateThingShadow", "iot:RetainPublish", "iot:Connect"):
        policy = parse_policy("p", document({**ALLOW, "Action": written}), IOT)
        for asked in ("iot:ListRetainedMessages", "iot:GetThingShadow", "iot:DeleteThingShadow", "iot:Publish"):
            request = Request(asked, f"{ARN}:topic/a")
            assert "mistyped" not in explain([policy], request, evaluate([policy], request))


LAMBDA = "arn:aws:lambda:us-east-1:123456789012:function:f"
RULE = "arn:aws:iot:us-east-1:123456789012:rule/r"


@pytest.mark.parametrize(
    ("written", "principal", "context", "expected"),
    [
        ({"Service": "iot.amazonaws.com"}, Principal("Service", "iot.amazonaws.com"), {"AWS:SourceArn": (RULE,)}, True),
        ({"Service": "iot.amazonaws.com"}, Principal("Service", "iot.amazonaws.com"), {}, False),
        ({"Service": "s3.amazonaws.com"}, Principal("Service", "iot.amazonaws.com"), {"AWS:SourceArn": (RULE,)}, False),
        ("*", None, {"AWS:SourceArn": (RULE,)}, True),
        (
            {"AWS": "123456789012"},
            Principal("AWS", "arn:aws:iam::123456789012:role/x"),
            {"aws:sourcearn": (RULE,)},
            True,
        ),
        ({"AWS": "arn:aws:iam::1:root"}, Principal("AWS", "arn:aws:iam::2:role/x"), {"aws:sourcearn": (RULE,)}, False),
    ],
)
def test_a_resource_policy(
    written: Any, principal: Principal | None, context: dict[str, tuple[str, ...]], expected: bool
) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": written,
        "Action": "lambda:InvokeFunction",
        "Resource": LAMBDA,
        "Condition": {"ArnLike": {"AWS:SourceArn": RULE}},
    }
    policy = parse_policy("p", document(statement), IAM_RESOURCE)
    request = Request("lambda:InvokeFunction", LAMBDA, Context(context), principal)
    assert evaluate([policy], request).allowed is expected


@pytest.mark.parametrize(
    ("dialect", "statement", "accepted"),
    [
        (
            IAM_TRUST,
            {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"},
            True,
        ),
        (IAM_TRUST, {"Effect": "Allow", "Action": "sts:AssumeRole"}, False),
        (IAM_TRUST, {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole", "Resource": "*"}, False),
        (IAM_IDENTITY, {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}, True),
        (IAM_IDENTITY, {"Effect": "Allow", "Action": "sqs:SendMessage"}, False),
        (IAM_RESOURCE, {"Effect": "Allow", "Principal": {"Nobody": "x"}, "Action": "sqs:*"}, False),
    ],
)
def test_the_kinds_of_policy(dialect: Dialect, statement: dict[str, Any], accepted: bool) -> None:
    if accepted:
        parse_policy("p", document(statement), dialect)
    else:
        with pytest.raises(MalformedPolicyError):
            parse_policy("p", document(statement), dialect)


def test_before_version_2012_a_variable_is_text() -> None:
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${aws:username}"}
    policy = parse_policy("p", document(statement, Version="2008-10-17"), IAM_IDENTITY)
    context = Context({"aws:username": ("me",)})
    assert not evaluate([policy], Request("s3:GetObject", "arn:aws:s3:::b/me", context)).allowed
    assert evaluate([policy], Request("s3:GetObject", "arn:aws:s3:::b/${aws:username}", context)).allowed


@pytest.mark.parametrize("value", ["a*", "a$b", "a+b", "a?", "#", "x" * 1025])
def test_attributes_with_characters_of_meaning_are_not_put_in(value: str) -> None:
    thing = ThingFacts("t", attributes={"site": value, "plain": "ok"})
    context = device_context(client_id="t", thing=thing, certificate=CertificateFacts({"Subject.CommonName": [value]}))
    for name in ("iot:Connection.Thing.Attributes[site]", "iot:Certificate.Subject.CommonName"):
        policy = parse_policy("p", document({**ALLOW, "Resource": f"{ARN}:topic/${{{name}}}"}), IOT)
        assert not evaluate([policy], Request("iot:Publish", f"{ARN}:topic/{value}", context)).allowed
    policy = parse_policy(
        "p", document({**ALLOW, "Resource": f"{ARN}:${{iot:Connection.Thing.Attributes[plain]}}"}), IOT
    )
    assert evaluate([policy], Request("iot:Publish", f"{ARN}:ok", context)).allowed


def test_five_values_of_a_certificate_attribute() -> None:
    names = {"Subject.OrganizationalUnit": [f"ou{number}" for number in range(7)]}
    context = device_context(client_id="c", certificate=CertificateFacts(names, "77"))
    key = "iot:Certificate.Subject.OrganizationalUnit"
    assert context.get(key) == ("ou0",)
    assert context.get(f"{key}.4") == ("ou4",)
    assert context.get(f"{key}.5") is None
    assert len(context.get(f"{key}.List") or ()) == 5
    assert context.get("iot:Certificate.SerialNumber") == ("77",)
    assert context.get("iot:Certificate.AvailableKeys") == (key, "iot:Certificate.SerialNumber")


_ELEMENTS = ["Version", "Statement", "Effect", "Action", "Resource", "NotResource", "Principal", "Sid", "Condition"]
_WORDS = ["2012-10-17", "Allow", "Deny", "iot:*", "*", f"{ARN}:topic/${{iot:ClientId}}/?", "${", "StringLike", "Null"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(_WORDS) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_ELEMENTS + _WORDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
_STATEMENT = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": st.just("*"), "Resource": _JSON},
    optional={"Condition": st.dictionaries(st.sampled_from(sorted(OPERATORS)), st.dictionaries(st.text(), _JSON))},
)


@given(
    st.just({"Version": "2012-10-17"}).flatmap(lambda head: _STATEMENT.map(lambda s: head | {"Statement": s})) | _JSON,
    st.sampled_from([IOT, IAM_IDENTITY, IAM_RESOURCE, IAM_TRUST]),
    st.text(),
)
def test_any_document_is_refused_or_can_be_evaluated(source: Any, dialect: Dialect, resource: str) -> None:
    try:
        policy = parse_policy("p", json.dumps(source), dialect)
    except MalformedPolicyError:
        return
    request = Request("iot:Publish", resource, Context({"iot:ClientId": ("*",), "": ("1", "b")}))
    explain([policy], request, evaluate([policy], request))


def test_a_number_with_thousands_of_digits() -> None:
    with pytest.raises(MalformedPolicyError):
        parse_policy("p", '{"Version": ' + "1" * 5000 + "}", IAM_IDENTITY)
