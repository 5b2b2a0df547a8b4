"""Hands a job of a waiting Step Functions task to the worker: publishes it, with its task token, on the worker's topic.

Invoked by `lambda:invoke.waitForTaskToken`.  The invocation only dispatches: what it returns is not the task's
result, but an exception here fails the task at once, where swallowing it would leave the execution waiting for an
answer to a job that nobody got.
"""

import json
import logging
import os
from typing import Any

import boto3

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

# Without an endpoint in the environment boto3 calls data-ats.iot.<region>.amazonaws.com, which serves every account
# of the region by the signature's credentials; no DescribeEndpoint (and no permission for it) is needed.
iot_data = boto3.client("iot-data")


def handler(event: dict[str, Any], context: object) -> None:
    """Publish `{"Input": …, "TaskToken": …}` with QoS 1.

    Raises KeyError if the event has no Input or TaskToken or the function no WORKER_TOPIC, and botocore's exceptions
    if the message was not accepted (RequestEntityTooLargeException: the job is over IoT Core's 128 KB).
    """
    token = event["TaskToken"]
    topic = os.environ["WORKER_TOPIC"]
    message = json.dumps({"Input": event["Input"], "TaskToken": token}, ensure_ascii=False, separators=(",", ":"))
    iot_data.publish(topic=topic, qos=1, payload=message.encode())
    logger.info("Published the job with the task token …%s on %s", token[-6:], topic)
