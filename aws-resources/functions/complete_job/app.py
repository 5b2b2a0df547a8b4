"""Hands the worker's answer to the execution that waits for it.

Invoked by the topic rule, asynchronously: Lambda retries the invocation when it raises.  So what may pass (throttling,
a service that is away) is raised, and what a retry cannot mend (a task that is gone, a message that names no task) is
logged.
"""

import json
import logging
from typing import Any

import boto3

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

stepfunctions = boto3.client("stepfunctions")

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html and API_SendTaskFailure.html
MAX_OUTPUT_BYTES = 262_144
MAX_ERROR_CHARACTERS = 256
MAX_CAUSE_CHARACTERS = 32_768

# Timed out, stopped, already answered, or never there: no retry will find the task.
GONE = (
    stepfunctions.exceptions.TaskTimedOut,
    stepfunctions.exceptions.TaskDoesNotExist,
    stepfunctions.exceptions.InvalidToken,
)


def handler(event: dict[str, Any], context: object) -> None:
    """Complete the task of `{"result": …, "TaskToken": …}`, or fail that of `{"error": …, "cause": …, "TaskToken": …}`.

    The task's output is `{"result": …}`.  An answer with neither result nor error, or with a result too large for an
    output, fails the task, so that the execution does not wait for an answer that has already come.
    """
    token = event.get("TaskToken") if isinstance(event, dict) else None
    if not isinstance(token, str) or not token:
        logger.error("Dropped a message without a TaskToken: no execution can be waiting for it")
        return
    if "error" in event:
        fail(token, text(event["error"]) or "WorkerError", text(event.get("cause")))
    elif "result" in event:
        output = json.dumps({"result": event["result"]}, ensure_ascii=False, separators=(",", ":"))
        size = len(output.encode())
        if size > MAX_OUTPUT_BYTES:
            cause = f"The worker's result is {size} bytes; the output of a task may have {MAX_OUTPUT_BYTES}."
            fail(token, "ResultTooLarge", cause)
        else:
            complete(token, output)
    else:
        fail(token, "InvalidAnswer", "The worker's answer has neither a result nor an error.")


def complete(token: str, output: str) -> None:
    """Send the success, unless the task is gone."""
    try:
        stepfunctions.send_task_success(taskToken=token, output=output)
    except GONE as error:
        log_gone(token, error)
    else:
        logger.info("Completed the task …%s", token[-6:])


def fail(token: str, error_name: str, cause: str) -> None:
    """Send the failure, cut to what Step Functions takes, unless the task is gone."""
    error_name = error_name[:MAX_ERROR_CHARACTERS]
    try:
        stepfunctions.send_task_failure(taskToken=token, error=error_name, cause=cause[:MAX_CAUSE_CHARACTERS])
    except GONE as error:
        log_gone(token, error)
    else:
        logger.info("Failed the task …%s with %s", token[-6:], error_name)


def log_gone(token: str, error: Exception) -> None:
    """Say that nobody waits for the answer any more."""
    logger.warning("Dropped an answer: no task waits with the token …%s (%s)", token[-6:], error)


def text(value: object) -> str:
    """`value` as text for an error or cause: strings as they are, None empty, the rest as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
