"""Hands what the worker says to the execution that waits: that it is at work, or its result."""

import json
import logging
from typing import Any

import boto3

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

stepfunctions = boto3.client("stepfunctions")


def handler(event: dict[str, Any], context: object) -> None:
    """Take `{"step": 3, "TaskToken": …}` as a heartbeat, `{"result": …, "TaskToken": …}` as the end."""
    try:
        if "result" in event:
            output = json.dumps({"result": event["result"]})
            stepfunctions.send_task_success(taskToken=event["TaskToken"], output=output)
        else:
            stepfunctions.send_task_heartbeat(taskToken=event["TaskToken"])
            logger.info("The worker is at step %s", event["step"])
    except stepfunctions.exceptions.TaskTimedOut:
        # A worker that was silent for too long, and works on: its job is another's by now.
        logger.warning("Nobody waits for this any more")
