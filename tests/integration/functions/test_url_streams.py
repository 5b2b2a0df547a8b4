"""Function URLs with InvokeMode RESPONSE_STREAM, of Node.js handlers that stream and of one that does not."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.e2e.harness import wait_until
from tests.integration.functions.test_node import with_node
from tests.integration.functions.test_urls import Urls, send

from stepbridge.testing import EmulatorProcess

__all__ = ["with_node"]

STREAMS = """
const net = require("net");
const told = (port) => new Promise((resolve) => net.connect(port, "127.0.0.1").on("data", resolve));
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  const path = event.rawPath;
  if (path === "/fail") throw new Error("no");
  if (path !== "/plain") {
    const head = { statusCode: 201, headers: { "Content-Type": "text/plain", "X-Own": "z" }, cookies: ["a=1", "b=2"] };
    stream = awslambda.HttpResponseStream.from(stream, path === "/malformed" ? { statusCode: "none" } : head);
  }
  stream.write("first ");
  if (event.queryStringParameters?.port) await told(Number(event.queryStringParameters.port));
  if (path === "/midway") throw new Error("no more");
  stream.write("second");
  stream.end();
});
"""
ANSWERS = "exports.handler = async () => ({ statusCode: 201, body: 'x' });"


@pytest.fixture
def urls(with_node: None, tmp_path: Path) -> Iterator[Urls]:
    emulator = EmulatorProcess(tmp_path / "emulator", "--memory")
    emulator.start()
    yield Urls(emulator)
    emulator.close()


def stream_url(urls: Urls, code: str = STREAMS) -> str:
    role = urls.role("streams")
    urls.function("streams", role, {"app.js": code}, Runtime="nodejs20.x", MemorySize=256)
    return urls.url("streams", InvokeMode="RESPONSE_STREAM")


def test_parts_come_before_the_end(urls: Urls) -> None:
    url = stream_url(urls)
    assert urls.functions.get_function_url_config(FunctionName="streams")["InvokeMode"] == "RESPONSE_STREAM"
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        connection.request("GET", f"{urlsplit(url).path}?port={server.getsockname()[1]}")
        response = connection.getresponse()
        assert (response.status, response.headers["content-type"], response.headers["x-own"]) == (
            201,
            "text/plain",
            "z",
        )
        assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]
        assert response.read(6) == b"first "
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"go on")
            assert response.read() == b"second"
        connection.close()


def test_without_a_prelude(urls: Urls) -> None:
    status, headers, body = send(f"{stream_url(urls)}plain")
    assert (status, dict(headers)["content-type"], body) == (200, "application/octet-stream", b"first second")


def test_failures(urls: Urls) -> None:
    url = stream_url(urls)
    for path in ("fail", "malformed"):
        status, _, body = send(url + path)
        assert (status, body) == (502, b"Internal Server Error"), path
    with pytest.raises(http.client.IncompleteRead):
        send(f"{url}midway")
    log = urls.emulator.log
    wait_until(lambda: "streams failed after" in log.read_text() and "no more" in log.read_text(), "the failure")


def test_a_handler_that_does_not_stream(urls: Urls) -> None:
    status, _, body = send(stream_url(urls, ANSWERS))
    assert (status, json.loads(body)) == (200, {"statusCode": 201, "body": "x"})


def test_python_streams_nothing(urls: Urls) -> None:
    urls.function("python", urls.role("python"), "def handler(event, context): pass")
    code, message = urls.refused(
        urls.functions.create_function_url_config, FunctionName="python", AuthType="NONE", InvokeMode="RESPONSE_STREAM"
    )
    assert code == "InvalidParameterValueException"
    assert message == (
        "InvokeMode RESPONSE_STREAM is not supported by stepbridge for functions with the runtime python3.11, which "
        "streams no responses: those with nodejs do."
    )
