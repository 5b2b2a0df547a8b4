"""The work the worker comes with."""

import pytest

from onprem_worker.jobs import InvalidJobError, do_job


@pytest.mark.parametrize(
    ("job_input", "result"), [({"a": 15, "b": 42}, 57), ({"a": -1, "b": 0.5, "c": "?"}, -0.5), ({"a": 0, "b": 0}, 0)]
)
def test_adds_a_and_b(job_input: object, result: float) -> None:
    assert do_job(job_input) == result


@pytest.mark.parametrize(
    ("job_input", "problem"),
    [
        ({"a": 1}, "The job's input has no 'b'."),
        ({}, "The job's input has no 'a'."),
        ({"a": "1", "b": 2}, "'a' in the job's input is not a number."),
        ({"a": 1, "b": True}, "'b' in the job's input is not a number."),
        ({"a": 1, "b": None}, "'b' in the job's input is not a number."),
        ([1, 2], "must be an object"),
        (None, "must be an object"),
    ],
)
def test_says_what_is_wrong_with_a_job(job_input: object, problem: str) -> None:
    with pytest.raises(InvalidJobError, match=problem):
        do_job(job_input)
