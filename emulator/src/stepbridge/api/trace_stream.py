"""The trace over HTTP: `stepbridge run` follows an execution by it."""

import asyncio
from collections.abc import AsyncIterator

from stepbridge.trace import Hop, Trace

# A reader that falls this many hops behind is dropped: the emulator's memory is not its buffer.
_BACKLOG = 10_000


class TraceStreams:
    """Everyone who reads the trace from outside."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._readers: set[asyncio.Queue[Hop | None]] = set()

    async def follow(self) -> AsyncIterator[Hop]:
        """Each hop from now on, until :meth:`close`."""
        reader: asyncio.Queue[Hop | None] = asyncio.Queue()
        self._readers.add(reader)
        stop_listening = self._trace.listen(reader.put_nowait)
        try:
            while (hop := await reader.get()) is not None and reader.qsize() < _BACKLOG:
                yield hop
        finally:
            stop_listening()
            self._readers.discard(reader)

    def close(self) -> None:
        """End every stream."""
        for reader in self._readers:
            reader.put_nowait(None)
