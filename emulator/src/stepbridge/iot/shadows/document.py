"""Shadow documents: what a request may say, how it changes a shadow, and the documents that tell of it.  Pure.

https://docs.aws.amazon.com/iot/latest/developerguide/device-shadow-document.html
https://docs.aws.amazon.com/iot/latest/developerguide/device-shadow-error-messages.html

A state is a JSON object with the sections `desired` and `reported`; its metadata has the same shape, with
`{"timestamp": seconds}` in place of each value.  Empty sections are not kept.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

Json = dict[str, Any]

SECTIONS = ("desired", "reported")
# "AWS IoT Device Shadow service quotas": 8 KB for the state, which metadata do not count towards; 8 levels with those
# of `state` and the section, so that 6 are left inside a section.
MAXIMUM_STATE = 8 * 1024
MAXIMUM_DEPTH = 6
MAXIMUM_CLIENT_TOKEN = 64  # bytes


class Rejection(Exception):  # noqa: N818 - AWS's word for it
    """A request that is refused: AWS's code and message, and the request's client token, if it had one."""

    def __init__(self, code: int, message: str, client_token: str | None = None) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.client_token = client_token

    @property
    def document(self) -> Json:
        """What is published on `…/rejected`."""
        return {"code": self.code, "message": self.message} | _token(self.client_token)


@dataclass(frozen=True, slots=True)
class Shadow:
    """A shadow as it is kept."""

    state: Json
    metadata: Json
    version: int

    @property
    def snapshot(self) -> Json:
        """The shadow as `…/update/documents` shows it before and after an update."""
        return {"state": self.state, "metadata": self.metadata, "version": self.version}


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """An update that is well-formed.  `state` None clears both sections; `version` is the one it is meant for."""

    state: Json | None
    version: int | None
    client_token: str | None


def parse_update(payload: bytes) -> UpdateRequest:
    """Read a request state document.  Raises Rejection."""
    document = _load(payload)
    client_token = document.get("clientToken")
    if client_token is not None and not _is_client_token(client_token):
        raise Rejection(400, "Invalid clientToken")

    def refuse(code: int, message: str) -> NoReturn:
        raise Rejection(code, message, client_token)

    if "state" not in document:
        refuse(400, "Missing required node: state")
    version = document.get("version")
    if version is not None and (not isinstance(version, int) or isinstance(version, bool) or version < 0):
        refuse(400, "Invalid version")
    state = document["state"]
    if state is None:
        return UpdateRequest(None, version, client_token)
    if not isinstance(state, dict):
        refuse(400, "State node must be an object")
    for name, section in state.items():
        if name not in SECTIONS:
            refuse(400, f"State contains an invalid node: '{name}'")
        if section is not None and not isinstance(section, dict):
            refuse(400, f"{name.capitalize()} node must be an object")
        if _is_deeper(section, MAXIMUM_DEPTH):
            refuse(400, f"JSON contains too many levels of nesting; maximum is {MAXIMUM_DEPTH}")
        # "Arrays can't have null values."
        if _has_null_in_array(section):
            refuse(400, "State contains an invalid node")
    if _size(state) > MAXIMUM_STATE:
        refuse(413, "The payload exceeds the maximum size allowed")
    return UpdateRequest(state, version, client_token)


def client_token_of(payload: bytes) -> str | None:
    """The client token of a get or delete request, whose content matters for nothing else.  Raises Rejection."""
    try:
        token = _load(payload).get("clientToken")
    except Rejection:
        return None
    if token is not None and not _is_client_token(token):
        raise Rejection(400, "Invalid clientToken")
    return token


def apply_update(shadow: Shadow | None, request: UpdateRequest, last_version: int, now: int) -> Shadow:
    """The shadow after an update; `last_version` is what its version goes on from, `now` in seconds.

    Raises Rejection when the version is another one, or when the merged state is too large.
    """
    if request.version is not None and request.version != last_version:
        raise Rejection(409, "Version conflict", request.client_token)
    state: Json = {}
    metadata: Json = {}
    # `"state": null` is null for each section.
    changes = dict.fromkeys(SECTIONS) if request.state is None else request.state
    for section in SECTIONS:
        values: Json = shadow.state.get(section, {}) if shadow is not None else {}
        times: Json = shadow.metadata.get(section, {}) if shadow is not None else {}
        if section in changes:
            wanted = changes[section]
            values, times = ({}, {}) if wanted is None else _merge(values, times, wanted, now)
        if values:
            state[section], metadata[section] = values, times
    if _size(state) > MAXIMUM_STATE:
        raise Rejection(413, "The payload exceeds the maximum size allowed", request.client_token)
    return Shadow(state, metadata, last_version + 1)


def delta(shadow: Shadow) -> tuple[Json, Json]:
    """What is desired and not reported so, and its metadata; empty where there is nothing."""
    desired: Json = shadow.state.get("desired", {})
    return _difference(desired, shadow.state.get("reported", {}), shadow.metadata.get("desired", {}))


def accepted_update(request: UpdateRequest, shadow: Shadow, now: int) -> Json:
    """The answer to an update, also published on `…/update/accepted`: what was asked for, not the whole shadow."""
    return {
        "state": request.state,
        "metadata": _times(request.state, now),
        "version": shadow.version,
        "timestamp": now,
    } | _token(request.client_token)


def accepted_get(shadow: Shadow, client_token: str | None, now: int) -> Json:
    """The answer to a get: the whole shadow, with its delta."""
    difference, _ = delta(shadow)
    state = {**shadow.state, "delta": difference} if difference else shadow.state
    return {"state": state, "metadata": shadow.metadata, "version": shadow.version, "timestamp": now} | _token(
        client_token
    )


def accepted_delete(version: int, client_token: str | None, now: int) -> Json:
    """The answer to a delete."""
    return {"version": version, "timestamp": now} | _token(client_token)


def delta_message(request: UpdateRequest, shadow: Shadow, now: int) -> Json | None:
    """What is published on `…/update/delta` after an update, or None if nothing differs."""
    difference, times = delta(shadow)
    if not difference:
        return None
    return {
        "version": shadow.version,
        "timestamp": now,
        "state": difference,
        "metadata": times,
    } | _token(request.client_token)


def documents_message(before: Shadow | None, after: Shadow, client_token: str | None, now: int) -> Json:
    """What is published on `…/update/documents` after an update."""
    previous = {"previous": before.snapshot} if before is not None else {}
    return {**previous, "current": after.snapshot, "timestamp": now} | _token(client_token)


def dump(document: Json) -> bytes:
    """A document as it is sent and stored."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _load(payload: bytes) -> Json:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise Rejection(415, "Unsupported documented encoding; supported encoding is UTF-8") from None
    try:
        document = json.loads(text)
        # What Python's parser lets through and JSON in UTF-8 cannot say: NaN, numbers without end, lone surrogates.
        json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise Rejection(400, f"JSON contains too many levels of nesting; maximum is {MAXIMUM_DEPTH}") from None
    except ValueError:
        raise Rejection(400, "Invalid JSON") from None
    if not isinstance(document, dict):
        raise Rejection(400, "Invalid JSON")
    return document


def _is_client_token(value: object) -> bool:
    return isinstance(value, str) and len(value.encode()) <= MAXIMUM_CLIENT_TOKEN


def _token(client_token: str | None) -> Json:
    return {} if client_token is None else {"clientToken": client_token}


def _size(state: Json) -> int:
    return len(dump(state))


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _is_deeper(value: object, levels: int) -> bool:
    """Whether more than `levels` objects and arrays lie inside each other."""
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in _children(value))


def _has_null_in_array(value: object) -> bool:
    if isinstance(value, list) and None in value:
        return True
    return any(map(_has_null_in_array, _children(value)))


def _merge(values: Json, times: Json, wanted: Mapping[str, Any], now: int) -> tuple[Json, Json]:
    """`values` and their metadata with `wanted` on top: null removes, objects merge, all else replaces."""
    values, times = dict(values), dict(times)
    for name, value in wanted.items():
        if value is None:
            values.pop(name, None)
            times.pop(name, None)
        elif isinstance(value, dict):
            present = values.get(name)
            inner, inner_times = (present, times[name]) if isinstance(present, dict) else ({}, {})
            values[name], times[name] = _merge(inner, inner_times, value, now)
        else:
            values[name], times[name] = value, _times(value, now)
    return values, times


def _times(value: Any, now: int) -> Any:
    """The metadata of a value that has just been set."""
    if isinstance(value, dict):
        return {name: _times(item, now) for name, item in value.items()}
    if isinstance(value, list):
        return [_times(item, now) for item in value]
    return {"timestamp": now}


def _difference(desired: Json, reported: Json, times: Json) -> tuple[Json, Json]:
    difference: Json = {}
    differing: Json = {}
    for name, wanted in desired.items():
        if name not in reported:
            difference[name], differing[name] = wanted, times[name]
            continue
        present = reported[name]
        if isinstance(wanted, dict) and isinstance(present, dict):
            inner, inner_times = _difference(wanted, present, times[name])
            if inner:
                difference[name], differing[name] = inner, inner_times
        elif not _same(wanted, present):
            difference[name], differing[name] = wanted, times[name]
    return difference, differing


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
