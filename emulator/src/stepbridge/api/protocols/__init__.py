"""AWS's wire protocols from the server's side: requests are read and answers written from botocore's shapes.

botocore has the client's half (it writes requests and reads answers); this is the other half.  A protocol is an
object with three functions: which operation a request names and what members it has; an output as a response; an
error as a response.
"""

from functools import cache
from typing import Protocol as TypingProtocol

from botocore.model import OperationModel

from stepbridge.api.errors import AwsError
from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.api.models import service_model
from stepbridge.api.service import Members


class Protocol(TypingProtocol):
    """One wire protocol, for one service."""

    def parse(self, request: HttpRequest) -> tuple[OperationModel, Members]:
        """The operation and its members.  Raises AwsError when there is no such operation or the text is malformed."""
        ...

    def serialize(self, operation: OperationModel, output: Members, request_id: str) -> HttpResponse:
        """The answer."""
        ...

    def serialize_error(self, operation: OperationModel | None, error: AwsError, request_id: str) -> HttpResponse:
        """The refusal."""
        ...


@cache
def protocol_of(service_name: str) -> Protocol:
    """The protocol that the service's model names."""
    model = service_model(service_name)
    name = model.metadata["protocol"]
    if name == "json":
        from stepbridge.api.protocols.json_rpc import JsonProtocol

        return JsonProtocol(model)
    if name == "rest-json":
        from stepbridge.api.protocols.rest_json import RestJsonProtocol

        return RestJsonProtocol(model)
    if name == "query":
        from stepbridge.api.protocols.query import QueryProtocol

        return QueryProtocol(model)
    raise NotImplementedError(f"{service_name} speaks {name}, which no service of the emulator does")
