"""The emulator's trace as a command reads it: over HTTP, a JSON line per hop."""

import contextlib
import http.client
import json
import queue
import socket
import threading
from collections.abc import Iterator
from urllib.parse import quote

from stepbridge.cli.connection import Connection, connect
from stepbridge.cli.errors import CommandError, reason
from stepbridge.trace import Hop


@contextlib.contextmanager
def follow(connection: Connection, execution_arn: str) -> Iterator["queue.SimpleQueue[Hop]"]:
    """The hops of an execution from now on, as they come.  Raises CommandError if the emulator cannot be read."""
    hops: queue.SimpleQueue[Hop] = queue.SimpleQueue()
    try:
        stream = connect(connection.url)
        stream.request("GET", f"/_stepbridge/trace?execution={quote(execution_arn)}")
        channel = stream.sock  # which http.client gives away with the answer
        answer = stream.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(f"The emulator at {connection.url} cannot be followed: {reason(error)}.") from None
    if answer.status != http.HTTPStatus.OK:
        raise CommandError(f"The emulator does not show its trace: {answer.read().decode(errors='replace')}")
    reader = threading.Thread(target=_read, args=(answer, execution_arn, hops), daemon=True)
    reader.start()
    try:
        yield hops
    finally:
        # In this order: closing what another thread reads would wait for it, or pull it from under its feet.
        with contextlib.suppress(OSError):
            channel.shutdown(socket.SHUT_RDWR)
        reader.join()
        stream.close()


def _read(stream: http.client.HTTPResponse, execution_arn: str, hops: "queue.SimpleQueue[Hop]") -> None:
    try:
        for line in stream:
            if line.strip():
                hop = Hop(**json.loads(line))
                if hop.fields.get("execution", execution_arn) == execution_arn:
                    hops.put(hop)
    except (OSError, ValueError, http.client.HTTPException):
        return  # closed, by us or by the emulator
