"""Polls a queue of SQS for an event source mapping: receives batches, invokes the function, deletes what it has done.

Between messages it sleeps: the emulator's SQS says when a message comes.  A long poll would do the same on AWS.
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

import asyncio
import base64
import json
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock, Timer
from stepbridge.functions.aws_calls import function_session
from stepbridge.functions.filters import matches, parse_filters
from stepbridge.functions.invoker import Functions
from stepbridge.settings import Settings
from stepbridge.trace import Trace

# However sure it is that nobody has sent anything: on AWS a long poll ends after this.
_LONG_POLL = 20.0
# "Lambda starts reading five batches at a time": https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
_BATCHES_AT_ONCE = 5
_RECEIVED_AT_ONCE = 10
_MAX_PAYLOAD = 6_000_000


def queue_url(arn: str) -> str:
    """The URL of a queue, by which the emulator's SQS knows it."""
    _, _, _, region, account, name = arn.split(":")
    return f"https://sqs.{region}.amazonaws.com/{account}/{name}"


class QueuePoller:
    """The poller of one enabled mapping."""

    def __init__(
        self, mapping: dict[str, Any], functions: Functions, clock: Clock, trace: Trace, settings: Settings
    ) -> None:
        self.queue_arn: str = mapping["EventSourceArn"]
        self._function: str = mapping["FunctionArn"]
        self._size: int = mapping["BatchSize"]
        self._window: float = mapping["MaximumBatchingWindowInSeconds"]
        self._partial_failures = "ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", [])
        self._filters = parse_filters(mapping.get("FilterCriteria", {}))
        self._at_once: int = mapping.get("ScalingConfig", {}).get("MaximumConcurrency") or _BATCHES_AT_ONCE
        self._url = queue_url(self.queue_arn)
        self._functions = functions
        self._clock = clock
        self._trace = trace
        self._region = settings.region
        self._wake = asyncio.Event()
        self._timers: set[Timer] = set()
        self._batches: set[asyncio.Task[None]] = set()
        self._polling: asyncio.Task[None] | None = None
        self._told: str | None = None

    def start(self) -> None:
        """Poll from now on."""
        self._polling = asyncio.get_running_loop().create_task(self._poll())

    async def stop(self) -> None:
        """Stop; the messages of batches in hand become visible again."""
        for timer in self._timers:
            timer.cancel()
        tasks = [*self._batches, *([self._polling] if self._polling else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake_after(self, seconds: float) -> None:
        """There will be a message in `seconds`."""
        if seconds <= 0:
            self._wake.set()
            return

        def wake() -> None:
            self._timers.discard(timer)
            self._wake.set()

        timer = self._clock.call_at(self._clock.now() + seconds, wake)
        self._timers.add(timer)

    async def _poll(self) -> None:
        while True:
            self._wake.clear()
            batch = await self._receive(min(self._size, _RECEIVED_AT_ONCE))
            if not batch:
                await self._sleep(_LONG_POLL)
                continue
            batch = await self._wanted(batch)
            if not batch:
                continue
            await self._fill(batch)
            task = asyncio.get_running_loop().create_task(self._invoke(batch))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
            while len(self._batches) >= self._at_once:
                await asyncio.wait(self._batches, return_when=asyncio.FIRST_COMPLETED)

    async def _fill(self, batch: list[dict[str, Any]]) -> None:
        """Wait as long as the batching window for more messages."""
        ends = self._clock.now() + self._window
        size = sum(len(message["Body"]) for message in batch)
        while len(batch) < self._size and size < _MAX_PAYLOAD and (left := ends - self._clock.now()) > 0:
            self._wake.clear()
            more = await self._receive(min(self._size - len(batch), _RECEIVED_AT_ONCE))
            wanted = await self._wanted(more)
            batch += wanted
            size += sum(len(message["Body"]) for message in wanted)
            if not more:
                await self._sleep(left)

    async def _wanted(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of `messages` that pass the filters; the others are deleted, as Lambda does."""
        wanted = [message for message in messages if matches(self._filters, self._record(message))]
        unwanted = [message for message in messages if message not in wanted]
        if unwanted:
            try:
                await self._delete(unwanted)
            except AwsError as error:  # they come again
                text = f"Messages of {self.queue_arn} that {self._function} filters out stay there: {error.message}"
                self._trace.emit("lambda", "event-source-failed", text, queue=self.queue_arn, function=self._function)
        return wanted

    async def _delete(self, messages: list[dict[str, Any]]) -> None:
        for start in range(0, len(messages), _RECEIVED_AT_ONCE):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages[start : start + _RECEIVED_AT_ONCE])
            ]
            await self._call("DeleteMessageBatch", Entries=entries)

    async def _sleep(self, seconds: float) -> None:
        """Until a message comes, at most `seconds`."""
        timer = self._clock.call_at(self._clock.now() + seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    async def _receive(self, count: int) -> list[dict[str, Any]]:
        try:
            answer = await self._call(
                "ReceiveMessage",
                MaxNumberOfMessages=count,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
                WaitTimeSeconds=0,
            )
        except AwsError as error:
            if self._told != error.message:
                self._told = error.message
                text = f"{self.queue_arn} cannot be read for {self._function}: {error.message}"
                self._trace.emit("lambda", "event-source-failed", text, queue=self.queue_arn, function=self._function)
            return []
        self._told = None
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    async def _invoke(self, batch: list[dict[str, Any]]) -> None:
        event = {"Records": [self._record(message) for message in batch]}
        try:
            result = await self._functions.invoke(self._function, json.dumps(event, ensure_ascii=False).encode())
            failed = self._failed(batch, result.payload) if result.function_error is None else None
            if failed is None:
                failed = {message["MessageId"] for message in batch}
            done = [message for message in batch if message["MessageId"] not in failed]
            await self._delete(done)
            if not failed:
                return
            told = f"{len(failed)} of {len(batch)} messages of {self.queue_arn} come again: the function failed them"
        except AwsError as error:
            told = f"{len(batch)} messages of {self.queue_arn} come again: {error.message}"
        self._trace.emit("lambda", "event-source-retry", told, queue=self.queue_arn, function=self._function)
        await self._wake_when_visible()

    async def _wake_when_visible(self) -> None:
        try:
            answer = await self._call("GetQueueAttributes", AttributeNames=["VisibilityTimeout"])
        except AwsError:  # the long poll finds them
            return
        self.wake_after(float(answer["Attributes"]["VisibilityTimeout"]) + 0.01)

    def _failed(self, batch: list[dict[str, Any]], payload: bytes) -> set[str] | None:
        """The ids of the messages that the function reports as failed; None if it says so of the whole batch.

        https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
        """
        if not self._partial_failures:
            return set()
        try:
            answer = json.loads(payload or b"null")
            failures = (answer or {}).get("batchItemFailures") or []
            failed = {failure["itemIdentifier"] for failure in failures}
        except (ValueError, AttributeError, TypeError, KeyError):
            return None
        known = {message["MessageId"] for message in batch}
        return failed if failed <= known else None

    def _record(self, message: dict[str, Any]) -> dict[str, Any]:
        record = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": {
                name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
            },
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self.queue_arn,
            "awsRegion": self._region,
        }
        if "MD5OfMessageAttributes" in message:
            record["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
        return record

    async def _call(self, operation: str, **members: Any) -> dict[str, Any]:
        function = self._functions.registry.resolve(self._functions.name(self._function))
        session = function_session(function["Role"], function["FunctionArn"])
        return await self._functions.role_calls.call(session, "sqs", operation, QueueUrl=self._url, **members)


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        shown["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        shown["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return shown
