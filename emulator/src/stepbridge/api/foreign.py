"""Requests to the services that moto carries out: which operation they name, and how one of them is refused.

A service may speak several protocols, and SDKs choose: which one a request is in shows in the request.
"""

import json
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel

from stepbridge.api.errors import AwsError
from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.api.models import has_operation, operation_model, service_model
from stepbridge.api.protocols import json_values, protocol_of
from stepbridge.iam import RoleSession, s3

# Names in a request's SigV4 scope that are not the names of the models.
_MODELS = {"monitoring": "cloudwatch", "email": "ses", "execute-api": "apigatewaymanagementapi"}
_CBOR = "/operation/"


def named_operation(signing_name: str, request: HttpRequest) -> tuple[OperationModel, dict[str, Any]] | None:
    """The operation that a request names and the members that tell what it is about.

    None if it names none, or not as is known here.
    """
    service = _MODELS.get(signing_name, signing_name)
    if service == "s3":
        return s3.find_operation(request)
    members: dict[str, Any] = {}
    try:
        if "x-amz-target" in request.headers:
            name = request.headers["x-amz-target"].rpartition(".")[2]
            document = json.loads(request.body or b"{}")
            members = document if isinstance(document, dict) else {}
        elif _CBOR in request.path:
            name = request.path.rpartition(_CBOR)[2]
        elif service_model(service).metadata["protocol"] == "rest-json":
            return protocol_of(service).parse(request)
        else:
            members = dict(parse_qsl(request.body.decode() or request.query))
            name = members.get("Action", "")
        return (operation_model(service, name), members) if has_operation(service, name) else None
    except (UnknownServiceError, ValueError, AwsError):
        return None


def refused_operation(
    request: HttpRequest, operation: OperationModel, error: AwsError, request_id: str
) -> HttpResponse:
    """The answer to a request that is refused before moto sees it."""
    service = operation.service_model.service_name
    status = error.status or 400
    headers = {"x-amzn-requestid": request_id}
    # The code that a service had when it spoke the query protocol, which SDKs go on to show.
    old_code = {"x-amzn-query-error": f"{error.code};Sender"}
    if service == "s3":
        document = f"<Error>{_xml(error)}<RequestId>{request_id}</RequestId><HostId>stepbridge</HostId></Error>"
        headers |= {"content-type": "application/xml", "x-amz-request-id": request_id}
        return HttpResponse(status, headers, f'<?xml version="1.0" encoding="UTF-8"?>\n{document}'.encode())
    if "x-amz-target" in request.headers:
        content_type = request.headers.get("content-type", "application/x-amz-json-1.0")
        answer = json_values.error_response(error, status, content_type, request_id, type_in_header=False)
        if "awsQueryCompatible" in operation.service_model.metadata:
            answer.headers |= old_code
        return answer
    if _CBOR in request.path:
        headers |= {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor", **old_code}
        return HttpResponse(status, headers, _cbor({"__type": error.code, "message": error.message}))
    if operation.service_model.metadata["protocol"] == "rest-json":
        return protocol_of(service).serialize_error(operation, error, request_id)
    document = f"<Error><Type>Sender</Type>{_xml(error)}</Error><RequestId>{request_id}</RequestId>"
    headers["content-type"] = "text/xml"
    return HttpResponse(status, headers, f"<ErrorResponse>{document}</ErrorResponse>".encode())


def caller_identity(operation: OperationModel, session: RoleSession, request_id: str) -> HttpResponse:
    """The answer of sts:GetCallerIdentity to a role, which moto does not know to be one."""
    account = session.role_arn.split(":")[4]
    identity = {"UserId": session.user_id, "Account": account, "Arn": session.arn}
    return protocol_of("sts").serialize(operation, identity, request_id)


def _xml(error: AwsError) -> str:
    return f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"


def _cbor(texts: dict[str, str]) -> bytes:
    """A map of texts (RFC 8949 section 3.1)."""
    encoded = [text.encode() for pair in texts.items() for text in pair]
    return bytes([0xA0 + len(texts)]) + b"".join(b"\x79" + len(text).to_bytes(2, "big") + text for text in encoded)
