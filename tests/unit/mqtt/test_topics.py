"""Names and filters."""

import pytest

from stepbridge.iot.broker.subscriptions import Subscriptions
from stepbridge.iot.mqtt import topics
from stepbridge.iot.mqtt.packets import Subscription

MATCHING = [
    ("a", "a", True),
    ("a", "A", False),
    ("a/b", "a", False),
    ("a", "a/b", False),
    ("+", "a", True),
    ("+", "/a", False),
    ("+/+", "/a", True),
    ("/+", "/a", True),
    ("a/+", "a/", True),
    ("a/+", "a", False),
    ("a/+/c", "a/b/c", True),
    ("#", "a/b/c", True),
    ("a/#", "a/b/c", True),
    ("a/#", "a/", True),
    ("a/#", "a", False),  # AWS, unlike the specification
    ("+/#", "a", False),
    ("#", "$aws/x", False),
    ("+/x", "$aws/x", False),
    ("$aws/#", "$aws/x", True),
    ("$aws/+", "$aws/x", True),
    ("a//b", "a//b", True),
    ("a/+/b", "a//b", True),
]


@pytest.mark.parametrize(("topic_filter", "topic", "expected"), MATCHING)
def test_matching(topic_filter: str, topic: str, expected: bool) -> None:
    assert topics.matches(topic_filter, topic) is expected
    tree: Subscriptions[str] = Subscriptions()
    tree.add("session", Subscription(topic_filter))
    assert bool(tree.match(topic).sessions) is expected
    tree.remove("session", topic_filter)
    assert not tree.match(topic).sessions


def test_best_of_overlapping_subscriptions() -> None:
    tree: Subscriptions[str] = Subscriptions()
    tree.add("s", Subscription("a/+", 0))
    tree.add("s", Subscription("a/b", 1))
    tree.add("s", Subscription("$share/g/a/#", 1))
    found = tree.match("a/b")
    assert found.sessions == (("s", Subscription("a/b", 1)),)
    assert [list(group.members) for group in found.groups] == [["s"]]


def test_group_takes_turns() -> None:
    tree: Subscriptions[str] = Subscriptions()
    for name in "abc":
        tree.add(name, Subscription("$share/g/t"))
    group = tree.match("t").groups[0]
    assert [group.in_turn()[0][0] for _ in range(4)] == ["a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("topic_filter", "fault"),
    [
        ("a/+/b/#", None),
        ("$share/g/a/#", None),
        ("", "at least one character"),
        ("$share/g/", "at least one character"),
        ("$share/g", "at least one character"),
        ("$share//a", "shared subscription"),
        ("$share/+/a", "shared subscription"),
        ("a/#/b", "last level"),
        ("a#", "last level"),
        ("a+/b", "whole level"),
    ],
)
def test_filter_fault(topic_filter: str, fault: str | None) -> None:
    found = topics.filter_fault(topic_filter)
    assert found is None if fault is None else fault in (found or "")


@pytest.mark.parametrize(
    ("topic", "within"),
    [
        ("/" * 7, True),
        ("/" * 8, False),
        ("x" * 256, True),
        ("ü" * 129, False),
        ("$share/group/" + "x/" * 7, True),
        ("$share/group/" + "x/" * 8, False),
        ("$aws/rules/rule/" + "x/" * 7, True),
        ("$aws/rules/rule/" + "x/" * 8, False),
    ],
)
def test_limits(topic: str, within: bool) -> None:
    assert (topics.limit_fault(topic) is None) is within


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("$aws/rules/r", True),
        ("$aws/rules/r/a/b", True),
        ("$aws/rules/", False),
        ("$aws/things/t/shadow/update", True),
        ("$aws/things/t/shadow/name/n/get", True),
        ("$aws/things/t/shadow/update/accepted", False),
        ("$aws/events/presence/connected/x", False),
        ("$SYS/x", False),
    ],
)
def test_reserved_topics(topic: str, allowed: bool) -> None:
    assert topics.may_publish(topic) is allowed


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("$aws/things/t/jobs/get", "is not emulated"),
        ("$aws/certificates/create/json", "is not emulated"),
        ("$aws/things/t/shadow/update/accepted", "is reserved by AWS"),
        ("$aws/events/presence/connected/x", "is reserved by AWS"),
        ("$mine", "is reserved by AWS"),
    ],
)
def test_why_a_reserved_topic_cannot_be_used(topic: str, reason: str) -> None:
    assert not topics.may_publish(topic)
    assert reason in topics.reservation(topic)
