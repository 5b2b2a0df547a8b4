"""The work itself: replace :func:`do_job` with your own.

It gets the job's input as decoded JSON and returns the result, which must be JSON again.  An exception fails the
execution that waits for the job, with the exception's class as the error and its text as the cause.  It may be called
again with a job it has done before (when the connection or the process dies before the answer is confirmed), so work
that must not be done twice has to recognise its jobs.
"""


class InvalidJobError(ValueError):
    """The job's input is not one this worker can work on."""


def do_job(job_input: object) -> object:
    """The sum of `a` and `b`.  Raises InvalidJobError if the input does not have two such numbers."""
    if not isinstance(job_input, dict):
        raise InvalidJobError("The job's input must be an object with the numbers 'a' and 'b'.")
    return _number(job_input, "a") + _number(job_input, "b")


def _number(job_input: dict[str, object], name: str) -> int | float:
    if name not in job_input:
        raise InvalidJobError(f"The job's input has no '{name}'.")
    value = job_input[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidJobError(f"'{name}' in the job's input is not a number.")
    return value
