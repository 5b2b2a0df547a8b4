"""A bare client of the AWS JSON protocol: boto3 would take longer than the systems that are measured."""

import http.client
import json
from typing import Any

_AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
_TARGETS = {"states": "AWSStepFunctions", "sqs": "AmazonSQS"}


class Wire:
    """One kept-alive connection; not for several threads."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=120)

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

    def post(self, path: str, body: bytes) -> None:
        """A plain POST."""
        self._send(path, body, {"Content-Type": "application/json"})

    def _send(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()
