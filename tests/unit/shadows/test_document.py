"""Shadow documents by tables: what is refused, how updates merge, and what the answers say."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.iot.shadows import document
from stepbridge.iot.shadows.document import Rejection, Shadow

NOW = 1_700_000_000
T = {"timestamp": NOW}


def update(shadow: Shadow | None, request: dict[str, Any], now: int = NOW) -> Shadow:
    last_version = shadow.version if shadow is not None else 0
    return document.apply_update(shadow, document.parse_update(json.dumps(request).encode()), last_version, now)


def shadow_of(*states: Any) -> Shadow:
    shadow = None
    for state in states:
        shadow = update(shadow, {"state": state})
    assert shadow is not None
    return shadow


def got_state(shadow: Shadow) -> Any:
    return document.accepted_get(shadow, None, NOW)["state"]


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("payload", "code", "message"),
    [
        (b"", 400, "Invalid JSON"),
        (b"{", 400, "Invalid JSON"),
        (b"[]", 400, "Invalid JSON"),
        (b'{"state": {"desired": {"a": NaN}}}', 400, "Invalid JSON"),
        (b'{"state": {"desired": {"a": 1e999}}}', 400, "Invalid JSON"),
        (rb'{"state": {"desired": {"a": "\ud800"}}}', 400, "Invalid JSON"),
        (b'{"state": {"desired": {"a": "\xff"}}}', 415, "Unsupported documented encoding; supported encoding is UTF-8"),
        (b"{}", 400, "Missing required node: state"),
        (b'{"version": 1}', 400, "Missing required node: state"),
        (b'{"state": 1}', 400, "State node must be an object"),
        (b'{"state": []}', 400, "State node must be an object"),
        (b'{"state": {"desired": 1}}', 400, "Desired node must be an object"),
        (b'{"state": {"reported": []}}', 400, "Reported node must be an object"),
        (b'{"state": {"foo": {}}}', 400, "State contains an invalid node: 'foo'"),
        (b'{"state": {"desired": {"a": [1, null]}}}', 400, "State contains an invalid node"),
        (b'{"state": {"desired": {"a": [{"b": [null]}]}}}', 400, "State contains an invalid node"),
        (b'{"state": {}, "version": "1"}', 400, "Invalid version"),
        (b'{"state": {}, "version": true}', 400, "Invalid version"),
        (b'{"state": {}, "version": -1}', 400, "Invalid version"),
        (b'{"state": {}, "version": 1.5}', 400, "Invalid version"),
        (b'{"state": {}, "clientToken": 1}', 400, "Invalid clientToken"),
        (b'{"state": {}, "clientToken": "%s"}' % (b"x" * 65), 400, "Invalid clientToken"),
        ('{"state": {}, "clientToken": "%s"}' % ("é" * 33), 400, "Invalid clientToken"),
        (
            json.dumps({"state": {"desired": nested(7)}}),
            400,
            "JSON contains too many levels of nesting; maximum is 6",
        ),
        (
            json.dumps({"state": {"reported": {"a": [[[[[[1]]]]]]}}}),
            400,
            "JSON contains too many levels of nesting; maximum is 6",
        ),
        (b'{"state": ' + b"[" * 100_000, 400, "JSON contains too many levels of nesting; maximum is 6"),
        (
            json.dumps({"state": {"desired": {"a": "x" * 8192}}}),
            413,
            "The payload exceeds the maximum size allowed",
        ),
    ],
)
def test_refused_update(payload: bytes | str, code: int, message: str) -> None:
    with pytest.raises(Rejection) as caught:
        document.parse_update(payload.encode() if isinstance(payload, str) else payload)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_a_rejection_carries_the_client_token() -> None:
    with pytest.raises(Rejection) as caught:
        document.parse_update(b'{"clientToken": "t"}')
    assert caught.value.document == {"code": 400, "message": "Missing required node: state", "clientToken": "t"}
    with pytest.raises(Rejection) as caught:
        document.parse_update(b"?")
    assert caught.value.document == {"code": 400, "message": "Invalid JSON"}


def test_the_limits_are_inclusive() -> None:
    assert document.parse_update(json.dumps({"state": {"desired": nested(6)}}).encode())
    assert document.parse_update(b'{"state": {}, "clientToken": "%s"}' % (b"x" * 64))
    # {"desired":{"a":"…"}} has 19 bytes beside the text.
    assert update(None, {"state": {"desired": {"a": "x" * (8192 - 20)}}})
    with pytest.raises(Rejection, match="413"):
        update(None, {"state": {"desired": {"a": "x" * (8192 - 19)}}})


def test_white_space_metadata_and_what_lies_beside_the_state_do_not_count_towards_the_size() -> None:
    request = {"state": {"desired": {f"k{n}": 1 for n in range(500)}}, "more": "x" * 9000}
    assert document.parse_update(json.dumps(request, indent=20).encode()).state == request["state"]


def test_the_merged_state_must_not_be_too_large_either() -> None:
    first = shadow_of({"desired": {"a": "x" * 5000}})
    with pytest.raises(Rejection, match="413"):
        update(first, {"state": {"reported": {"b": "x" * 5000}}})


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        # Validated against the real service by moto's tests.
        ([{"desired": {"led": "on"}}], {"desired": {"led": "on"}, "delta": {"led": "on"}}),
        (
            [{"desired": {"online": True}}, {"reported": {"online": False}}],
            {"desired": {"online": True}, "reported": {"online": False}, "delta": {"online": True}},
        ),
        (
            [{"desired": {"enabled": True}}, {"reported": {"online": False, "enabled": True}}],
            {"desired": {"enabled": True}, "reported": {"online": False, "enabled": True}},
        ),
        ([{}], {}),
        ([{}, {"reported": {"online": None}}], {}),
        ([{"desired": {}}, {"reported": {"online": False}}], {"reported": {"online": False}}),
        (
            [{"desired": {"enabled": True}}, {"reported": {}}],
            {"desired": {"enabled": True}, "delta": {"enabled": True}},
        ),
        (
            [{"reported": {"list": ["1", "2"]}}, {"desired": {"list": ["1"]}}],
            {"desired": {"list": ["1"]}, "reported": {"list": ["1", "2"]}, "delta": {"list": ["1"]}},
        ),
        (
            [{"reported": {"a": {"b": {"c": "d", "e": "f"}}}}, {"desired": {"a": {"b": {"c": "d2"}}}}],
            {
                "desired": {"a": {"b": {"c": "d2"}}},
                "reported": {"a": {"b": {"c": "d", "e": "f"}}},
                "delta": {"a": {"b": {"c": "d2"}}},
            },
        ),
        (
            [{"reported": {"a": {"b1": {"c": "d"}}}}, {"desired": {"a": {"b1": {"c": "d"}, "b2": "s"}}}],
            {
                "desired": {"a": {"b1": {"c": "d"}, "b2": "s"}},
                "reported": {"a": {"b1": {"c": "d"}}},
                "delta": {"a": {"b2": "s"}},
            },
        ),
        (
            [{"desired": {"a": 1, "b": {"c": 3}}}, {"desired": {"a": 1, "b": {"c": {}}, "d": {}}}],
            {"desired": {"a": 1, "b": {"c": {}}, "d": {}}, "delta": {"a": 1, "b": {"c": {}}, "d": {}}},
        ),
        ([{"desired": {"a": 1, "b": 2}}, {"desired": {"a": None}}], {"desired": {"b": 2}, "delta": {"b": 2}}),
        ([{"desired": {"a": 1}}, {"desired": {"a": None}}], {}),
        # The developer guide.
        ([{"desired": {"a": 1}, "reported": {"a": 2}}, {"desired": None}], {"reported": {"a": 2}}),
        ([{"desired": {"a": 1}, "reported": {"a": 2}}, None], {}),
        # AWS's own shadow manager for Greengrass: numbers are compared by value; here true is not 1.
        ([{"desired": {"a": 1}, "reported": {"a": 1.0}}], {"desired": {"a": 1}, "reported": {"a": 1.0}}),
        (
            [{"desired": {"a": [True]}, "reported": {"a": [1]}}],
            {"desired": {"a": [True]}, "reported": {"a": [1]}, "delta": {"a": [True]}},
        ),
        (
            [{"desired": {"a": {"b": 1}}, "reported": {"a": {"b": 1, "c": 2}}}],
            {"desired": {"a": {"b": 1}}, "reported": {"a": {"b": 1, "c": 2}}},
        ),
        ([{"desired": {"a": {"b": 1}}}, {"desired": {"a": 5}}], {"desired": {"a": 5}, "delta": {"a": 5}}),
    ],
)
def test_merging_and_delta(states: list[Any], expected: Any) -> None:
    assert got_state(shadow_of(*states)) == expected


def test_metadata_have_the_shape_of_the_state_and_tell_when_each_value_was_set() -> None:
    first = update(None, {"state": {"desired": {"a": 1, "l": [1, {"x": 2}], "o": {"p": 1, "q": 2}}}}, now=1)
    second = update(first, {"state": {"desired": {"a": 1, "o": {"p": None, "r": 3}}}}, now=2)
    one, two = {"timestamp": 1}, {"timestamp": 2}
    assert first.metadata == {"desired": {"a": one, "l": [one, {"x": one}], "o": {"p": one, "q": one}}}
    assert second.metadata == {"desired": {"a": two, "l": [one, {"x": one}], "o": {"q": one, "r": two}}}


def test_versions() -> None:
    shadow = shadow_of({"desired": {"a": 1}}, {})
    assert shadow.version == 2
    assert update(shadow, {"state": {}, "version": 2}).version == 3
    for version in (0, 1, 3):
        with pytest.raises(Rejection) as caught:
            update(shadow, {"state": {}, "version": version, "clientToken": "t"})
        assert caught.value.document == {"code": 409, "message": "Version conflict", "clientToken": "t"}
    assert update(shadow, {"state": {}, "version": None}).version == 3


def test_the_answers() -> None:
    request = document.parse_update(b'{"state": {"desired": {"a": 1, "b": null}}, "clientToken": "t", "version": 1}')
    before = shadow_of({"desired": {"b": 1}, "reported": {"c": 1}})
    after = document.apply_update(before, request, 1, NOW)
    assert document.accepted_update(request, after, NOW) == {
        "state": {"desired": {"a": 1, "b": None}},
        "metadata": {"desired": {"a": T, "b": T}},
        "version": 2,
        "timestamp": NOW,
        "clientToken": "t",
    }
    assert document.delta_message(request, after, NOW) == {
        "version": 2,
        "timestamp": NOW,
        "state": {"a": 1},
        "metadata": {"a": T},
        "clientToken": "t",
    }
    assert document.documents_message(before, after, "t", NOW) == {
        "previous": {
            "state": {"desired": {"b": 1}, "reported": {"c": 1}},
            "metadata": {"desired": {"b": T}, "reported": {"c": T}},
            "version": 1,
        },
        "current": {
            "state": {"desired": {"a": 1}, "reported": {"c": 1}},
            "metadata": {"desired": {"a": T}, "reported": {"c": T}},
            "version": 2,
        },
        "timestamp": NOW,
        "clientToken": "t",
    }
    assert "previous" not in document.documents_message(None, after, None, NOW)
    assert document.accepted_get(after, "u", NOW + 5) == {
        "state": {"desired": {"a": 1}, "reported": {"c": 1}, "delta": {"a": 1}},
        "metadata": {"desired": {"a": T}, "reported": {"c": T}},
        "version": 2,
        "timestamp": NOW + 5,
        "clientToken": "u",
    }
    in_step = update(after, {"state": {"reported": {"a": 1}}})
    assert document.delta_message(request, in_step, NOW) is None


@pytest.mark.parametrize(
    ("payload", "token"),
    [(b"", None), (b"anything", None), (b"{}", None), (b"[]", None), (b'{"clientToken": "t"}', "t")],
)
def test_the_content_of_other_requests_is_ignored_but_for_the_client_token(payload: bytes, token: str | None) -> None:
    assert document.client_token_of(payload) == token


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)


@given(st.lists(st.one_of(st.fixed_dictionaries({"state": _VALUES}), _VALUES), max_size=4))
def test_no_request_breaks_a_shadow(requests: list[Any]) -> None:
    shadow = None
    for request in requests:
        try:
            after = update(shadow, request)
        except Rejection as rejection:
            json.dumps(rejection.document)
            continue
        assert after.version == (shadow.version if shadow else 0) + 1
        assert after.state.keys() == after.metadata.keys()
        shadow = after
        document.dump(document.accepted_get(shadow, None, NOW))


@given(st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3))
def test_reporting_what_is_desired_leaves_no_delta(values: dict[str, Any]) -> None:
    try:
        shadow = shadow_of({"desired": values}, {"reported": values})
    except Rejection:
        return
    assert document.delta(shadow) == ({}, {})


@given(st.binary(max_size=64))
def test_no_bytes_break_the_parser(payload: bytes) -> None:
    with pytest.raises(Rejection):
        document.parse_update(payload)
