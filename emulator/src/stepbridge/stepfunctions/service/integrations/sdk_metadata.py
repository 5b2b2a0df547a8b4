"""The HTTP metadata that Step Functions adds to the result of a service call."""

import json
import secrets
import uuid
from collections.abc import Mapping
from email.utils import formatdate

from stepbridge.stepfunctions.interpreter.messages import Json


def http_metadata(time: float, headers: Mapping[str, str], request_id: str, status: int = 200) -> dict[str, Json]:
    """The members SdkHttpMetadata and SdkResponseMetadata of an answer with `headers`.

    `time` is when it was given, in seconds since the epoch.
    """
    all_headers = {
        "Connection": "keep-alive",
        **headers,
        "Date": formatdate(time, usegmt=True),
        "x-amzn-RequestId": request_id,
    }
    return {
        "SdkHttpMetadata": {
            "AllHttpHeaders": {name: [value] for name, value in all_headers.items()},
            "HttpHeaders": all_headers,
            "HttpStatusCode": status,
        },
        "SdkResponseMetadata": {"RequestId": request_id},
    }


def new_request_id() -> str:
    return str(uuid.uuid4())


def new_trace_id(time: float) -> str:
    """An X-Ray trace header, not sampled."""
    return f"Root=1-{int(time):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"


def to_json(value: Json) -> str:
    """`value` as compact JSON text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
