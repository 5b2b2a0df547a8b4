"""Hands a job of a waiting Step Functions task to the worker: publishes it, with its task token, on the worker's topic.

Invoked by `lambda:invoke.waitForTaskToken`.  The invocation only dispatches: what it returns is not the task's
result, but an exception here fails the task at once, where swallowing it would leave the execution waiting for an
answer to a job that nobody got.
"""

import json
import logging
import os
from http import HTTPStatus
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

# Without an endpoint in the environment boto3 calls data-ats.iot.<region>.amazonaws.com, which serves every account
# of the region by the signature's credentials; no DescribeEndpoint (and no permission for it) is needed.
# Two attempts are over within the function's timeout, so that what went wrong has a name; the state machine's Retry
# does the rest, and costs nothing while it waits.
iot_data = boto3.client(
    "iot-data", config=Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
)

TRANSIENT = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class TransientPublishError(Exception):
    """IoT Core could not be reached or was too busy; the same message may be taken a moment later.

    The state machine's Retry names this class.  It does not name botocore's, because what a worker fails a task with
    goes through the same Retry, and a job may well fail of a ReadTimeoutError of its own.
    """


def handler(event: dict[str, Any], context: object) -> None:
    """Publish `{"Input": …, "TaskToken": …}` with QoS 1.

    Raises KeyError if the event has no Input or TaskToken or the function no WORKER_TOPIC, TransientPublishError if
    the publish may succeed when it is tried again, and botocore's exceptions if it will not
    (RequestEntityTooLargeException: the job is over IoT Core's 128 KB).
    """
    token = event["TaskToken"]
    topic = os.environ["WORKER_TOPIC"]
    message = json.dumps({"Input": event["Input"], "TaskToken": token}, ensure_ascii=False, separators=(",", ":"))
    try:
        iot_data.publish(topic=topic, qos=1, payload=message.encode())
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise TransientPublishError(str(error)) from error
    except exceptions.ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in TRANSIENT:
            raise TransientPublishError(str(error)) from error
        raise
    logger.info("Published the job with the task token …%s on %s", token[-6:], topic)
