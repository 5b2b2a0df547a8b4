"""The ASGI application behind the HTTP port."""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from stepbridge.api.access_checks import refusal
from stepbridge.api.credential import credential_of
from stepbridge.api.dispatch import Dispatcher
from stepbridge.api.errors import AwsError
from stepbridge.api.foreign import caller_identity, named_operation, refused_operation
from stepbridge.api.function_urls import HOST, FunctionUrlPages, read_body
from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.api.models import service_model, service_of_signing_name
from stepbridge.api.moto_backend import MotoBackend
from stepbridge.api.protocols import protocol_of
from stepbridge.api.service import Caller
from stepbridge.api.trace_stream import TraceStreams
from stepbridge.cloudformation.responses import RESPONSE_PATH
from stepbridge.functions.url_invocations import UrlInvocations
from stepbridge.functions.urls import PATH as URL_PATH
from stepbridge.iam import Permissions, RoleSession
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

logger = logging.getLogger(__name__)

# The one thing that is asked for without a signature: the link in a destination's confirmation message, which proves
# itself by the token in it.  https://docs.aws.amazon.com/iot/latest/developerguide/http-action-destination.html
_UNSIGNED_PATH = "/confirmdestination/"

_PAGES = "/_stepbridge/"
_WITHOUT_BODY = (204, 304)  # RFC 9110, section 8.6


class Api:
    """Routes each request to the emulator's own services or to moto.

    `session_of` knows the access keys that were given to roles; what they sign is authorised by `permissions`.
    `take_response` gets the answers of custom resources: the secret of the URL, the body; it says whether one waits.
    `settle_logs` returns when what functions have written until now is in their logs.
    `package` finds the archives that Lambda gives the locations of, by their names.  `urls` answers function URLs.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        trace: Trace,
        dispatcher: Dispatcher,
        moto: MotoBackend,
        endpoints: Callable[[], Mapping[str, Any]],
        permissions: Permissions,
        session_of: Callable[[str], RoleSession | None],
        take_response: Callable[[str, bytes], bool],
        settle_logs: Callable[[], Awaitable[None]],
        package: Callable[[str], Path | None],
        urls: UrlInvocations,
    ) -> None:
        self._settings = settings
        self._store = store
        self._trace = trace
        self._dispatcher = dispatcher
        self._moto = moto
        self._endpoints = endpoints
        self._permissions = permissions
        self._session_of = session_of
        self._take_response = take_response
        self._settle_logs = settle_logs
        self._find_package = package
        self._urls = FunctionUrlPages(urls, settings.region)
        self._streams = TraceStreams(trace)
        self._pages = Starlette(
            routes=[
                Route("/_stepbridge/health", self._health),
                Route("/_stepbridge/endpoints", self._where),
                Route("/_stepbridge/packages/{name}.zip", self._package),
                Route("/_stepbridge/root-ca.pem", self._root_ca),
                Route("/_stepbridge/trace", self._trace_stream),
                Route(RESPONSE_PATH + "{token}", self._custom_resource_response, methods=["PUT"]),
                Mount(URL_PATH, app=self._urls.by_path),
            ]
        )

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application: pages of our own by Starlette, requests to AWS without its routes and layers."""
        if scope["path"].startswith(_PAGES):
            await self._pages(scope, receive, send)
        else:
            await self._aws(scope, receive, send)

    def close(self) -> None:
        """End the streams that would keep the server from stopping."""
        self._streams.close()

    async def _health(self, request: Request) -> Response:
        del request
        return JSONResponse({"status": "ready", "account": self._settings.account, "region": self._settings.region})

    async def _where(self, request: Request) -> Response:
        if (reason := refusal(request.method, request.headers)) is not None:
            return PlainTextResponse(reason, status_code=403)
        return JSONResponse(dict(self._endpoints()))

    async def _custom_resource_response(self, request: Request) -> Response:
        # No check of the Host: who knows the URL, which has a secret in it, was sent it by CloudFormation.
        if self._take_response(request.path_params["token"], await request.body()):
            return Response(status_code=200)
        return PlainTextResponse("No custom resource waits for this response (any more).", status_code=403)

    async def _package(self, request: Request) -> Response:
        if (reason := refusal(request.method, request.headers)) is not None:
            return PlainTextResponse(reason, status_code=403)
        path = self._find_package(request.path_params["name"])
        if path is None:
            return PlainTextResponse("There is no such package.", status_code=404)
        return FileResponse(path, media_type="application/zip")

    async def _root_ca(self, request: Request) -> Response:
        """The certificate that devices trust, for clients that do not see the emulator's files."""
        if (reason := refusal(request.method, request.headers)) is not None:
            return PlainTextResponse(reason, status_code=403)
        return FileResponse(self._endpoints()["root_ca"], media_type="application/x-pem-file")

    async def _trace_stream(self, request: Request) -> Response:
        if (reason := refusal(request.method, request.headers)) is not None:
            return PlainTextResponse(reason, status_code=403)

        async def lines() -> AsyncIterator[bytes]:
            async for hop in self._streams.follow():
                document = {"time": hop.time, "source": hop.source, "event": hop.event, "text": hop.text}
                yield json.dumps({**document, "fields": dict(hop.fields)}, default=str).encode() + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def _aws(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Of a header that is there twice the first one counts.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        if HOST in headers.get("host", ""):
            await self._urls.by_host(scope, receive, send)
            return
        body = await read_body(receive)
        if body is None:
            return
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        query = scope["query_string"].decode("latin-1")
        source_ip = scope["client"][0] if scope.get("client") else "127.0.0.1"
        answer = await self.handle(HttpRequest(scope["method"], path, query, headers, body), source_ip)
        written = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
        if answer.stream is None and "content-length" not in answer.headers and answer.status not in _WITHOUT_BODY:
            written.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": written})
        if answer.stream is not None:
            try:
                async for part in answer.stream:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            except asyncio.CancelledError:
                return  # without an end, which closes the connection: the client sees that something is missing
        await send({"type": "http.response.body", "body": answer.body})

    async def handle(self, request: HttpRequest, source_ip: str) -> HttpResponse:
        """Answer one request to an AWS service.

        One that is cancelled, as it is still in hand when the server has to stop, is answered 503: to clients of AWS
        that means to try again.
        """
        request_id = str(uuid.uuid4())
        if (reason := refusal(request.method, request.headers)) is not None:
            self._trace.emit("api", "request-refused", reason)
            return HttpResponse(403, {"content-type": "text/plain"}, reason.encode())
        credential = credential_of(request.headers, request.query)
        service_name = self._service_name(request, credential)
        if service_name is None or not self._dispatcher.offers(service_name):
            try:
                return await self._foreign(request, credential, request_id)
            except asyncio.CancelledError:
                return HttpResponse(503)  # without a body clients go by the status
        return await self._own(service_name, request, credential, source_ip, request_id)

    def _service_name(self, request: HttpRequest, credential: re.Match[str] | None) -> str | None:
        if credential is not None:
            return service_of_signing_name(credential[3])
        target = request.headers.get("x-amz-target", "").partition(".")[0]
        if target == service_model("stepfunctions").metadata["targetPrefix"]:
            return "stepfunctions"
        if request.path.startswith(_UNSIGNED_PATH):
            return "iot"
        return None

    async def _foreign(self, request: HttpRequest, credential: re.Match[str] | None, request_id: str) -> HttpResponse:
        if credential is not None and credential[3] == "logs":
            await self._settle_logs()
        session = self._session_of(credential[1]) if credential is not None else None
        if session is not None and credential is not None:
            named = named_operation(service_of_signing_name(credential[3]), request)
            if named is not None:
                try:
                    await self._permissions.require(session, *named)
                except AwsError as error:
                    return refused_operation(request, named[0], error, request_id)
                if named[0].name == "GetCallerIdentity":
                    return caller_identity(named[0], session, request_id)
        return await self._moto.handle(request)

    async def _own(
        self,
        service_name: str,
        request: HttpRequest,
        credential: re.Match[str] | None,
        source_ip: str,
        request_id: str,
    ) -> HttpResponse:
        protocol = protocol_of(service_name)
        operation = None
        try:
            # Step Functions Local answers requests that are not signed, or for whatever region.
            anyone = self._settings.step_functions_local is not None and service_name == "stepfunctions"
            if credential is None and not anyone and not request.path.startswith(_UNSIGNED_PATH):
                raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", status=403)
            access_key, region = credential.group(1, 2) if credential else (None, self._settings.region)
            if region != self._settings.region and not anyone:
                # What AWS answers to a request signed for another region than the endpoint's.
                raise AwsError(
                    "InvalidSignatureException",
                    f"Credential should be scoped to a valid region, not '{region}'. "
                    f"(This emulator is {self._settings.region}: stepbridge up --region {region} starts another.)",
                    status=403,
                )
            operation, members = protocol.parse(request)
            user_id = None
            if access_key is not None and (session := self._session_of(access_key)) is not None:
                await self._permissions.require(session, operation, members)
                user_id = session.user_id
            caller = Caller(self._settings.account, region, access_key, source_ip, request.headers, user_id)
            output = await self._dispatcher.call(operation, caller, members)
            # Nothing is acknowledged before it is in the database.
            await self._store.committed()
            return protocol.serialize(operation, output, request_id)
        except AwsError as error:
            return protocol.serialize_error(operation, error, request_id)
        except asyncio.CancelledError:
            return protocol.serialize_error(operation, _unavailable(service_name), request_id)
        except Exception:
            name = operation.name if operation is not None else request.path
            logger.exception("%s of %s failed (request %s)", name, service_name, request_id)
            self._trace.emit(
                "api", "internal-error", f"{service_name} {name} failed inside stepbridge: the log tells why"
            )
            failure = AwsError("InternalFailure", "stepbridge failed to answer; its log tells why", status=500)
            return protocol.serialize_error(operation, failure, request_id)


def _unavailable(service_name: str) -> AwsError:
    """What a service says that cannot answer now; Lambda has a name of its own for it."""
    code = "ServiceException" if service_name == "lambda" else "ServiceUnavailable"
    return AwsError(code, "stepbridge is stopping: try again when it has been started again.", status=503)
