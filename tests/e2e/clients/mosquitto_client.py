"""mosquitto_pub and mosquitto_sub, of Debian's mosquitto-clients: a process for each subscriber and each message."""

import json
import signal
import subprocess
import threading
import uuid
from typing import Any

from tests.e2e.clients.base import WAIT, Client, Received, RefusedError

_BY_LINES = ("stdbuf", "-oL")  # or their output would come only at the end


class MosquittoClient(Client):
    """MQTT 3.1.1."""

    version = "mqttv311"
    keeping: tuple[str, ...] = ("-c",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._subscriber: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._granted = threading.Event()
        self._closing = False

    def connect(self, *, resumed: str | None = None) -> bool | None:
        if resumed is not None:
            self.subscribe(resumed, 1)
        return None

    def subscribe(self, topic_filter: str, qos: int) -> None:
        command = [
            *_BY_LINES,
            "mosquitto_sub",
            *self._options(),
            "-i",
            self.client_id,
            "-t",
            topic_filter,
            "-q",
            str(qos),
        ]
        command += ["-d", "-F", "%j"]
        if not self.clean:
            command += self.keeping
        if self.will is not None:
            command += ["--will-topic", self.will[0], "--will-payload", self.will[1].decode(), "--will-qos", "1"]
        self._subscriber = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = threading.Thread(target=self._read, args=(self._subscriber,))
        self._reader.start()
        assert self._granted.wait(WAIT), "mosquitto_sub neither got nor was refused its subscription"
        if self.ended.is_set():
            raise RefusedError(topic_filter)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        publisher = f"{self.client_id}-{uuid.uuid4().hex[:8]}" if self._subscriber else self.client_id
        command = [*_BY_LINES, "mosquitto_pub", *self._options(), "-i", publisher, "-t", topic, "-m", payload.decode()]
        command += ["-q", str(qos), *(["-r"] if retain else [])]
        # When the connection is closed on it, it tries again without end.
        with subprocess.Popen([*command, "-d"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            connections = 0
            for line in process.stdout:
                connections += "sending CONNECT" in line
                if connections > 1:
                    process.kill()
                    break
        if process.returncode:
            self.ended.set()
            raise RefusedError(topic)

    def close(self) -> None:
        self._closing = True
        if self._subscriber is not None and self._reader is not None:
            self._subscriber.send_signal(signal.SIGINT)
            self._subscriber.wait(WAIT)
            self._reader.join(WAIT)

    def _options(self) -> list[str]:
        endpoint = self.endpoint
        reach = ["-h", endpoint.host, "-p", str(endpoint.port), "-V", self.version]
        return [*reach, "--cafile", endpoint.root, "--cert", endpoint.certificate, "--key", endpoint.key]

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.startswith("{"):
                    message = json.loads(line)
                    self.inbox.put(Received(message["topic"], message["payload"].encode(), bool(message["retain"])))
                elif line.startswith("Subscribed") and not line.rstrip().endswith((": 128", ": 135")):
                    self._granted.set()
        if not self._closing:
            self.ended.set()
        self._granted.set()


class MosquittoClient5(MosquittoClient):
    """MQTT 5."""

    version = "mqttv5"
    keeping = ("-c", "-x", "3600")
