"""Requests to function URLs: whether they are admitted, and what comes of them."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from stepbridge.api.errors import AwsError
from stepbridge.authorization import IAM_RESOURCE, Context, Outcome, Principal, Request, evaluate, parse_policy
from stepbridge.clock import Clock
from stepbridge.functions import url_cors, url_events
from stepbridge.functions.invoker import Functions
from stepbridge.functions.names import FunctionName
from stepbridge.functions.permissions import INVOKE, INVOKE_URL
from stepbridge.functions.response_streams import WITH_PRELUDE, BrokenStreamError
from stepbridge.functions.streamed_invocations import invoke_streaming
from stepbridge.functions.url_events import MalformedResponseError, UrlRequest, UrlResponse
from stepbridge.functions.urls import FunctionUrl, FunctionUrlRegistry
from stepbridge.iam.roles import Refusal
from stepbridge.iam.sessions import RoleSession
from stepbridge.settings import Settings
from stepbridge.trace import Trace

_FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


class Roles(Protocol):
    """What roles may do."""

    async def role(self, role_arn: str) -> object:
        """Read the role, for :meth:`refusal`."""
        ...

    def refusal(self, session: RoleSession, action: str, resource: str, source_ip: str) -> Refusal | None:
        """Why the role of `session` may not do `action` on the ARN `resource`, or None if it may."""
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """What the signature of a request says: whose access key it is, and for which region and service it signs."""

    access_key: str
    region: str
    service: str


class UrlInvocations:
    """Invokes functions for the requests to their URLs.

    `session_of` knows the access keys that were given to roles; all others are the user's, who may do anything.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        trace: Trace,
        functions: Functions,
        urls: FunctionUrlRegistry,
        roles: Roles,
        session_of: Callable[[str], RoleSession | None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._trace = trace
        self._functions = functions
        self._urls = urls
        self._roles = roles
        self._session_of = session_of

    async def answer(self, url_id: str, request: UrlRequest, signature: Signature | None) -> UrlResponse:
        """The response to a request to the URL `url_id`."""
        url = self._urls.find(url_id)
        if url is None:  # AWS does not say whether there is such a URL
            self._trace.emit("lambda", "invoke-refused", f"There is no function URL {url_id}")
            return _error("AccessDeniedException", 403, {"Message": _FORBIDDEN})
        cors: Mapping[str, Any] = url.configuration.get("Cors", {})
        if cors and (asked := url_cors.preflight(cors, request)) is not None:
            return asked
        try:
            response = await self._invoke(url, request, signature)
        except AwsError as error:
            response = _error(error.code, error.status or 400, {**error.members, "message": error.message})
        response.headers.extend(url_cors.response_headers(cors, request))
        return response

    async def _invoke(self, url: FunctionUrl, request: UrlRequest, signature: Signature | None) -> UrlResponse:
        name = self._functions.name(url.function, url.qualifier or None)
        iam = None
        if url.configuration["AuthType"] == "NONE":
            refusal = self._why_not_public(name)
        elif signature is None:
            refusal = "it is not signed"
        else:
            self._check_scope(signature)
            session = self._session_of(signature.access_key)
            refusal = await self._why_refused(name, request, session)
            iam = self._identity(signature.access_key, session)
        if refusal is not None:
            self._trace.emit(
                "lambda",
                "invoke-refused",
                f"{request.method} {request.path} may not invoke {name.name} by its URL: {refusal}",
                function=name.name,
            )
            return _error("AccessDeniedException", 403, {"Message": _FORBIDDEN})
        request_id = str(uuid.uuid4())
        payload = url_events.event(request, url.url_id, request_id, self._clock.now(), iam)
        streamed = url.configuration["InvokeMode"] == "RESPONSE_STREAM"
        call = self._stream if streamed else self._call
        try:
            response = await call(name, payload, request_id)
        except MalformedResponseError as error:
            self._trace.emit(
                "lambda",
                "malformed-response",
                f"{name.name} answered its URL with no HTTP response: {error}",
                function=name.name,
                request_id=request_id,
            )
            response = None
        if response is None:  # a handler that raises, or takes too long, is answered the same
            response = UrlResponse(502, [("content-type", "application/json")], b"Internal Server Error")
        response.headers.append(("x-amzn-requestid", request_id))
        return response

    async def _call(self, name: FunctionName, payload: bytes, request_id: str) -> UrlResponse | None:
        """What the function answers, None if it fails.  Raises MalformedResponseError."""
        result = await self._functions.invoke(name.arn, payload, request_id=request_id)
        return None if result.function_error else url_events.response(result.payload)

    async def _stream(self, name: FunctionName, payload: bytes, request_id: str) -> UrlResponse | None:
        """What the function begins to answer, None if it fails before.  Raises MalformedResponseError.

        The answer of a handler that does not stream is the body as it is, whatever is in it.
        """
        invocation = await invoke_streaming(self._functions, name.arn, payload, request_id=request_id)
        if invocation.head is None:
            result = await invocation.result
            headers = [("content-type", "application/json")]
            return None if result.function_error else UrlResponse(200, headers, result.payload)
        if (content_type := invocation.head.content_type) != WITH_PRELUDE:
            return UrlResponse(200, [("content-type", content_type)], invocation.stream.read())
        try:
            begun = await invocation.stream.read_prelude()
        except BrokenStreamError:
            return None
        if begun is None:
            raise MalformedResponseError("it ended before its body began")
        prelude, parts = begun
        return replace(url_events.streamed_response(prelude), body=parts)

    def _check_scope(self, signature: Signature) -> None:
        """Raises InvalidSignatureException for a signature that is for something else."""
        if signature.service != "lambda":
            message = "Credential should be scoped to correct service: 'lambda'."
        elif signature.region != self._settings.region:
            message = f"Credential should be scoped to a valid region, not '{signature.region}'."
        else:
            return
        raise AwsError("InvalidSignatureException", message, status=403)

    def _why_not_public(self, name: FunctionName) -> str | None:
        """Why a request of anyone is refused, or None if the function's policy admits it.

        URLs that were created since October 2025 take both permissions: here all URLs do.
        https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html#urls-auth-none
        """
        for action, facts in _needs("NONE"):
            if self._policy_outcome(name, action, facts, Principal("AWS", "anonymous")) is not Outcome.ALLOWED:
                return f"its resource policy does not allow {action} to everyone ({_shown(facts)})"
        return None

    async def _why_refused(self, name: FunctionName, request: UrlRequest, session: RoleSession | None) -> str | None:
        """Why the caller, a role, is refused; None if its policies or the function's admit it.

        In one account either is enough, and neither may deny it.
        https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html#urls-auth-iam
        """
        if session is None or not self._settings.iam:
            return None
        await self._roles.role(session.role_arn)
        for action, facts in _needs("AWS_IAM"):
            caller = replace(session, facts={**session.facts, **facts})
            refusal = self._roles.refusal(caller, action, name.arn, request.source_ip)
            outcome = self._policy_outcome(name, action, facts, Principal("AWS", session.role_arn))
            denied = outcome is Outcome.EXPLICIT_DENY or (
                refusal is not None and (refusal.explicit or refusal.boundary)
            )
            if denied or (refusal is not None and outcome is not Outcome.ALLOWED):
                return f"{session.role_name} may not {action} ({_shown(facts)})"
        return None

    def _policy_outcome(
        self, name: FunctionName, action: str, facts: Mapping[str, str], principal: Principal
    ) -> Outcome:
        # What is granted to the account is for the policies of its roles to pass on: by itself it is no grant to one.
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-accounts
        passed_on = ("Allow", {"AWS": f"arn:aws:iam::{self._settings.account}:root"})
        kept = self._functions.registry.statements(name.name, name.qualifier or "").values()
        statements = [one for one in kept if (one["Effect"], one.get("Principal")) != passed_on]
        if not statements:
            return Outcome.IMPLICIT_DENY
        document = {"Version": "2012-10-17", "Statement": statements}
        context = Context({key: (value,) for key, value in facts.items()})
        policy = parse_policy("of the function", document, IAM_RESOURCE)
        return evaluate([policy], Request(action, name.arn, context, principal)).outcome

    def _identity(self, access_key: str, session: RoleSession | None) -> dict[str, Any]:
        """Who calls, as the event tells it.  The user, who may do anything, is the account's root."""
        account = self._settings.account
        user_id = session.user_id if session is not None else account
        return {
            "accessKey": access_key,
            "accountId": account,
            "callerId": user_id,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": session.arn if session is not None else f"arn:aws:iam::{account}:root",
            "userId": user_id,
        }


def _needs(auth_type: str) -> list[tuple[str, dict[str, str]]]:
    """The actions that a request to a URL takes, each with its condition keys."""
    return [
        (INVOKE_URL, {"lambda:FunctionUrlAuthType": auth_type}),
        (INVOKE, {"lambda:InvokedViaFunctionUrl": "true"}),
    ]


def _shown(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _error(code: str, status: int, document: Mapping[str, Any]) -> UrlResponse:
    headers = [("content-type", "application/json"), ("x-amzn-errortype", code)]
    return UrlResponse(status, headers, json.dumps(document, separators=(",", ":")).encode())
