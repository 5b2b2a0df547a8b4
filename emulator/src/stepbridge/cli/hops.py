"""The emulator's trace as a command reads it: over HTTP, a JSON line per hop."""

import http.client
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from stepbridge.cli.connection import Connection, get
from stepbridge.cli.errors import CommandError
from stepbridge.trace import Hop


@contextmanager
def follow(connection: Connection, execution_arn: str) -> Iterator["queue.SimpleQueue[Hop]"]:
    """The hops of an execution from now on, as they come.  Raises CommandError if the emulator cannot be read."""
    hops: queue.SimpleQueue[Hop] = queue.SimpleQueue()
    try:
        with get(connection.url, f"/_stepbridge/trace?execution={quote(execution_arn)}") as stream:
            if stream.status != http.HTTPStatus.OK:
                raise CommandError(f"The emulator does not show its trace: {stream.read().decode(errors='replace')}")
            threading.Thread(target=_read, args=(stream, execution_arn, hops), daemon=True).start()
            yield hops
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(f"The emulator at {connection.url} cannot be followed: {error}.") from None


def _read(stream: http.client.HTTPResponse, execution_arn: str, hops: "queue.SimpleQueue[Hop]") -> None:
    try:
        for line in stream:
            if line.strip():
                hop = Hop(**json.loads(line))
                if hop.fields.get("execution", execution_arn) == execution_arn:
                    hops.put(hop)
    except (OSError, ValueError, http.client.HTTPException):
        return  # closed, by us or by the emulator
