"""`stepbridge broker-certificates`."""

from pathlib import Path
from typing import Annotated

import typer

from stepbridge.cli.errors import CommandError, reason


def broker_certificates(
    server: Annotated[Path, typer.Option(metavar="DIR", help="Folder for Mosquitto's certificate and key.")],
    client: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the emulator's certificate and key.")],
    hostname: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name by which the emulator finds Mosquitto, beside localhost."),
    ] = None,
    group_readable: Annotated[
        bool, typer.Option("--group-readable", help="Let the group of Mosquitto's folder read its key.")
    ] = False,
) -> None:
    """Make the certificates for a Mosquitto that is run apart from the emulator, where they are not there yet.

    \b
    stepbridge broker-certificates --server mosquitto --client certificates --hostname mosquitto.internal
    """
    from stepbridge.iot.broker.mosquitto_certificates import make_broker_certificates

    try:
        made = make_broker_certificates(server, client, hostname or (), key_mode=0o640 if group_readable else 0o600)
    except OSError as error:
        raise CommandError(f"The certificates cannot be written to {error.filename}: {reason(error)}.") from None
    print(f"{'Made' if made else 'There are'} certificates in {server} and {client}")
