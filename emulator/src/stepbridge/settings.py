"""What a user may choose about an emulator."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepbridge.stepfunctions.local import LocalOptions

DEFAULT_ACCOUNT = "123456789012"
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one emulator: one account in one region.

    `host` is the address everything listens on; `http_port` and `mqtt_port` 0 mean any free port; with
    `port_443` devices may also come in by port 443.  `data_dir` holds the database, the certificate authority and the
    functions' code.  With `memory` the database is not written to disk and `data_dir` is expected to be temporary.
    `iam` says whether the roles of functions, state machines and rules may only do what their policies allow.
    `mqtt_host` is the address that devices come in by, where that is not `host`.  `hostnames` are names by which the
    emulator is known beside localhost: its certificate has them, and the first is the one that clients are told.
    `step_functions_endpoint` is the URL of what runs the executions, where that is not this emulator.
    `step_functions_local` makes it stand in for AWS Step Functions Local, with these options.
    `broker` is what keeps MQTT sessions and messages: `embedded`; `mosquitto`, which is then started; or
    `mqtts://host:port`, a Mosquitto that runs there, is trusted if `broker_ca` vouches for it, and gets the certificate
    `broker_cert` with the key `broker_key` (PEM files).
    """

    data_dir: Path
    host: str = "127.0.0.1"
    http_port: int = 4566
    mqtt_port: int = 8883
    port_443: bool = False
    memory: bool = False
    fsync: bool = False
    account: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION
    iam: bool = True
    mqtt_host: str | None = None
    hostnames: tuple[str, ...] = ()
    step_functions_endpoint: str | None = None
    step_functions_local: "LocalOptions | None" = None
    broker: str = "embedded"
    broker_ca: Path | None = None
    broker_cert: Path | None = None
    broker_key: Path | None = None
