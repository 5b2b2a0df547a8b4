"""awsQuery: form-encoded requests with dotted names, answers in XML.

https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from stepbridge.api.errors import AwsError
from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.api.protocols.json_values import parse_timestamp, wire_name
from stepbridge.api.service import Members
from stepbridge.clock import iso_timestamp


class QueryProtocol:
    """The protocol for one service."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._namespace: str = model.metadata["xmlNamespace"]

    def parse(self, request: HttpRequest) -> tuple[OperationModel, Members]:
        text = request.body.decode() or request.query
        form = dict(parse_qsl(text, keep_blank_values=True))
        name = form.get("Action", "")
        if name not in self._model.operation_names:
            raise AwsError(
                "InvalidAction", f"Could not find operation {name} for version {form.get('Version', '')}", status=400
            )
        operation = self._model.operation_model(name)
        if operation.input_shape is None:
            return operation, {}
        return operation, _parse_value(operation.input_shape, _Tree(form)) or {}

    def serialize(self, operation: OperationModel, output: Members, request_id: str) -> HttpResponse:
        parts = [f'<{operation.name}Response xmlns="{self._namespace}">']
        shape = operation.output_shape
        if shape is not None:
            wrapper = shape.serialization.get("resultWrapper", f"{operation.name}Result")
            parts += [f"<{wrapper}>", *_write_members(shape, output), f"</{wrapper}>"]
        parts.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>")
        parts.append(f"</{operation.name}Response>")
        return _response(200, parts, request_id)

    def serialize_error(self, operation: OperationModel | None, error: AwsError, request_id: str) -> HttpResponse:
        status = error.status or 400
        parts = [
            f'<ErrorResponse xmlns="{self._namespace}"><Error>',
            f"<Type>{'Sender' if status < 500 else 'Receiver'}</Type>",
            f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>",
            f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>",
        ]
        return _response(status, parts, request_id)


def _response(status: int, parts: list[str], request_id: str) -> HttpResponse:
    headers = {"content-type": "text/xml", "x-amzn-requestid": request_id}
    return HttpResponse(status, headers, "".join(parts).encode())


class _Tree:
    """The form as a tree: `Tags.member.1.Key=a` is at children Tags, member, 1, Key."""

    __slots__ = ("children", "text")

    def __init__(self, form: dict[str, str] | None = None) -> None:
        self.text: str | None = None
        self.children: dict[str, _Tree] = {}
        for name, value in (form or {}).items():
            node = self
            for part in name.split("."):
                node = node.children.setdefault(part, _Tree())
            node.text = value

    def entries(self) -> list["_Tree"]:
        """The children numbered 1, 2, 3 … in order."""
        numbered = [(int(key), child) for key, child in self.children.items() if key.isdecimal()]
        return [child for _, child in sorted(numbered, key=lambda pair: pair[0])]


def _parse_value(shape: Shape, node: _Tree) -> Any:
    if isinstance(shape, StructureShape):
        found = {name: (member, node.children.get(wire_name(name, member))) for name, member in shape.members.items()}
        return {name: _parse_value(member, child) for name, (member, child) in found.items() if child is not None}
    if isinstance(shape, ListShape):
        flattened = shape.serialization.get("flattened")
        parent = node if flattened else node.children.get(shape.member.serialization.get("name", "member"), _Tree())
        return [_parse_value(shape.member, child) for child in parent.entries()]
    if isinstance(shape, MapShape):
        parent = node.children.get("entry", node)
        pairs = [(child.children.get("key"), child.children.get("value")) for child in parent.entries()]
        return {key.text: _parse_value(shape.value, value) for key, value in pairs if key is not None and value}
    text = node.text or ""
    kind = shape.type_name
    if kind == "boolean":
        return text.lower() == "true"
    if kind in ("integer", "long"):
        try:
            return int(text)
        except ValueError:
            raise AwsError("ValidationError", f"'{text}' is not an integer", status=400) from None
    if kind == "timestamp":
        return parse_timestamp(text, shape.name)
    return text


def _write_members(shape: StructureShape, value: Members) -> Iterator[str]:
    for name, member in shape.members.items():
        item = value.get(name)
        if item is not None:
            yield from _write_value(member, wire_name(name, member), item)


def _write_value(shape: Shape, tag: str, value: Any) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        yield f"<{tag}>"
        yield from _write_members(shape, value)
        yield f"</{tag}>"
    elif isinstance(shape, ListShape):
        yield f"<{tag}>"
        for item in value:
            yield from _write_value(shape.member, shape.member.serialization.get("name", "member"), item)
        yield f"</{tag}>"
    elif isinstance(shape, MapShape):
        yield f"<{tag}>"
        for key, item in value.items():
            yield f"<entry><key>{escape(key)}</key>"
            yield from _write_value(shape.value, "value", item)
            yield "</entry>"
        yield f"</{tag}>"
    elif shape.type_name == "timestamp":
        yield f"<{tag}>{iso_timestamp(value)}</{tag}>"
    elif isinstance(value, bool):
        yield f"<{tag}>{'true' if value else 'false'}</{tag}>"
    else:
        yield f"<{tag}>{escape(str(value))}</{tag}>"
