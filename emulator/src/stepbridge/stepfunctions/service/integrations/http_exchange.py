"""One request over HTTP/1.1 and its answer, without a thread.

A request over plain HTTP goes to this machine or a private network only: AWS takes HTTPS and nothing else, and what
is secret is not to leave in clear.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import h11

_MAXIMUM_BYTES = 4 * 262_144  # read of an answer: more than any state may have
_READ_BYTES = 65_536
_PORTS = {"https": 443, "http": 80}


class HttpError(Exception):
    """There is no answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `url` is absolute."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, its headers by their names as they were sent."""

    status: int
    reason: str
    headers: dict[str, list[str]]
    body: bytes


async def exchange(request: Request) -> Answer:
    """Send the request and read the answer; redirects are not followed.  Raises HttpError."""
    parts = urlsplit(request.url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    address = await _resolve(host, port)
    if parts.scheme == "http" and not ipaddress.ip_address(address.split("%", 1)[0]).is_private:
        raise HttpError(f"{host} is not on this machine or a private network: only https:// may go there")
    context = ssl.create_default_context() if parts.scheme == "https" else None
    try:
        reader, writer = await asyncio.open_connection(
            address, port, ssl=context, server_hostname=host if context else None
        )
        try:
            target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
            return await _talk(
                request, target if target.startswith("/") else f"/{target}", parts.netloc, reader, writer
            )
        finally:
            writer.close()
    except h11.ProtocolError as error:
        raise HttpError(f"{host} and this client do not understand each other: {error}") from None
    except OSError as error:
        raise HttpError(f"{host}:{port} cannot be reached: {error}") from None


async def _resolve(host: str, port: int) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HttpError(f"{host} cannot be found: {error.strerror}") from None
    return str(found[0][4][0])


async def _talk(
    request: Request, target: str, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Answer:
    protocol = h11.Connection(h11.CLIENT)
    headers = {
        "Host": host.rsplit("@", 1)[-1],
        **request.headers,
        "Content-Length": str(len(request.body)),
        "Connection": "close",
    }
    writer.write(
        (protocol.send(h11.Request(method=request.method, target=target, headers=list(headers.items()))) or b"")
        + (protocol.send(h11.Data(data=request.body)) or b"")
        + (protocol.send(h11.EndOfMessage()) or b"")
    )
    await writer.drain()
    response: h11.Response | None = None
    body = bytearray()
    while len(body) <= _MAXIMUM_BYTES:
        match protocol.next_event():
            case h11.NEED_DATA:
                protocol.receive_data(await reader.read(_READ_BYTES))
            case h11.Response() as response:
                pass
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage() | h11.ConnectionClosed():
                break
    if response is None:
        raise HttpError(f"{host} closed the connection without an answer")
    answered: dict[str, list[str]] = {}
    for name, value in response.headers.raw_items():
        answered.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return Answer(response.status_code, response.reason.decode("latin-1"), answered, bytes(body))
