"""Messages that one request of the http action takes together (developerguide/http_batching.html)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stepbridge.clock import Clock, Timer
from stepbridge.iot.message import Message
from stepbridge.iot.rules.actions.base import ActionError, Members

# Sends a body with headers.  Raises ActionError.
_Send = Callable[[bytes, Mapping[str, str]], Awaitable[None]]


class BatchError(ActionError):
    """The request of a batch failed, and so the action failed for each of its messages."""

    def __init__(self, error: ActionError, batch: "Batch", number: int) -> None:
        super().__init__(str(error))
        self.batch = batch
        self.number = number


class Batch:
    """Messages on their way to one endpoint.

    If the request fails, the error action gets one message about all of them: each delivery says in :meth:`settle`
    what else has failed for its message, and the last to do so gets the message.
    """

    def __init__(self, *, is_across_topics: bool) -> None:
        self.is_across_topics = is_across_topics
        self.items: list[bytes] = []
        self.headers: Mapping[str, str] = {}
        self.timer: Timer | None = None
        self.sent: asyncio.Future[ActionError | None] = asyncio.get_running_loop().create_future()
        self._settled: dict[int, tuple[Message, list[dict[str, Any]]]] = {}

    @property
    def body(self) -> bytes:
        """The messages, as a JSON array."""
        return b"[" + b",".join(self.items) + b"]"

    def settle(
        self, number: int, message: Message, failures: list[dict[str, Any]]
    ) -> list[tuple[int, Message, list[dict[str, Any]]]] | None:
        """The messages of the batch with what else has failed for each, once all of them are settled."""
        self._settled[number] = (message, failures)
        if len(self._settled) < len(self.items):
            return None
        return [(one, *self._settled[one]) for one in sorted(self._settled)]


class Batches:
    """The open batches of an action."""

    def __init__(self, config: Members) -> None:
        self._open_seconds: float = config.get("maxBatchOpenMs", 20) / 1000
        self._most: int = config.get("maxBatchSize", 10)
        self._most_bytes: int = config.get("maxBatchSizeBytes", 5120)
        self._is_across_topics: bool = config.get("batchAcrossTopics", False)
        self._open: dict[tuple[str, ...], Batch] = {}
        self._requests: set[asyncio.Task[None]] = set()

    async def add(
        self, url: str, topic: str, item: bytes, headers: Mapping[str, str], clock: Clock, send: _Send
    ) -> None:
        """Put `item` into the batch for its URL and topic, and return when that is sent.  Raises BatchError.

        A batch is sent when it is full, or has been open for long enough; with the headers of its last message.
        """
        scope = (url,) if self._is_across_topics else (url, topic)
        batch = self._open.get(scope)
        if batch is not None and len(batch.body) + len(item) + 1 > self._most_bytes:
            self._close(scope, batch, send)
            batch = None
        if batch is None:
            batch = self._open[scope] = opened = Batch(is_across_topics=self._is_across_topics)
            batch.timer = clock.call_at(clock.now() + self._open_seconds, lambda: self._close(scope, opened, send))
        batch.items.append(item)
        batch.headers = headers
        number = len(batch.items)
        if number == self._most or len(batch.body) >= self._most_bytes:
            self._close(scope, batch, send)
        error = await asyncio.shield(batch.sent)
        if error is not None:
            raise BatchError(error, batch, number)

    def _close(self, scope: tuple[str, ...], batch: Batch, send: _Send) -> None:
        if self._open.get(scope) is batch:
            del self._open[scope]
            if batch.timer is not None:
                batch.timer.cancel()
            task = asyncio.get_running_loop().create_task(self._send(batch, send))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _send(self, batch: Batch, send: _Send) -> None:
        try:
            await send(batch.body, batch.headers)
        except ActionError as error:
            batch.sent.set_result(error)
        except Exception as error:
            batch.sent.set_exception(error)
        except asyncio.CancelledError:
            batch.sent.cancel()
            raise
        else:
            batch.sent.set_result(None)
