"""HTTPS on the device port: how requests are read and answered, whatever they mean."""

import asyncio
import http.client
import json
import ssl
import time
from typing import Any

import pytest

from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.iot.broker.https import Visitor

TIMEOUT = 30


class Echo:
    """Answers with what it was asked."""

    def __init__(self) -> None:
        self.visitors: list[Visitor] = []

    async def answer(self, request: HttpRequest, visitor: Visitor) -> HttpResponse:
        self.visitors.append(visitor)
        await asyncio.sleep(0)
        told = {"method": request.method, "path": request.path, "query": request.query, "size": len(request.body)}
        if request.path == "/large":
            return HttpResponse(200, {}, bytes(131_072))
        return HttpResponse(200, {"content-type": "application/json"}, json.dumps(told).encode())


@pytest.fixture
def echo(world: Any) -> Echo:
    echo = Echo()
    world.broker.serve_http(echo.answer)
    return echo


def connection(world: Any, alpn: str | None = None, identity: bool = True) -> http.client.HTTPSConnection:
    context: ssl.SSLContext = world.tls(world.device if identity else None, alpn)
    return http.client.HTTPSConnection("localhost", world.port, context=context, timeout=TIMEOUT)


@pytest.mark.parametrize("alpn", [None, "x-amzn-http-ca", "http/1.1"])
def test_several_requests_on_a_connection(world: Any, echo: Echo, alpn: str | None) -> None:
    client = connection(world, alpn)
    for number in range(3):
        client.request("POST", f"/topics/a%2Fb?qos={number}", body=b"x" * number * 60_000)
        answer = client.getresponse()
        assert answer.status == 200
        expected = {"method": "POST", "path": "/topics/a%2Fb", "query": f"qos={number}", "size": number * 60_000}
        assert json.loads(answer.read()) == expected
    client.close()
    assert {visitor.address for visitor in echo.visitors} == {"127.0.0.1"}
    der = ssl.PEM_cert_to_DER_cert(world.device.certificate.read_text())
    assert echo.visitors[0].certificate_der == der


def test_methods_chunks_and_no_certificate(world: Any, echo: Echo) -> None:
    client = connection(world, identity=False)
    for method in ("GET", "DELETE", "PUT", "HEAD"):
        client.request(method, "/x")
        answer = client.getresponse()
        assert (answer.status, json.loads(answer.read() or '{"method":"HEAD"}')["method"]) == (200, method)
    client.request(
        "POST", "/x", body=iter([b"ab", b"c"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert json.loads(client.getresponse().read())["size"] == 3
    assert echo.visitors[0].certificate_der is None
    client.close()


def exchange(world: Any, *pieces: bytes, read: bool = True) -> bytes:
    """What comes back, until the end, for bytes that are sent one piece after the other."""
    socket = world.raw().socket
    for piece in pieces:
        socket.sendall(piece)
    received = b""
    while read:
        try:
            data = socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            break
        if not data:
            break
        received += data
    return received


def test_a_request_in_single_bytes_and_two_at_once(world: Any, echo: Echo) -> None:
    one = b"POST /1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab"
    last = b"GET /3 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    received = exchange(world, *(bytes([byte]) for byte in one), one.replace(b"/1", b"/2") + last)
    assert [json.loads(each.partition(b"\r\n\r\n")[2])["path"] for each in received.split(b"HTTP/1.1 ")[1:]] == [
        "/1",
        "/2",
        "/3",
    ]
    assert len(echo.visitors) == 3


def test_http_1_0_and_100_continue(world: Any, echo: Echo) -> None:
    received = exchange(world, b"GET /old HTTP/1.0\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200")
    raw = world.raw().socket
    raw.sendall(b"POST /x HTTP/1.1\r\nHost: l\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
    assert raw.recv(65536).startswith(b"HTTP/1.1 100")
    raw.sendall(b"a")
    assert raw.recv(65536).startswith(b"HTTP/1.1 200")
    assert len(echo.visitors) == 2


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([b"NONSENSE\r\n\r\n"], b"400"),
        ([b"POST /x HTTP/1.1\r\nHost: l\r\nContent-Length: x\r\n\r\n"], b"400"),
        ([b"GET /x HTTP/1.1\r\n\r\n"], b"400"),  # no Host
        ([b"GET /" + b"x" * 20_000], b"431"),
        ([b"POST /x HTTP/1.1\r\nHost: l\r\nContent-Length: 9999999\r\n\r\n", *[b"x" * 65536] * 5], b"413"),
    ],
)
def test_what_is_no_request_is_refused_and_told(world: Any, echo: Echo, pieces: list[bytes], status: bytes) -> None:
    received = exchange(world, *pieces)
    assert received.startswith(b"HTTP/1.1 " + status)
    assert world.told("request-refused", status.decode())
    assert echo.visitors == []


def test_an_error_without_anybody_who_serves(world: Any) -> None:
    client = connection(world)
    client.request("GET", "/")
    assert client.getresponse().status == 404
    client.close()


def test_a_client_that_reads_nothing_is_not_served_without_end(world: Any, echo: Echo) -> None:
    request = b"GET /large HTTP/1.1\r\nHost: l\r\n\r\n"
    socket = world.raw().socket
    socket.settimeout(1)
    try:
        while True:
            socket.sendall(request * 100)
    except TimeoutError:
        pass
    served = -1
    while served != len(echo.visitors):
        served = len(echo.visitors)
        # 128 KiB each: what the kernel's buffers take, and a few more.
        assert served < 200
        time.sleep(0.5)
