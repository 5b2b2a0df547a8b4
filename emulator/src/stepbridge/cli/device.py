"""`stepbridge device create`."""

import contextlib
import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from stepbridge.cli.connection import (
    Connection,
    DataDirOption,
    EndpointOption,
    aws_errors,
    find_emulator,
)
from stepbridge.cli.errors import CommandError, reason

CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "private.key"
ROOT_CA_FILE = "root-CA.pem"
ENVIRONMENT_FILE = "worker.env"


def create(
    thing: Annotated[str, typer.Argument(metavar="THING", help="Name of the thing; made if it is not there.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the certificate, key and root certificate.")],
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="IoT policy for the certificate.  Not needed where there is only one."),
    ] = None,
    endpoint: EndpointOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a certificate for a worker, and say what to set for it to connect.

    \b
    stepbridge device create mqtt-container-client --out certificates
    set -a; . certificates/worker.env; set +a
    onprem-worker
    """
    connection = find_emulator(endpoint, data_dir)
    environment = create_device(connection.client("iot"), gateway_of(connection), thing, out, policy).environment
    print(f"The worker's environment, also in {out / ENVIRONMENT_FILE}:\n")
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}")
    missing = [name for name in ("CLIENT_ID", "SUBSCRIBE_TOPIC", "SUBMIT_TOPIC") if name not in environment]
    if missing:
        print(f"\nThe policy does not say, so set yourself: {', '.join(missing)}")


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where devices connect, and the certificate, PEM, by which they know it."""

    host: str
    port: int
    root_ca: bytes


@dataclass(frozen=True, slots=True)
class Device:
    """A new certificate, and what a worker needs in its environment to connect with it."""

    certificate_arn: str
    environment: dict[str, str]


def gateway_of(connection: Connection) -> Gateway:
    """The device gateway of an emulator."""
    return Gateway(connection.mqtt_host, connection.mqtt_port, connection.root_ca_pem())


def create_device(iot: Any, gateway: Gateway, thing: str, out: Path, policy: str | None = None) -> Device:
    """Make a certificate by the client `iot`, for `thing` and with `policy`, and its files in `out`.

    Raises CommandError if there is a key in `out` already, or if AWS or the emulator refuses.
    """
    certificate_file, key_file, ca_file = (out / file for file in (CERTIFICATE_FILE, KEY_FILE, ROOT_CA_FILE))
    if key_file.exists():
        raise CommandError(f"There is a private key at {key_file} already: choose another --out, or remove it.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"The folder {out} cannot be made: {reason(error)}.") from None
    if not os.access(out, os.W_OK):  # before there is a key that could be written nowhere
        raise CommandError(f"The folder {out} cannot be written to: choose another --out.")
    with aws_errors(f"Making the device {thing}"):
        policy = policy or _only_policy(iot)
        document = json.loads(iot.get_policy(policyName=policy)["policyDocument"])
        with contextlib.suppress(iot.exceptions.ResourceAlreadyExistsException):  # one with attributes or a type
            iot.create_thing(thingName=thing)
        made = iot.create_keys_and_certificate(setAsActive=True)
        iot.attach_policy(policyName=policy, target=made["certificateArn"])
        iot.attach_thing_principal(thingName=thing, principal=made["certificateArn"])
    environment = {
        "ENDPOINT": gateway.host,
        "PORT": str(gateway.port),
        "CA_FILE": str(ca_file.resolve()),
        "DEVICE_CERT": str(certificate_file.resolve()),
        "PRIVATE_KEY": str(key_file.resolve()),
        **_allowed_by(document),
    }
    try:
        # Exclusively, and private from its first byte on.
        with open(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(made["keyPair"]["PrivateKey"])
        certificate_file.write_text(made["certificatePem"])
        ca_file.write_bytes(gateway.root_ca)
        (out / ENVIRONMENT_FILE).write_text("".join(f"{k}={shlex.quote(v)}\n" for k, v in environment.items()))
    except OSError as error:
        raise CommandError(f"The device's files cannot be written to {out}: {reason(error)}.") from None
    return Device(made["certificateArn"], environment)


def _only_policy(iot: Any) -> str:
    policies = [
        policy["policyName"] for page in iot.get_paginator("list_policies").paginate() for policy in page["policies"]
    ]
    if not policies:
        raise CommandError("There is no IoT policy: deploy one with 'stepbridge deploy aws-resources'.")
    if len(policies) > 1:
        raise CommandError(f"There are several IoT policies; name one with --policy: {', '.join(policies)}.")
    return str(policies[0])


def _allowed_by(document: dict[str, Any]) -> dict[str, str]:
    """What a policy says about the worker: the one client id and the topics that it allows, where they are literal."""
    sought = {
        "CLIENT_ID": ("iot:Connect", "client/"),
        "SUBSCRIBE_TOPIC": ("iot:Subscribe", "topicfilter/"),
        "SUBMIT_TOPIC": ("iot:Publish", "topic/"),
    }
    found: dict[str, str] = {}
    for variable, (action, kind) in sought.items():
        names = {
            resource.partition(f":{kind}")[2]
            for statement in _listed(document.get("Statement"))
            if statement.get("Effect") == "Allow" and action in _listed(statement.get("Action"))
            for resource in _listed(statement.get("Resource"))
        }
        if len(names) == 1 and (name := names.pop()) and not any(sign in name for sign in ("*", "?", "${")):
            found[variable] = name
    return found


def _listed(value: Any) -> Iterator[Any]:
    """The elements of a policy member, which may be one value or a list of them."""
    return iter(value if isinstance(value, list) else [] if value is None else [value])
