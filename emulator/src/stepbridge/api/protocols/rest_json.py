"""restJson1: operations are told apart by method and path; members sit in path, query, headers and body.

https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html
"""

import base64
import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape

from stepbridge.api.errors import AwsError
from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.api.protocols import event_stream, json_values
from stepbridge.api.service import Members

_LABEL = re.compile(r"\{(\w+)(\+?)\}")


class _Route:
    """One operation's method and path."""

    def __init__(self, operation: OperationModel) -> None:
        self.operation = operation
        path, _, query = operation.http["requestUri"].partition("?")
        self.method: str = operation.http["method"]
        self.query = query
        parts: list[str] = []
        end = 0
        for label in _LABEL.finditer(path):
            parts.append(re.escape(path[end : label.start()]))
            parts.append(f"(?P<{label[1]}>{'.+' if label[2] else '[^/]+'})")
            end = label.end()
        parts.append(re.escape(path[end:]))
        self.pattern = re.compile("".join(parts).rstrip("/") + "/?")
        # The path with most literal text wins: /things/{name} loses against /things/index.
        self.weight = (len(_LABEL.sub("", path)), bool(query))


class RestJsonProtocol:
    """The protocol for one service."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        routes = [_Route(model.operation_model(name)) for name in model.operation_names]
        self._routes = sorted(routes, key=lambda route: route.weight, reverse=True)

    def parse(self, request: HttpRequest) -> tuple[OperationModel, Members]:
        query = parse_qs(request.query, keep_blank_values=True)
        for route in self._routes:
            if route.method != request.method or (route.query and route.query not in request.query):
                continue
            match = route.pattern.fullmatch(request.path)
            if match:
                return route.operation, self._members(route.operation, match.groupdict(), query, request)
        raise AwsError(
            "UnknownOperationException", f"There is no operation at {request.method} {request.path}", status=404
        )

    def _members(
        self, operation: OperationModel, labels: dict[str, str], query: dict[str, list[str]], request: HttpRequest
    ) -> Members:
        shape = operation.input_shape
        if shape is None:
            return {}
        members: Members = {}
        payload_name = shape.serialization.get("payload")
        in_body: dict[str, Any] | None = None
        for name, member in shape.members.items():
            wire = json_values.wire_name(name, member)
            location = member.serialization.get("location")
            value: Any = None
            if location == "uri":
                value = _from_text(member, unquote(labels[wire]), name)
            elif location == "querystring":
                value = _from_query(member, wire, query, name)
            elif location == "header":
                text = request.headers.get(wire.lower())
                value = _from_header(member, text, name) if text is not None else None
            elif location == "headers":
                prefix = wire.lower()
                value = {k[len(prefix) :]: v for k, v in request.headers.items() if k.startswith(prefix)}
            elif name == payload_name:
                value = self._payload(member, request.body, name)
            elif payload_name is None:
                if in_body is None:
                    in_body = json_values.load_body(request.body)
                found = in_body.get(wire)
                value = json_values.parse_value(member, found, name) if found is not None else None
            if value is not None:
                members[name] = value
        return members

    def _payload(self, member: Shape, body: bytes, name: str) -> Any:
        if member.type_name == "blob":
            return body
        if member.type_name == "string":
            return body.decode()
        return json_values.parse_value(member, json_values.load_body(body), name) if body else None

    def serialize(self, operation: OperationModel, output: Members, request_id: str) -> HttpResponse:
        headers = {"x-amzn-requestid": request_id}
        status = operation.http.get("responseCode", 200)
        shape = operation.output_shape
        if shape is None:
            return HttpResponse(status, headers)
        for name, member in shape.members.items():
            location = member.serialization.get("location")
            value = output.get(name)
            if value is None or location is None:
                continue
            if location == "statusCode":
                status = value
            elif location == "header":
                headers[json_values.wire_name(name, member).lower()] = _to_header(member, value)
            elif location == "headers":
                prefix = json_values.wire_name(name, member).lower()
                headers.update({prefix + key: item for key, item in value.items()})
        payload_name = shape.serialization.get("payload")
        if payload_name is None:
            headers["content-type"] = "application/json"
            body = json_values.dump_body(json_values.write_structure(shape, output, skip_located=True))
            return HttpResponse(status, headers, b"" if status == 204 else body)
        payload = output.get(payload_name)
        member = shape.members[payload_name]
        if payload_name == shape.event_stream_name:
            # The type of what is in the events, where the operation tells it, gives way to that of the stream: so it is
            # seen on Lambda.
            if (content_type := headers.get("content-type")) is not None:
                headers["x-amzn-remapped-content-type"] = content_type
            headers["content-type"] = event_stream.CONTENT_TYPE
            return HttpResponse(status, headers, stream=event_stream.messages(member, output[payload_name]))
        if member.type_name == "blob":
            headers["content-type"] = output.get("contentType", "application/json")
            return HttpResponse(status, headers, payload or b"")
        headers["content-type"] = "application/json"
        return HttpResponse(status, headers, json_values.dump_body(json_values.write_value(member, payload or {})))

    def serialize_error(self, operation: OperationModel | None, error: AwsError, request_id: str) -> HttpResponse:
        status = error.status or _modelled_status(self._model, error.code)
        return json_values.error_response(error, status, "application/json", request_id, type_in_header=True)


def _modelled_status(model: ServiceModel, code: str) -> int:
    """The HTTP status that the model gives an error, 400 where it gives none."""
    if code not in model.shape_names:
        return 400
    status: int = model.shape_for(code).metadata.get("error", {}).get("httpStatusCode", 400)
    return status


def _from_text(shape: Shape, text: str, name: str) -> Any:
    kind = shape.type_name
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
    except ValueError:
        raise AwsError("SerializationException", f"'{name}' must be a number, not '{text}'", status=400) from None
    if kind == "boolean":
        return text.lower() == "true"
    if kind == "timestamp":
        return json_values.parse_timestamp(text, name)
    return text


def _from_header(shape: Shape, text: str, name: str) -> Any:
    if shape.serialization.get("jsonvalue"):
        # https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html: a media-typed header is base64 of its JSON.
        try:
            return json.dumps(json.loads(base64.b64decode(text, validate=True)))
        except ValueError:
            raise AwsError("SerializationException", f"'{name}' is not base64 of JSON", status=400) from None
    return _from_text(shape, text, name)


def _from_query(shape: Shape, wire: str, query: dict[str, list[str]], name: str) -> Any:
    if isinstance(shape, MapShape):
        return {key: values[0] for key, values in query.items()}
    values = query.get(wire)
    if values is None:
        return None
    if isinstance(shape, ListShape):
        return [_from_text(shape.member, value, name) for value in values]
    return _from_text(shape, values[0], name)


def _to_header(shape: Shape, value: Any) -> str:
    if shape.serialization.get("jsonvalue"):
        return base64.b64encode(json.dumps(value).encode()).decode()
    if shape.type_name == "timestamp":
        return str(json_values.write_timestamp(shape, value, default="rfc822"))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
