"""How a command finds the running emulator, and talks to it."""

import contextlib
import http.client
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from stepbridge.api.client import emulator_client
from stepbridge.cli.errors import CommandError, reason

DEFAULT_DATA_DIR = Path(".stepbridge")
# Where `stepbridge up` leaves its endpoints for the other commands, inside its data directory.
ENDPOINTS_FILE = "endpoints.json"

EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="The emulator's URL.  Default: what AWS_ENDPOINT_URL says, or else the emulator that runs on .stepbridge.",
    ),
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="The data directory of the emulator to talk to.")
]


@dataclass(frozen=True, slots=True)
class Connection:
    """A running emulator."""

    url: str
    mqtt_host: str
    mqtt_port: int
    region: str
    account: str

    @classmethod
    def from_endpoints(cls, url: str, endpoints: Mapping[str, Any]) -> "Connection":
        """The emulator at `url`, with the other endpoints as it tells them.  Raises KeyError, ValueError."""
        host, port = endpoints["mqtt_host"], int(endpoints["mqtt_port"])
        return cls(url, host, port, endpoints["region"], endpoints["account"])

    def root_ca_pem(self) -> bytes:
        """The certificate that devices trust.  Raises CommandError if the emulator does not answer."""
        try:
            with contextlib.closing(connect(self.url, timeout=5)) as connection:
                connection.request("GET", "/_stepbridge/root-ca.pem")
                return connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(f"The emulator at {self.url} does not answer any more: {reason(error)}.") from None

    def client(self, service: str) -> Any:
        """A botocore client of the emulator.  Nothing of the user's AWS configuration or proxies is used."""
        return emulator_client(service, self.url, self.region)


def find_emulator(endpoint: str | None, data_dir: Path | None) -> Connection:
    """The emulator at `endpoint`, or the one that runs on `data_dir`.  Raises CommandError if there is none.

    Given neither, it is the one that the environment names, or that runs on the default data directory.
    """
    if endpoint is None and data_dir is None:
        endpoint = os.environ.get("AWS_ENDPOINT_URL") or None
    if endpoint is None:
        data_dir = data_dir or DEFAULT_DATA_DIR
        file = data_dir / ENDPOINTS_FILE
        try:
            endpoint = str(json.loads(file.read_text())["http"])
        except FileNotFoundError:
            raise CommandError(
                f"No emulator runs on the data directory {data_dir}: start one with 'stepbridge up', or say where one "
                f"runs with --endpoint, --data-dir or AWS_ENDPOINT_URL."
            ) from None
        except (OSError, ValueError, KeyError) as error:
            raise CommandError(f"{file} cannot be read ({reason(error)}): start the emulator again.") from None
    try:
        with contextlib.closing(connect(endpoint, timeout=5)) as connection:
            connection.request("GET", "/_stepbridge/endpoints")
            endpoints = json.loads(connection.getresponse().read())
            return Connection.from_endpoints(endpoint.rstrip("/"), endpoints)
    except OSError as error:
        raise CommandError(
            f"No emulator answers at {endpoint} ({reason(error)}): start one with 'stepbridge up'."
        ) from None
    except (http.client.HTTPException, ValueError, KeyError, TypeError):
        raise CommandError(
            f"What answers at {endpoint} is not stepbridge: give the URL that 'stepbridge up' prints."
        ) from None


def connect(url: str, timeout: float | None = None) -> http.client.HTTPConnection:
    """A connection to an emulator.  `timeout` in seconds.  Raises OSError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host = None
    if not host or parts.scheme != "http":
        raise CommandError(f"The endpoint {url} is not an http:// URL, as 'stepbridge up' prints it.")
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    connection.connect()
    return connection


@contextlib.contextmanager
def aws_errors(doing: str) -> Iterator[None]:
    """Turn what botocore raises into a CommandError that says what was being done."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        raise CommandError(f"{doing} was refused: {details.get('Code')}: {details.get('Message')}") from None
    except BotoCoreError as error:
        raise CommandError(f"{doing} failed: {error}") from None
