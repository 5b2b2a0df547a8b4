"""What the environment must say, checked at start."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# AWS IoT Core takes MQTT on 443 beside HTTPS only from a client that names it in the TLS handshake.
# https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html
HTTPS_PORT = 443
MQTT_ALPN = "x-amzn-mqtt-ca"

MAX_CLIENT_ID_BYTES = 128
MAX_TOPIC_BYTES = 256


class ConfigurationError(Exception):
    """The environment does not say what the worker needs.  The text names every variable that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"The worker cannot start; correct these environment variables:{lines}")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Where the worker connects, as whom, and the topics it works on.

    `ready_file`, if given, is there while the worker takes jobs, for who looks after it.
    """

    endpoint: str
    port: int
    ca_file: Path
    device_cert: Path
    private_key: Path
    client_id: str
    subscribe_topic: str
    submit_topic: str
    ready_file: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Configuration":
        """Read and check all variables.  Raises ConfigurationError, which names each that is missing or wrong."""
        problems: list[str] = []

        def read(name: str, meaning: str) -> str:
            value = environment.get(name, "").strip()
            if not value:
                problems.append(f"{name} is not set: {meaning}")
            return value

        def file(name: str, meaning: str) -> Path:
            path = Path(read(name, meaning))
            if environment.get(name, "").strip() and not (path.is_file() and os.access(path, os.R_OK)):
                problems.append(f"{name} is not a file that can be read: {path}")
            return path

        def topic(name: str, meaning: str, *, wildcards: bool) -> str:
            value = read(name, meaning)
            if len(value.encode()) > MAX_TOPIC_BYTES:
                problems.append(f"{name} is longer than {MAX_TOPIC_BYTES} bytes")
            if not wildcards and ("+" in value or "#" in value):
                problems.append(f"{name} has a wildcard, but one can only publish to a single topic: {value}")
            return value

        endpoint = read("ENDPOINT", "the host name of the MQTT endpoint (aws iot describe-endpoint)")
        if "/" in endpoint or ":" in endpoint:
            problems.append(f"ENDPOINT is a host name alone, without scheme, port and path: {endpoint}")
        port = environment.get("PORT", "").strip() or "8883"
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            problems.append(f"PORT is not a number from 1 to 65535: {port}")
        ca_file = file("CA_FILE", "the file of the root certificate that the endpoint's certificate is signed by")
        device_cert = file("DEVICE_CERT", "the file of this worker's certificate")
        private_key = file("PRIVATE_KEY", "the file of this worker's private key")
        client_id = read("CLIENT_ID", "the MQTT client id that the worker's IoT policy lets it connect with")
        if len(client_id.encode()) > MAX_CLIENT_ID_BYTES:
            problems.append(f"CLIENT_ID is longer than {MAX_CLIENT_ID_BYTES} bytes")
        subscribe_topic = topic("SUBSCRIBE_TOPIC", "the topic on which jobs come", wildcards=True)
        submit_topic = topic("SUBMIT_TOPIC", "the topic on which answers go", wildcards=False)
        named = environment.get("READY_FILE", "").strip()
        ready_file = Path(named) if named else None
        if ready_file is not None and not os.access(ready_file.parent, os.W_OK):
            problems.append(f"READY_FILE is not in a folder that can be written to: {ready_file}")
        if problems:
            raise ConfigurationError(problems)
        return cls(
            endpoint,
            int(port),
            ca_file,
            device_cert,
            private_key,
            client_id,
            subscribe_topic,
            submit_topic,
            ready_file,
        )

    def tls_context(self) -> ssl.SSLContext:
        """Mutual TLS with these files.  Raises ConfigurationError if they are not what they should be."""
        problems: list[str] = []
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (ssl.SSLError, OSError) as error:
            problems.append(f"CA_FILE has no certificate in PEM form: {self.ca_file} ({error})")
        try:
            # The empty password stands for "none": a worker without a terminal cannot be asked for one.
            context.load_cert_chain(self.device_cert, self.private_key, password="")
        except (ssl.SSLError, OSError) as error:
            problems.append(
                f"DEVICE_CERT and PRIVATE_KEY are not a certificate and its unencrypted key in PEM form: "
                f"{self.device_cert}, {self.private_key} ({error})"
            )
        if problems:
            raise ConfigurationError(problems)
        if self.port == HTTPS_PORT:
            context.set_alpn_protocols([MQTT_ALPN])
        return context
