"""Clients of a running emulator, for our own commands."""

import os
from typing import Any


def emulator_client(service: str, url: str, region: str) -> Any:
    """A botocore client of the emulator at `url`.  Nothing of the user's AWS configuration or proxies is used."""
    import botocore.session
    from botocore.config import Config

    nothing = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    session = botocore.session.Session(session_vars={**nothing, "profile": (None, None, None, None)})
    return session.create_client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id="stepbridge",
        aws_secret_access_key="stepbridge",  # noqa: S106 any will do
        config=Config(proxies={}, s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
    )
