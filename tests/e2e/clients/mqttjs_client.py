"""MQTT.js, in a process of Node.js that `mqttjs/client.js` drives: over TLS, and over WebSocket with SigV4."""

import base64
import json
import os
import queue
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.e2e.clients.base import WAIT, Client, Received, RefusedError
from tests.e2e.harness import ROOT

SCRIPT = Path(__file__).parent / "mqttjs" / "client.js"
MODULES = ROOT / ".venv" / "mqttjs" / "node_modules"


class MqttJsClient(Client):
    """MQTT 3.1.1 over TLS."""

    version = 4

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        node = shutil.which("node")
        assert node is not None, "MQTT.js needs Node.js: on Debian, apt-get install nodejs npm"
        assert MODULES.is_dir(), f"MQTT.js is not in {MODULES}: `make test` installs it"
        self._process = subprocess.Popen(
            [node, str(SCRIPT)],
            env={**os.environ, "NODE_PATH": str(MODULES)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._closing = False

    def _url(self) -> str:
        return f"mqtts://{self.endpoint.host}:{self.endpoint.port}"

    def _identity(self) -> dict[str, str]:
        return {"certificate": self.endpoint.certificate, "key": self.endpoint.key}

    def connect(self, *, resumed: str | None = None) -> bool | None:
        answer = self._ask(
            "connect",
            url=self._url(),
            root=self.endpoint.root,
            version=self.version,
            clientId=self.client_id,
            clean=self.clean,
            will=[self.will[0], self.will[1].decode()] if self.will else None,
            **self._identity(),
        )
        if answer["event"] != "connected":
            raise RefusedError(str(answer))
        return bool(answer["present"])

    def subscribe(self, topic_filter: str, qos: int) -> None:
        self._granted(self._ask("subscribe", filter=topic_filter, qos=qos))

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        encoded = base64.b64encode(payload).decode()
        self._granted(self._ask("publish", topic=topic, payload=encoded, qos=qos, retain=retain))

    def close(self) -> None:
        self._closing = True
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            self._send("close")
            self._process.stdin.close()
        self._process.wait(WAIT)
        self._reader.join(WAIT)

    def _ask(self, command: str, **members: Any) -> dict[str, Any]:
        self._send(command, **members)
        return self._answers.get(timeout=WAIT)

    def _send(self, command: str, **members: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **members}) + "\n")

    def _granted(self, answer: dict[str, Any]) -> None:
        if answer.get("refused", True):
            raise RefusedError(str(answer))

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                answer = json.loads(line)
                if answer["event"] == "message":
                    payload = base64.b64decode(answer["payload"])
                    self.inbox.put(Received(answer["topic"], payload, answer["retain"]))
                    continue
                if answer["event"] == "closed" and not self._closing:
                    self.ended.set()
                self._answers.put(answer)


class MqttJsClient5(MqttJsClient):
    """MQTT 5 over TLS."""

    version = 5


class MqttJsWebSocketClient(MqttJsClient):
    """MQTT 3.1.1 over WebSocket; the URL is signed as browsers' code does it, good for a minute."""

    def _url(self) -> str:
        request = AWSRequest("GET", f"https://{self.endpoint.host}:{self.endpoint.port}/mqtt")
        credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "secret")
        SigV4QueryAuth(credentials, "iotdevicegateway", self.endpoint.region, expires=60).add_auth(request)
        return str(request.url).replace("https:", "wss:", 1)

    def _identity(self) -> dict[str, str]:
        return {}
