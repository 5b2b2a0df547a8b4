"""docker-compose.yml as the tests run it: as it is, under a project name and on ports of their own."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PROJECT = "stepbridge-test"
START_SECONDS = 120


def wait_until(probe: Callable[[], T | None], what: str, seconds: float) -> T:
    """The first answer of `probe` that is not None or False; fails, naming `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = probe()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def run(*command: str, seconds: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def checked(*command: str, seconds: float = 60, **environment: str) -> str:
    """The output of a command that must succeed."""
    done = run(*command, seconds=seconds, **environment)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Compose:
    """The project; `stepfunctions` is the variant of that service (`local`, `stepbridge`)."""

    def __init__(self) -> None:
        plugin = run("docker", "compose", "version").returncode == 0
        self._command = ("docker", "compose") if plugin else ("docker-compose",)
        self.http_port, self.mqtt_port = free_port(), free_port()
        self.stepfunctions = "local"

    def run(self, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """A compose command."""
        return run(*self._command, *arguments, seconds=seconds, **self._environment)

    def checked(self, *arguments: str, seconds: float = 120) -> str:
        """The output of a compose command that must succeed."""
        return checked(*self._command, *arguments, seconds=seconds, **self._environment)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_FILE": "docker-compose.yml",
            "HTTP_PORT": str(self.http_port),
            "MQTT_PORT": str(self.mqtt_port),
            "STEPFUNCTIONS": self.stepfunctions,
        }

    def up(self) -> None:
        """Start all of it, and wait for the worker, which needs all the others."""
        done = self.run("up", "-d", seconds=START_SECONDS)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.logs()}"
        self.await_healthy("worker")

    def down(self, *options: str) -> None:
        self.checked("down", *options)

    def await_healthy(self, service: str) -> None:
        def healthy() -> bool:
            state = self.inspect(service)["State"]
            return bool(state["Running"] and state["Health"]["Status"] == "healthy")

        try:
            wait_until(healthy, f"{service} to be healthy", START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.checked("ps", "-q", service).strip()

    def inspect(self, service: str) -> Any:
        return json.loads(checked("docker", "inspect", self.container(service)))[0]

    def addresses(self, service: str) -> dict[str, str]:
        """The addresses of a service's container, by network."""
        networks = self.inspect(service)["NetworkSettings"]["Networks"]
        return {name.removeprefix(f"{PROJECT}_"): network["IPAddress"] for name, network in networks.items()}

    def kill(self, service: str) -> None:
        """kill -9, from outside, so that the restart policy has to bring it back; wait until it has."""
        before = self.inspect(service)["State"]
        if os.geteuid() == 0:
            os.kill(before["Pid"], signal.SIGKILL)
        else:  # as if by hand: then Docker leaves it to us
            checked("docker", "kill", self.container(service))
            checked("docker", "start", self.container(service))

        def restarted() -> bool:
            state = self.inspect(service)["State"]
            return bool(state["Running"] and state["StartedAt"] != before["StartedAt"])

        wait_until(restarted, f"the restart of {service}", 30)

    def loop(self, job: str) -> subprocess.CompletedProcess[str]:
        """docker compose run --rm loop '…'"""
        return self.run("run", "--rm", "loop", job)

    def python(self, service: str, program: str, *arguments: str) -> str:
        """The output of a Python program in the container of a service."""
        return checked("docker", "exec", self.container(service), "python", "-c", program, *arguments)

    def client(self, service: str) -> Any:
        """A boto3 client of the rule-bridge, patient enough for its restart."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.http_port}",
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(retries={"mode": "standard", "total_max_attempts": 12}, max_pool_connections=20),
        )

    def logs(self) -> str:
        """The end of what all containers have said."""
        done = self.run("logs", "--no-color", "--tail", "30")
        return done.stdout + done.stderr


@contextmanager
def project() -> Iterator[Compose]:
    """The images built, the project up, and nothing left of it."""
    compose = Compose()
    compose.down("-v")
    compose.checked("build", seconds=600)
    try:
        compose.up()
        yield compose
    finally:
        compose.down("-v")
