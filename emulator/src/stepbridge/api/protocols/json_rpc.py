"""awsJson 1.0 and 1.1: every operation is a POST to `/`, named in the X-Amz-Target header.

https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
"""

from botocore.model import OperationModel, ServiceModel

from stepbridge.api.errors import AwsError
from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.api.protocols import json_values
from stepbridge.api.service import Members


class JsonProtocol:
    """The protocol for one service."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._content_type = f"application/x-amz-json-{model.metadata['jsonVersion']}"

    def parse(self, request: HttpRequest) -> tuple[OperationModel, Members]:
        operation_name = request.headers.get("x-amz-target", "").rpartition(".")[2]
        if operation_name not in self._model.operation_names:
            raise AwsError("UnknownOperationException", f"There is no operation '{operation_name}'", status=400)
        operation = self._model.operation_model(operation_name)
        document = json_values.load_body(request.body)
        return operation, json_values.parse_structure(operation.input_shape, document, "")

    def serialize(self, operation: OperationModel, output: Members, request_id: str) -> HttpResponse:
        shape = operation.output_shape
        document = json_values.write_structure(shape, output) if shape is not None else {}
        headers = {"content-type": self._content_type, "x-amzn-requestid": request_id}
        return HttpResponse(200, headers, json_values.dump_body(document))

    def serialize_error(self, operation: OperationModel | None, error: AwsError, request_id: str) -> HttpResponse:
        status = error.status or 400
        return json_values.error_response(error, status, self._content_type, request_id, type_in_header=False)
