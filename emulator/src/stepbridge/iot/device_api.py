"""The iot-data API on the device port: for those who prove who they are by a certificate, or sign their requests.

https://docs.aws.amazon.com/iot/latest/developerguide/http.html
https://docs.aws.amazon.com/iot/latest/developerguide/device-shadow-rest-api.html
"""

import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace

from botocore.model import OperationModel

from stepbridge.api.dispatch import Dispatcher
from stepbridge.api.errors import AwsError
from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.api.protocols import protocol_of
from stepbridge.api.service import Caller, Members
from stepbridge.iot.access import Access, Connection
from stepbridge.iot.broker.https import Visitor
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

logger = logging.getLogger(__name__)

_SERVICE = "iot-data"
_SIGNED_FOR = re.compile(r"^AWS4-HMAC-SHA256 .*Credential=[^,\s]*/([^/,\s]+)/aws4_request")
_SIGNING_NAMES = ("iotdata", "iotdevicegateway")
# Topics may be sent as they are, and not only with %2F for each slash (developerguide/http.html).
_TOPIC_PATH = re.compile(r"(/topics/|/retainedMessage/)(.+)")


class DeviceApi:
    """Answers HTTPS requests of devices.

    `answer_signed` is what answers requests with Signature Version 4 on the HTTP port: IAM callers get the same here.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        trace: Trace,
        access: Access,
        dispatcher: Dispatcher,
        answer_signed: Callable[[HttpRequest, str], Awaitable[HttpResponse]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._trace = trace
        self._access = access
        self._dispatcher = dispatcher
        self._answer_signed = answer_signed

    async def answer(self, request: HttpRequest, visitor: Visitor) -> HttpResponse:
        """The answer to one request.  Never raises."""
        if topic := _TOPIC_PATH.fullmatch(request.path):
            request = replace(request, path=topic[1] + topic[2].replace("/", "%2F"))
        trace_id = str(uuid.uuid4())
        protocol = protocol_of(_SERVICE)
        operation = None
        try:
            if "authorization" in request.headers:
                _check_scope(request.headers["authorization"])
                return await self._answer_signed(request, visitor.address)
            operation, members = protocol.parse(request)
            principal = self._authorized(operation, members, visitor)
            caller = Caller(
                self._settings.account, self._settings.region, principal, visitor.address, headers=request.headers
            )
            output = await self._dispatcher.call(operation, caller, members)
            await self._store.committed()
            answer = protocol.serialize(operation, output, trace_id)
            if operation.output_shape is None:
                answer.headers["content-type"] = "application/json"
                answer.body = json.dumps({"message": "OK", "traceId": trace_id}).encode()
            return answer
        except AwsError as error:
            error.members.setdefault("traceId", trace_id)
            return protocol.serialize_error(operation, error, trace_id)
        except Exception:
            logger.exception("%s of a device failed (request %s)", request.path, trace_id)
            self._trace.emit("iot", "internal-error", f"{request.path} failed inside stepbridge: the log tells why")
            failure = AwsError("InternalFailureException", "stepbridge failed to answer; its log tells why", status=500)
            return protocol.serialize_error(operation, failure, trace_id)

    def _authorized(self, operation: OperationModel, members: Members, visitor: Visitor) -> str:
        """The principal of a request that its policies allow.  Raises AwsError."""
        name: str = operation.name
        admission = self._access.admit(visitor.certificate_der)
        if admission.principal is None:
            raise self._forbidden(name, f"{visitor.address} is refused: {admission.reason}")
        connection = Connection(admission.principal, None, visitor.address, domain_name=visitor.server_name)
        for action, resource in _needs(name, members):
            decision = self._access.decide(connection, action, resource)
            if not decision.allowed:
                raise self._forbidden(name, f"{admission.principal} may not do {name} by HTTPS: {decision.reason}")
        return admission.principal

    def _forbidden(self, operation: str, text: str) -> AwsError:
        self._trace.emit("iot", "request-refused", text, operation=operation)
        return AwsError("ForbiddenException", "Forbidden", status=403)


def _check_scope(authorization: str) -> None:
    scope = _SIGNED_FOR.match(authorization)
    if scope is None:
        raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", status=403)
    if scope[1] not in _SIGNING_NAMES:
        message = f"Credential should be scoped to correct service: '{_SIGNING_NAMES[1]}'."
        raise AwsError("InvalidSignatureException", message, status=403)


def _needs(operation: str, members: Members) -> list[tuple[str, str]]:
    """The actions and resources that a policy must allow.

    https://docs.aws.amazon.com/iot/latest/developerguide/iot-policy-actions.html
    """
    match operation:
        case "Publish":
            topic = f"topic/{members['topic']}"
            retain = [("iot:RetainPublish", topic)] if members.get("retain") else []
            return [("iot:Publish", topic), *retain]
        case "GetRetainedMessage":
            return [("iot:GetRetainedMessage", f"topic/{members['topic']}")]
        case "GetThingShadow" | "UpdateThingShadow" | "DeleteThingShadow":
            shadow = f"/{members['shadowName']}" if "shadowName" in members else ""
            return [(f"iot:{operation}", f"thing/{members['thingName']}{shadow}")]
        case "DeleteConnection":
            return [("iot:DeleteConnection", f"client/{members['clientId']}")]
    # ListNamedShadowsForThing and ListRetainedMessages: "All".
    return [(f"iot:{operation}", "*")]
