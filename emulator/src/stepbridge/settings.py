"""What a user may choose about an emulator."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_ACCOUNT = "123456789012"
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one emulator: one account in one region.

    `host` is the address everything listens on; `http_port` and `mqtt_port` 0 mean any free port; with
    `port_443` devices may also come in by port 443.  `data_dir` holds the database, the certificate authority and the
    functions' code.  With `memory` the database is not written to disk and `data_dir` is expected to be temporary.
    `iam` says whether the roles of functions, state machines and rules may only do what their policies allow.
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
