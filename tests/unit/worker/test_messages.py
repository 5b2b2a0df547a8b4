"""The worker's wire format."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onprem_worker.messages import (
    MAX_PAYLOAD_BYTES,
    Job,
    MalformedJobError,
    decode_job,
    encode_error,
    encode_result,
)

TOKEN = "AAAAKgAAAAIAAAAA"


def test_a_job_is_its_token_and_input() -> None:
    assert decode_job(b'{"Input": {"a": 15, "b": 42}, "TaskToken": "t"}') == Job("t", {"a": 15, "b": 42})
    assert decode_job(b'{"Input": null, "TaskToken": "t", "more": 1}') == Job("t", None)


@pytest.mark.parametrize(
    ("payload", "problem", "token"),
    [
        (b"", "not JSON", None),
        (b"\xff\xfe\xff", "not JSON", None),
        (b"{", "not JSON", None),
        (b"[" * 100_000, "not JSON", None),
        (b"5", "not a JSON object", None),
        (b'{"Input": 1}', "without a TaskToken", None),
        (b'{"Input": 1, "TaskToken": ""}', "without a TaskToken", None),
        (b'{"Input": 1, "TaskToken": 5}', "without a TaskToken", None),
        (b'{"TaskToken": "t"}', "without an Input", "t"),
    ],
)
def test_what_is_no_job_is_named(payload: bytes, problem: str, token: str | None) -> None:
    with pytest.raises(MalformedJobError, match=problem) as raised:
        decode_job(payload)
    assert raised.value.token == token


@given(st.binary())
def test_no_message_does_more_than_be_refused(payload: bytes) -> None:
    with contextlib.suppress(MalformedJobError):
        decode_job(payload)


def test_a_result_goes_back_beside_its_token() -> None:
    assert encode_result(TOKEN, 57) == f'{{"result":57,"TaskToken":"{TOKEN}"}}'.encode()
    assert encode_result(TOKEN, {"s": "grün"}) == f'{{"result":{{"s":"grün"}},"TaskToken":"{TOKEN}"}}'.encode()


@pytest.mark.parametrize("result", [float("nan"), float("inf"), object(), {1, 2}])
def test_a_result_that_is_not_json_is_refused(result: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_result(TOKEN, result)


def test_a_result_may_fill_a_message_and_no_more() -> None:
    room = MAX_PAYLOAD_BYTES - len(encode_result(TOKEN, ""))
    assert len(encode_result(TOKEN, "x" * room)) == MAX_PAYLOAD_BYTES
    with pytest.raises(OverflowError, match="131073 bytes"):
        encode_result(TOKEN, "x" * (room + 1))


@given(st.text(), st.text(), st.integers(1, 20_000))
def test_every_error_fits_a_message_and_step_functions(error: str, cause: str, times: int) -> None:
    payload = encode_error(TOKEN, error, cause * times)
    assert len(payload) <= MAX_PAYLOAD_BYTES
    answer = json.loads(payload)
    assert answer["TaskToken"] == TOKEN
    assert error.startswith(answer["error"])
    assert (cause * times).startswith(answer["cause"])
    assert len(answer["error"]) <= 256
    assert len(answer["cause"]) <= 32_768


def test_a_lone_surrogate_goes_back_as_it_came() -> None:
    job = decode_job(b'{"Input": "\\ud800", "TaskToken": "t"}')
    assert encode_result("t", job.input) == b'{"result":"\\ud800","TaskToken":"t"}'
