"""What a function gets of an HTTP request to its URL, and what its answer is as an HTTP response.

Payload format version 2.0: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
"""

import base64
import binascii
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

Headers = Sequence[tuple[str, str]]

# Of content types AWS documents only that a binary body is encoded.  As seen on the service, these are text, and all
# others are binary: that of forms, and none, too.
_TEXT = frozenset({"application/json", "application/javascript", "application/xml"})

# Between two parties of a connection, or written anew; RFC 9110, section 7.6.1.
_NOT_PASSED_ON = frozenset({"connection", "content-length", "date", "keep-alive", "transfer-encoding"})

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.1
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # in no value: section 5.5


@dataclass(frozen=True, slots=True)
class UrlRequest:
    """A request to a function URL.

    `path` is percent-encoded, as sent; names in `headers` are in lower case.  `domain` is the URL's host name, `port`
    the one it came to.  `time` is in seconds since the epoch.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    domain: str
    port: int
    protocol: str
    source_ip: str

    def header(self, name: str) -> str | None:
        """The first header with this name, in lower case."""
        return next((value for known, value in self.headers if known == name), None)


@dataclass(frozen=True, slots=True)
class UrlResponse:
    """A response of a function URL; names in `headers` are in lower case, and may be there more than once.

    `body` is an iterator where it comes in parts: :meth:`~response_streams.ResponseStream.read`.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] = b""


class MalformedResponseError(Exception):
    """A function's answer that is no response, and why."""


def event(request: UrlRequest, url_id: str, request_id: str, now: float, iam: Mapping[str, Any] | None) -> bytes:
    """The event for `request`, as JSON: at the time `now`, in seconds since the epoch.

    `iam` is the caller, where the URL asks who that is (AWS_IAM).
    """
    host = request.domain if request.port in (80, 443) else f"{request.domain}:{request.port}"
    sent = [(name, value) for name, value in request.headers if name not in ("connection", "cookie", "host")]
    known = {name for name, _ in sent}
    added = [
        ("host", host),
        ("x-forwarded-for", request.source_ip),
        ("x-forwarded-port", str(request.port)),
        ("x-forwarded-proto", "http"),
        ("x-amzn-trace-id", f"Root=1-{int(now):08x}-{secrets.token_hex(12)}"),
    ]
    document: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": request.query,
    }
    if cookies := [cookie for name, value in request.headers if name == "cookie" for cookie in value.split("; ")]:
        document["cookies"] = cookies
    document["headers"] = _joined([*sent, *((name, value) for name, value in added if name not in known)])
    if request.query:
        document["queryStringParameters"] = _joined(parse_qsl(request.query, keep_blank_values=True))
    authorizer = {} if iam is None else {"authorizer": {"iam": iam}}
    document["requestContext"] = {
        "accountId": "anonymous" if iam is None else iam["accountId"],
        "apiId": url_id,
        **authorizer,
        "domainName": request.domain,
        "domainPrefix": url_id,
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": request.header("user-agent"),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(now * 1000),
    }
    encoded = False
    if request.body:
        document["body"], encoded = _body(request.body, request.header("content-type"))
    document["isBase64Encoded"] = encoded
    return json.dumps(document, separators=(",", ":")).encode()


def response(payload: bytes) -> UrlResponse:
    """The response that a function's answer stands for.  Raises MalformedResponseError."""
    try:
        answer = json.loads(payload)
    except ValueError as error:
        raise MalformedResponseError(f"it is no JSON: {error}") from error
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return UrlResponse(200, [("content-type", "application/json")], payload)
    return replace(
        _head(answer, answer["statusCode"]), body=_decoded(answer.get("body"), answer.get("isBase64Encoded"))
    )


def streamed_response(prelude: bytes) -> UrlResponse:
    """The response, but for its body, whose status, headers and cookies are in what a function sends before the body.

    Raises MalformedResponseError.
    """
    try:
        answer = json.loads(prelude)
    except ValueError as error:
        raise MalformedResponseError(f"what it sends before its body is no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise MalformedResponseError("what it sends before its body is no object")
    return _head(answer, answer.get("statusCode", 200))


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values by their names, those with the same name joined by commas."""
    result: dict[str, str] = {}
    for name, value in pairs:
        result[name] = f"{result[name]},{value}" if name in result else value
    return result


def _body(body: bytes, content_type: str | None) -> tuple[str, bool]:
    """The body as a string, and whether that is base64."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in _TEXT:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass  # it says to be text and is none
    return base64.b64encode(body).decode(), True


def _head(answer: Mapping[str, Any], status: object) -> UrlResponse:
    # After one below 200 another response would have to come: RFC 9110, section 15.2.
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise MalformedResponseError(f"its statusCode is {json.dumps(status)}, not a number from 200 to 599")
    headers = _headers(answer.get("headers") or {})
    if not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "application/json"))
    cookies = answer.get("cookies") or []
    if not isinstance(cookies, list) or not all(isinstance(cookie, str) for cookie in cookies):
        raise MalformedResponseError("its cookies are not a list of strings")
    for name, value in [*headers, *(("set-cookie", cookie) for cookie in cookies)]:
        if not _FIELD_NAME.fullmatch(name):
            raise MalformedResponseError(f"{json.dumps(name)} is no name of a header")
        if _CONTROL.search(value):
            raise MalformedResponseError(f"its header {name} is {json.dumps(value)}, with a control character")
    return UrlResponse(status, headers + [("set-cookie", cookie) for cookie in cookies])


def _headers(given: object) -> list[tuple[str, str]]:
    if not isinstance(given, dict):
        raise MalformedResponseError("its headers are no object")
    headers = []
    for name, value in given.items():
        if isinstance(value, (dict, list)) or value is None:
            raise MalformedResponseError(f"its header {name} is {json.dumps(value)}, not a string")
        text = value if isinstance(value, str) else json.dumps(value)
        if name.lower() not in _NOT_PASSED_ON:
            headers.append((name.lower(), text))
    return headers


def _decoded(body: object, encoded: object) -> bytes:
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedResponseError(f"its body is no string, but {json.dumps(body)[:100]}")
    if not encoded:
        try:
            return body.encode()
        except UnicodeEncodeError as error:
            raise MalformedResponseError(f"its body is no text: {error}") from error
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise MalformedResponseError(f"its body is not base64, though isBase64Encoded is true: {error}") from error
