"""A Mosquitto as message core: in a container where there is Docker, otherwise the program of this machine."""

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepbridge.iot.broker.mosquitto_certificates import make_broker_certificates
from stepbridge.iot.broker.mosquitto_process import CONFIGURATION, client_context

IMAGE = "eclipse-mosquitto:2.0.22"
_PORT = 8883
_START_SECONDS = 30.0


class MosquittoContainer:
    """Mosquitto in a container of testcontainers-python, whose only client is the emulator that gets `options`.

    `image` is the image's name.  As a context manager it starts and removes the container.  What Mosquitto keeps is
    in `directory`.
    """

    def __init__(self, directory: Path, image: str = IMAGE) -> None:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        # No container beside it that removes it when the tests are killed: that is one more image to pull.
        testcontainers_config.ryuk_disabled = True
        self._server, self._client = directory / "server", directory / "client"
        make_broker_certificates(self._server, self._client, ())
        # It runs as whoever runs this, so that it can read its key; as root it would change to another user.
        user = "root" if os.getuid() == 0 else "mosquitto"
        configuration = CONFIGURATION.format(port=_PORT, directory="/stepbridge", user=user)
        # In the container it listens on the address that Docker publishes, not on loopback.
        (self._server / "mosquitto.conf").write_text(
            configuration.replace(f"listener {_PORT} 127.0.0.1", f"listener {_PORT}")
        )
        self._container: Any = (
            DockerContainer(image)
            .with_command(["/usr/sbin/mosquitto", "-c", "/stepbridge/mosquitto.conf"])
            .with_volume_mapping(str(self._server), "/stepbridge", "rw")
            .with_kwargs(user=f"{os.getuid()}:{os.getgid()}")
            .with_exposed_ports(_PORT)
        )

    def __enter__(self) -> "MosquittoContainer":
        self._container.start()
        try:
            self._await_listening()
        except BaseException:
            self._container.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._container.stop()

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `stepbridge up` that make this its message core."""
        return (
            f"--broker=mqtts://localhost:{self._port}",
            f"--broker-ca={self._client / 'root-ca.pem'}",
            f"--broker-cert={self._client / 'client.pem'}",
            f"--broker-key={self._client / 'client.key'}",
        )

    @property
    def _port(self) -> int:
        return int(self._container.get_exposed_port(_PORT))

    def _await_listening(self) -> None:
        """Docker accepts connections before Mosquitto does, so only a handshake tells."""
        context = client_context(*(self._client / name for name in ("root-ca.pem", "client.pem", "client.key")))
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with (
                    socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection,
                    context.wrap_socket(connection, server_hostname="localhost"),
                ):
                    return
            except OSError as error:
                if time.monotonic() > deadline:
                    said = b"".join(self._container.get_logs()).decode(errors="replace").strip()
                    raise RuntimeError(
                        f"Mosquitto in its container does not answer ({error}); it said:\n{said}"
                    ) from None
                time.sleep(0.05)


def docker_is_there(image: str = IMAGE) -> bool:
    """Whether testcontainers is installed, a Docker engine answers, and it has `image` or can pull it."""
    try:
        import testcontainers  # noqa: F401

        import docker
    except ImportError:
        return False
    try:
        with contextlib.closing(docker.from_env(timeout=60)) as client:
            try:
                client.images.get(image)
            except docker.errors.ImageNotFound:
                client.images.pull(image)
    except (docker.errors.DockerException, OSError):  # requests' own errors are OSErrors
        return False
    return True


@contextlib.contextmanager
def mosquitto_options() -> Iterator[tuple[str, ...]]:
    """The options of `stepbridge up` for Mosquitto as its message core, in a container or as the local program."""
    if not docker_is_there():
        yield ("--broker=mosquitto",)
        return
    with tempfile.TemporaryDirectory() as folder, MosquittoContainer(Path(folder)) as container:
        yield container.options
