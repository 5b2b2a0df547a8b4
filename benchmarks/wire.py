"""A bare client of the AWS JSON protocol: boto3 would take longer than the systems that are measured."""

import http.client
import json
import time
import uuid
from typing import Any

_AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
_TARGETS = {"states": "AWSStepFunctions", "sqs": "AmazonSQS"}


class Wire:
    """One kept-alive connection; not for several threads."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=120)
        self._last = 0.0  # seconds that the last execution took

    def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        """The answer of an operation; raises RuntimeError when it is refused."""
        headers = {
            "Authorization": _AUTHORIZATION.format(service),
            "X-Amz-Target": f"{_TARGETS[service]}.{operation}",
            "X-Amz-Date": "20260101T000000Z",
            "Content-Type": "application/x-amz-json-1.0",
        }
        status, body = self._send("/", json.dumps(members).encode(), headers)
        if status != 200:
            raise RuntimeError(f"{operation}: {status} {body[:300]!r}")
        answer: dict[str, Any] = json.loads(body or b"{}")
        return answer

    def run(self, machine: str, document: str = "{}") -> None:
        """One execution on the input `document`, to its end."""
        name = uuid.uuid4().hex  # optional on AWS; ministack wants one
        started = self.call("states", "StartExecution", stateMachineArn=machine, name=name, input=document)
        execution = started["executionArn"]
        began = time.monotonic()
        # Not asked before about half of what the last one took: asking costs the system that is measured.
        pause = self._last / 2
        while time.monotonic() - began < 60:
            time.sleep(pause)
            if self.call("states", "DescribeExecution", executionArn=execution)["status"] != "RUNNING":
                self._last = time.monotonic() - began
                return
            pause = max(0.0005, (time.monotonic() - began) / 8)
        raise RuntimeError(f"{execution} did not end")

    def post(self, path: str, body: bytes) -> None:
        """A plain POST."""
        self._send(path, body, {"Content-Type": "application/json"})

    def get(self, path: str) -> bytes:
        """A plain GET."""
        return self._send(path, None, {}, "GET")[1]

    def _send(self, path: str, body: bytes | None, headers: dict[str, str], method: str = "POST") -> tuple[int, bytes]:
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()
