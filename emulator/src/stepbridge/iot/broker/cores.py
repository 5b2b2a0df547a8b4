"""Which message core, as the settings want it."""

import re
from collections.abc import Callable

from stepbridge.clock import Clock
from stepbridge.iot.broker.core import Core
from stepbridge.iot.broker.embedded import EmbeddedCore
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

_URL = re.compile(r"mqtts://(?:\[(?P<six>[0-9A-Fa-f:]+)\]|(?P<host>[^:/?#\s]+))(?::(?P<port>\d{1,5}))?/?")
_MQTTS_PORT = 8883


def message_core(settings: Settings, store: Store, clock: Clock, trace: Trace) -> Core:
    """The core that `settings.broker` names.

    Raises RuntimeError, in words that go on from "The emulator cannot start:", if it cannot be had.
    """
    if settings.broker == "embedded":
        return EmbeddedCore(store, clock, trace)
    # What follows needs the cryptography package and more, which the embedded core does not.
    from stepbridge.iot.broker.mosquitto import MosquittoCore
    from stepbridge.iot.broker.mosquitto_link import Endpoint
    from stepbridge.iot.broker.mosquitto_process import MosquittoProcess, client_context

    tell: Callable[[str, str], object] = lambda event, text: trace.emit("iot", event, text)  # noqa: E731
    if settings.broker == "mosquitto":
        process = MosquittoProcess(settings.data_dir / "mosquitto", tell)
        return MosquittoCore(store, clock, trace, process.endpoint, process)
    address = _URL.fullmatch(settings.broker)
    if address is None:
        raise RuntimeError(f"the broker '{settings.broker}' is none of embedded, mosquitto and mqtts://host:port")
    files = (settings.broker_ca, settings.broker_cert, settings.broker_key)
    options = ("--broker-ca", "--broker-cert", "--broker-key")
    for file, option in zip(files, options, strict=True):
        if file is None:
            raise RuntimeError(f"{settings.broker} demands certificates: {option} is missing")
        if not file.is_file():
            raise RuntimeError(f"there is no file {file}, which {option} names")
    root, certificate, key = (file for file in files if file is not None)
    try:
        context = client_context(root, certificate, key)
    except OSError as error:
        raise RuntimeError(f"the certificates for {settings.broker} cannot be used: {error}") from None
    host = address["six"] or address["host"]
    return MosquittoCore(store, clock, trace, Endpoint(host, int(address["port"] or _MQTTS_PORT), context))
