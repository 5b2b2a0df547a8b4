"""Requests to the services that moto carries out: which operation they name, and how one of them is refused."""

from typing import Any
from xml.sax.saxutils import escape

from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel

from stepbridge.api.errors import AwsError
from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.api.models import has_operation, operation_model, service_model
from stepbridge.api.protocols import protocol_of
from stepbridge.iam import s3

# Names in a request's SigV4 scope that are not the names of the models.
_MODELS = {"monitoring": "cloudwatch", "email": "ses", "execute-api": "apigatewaymanagementapi"}


def named_operation(signing_name: str, request: HttpRequest) -> tuple[OperationModel, dict[str, Any]] | None:
    """The operation that a request names and the members that tell what it is about.

    None if it names none, or in a protocol that is not known here.
    """
    service = _MODELS.get(signing_name, signing_name)
    if service == "s3":
        return s3.find_operation(request)
    try:
        if service_model(service).metadata["protocol"] == "smithy-rpc-v2-cbor":
            name = request.path.rpartition("/operation/")[2]
            return (operation_model(service, name), {}) if has_operation(service, name) else None
        return protocol_of(service).parse(request)
    except (UnknownServiceError, NotImplementedError, AwsError):
        return None


def refused_operation(operation: OperationModel, error: AwsError, request_id: str) -> HttpResponse:
    """The answer to a request that is refused before moto sees it."""
    service = operation.service_model.service_name
    if service == "s3":
        document = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
            f"<RequestId>{request_id}</RequestId><HostId>stepbridge</HostId></Error>"
        )
        headers = {"content-type": "application/xml", "x-amz-request-id": request_id}
        return HttpResponse(error.status or 403, headers, document.encode())
    if service_model(service).metadata["protocol"] == "smithy-rpc-v2-cbor":
        return _cbor(error, request_id)
    answer = protocol_of(service).serialize_error(operation, error, request_id)
    if "awsQueryCompatible" in service_model(service).metadata:
        # The code that the service had when it spoke the query protocol, which SDKs still show.
        answer.headers["x-amzn-query-error"] = f"{error.code};Sender"
    return answer


def _cbor(error: AwsError, request_id: str) -> HttpResponse:
    """https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html"""
    document = b"\xa2" + b"".join(
        _cbor_text(text) for pair in (("__type", error.code), ("message", error.message)) for text in pair
    )
    headers = {
        "content-type": "application/cbor",
        "smithy-protocol": "rpc-v2-cbor",
        "x-amzn-requestid": request_id,
        "x-amzn-query-error": f"{error.code};Sender",
    }
    return HttpResponse(error.status or 400, headers, document)


def _cbor_text(text: str) -> bytes:
    encoded = text.encode()
    return b"\x79" + len(encoded).to_bytes(2, "big") + encoded
