"""Which operation of S3 a request names: told apart by method, by query and by what the path holds.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html (where the bucket is named)
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import unescape

from botocore.model import OperationModel

from stepbridge.api.http import HttpRequest
from stepbridge.api.models import service_model

_LABELS = {"": frozenset[str](), "/{Bucket}": frozenset({"Bucket"}), "/{Bucket}/{Key+}": frozenset({"Bucket", "Key"})}
_BUCKET_HOST = re.compile(r"((?!s3\.)[^.].*?)(?:\.s3)?\.localhost")
_KEY = re.compile(r"<Key>([^<]*)</Key>")
# Parameters that are condition keys of policies too.
_ASKED = {"delimiter": "Delimiter", "max-keys": "MaxKeys", "prefix": "Prefix", "versionId": "VersionId"}
# What requests may always have: it tells no operation from another.
_IGNORED = frozenset({"x-id"})


@dataclass(frozen=True, slots=True)
class _Route:
    """An operation with the query parameters and headers that a request for it has."""

    operation: OperationModel
    method: str
    labels: frozenset[str]
    query: frozenset[tuple[str, str]]
    required_query: frozenset[str]
    required_headers: frozenset[str]

    @property
    def weight(self) -> int:
        return len(self.query) + len(self.required_query) + len(self.required_headers)


def find_operation(request: HttpRequest) -> tuple[OperationModel, dict[str, Any]] | None:
    """The operation and its Bucket, Key, CopySource and, for a deletion of several objects, their keys as Delete.

    With what policies may ask of beside: VersionId, Prefix, Delimiter and MaxKeys.

    None if there is no such operation.
    """
    members: dict[str, Any] = {}
    host = request.headers.get("host", "").partition(":")[0]
    path = request.path.strip("/") if request.path == "/" else request.path.removeprefix("/")
    named = _BUCKET_HOST.fullmatch(host)
    if named is not None:
        members["Bucket"] = named[1]
        key = path
    else:
        bucket, _, key = path.partition("/")
        if bucket:
            members["Bucket"] = unquote(bucket)
    if key:
        members["Key"] = unquote(key)
    query = parse_qs(request.query, keep_blank_values=True)
    for route in _routes():
        if (
            route.method == request.method
            and route.labels == members.keys()
            and all(value in query.get(name, ()) for name, value in route.query)
            and route.required_query <= query.keys()
            and route.required_headers <= request.headers.keys()
        ):
            if "x-amz-copy-source" in request.headers:
                members["CopySource"] = unquote(request.headers["x-amz-copy-source"])
            members |= {member: query[name][0] for name, member in _ASKED.items() if name in query}
            if route.operation.name == "DeleteObjects":
                members["Delete"] = {"Objects": [{"Key": name} for name in _keys(request.body)]}
            return route.operation, members
    return None


def _keys(document: bytes) -> list[str]:
    return [unescape(key) for key in _KEY.findall(document.decode("utf-8", "replace"))]


@cache
def _routes() -> tuple[_Route, ...]:
    model = service_model("s3")
    routes = [_route(model.operation_model(name)) for name in model.operation_names]
    return tuple(sorted((route for route in routes if route), key=lambda route: route.weight, reverse=True))


def _route(operation: OperationModel) -> _Route | None:
    path, _, query = operation.http["requestUri"].partition("?")
    labels = _LABELS.get(path.rstrip("/"))
    if labels is None:
        return None
    shape = operation.input_shape
    required = {
        (member.serialization.get("location"), member.serialization["name"])
        for name, member in (shape.members.items() if shape is not None else ())
        if name in shape.required_members and "name" in member.serialization
    }
    fixed = {(name, value) for name, values in parse_qs(query, keep_blank_values=True).items() for value in values}
    return _Route(
        operation,
        operation.http["method"],
        labels,
        frozenset(pair for pair in fixed if pair[0] not in _IGNORED),
        frozenset(name for location, name in required if location == "querystring"),
        frozenset(name.lower() for location, name in required if location == "header"),
    )
