"""Node.js handlers, under a stand-in for AWS's runtime interface client, which speaks the same Runtime API."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from tests.integration.functions.harness import Lambda

from stepbridge.api.errors import AwsError
from stepbridge.functions import node

CLIENT = """
const http = require("http"), path = require("path");
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const base = "/2018-06-01/runtime/invocation/";
const call = (method, url, body) => new Promise((resolve, reject) => {
  const request = http.request({ host, port, method, path: base + url }, (response) => {
    let text = "";
    response.on("data", (chunk) => (text += chunk));
    response.on("end", () => resolve([response.headers, text]));
  });
  request.on("error", reject);
  request.end(body);
});
global.awslambda = {
  streamifyResponse: (handler) => Object.assign(handler, { streams: true }),
  HttpResponseStream: {
    from(stream, prelude) {
      stream.setContentType("application/vnd.awslambda.http-integration-response");
      stream.first = [JSON.stringify(prelude), Buffer.alloc(8)];
      return stream;
    },
  },
};
const stream = async (id, event) => {
  const headers = { "Lambda-Runtime-Function-Response-Mode": "streaming", "Content-Type": "application/octet-stream" };
  headers.Trailer = ["Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body"];
  const request = http.request({ host, port, method: "POST", path: base + id + "/response", headers });
  const answered = new Promise((resolve) => request.on("response", (response) => response.on("end", resolve).resume()));
  request.on("error", () => {});
  request.setContentType = (type) => request.setHeader("Content-Type", type);
  const write = request.write.bind(request);
  request.write = (part) => [...(request.first?.splice(0) ?? []), part].forEach((each) => write(each));
  try {
    await handler(event, request);
  } catch (error) {
    const document = JSON.stringify({ errorType: error.name, errorMessage: error.message });
    if (!request.headersSent) {
      request.destroy();
      return call("POST", id + "/error", document);
    }
    request.addTrailers({
      "Lambda-Runtime-Function-Error-Type": error.name,
      "Lambda-Runtime-Function-Error-Body": Buffer.from(document).toString("base64"),
    });
    request.end();
  }
  return answered;
};
const [file, name] = process.argv[2].split(".");
const handler = require(path.join(process.cwd(), file))[name];
(async () => {
  for (;;) {
    const [headers, event] = await call("GET", "next");
    const id = headers["lambda-runtime-aws-request-id"];
    if (handler.streams) {
      await stream(id, JSON.parse(event));
      continue;
    }
    try {
      await call("POST", id + "/response", JSON.stringify(await handler(JSON.parse(event))));
    } catch (error) {
      await call("POST", id + "/error", JSON.stringify({ errorType: error.name, errorMessage: error.message }));
    }
  }
})();
"""
HANDLER = """
exports.handler = async (event) => {
  if (event.fail) throw new TypeError("no");
  console.log("adding");
  return { sum: event.a + event.b, role: process.env.AWS_ACCESS_KEY_ID.slice(0, 4), runs: process.version };
};
"""


@pytest.fixture
def without_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    node.find_node.cache_clear()


@pytest.fixture
def with_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no node on the PATH")
    client = tmp_path / "modules" / node.CLIENT
    (client / "bin").mkdir(parents=True)
    (client / "package.json").write_text(json.dumps({"bin": {node.CLIENT: "bin/index.js"}}))
    (client / "bin/index.js").write_text(CLIENT)
    monkeypatch.setenv("NODE_PATH", str(client.parent))
    node.find_node.cache_clear()


@pytest.mark.usefixtures("with_node")
def test_a_node_handler_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        emulator = Lambda(tmp_path)
        await emulator.service.start()
        try:
            await emulator.create("adds", {"app.js": HANDLER}, Runtime="nodejs20.x", Timeout=20, MemorySize=256)
            answer = await emulator.invoke("adds", {"a": 15, "b": 42})
            assert (answer["sum"], answer["role"]) == (57, "ASIA")
            assert answer == await emulator.invoke("adds", {"a": 15, "b": 42}), "warm"
            assert await emulator.fail("adds", {"fail": True}) == {"errorType": "TypeError", "errorMessage": "no"}
        finally:
            await emulator.service.stop()

    asyncio.run(scenario())


@pytest.mark.usefixtures("without_node")
def test_node_is_refused_by_name_where_it_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        emulator = Lambda(tmp_path)
        with pytest.raises(AwsError) as refusal:
            await emulator.create("adds", {"app.js": HANDLER}, Runtime="nodejs20.x")
        assert refusal.value.message == (
            "The runtime nodejs20.x is not supported by stepbridge. It could be, but there is no node on the PATH."
        )

    asyncio.run(scenario())
    node.find_node.cache_clear()
