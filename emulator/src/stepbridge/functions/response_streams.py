"""The answer of a handler that streams it, while it comes.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

# The content type of an answer that begins with the status and the headers of a response, in JSON, and how those end.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html
WITH_PRELUDE = "application/vnd.awslambda.http-integration-response"
_PRELUDE_END = b"\0" * 8


class BrokenStreamError(Exception):
    """The rest of an answer does not come: the handler has failed."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of an answer before its first part: its content type, and the version that runs."""

    content_type: str
    version: str


class ResponseStream:
    """One answer: written to by the environment, read by who invoked.

    `begun` has its head as soon as there is one; it never has for a handler that does not stream.
    """

    def __init__(self) -> None:
        self.begun: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._broken = False

    def begin(self, content_type: str, version: str) -> None:
        """The answer is of this type and by this version, and its parts follow."""
        if not self.begun.done():
            self.begun.set_result(Head(content_type, version))

    def write(self, part: bytes) -> None:
        self._parts.put_nowait(part)

    def end(self, *, broken: bool) -> None:
        """There is no more to come; `broken` if there should have been."""
        self._broken = broken
        self._parts.put_nowait(None)

    async def read(self) -> AsyncIterator[bytes]:
        """The parts, as they come.  Raises BrokenStreamError in place of the end."""
        while (part := await self._parts.get()) is not None:
            yield part
        if self._broken:
            raise BrokenStreamError

    async def read_prelude(self) -> tuple[bytes, AsyncIterator[bytes]] | None:
        """What comes before the body, and the parts of that; None if there is no body.  Raises BrokenStreamError."""
        parts = self.read()
        come = b""
        async for part in parts:
            come += part
            prelude, end, first = come.partition(_PRELUDE_END)
            if end:
                return prelude, _preceded(first, parts)
        return None


async def _preceded(first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for part in parts:
        yield part
