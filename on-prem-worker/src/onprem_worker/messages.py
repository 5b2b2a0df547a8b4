"""The wire format: jobs as they come, answers as they go.  No I/O.

A job is `{"Input": …, "TaskToken": …}`; its answer is `{"result": …, "TaskToken": …}`, or
`{"error": …, "cause": …, "TaskToken": …}` when it could not be done.
"""

import json
from dataclasses import dataclass

# https://docs.aws.amazon.com/general/latest/gr/iot-core.html#message-broker-limits
MAX_PAYLOAD_BYTES = 128 * 1024
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html
MAX_ERROR_CHARACTERS = 256
MAX_CAUSE_CHARACTERS = 32_768


@dataclass(frozen=True, slots=True)
class Job:
    """Work for a waiting execution.  `token` is a secret: whoever has it can answer for the worker."""

    token: str
    input: object


class MalformedJobError(ValueError):
    """A message that is not a job.  `token` is the token to answer to, if the message has at least that."""

    def __init__(self, problem: str, token: str | None = None) -> None:
        super().__init__(problem)
        self.token = token


def decode_job(payload: bytes) -> Job:
    """The job in a message.  Raises MalformedJobError."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedJobError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise MalformedJobError("not a JSON object")
    token = message.get("TaskToken")
    if not isinstance(token, str) or not token:
        raise MalformedJobError("without a TaskToken")
    if "Input" not in message:
        raise MalformedJobError("without an Input", token)
    return Job(token, message["Input"])


def encode_result(token: str, result: object) -> bytes:
    """The answer to a job that was done.

    Raises TypeError or ValueError if the result is not JSON, OverflowError if it is too large for a message.
    """
    payload = _encode({"result": result, "TaskToken": token})
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise OverflowError(f"The answer is {len(payload)} bytes; an IoT Core message may have {MAX_PAYLOAD_BYTES}.")
    return payload


def encode_error(token: str, error: str, cause: str) -> bytes:
    """The answer to a job that failed, cut to what Step Functions and a message can take."""
    error, cause = error[:MAX_ERROR_CHARACTERS], cause[:MAX_CAUSE_CHARACTERS]
    while len(payload := _encode({"error": error, "cause": cause, "TaskToken": token})) > MAX_PAYLOAD_BYTES:
        cause = cause[: len(cause) // 2]  # characters may take up to six bytes each
    return payload


def _encode(message: dict[str, object]) -> bytes:
    # A lone surrogate (which JSON can escape and UTF-8 cannot encode) goes back as the escape it came as.
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")
