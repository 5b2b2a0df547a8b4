"""Function URLs on the HTTP port: by the path that the API gives them, and by a host name as on AWS.

A host name is `<id>.lambda-url.<region>.` and anything; `<id>.lambda-url.us-east-1.localhost` is found by curl and by
browsers.  The function cannot tell which one it was called by.

Neither the Host nor the Origin of these requests is checked: who knows the id of a URL may call it from wherever, and
what pages may do with it is for its CORS configuration to say.
"""

import asyncio

from starlette.types import Receive, Scope, Send

from stepbridge.api.credential import credential_of
from stepbridge.functions.response_streams import BrokenStreamError
from stepbridge.functions.url_events import UrlRequest, UrlResponse
from stepbridge.functions.url_invocations import Signature, UrlInvocations
from stepbridge.functions.urls import PATH

HOST = ".lambda-url."  # in the Host header of a request to a function URL

_WITHOUT_BODY = (204, 304)  # RFC 9110, section 8.6


async def read_body(receive: Receive) -> bytes | None:
    """The body of a request, None if the client went away."""
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


class FunctionUrlPages:
    """Two ASGI applications that answer requests to the function URLs of `urls`, in `region`."""

    def __init__(self, urls: UrlInvocations, region: str) -> None:
        self._urls = urls
        self._region = region

    async def by_path(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Requests for PATH, an id, and the path that the function sees."""
        url_id, _, path = _path(scope).removeprefix(PATH).partition("/")
        await self._answer(scope, receive, send, url_id, f"/{path}", f"{url_id}{HOST}{self._region}.localhost")

    async def by_host(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Requests whose Host has HOST in it."""
        domain = _host(scope)[0].lower()
        await self._answer(scope, receive, send, domain.partition(".")[0], _path(scope), domain)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, url_id: str, path: str, domain: str) -> None:
        body = await read_body(receive)
        if body is None:
            return
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        query = scope["query_string"].decode("latin-1")
        request = UrlRequest(
            method=scope["method"],
            path=path,
            query=query,
            headers=headers,
            body=body,
            domain=domain,
            port=_host(scope)[1],
            protocol=f"HTTP/{scope['http_version']}",
            source_ip=scope["client"][0] if scope.get("client") else "127.0.0.1",
        )
        credential = credential_of(dict(headers), query)
        signature = Signature(*credential.groups()) if credential is not None else None
        try:
            response = await self._urls.answer(url_id, request, signature)
        except asyncio.CancelledError:  # it is still in hand when the server has to stop
            response = UrlResponse(503, [])
        written = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.headers]
        whole = response.body if isinstance(response.body, bytes) else None
        if whole is not None and response.status not in _WITHOUT_BODY:
            written.append((b"content-length", str(len(whole)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": written})
        if not isinstance(response.body, bytes):
            try:
                async for part in response.body:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            except (BrokenStreamError, asyncio.CancelledError):
                return  # without an end, which closes the connection: the client sees that something is missing
        await send({"type": "http.response.body", "body": whole or b""})


def _path(scope: Scope) -> str:
    """The path as sent, percent-encoded."""
    return str(scope["raw_path"].decode("latin-1").partition("?")[0])


def _host(scope: Scope) -> tuple[str, int]:
    """The name and the port that the client asked."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    return (name, int(port)) if port.isdecimal() else (host, 80)
