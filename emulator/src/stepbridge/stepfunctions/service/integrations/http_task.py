"""HTTP Task: `http:invoke` calls any HTTPS API, with what an EventBridge connection adds.

https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

from stepbridge.clock import Clock
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.language import json_text
from stepbridge.stepfunctions.language.values import MAXIMUM_BYTES
from stepbridge.stepfunctions.service.integrations.aws_calls import AwsCalls
from stepbridge.stepfunctions.service.integrations.call import TaskCall, TaskError
from stepbridge.stepfunctions.service.integrations.http_connections import Connection, Connections
from stepbridge.stepfunctions.service.integrations.http_exchange import Answer, HttpError, Request, exchange
from stepbridge.stepfunctions.service.integrations.sdk_metadata import to_json

_SECONDS = 60.0
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
_RUNTIME = "States.Runtime"

# Headers that a definition may not set: "HTTP Task fields", Headers.
_RESERVED_PREFIXES = ("x-forwarded-", "x-amz-", "x-amzn-")
_RESERVED_HEADERS = frozenset(
    [
        "a-im", "accept-charset", "accept-datetime", "accept-encoding", "authorization", "cache-control",
        "connection", "content-encoding", "content-md5", "date", "expect", "forwarded", "from", "host",
        "http2-settings", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
        "max-forwards", "origin", "pragma", "proxy-authorization", "referer", "server", "te", "trailer",
        "transfer-encoding", "upgrade", "via", "warning",
    ]
)  # fmt: skip
# Media types that an answer may not have: "Unsupported HTTP Task responses".
_UNSUPPORTED_TYPES = ("application/octet-stream", "image/", "video/", "audio/")
_ARRAY_FORMATS = {"INDICES": "{name}[{index}]", "BRACKETS": "{name}[]", "REPEAT": "{name}"}


class HttpTask:
    """Makes the calls.  What a connection holds is sent, but told to nobody."""

    def __init__(self, calls: AwsCalls, clock: Clock, region: str) -> None:
        self._connections = Connections(calls)
        self._clock = clock
        self._region = region

    async def __call__(self, call: TaskCall) -> Json:
        parameters = call.parameters
        arn = _connection_arn(parameters)
        connection = await self._connections.get(arn, call)
        request = _request(parameters, connection, self._region)
        shown = request if call.reveal_secrets else _request(parameters, Connection(), self._region)
        call.inspect("request", _inspected_request(shown))
        answer = await self._exchange(request)
        call.inspect("response", _inspected_response(answer, urlsplit(request.url).scheme))
        output = _output(answer)
        if answer.status == 401:
            self._connections.forget_token(arn)
        if not 200 <= answer.status < 300:
            raise TaskError(f"States.Http.StatusCode.{answer.status}", to_json(output))
        return output

    async def _exchange(self, request: Request) -> Answer:
        """Raises TaskError States.Http.Socket if no answer comes, or none in time."""
        work = asyncio.ensure_future(exchange(request))
        is_late = False

        def give_up() -> None:
            nonlocal is_late
            is_late = work.cancel()

        timer = self._clock.call_at(self._clock.now() + _SECONDS, give_up)
        try:
            return await work
        except HttpError as error:
            raise TaskError("States.Http.Socket", str(error)) from None
        except asyncio.CancelledError:
            if not is_late:
                raise
            raise TaskError("States.Http.Socket", f"There was no answer within {_SECONDS:.0f} seconds") from None
        finally:
            timer.cancel()


def _inspected_request(request: Request) -> dict[str, str]:
    members = {
        "protocol": urlsplit(request.url).scheme,
        "method": request.method,
        "url": request.url,
        "headers": _inspected_headers(request.headers.items()),
    }
    return {**members, "body": request.body.decode("utf-8", "replace")} if request.body else members


def _inspected_response(answer: Answer, protocol: str) -> dict[str, str]:
    return {
        "protocol": protocol,
        "statusCode": str(answer.status),
        "statusMessage": answer.reason,
        "headers": _inspected_headers((name, ",".join(values)) for name, values in answer.headers.items()),
        "body": answer.body.decode("utf-8", "replace"),
    }


def _inspected_headers(headers: Iterable[tuple[str, str]]) -> str:
    return f"[{', '.join(f'{name}: {value}' for name, value in headers)}]"


def _connection_arn(parameters: dict[str, Json]) -> str:
    for field in ("Authentication", "InvocationConfig"):
        arn = (parameters.get(field) or {}).get("ConnectionArn")
        if isinstance(arn, str):
            return arn
    raise _refused("The HTTP Task needs the ConnectionArn of an EventBridge connection in Authentication")


def _request(parameters: dict[str, Json], connection: Connection, region: str) -> Request:
    """The request of a task.  Where definition and connection have the same member, the connection's is sent."""
    endpoint, method = parameters.get("ApiEndpoint"), parameters.get("Method")
    if not isinstance(endpoint, str) or urlsplit(endpoint).scheme not in ("https", "http"):
        raise _refused("The ApiEndpoint of an HTTP Task must be a URL that begins with https://")
    if method not in _METHODS:
        raise _refused(f"The Method of an HTTP Task must be one of {', '.join(_METHODS)}")
    headers = {name: _joined(value) for name, value in (parameters.get("Headers") or {}).items()}
    for name in headers:
        if name.lower() in _RESERVED_HEADERS or name.lower().startswith(_RESERVED_PREFIXES):
            raise _refused(f"The header '{name}' cannot be set in an HTTP Task")
    body = _body(parameters, connection.body)
    defaults = {"User-Agent": f"Amazon|StepFunctions|HttpInvoke|{region}", "Range": f"bytes=0-{MAXIMUM_BYTES}"}
    if body:
        defaults["Content-Type"] = "application/json; charset=UTF-8"
    headers = _merged(_merged(defaults, headers), connection.headers)
    return Request(method, _with_query(endpoint, parameters.get("QueryParameters"), connection.query), headers, body)


def _merged(headers: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    """`headers` with those of `others` in place of their own; the case of names does not matter."""
    names = {name.lower() for name in others}
    return {**{name: value for name, value in headers.items() if name.lower() not in names}, **others}


def _with_query(endpoint: str, parameters: Json, more: dict[str, str]) -> str:
    parts = urlsplit(endpoint)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if isinstance(parameters, str):
        query += parse_qsl(parameters, keep_blank_values=True)
    else:
        for name, value in (parameters or {}).items():
            query += [(name, _scalar(item)) for item in (value if isinstance(value, list) else [value])]
    query = [(name, value) for name, value in query if name not in more]
    return parts._replace(query=urlencode([*query, *more.items()])).geturl()


def _body(parameters: dict[str, Json], more: dict[str, str]) -> bytes:
    body, transform = parameters.get("RequestBody"), parameters.get("Transform") or {}
    encoding = transform.get("RequestBodyEncoding", "NONE")
    array_format = (transform.get("RequestEncodingOptions") or {}).get("ArrayFormat", "INDICES")
    if encoding not in ("NONE", "URL_ENCODED") or array_format not in (*_ARRAY_FORMATS, "COMMAS"):
        raise _refused(f"The Transform of the HTTP Task is none: {to_json(transform)}")
    if more:
        if body is not None and not isinstance(body, dict):
            raise _refused("The RequestBody must be an object, as the connection has body parameters to add to it")
        body = {**(body or {}), **more}
    if body is None:
        return b""
    if encoding == "URL_ENCODED" and isinstance(body, dict):
        pairs = (pair for name, value in body.items() for pair in _form(name, value, array_format))
        return "&".join(
            f"{quote_plus(name, safe='[]')}={quote_plus(value, safe=',')}" for name, value in pairs
        ).encode()
    return (body if isinstance(body, str) else to_json(body)).encode()


def _form(name: str, value: Json, array_format: str) -> Iterator[tuple[str, str]]:
    """The pairs that a member of the body makes in a form."""
    if isinstance(value, dict):
        for member, inner in value.items():
            yield from _form(f"{name}[{member}]", inner, array_format)
    elif isinstance(value, list) and array_format == "COMMAS":
        yield name, ",".join(map(_scalar, value))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _form(_ARRAY_FORMATS[array_format].format(name=name, index=index), inner, array_format)
    else:
        yield name, _scalar(value)


def _joined(value: Json) -> str:
    return ",".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)


def _scalar(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)


def _output(answer: Answer) -> dict[str, Any]:
    """What the task gives.  Raises TaskError for an answer that is no text, or too long."""
    content_type = next((values[0] for name, values in answer.headers.items() if name.lower() == "content-type"), "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith(_UNSUPPORTED_TYPES):
        raise _refused(f"The response has the content type {media_type}, which HTTP Tasks do not support")
    if len(answer.body) > MAXIMUM_BYTES:
        cause = f"The response of the HTTP Task exceeds the maximum of {MAXIMUM_BYTES} bytes"
        raise TaskError("States.DataLimitExceeded", cause)
    try:
        text = answer.body.decode()
    except UnicodeDecodeError:
        raise _refused("The response cannot be read as text") from None
    body: Json = text
    if media_type == "application/json" or media_type.endswith("+json"):
        try:
            body = json_text.parse(text)
        except json_text.JsonError:
            body = text
    return {
        "Headers": answer.headers,
        "ResponseBody": body,
        "StatusCode": answer.status,
        "StatusText": answer.reason,
    }


def _refused(problem: str) -> TaskError:
    return TaskError(_RUNTIME, problem)
