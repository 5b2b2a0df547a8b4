"""Asynchronous invocations: kept in the database until they are done.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html: a function error is tried again
after one minute and after two; a throttled invocation as long as it is not too old, after a second first and at most
five minutes; then it goes to the dead-letter queue and the on-failure destination.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock, Timer, iso_timestamp
from stepbridge.functions.aws_calls import RoleCalls, function_session
from stepbridge.functions.environment import Outcome
from stepbridge.functions.names import LATEST
from stepbridge.functions.registry import FunctionRegistry
from stepbridge.store import Store
from stepbridge.trace import Trace

_SCHEMA = [
    """
    CREATE TABLE lambda_events (
        id INTEGER PRIMARY KEY,
        request_id TEXT NOT NULL,
        function TEXT NOT NULL,
        qualifier TEXT,
        payload BLOB NOT NULL,
        client_context TEXT,
        accepted REAL NOT NULL,
        due REAL NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        throttles INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """
]

RETRY_DELAY = 60.0  # seconds, times the number of the attempt that failed
DEFAULT_RETRIES = 2
DEFAULT_MAX_AGE = 21_600.0  # seconds
_MAX_THROTTLE_DELAY = 300.0
_IN_FLIGHT = 64  # of one function; the others wait in order


@dataclass(frozen=True, slots=True)
class Event:
    """One asynchronous invocation; `client_context` is JSON text."""

    request_id: str
    function: str
    qualifier: str | None
    payload: bytes
    client_context: str | None = None


@dataclass(slots=True)
class _Queued:
    event: Event
    accepted: float
    attempts: int = 0
    throttles: int = 0


class AsynchronousInvocations:
    """The queue of events; `run` runs one now and raises AwsError if it cannot be run."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        trace: Trace,
        calls: RoleCalls,
        run: Callable[[Event], Awaitable[Outcome]],
        registry: FunctionRegistry,
    ) -> None:
        store.migrate("lambda-events", _SCHEMA)
        self._store = store
        self._clock = clock
        self._trace = trace
        self._calls = calls
        self._run = run
        self._registry = registry
        self._ready: dict[str, deque[int]] = {}
        self._in_flight: dict[str, int] = {}
        self._timers: dict[int, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def start(self) -> None:
        """Take up what the database still has."""
        for row in self._store.query("SELECT id, function, due FROM lambda_events ORDER BY id"):
            self._schedule(row["id"], row["function"], row["due"])

    async def stop(self) -> None:
        """Stop; what is not done stays in the database."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def accept(self, event: Event) -> None:
        """Take `event`; returns when it is in the database."""
        now = self._clock.now()
        identity = self._store.insert(
            "INSERT INTO lambda_events (request_id, function, qualifier, payload, client_context, accepted, due)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (event.request_id, event.function, event.qualifier, event.payload, event.client_context, now, now),
        )
        await self._store.committed()
        self._schedule(identity, event.function, now)

    def _schedule(self, identity: int, function: str, due: float) -> None:
        if due <= self._clock.now():
            self._ready.setdefault(function, deque()).append(identity)
            self._pump(function)
            return

        def wake() -> None:
            del self._timers[identity]
            self._schedule(identity, function, due)

        self._timers[identity] = self._clock.call_at(due, wake)

    def _pump(self, function: str) -> None:
        ready = self._ready.get(function)
        while ready and not self._stopped and self._in_flight.get(function, 0) < _IN_FLIGHT:
            self._in_flight[function] = self._in_flight.get(function, 0) + 1
            task = asyncio.get_running_loop().create_task(self._process(ready.popleft(), function))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if ready is not None and not ready:
            del self._ready[function]

    async def _process(self, identity: int, function: str) -> None:
        try:
            row = self._store.query_one("SELECT * FROM lambda_events WHERE id = ?", (identity,))
            if row is not None:
                event = Event(
                    row["request_id"], row["function"], row["qualifier"], row["payload"], row["client_context"]
                )
                await self._attempt(identity, _Queued(event, row["accepted"], row["attempts"], row["throttles"]))
        finally:
            self._in_flight[function] -= 1
            if not self._in_flight[function]:
                del self._in_flight[function]
            self._pump(function)

    async def _attempt(self, identity: int, queued: _Queued) -> None:
        event = queued.event
        settings = self._registry.event_invoke_config(event.function, event.qualifier or LATEST) or {}
        max_age = settings.get("MaximumEventAgeInSeconds", DEFAULT_MAX_AGE)
        if self._clock.now() - queued.accepted > max_age:
            await self._give_up(identity, queued, settings, None, "EventAgeExceeded")
            return
        try:
            outcome = await self._run(event)
        except AwsError as error:
            if error.code == "TooManyRequestsException":
                await self._throttled(identity, queued, settings, max_age)
            else:  # the function is gone
                self._trace.emit(
                    "lambda",
                    "event-dropped",
                    f"An event for {event.function} was dropped: {error.message}",
                    function=event.function,
                    request_id=event.request_id,
                )
                self._delete(identity)
            return
        queued.attempts += 1
        if outcome.error is None:
            await self._send(settings, "OnSuccess", queued, outcome, "Success")
            self._delete(identity)
        elif queued.attempts > settings.get("MaximumRetryAttempts", DEFAULT_RETRIES):
            await self._give_up(identity, queued, settings, outcome, "RetriesExhausted")
        else:
            self._retry(identity, queued, RETRY_DELAY * queued.attempts)

    async def _throttled(self, identity: int, queued: _Queued, settings: dict[str, Any], max_age: float) -> None:
        delay = min(2.0**queued.throttles, _MAX_THROTTLE_DELAY)
        queued.throttles += 1
        if self._registry.reserved_concurrency(queued.event.function) == 0:  # the way to switch a function off
            await self._give_up(identity, queued, settings, None, "ZeroReservedConcurrency")
        elif self._clock.now() + delay - queued.accepted > max_age:
            await self._give_up(identity, queued, settings, None, "EventAgeExceeded")
        else:
            self._retry(identity, queued, delay)

    def _retry(self, identity: int, queued: _Queued, delay: float) -> None:
        due = self._clock.now() + delay
        self._store.execute(
            "UPDATE lambda_events SET due = ?, attempts = ?, throttles = ? WHERE id = ?",
            (due, queued.attempts, queued.throttles, identity),
        )
        self._trace.emit(
            "lambda",
            "event-retry",
            f"The event for {queued.event.function} is tried again in {delay:g} s",
            function=queued.event.function,
            request_id=queued.event.request_id,
            attempt=queued.attempts,
        )
        self._schedule(identity, queued.event.function, due)

    def _delete(self, identity: int) -> None:
        self._store.execute("DELETE FROM lambda_events WHERE id = ?", (identity,))

    async def _give_up(
        self, identity: int, queued: _Queued, settings: dict[str, Any], outcome: Outcome | None, condition: str
    ) -> None:
        event = queued.event
        self._trace.emit(
            "lambda",
            "event-failed",
            f"The event for {event.function} is given up: {condition} after {queued.attempts} attempts",
            function=event.function,
            request_id=event.request_id,
            condition=condition,
        )
        await self._dead_letter(queued, outcome)
        await self._send(settings, "OnFailure", queued, outcome, condition)
        self._delete(identity)

    # Dead-letter queues and destinations

    async def _dead_letter(self, queued: _Queued, outcome: Outcome | None) -> None:
        """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html (dead-letter queues)"""
        event = queued.event
        configuration = self._version_of(event)
        target = configuration.get("DeadLetterConfig", {}).get("TargetArn")
        if not target:
            return
        attributes = {
            "RequestID": {"DataType": "String", "StringValue": event.request_id},
            "ErrorCode": {"DataType": "Number", "StringValue": "200" if outcome else "429"},
            "ErrorMessage": {"DataType": "String", "StringValue": _message_of(outcome)[:1024]},
        }
        body = event.payload.decode("utf-8", "replace")
        if ":sqs:" in target:
            await self._deliver(event, target, "SendMessage", MessageBody=body, MessageAttributes=attributes)
        else:
            await self._deliver(event, target, "Publish", Message=body, MessageAttributes=attributes)

    async def _send(
        self, settings: dict[str, Any], kind: str, queued: _Queued, outcome: Outcome | None, condition: str
    ) -> None:
        """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html (destinations)"""
        target = settings.get("DestinationConfig", {}).get(kind, {}).get("Destination")
        if not target:
            return
        configuration = self._version_of(queued.event)
        version = queued.event.qualifier or LATEST
        arn = ":".join(configuration.get("FunctionArn", "").split(":")[:7]) + f":{version}"
        record: dict[str, Any] = {
            "version": "1.0",
            "timestamp": iso_timestamp(self._clock.now()),
            "requestContext": {
                "requestId": queued.event.request_id,
                "functionArn": arn,
                "condition": condition,
                "approximateInvokeCount": queued.attempts,
            },
            "requestPayload": json.loads(queued.event.payload),
        }
        if outcome is not None:
            record["responseContext"] = {"statusCode": 200, "executedVersion": configuration.get("Version", LATEST)}
            if outcome.error is not None:
                record["responseContext"]["functionError"] = outcome.error
            record["responsePayload"] = json.loads(outcome.payload or b"null")
        document = json.dumps(record, separators=(",", ":"))
        match target.split(":")[2]:
            case "sqs":
                await self._deliver(queued.event, target, "SendMessage", MessageBody=document)
            case "sns":
                await self._deliver(queued.event, target, "Publish", Message=document)
            case "lambda":
                await self._deliver(queued.event, target, "Invoke", Payload=document.encode())
            case _:
                entry = {
                    "Source": "lambda",
                    "DetailType": "Lambda Function Invocation Result - " + kind.removeprefix("On"),
                    "Resources": [target, arn],
                    "Detail": document,
                    "EventBusName": target,
                }
                await self._deliver(queued.event, target, "PutEvents", Entries=[entry])

    async def _deliver(self, event: Event, target: str, operation: str, **members: Any) -> None:
        service = target.split(":")[2]
        if service == "sqs":
            account, queue = target.split(":")[4:6]
            # The queue has this name and nothing but its URL is wanted, for which Lambda needs no permission.
            members["QueueUrl"] = f"https://sqs.{target.split(':')[3]}.amazonaws.com/{account}/{queue}"
        elif service == "sns":
            members["TopicArn"] = target
        elif service == "lambda":
            members |= {"FunctionName": target, "InvocationType": "Event"}
        await self._guard(event, target, service, operation, **members)

    async def _guard(self, event: Event, target: str, service: str, operation: str, **members: Any) -> None:
        """Call; a destination that refuses is told in the trace, as there is nobody else to tell."""
        try:
            configuration = self._version_of(event)
            session = function_session(configuration["Role"], configuration["FunctionArn"])
            await self._calls.call(session, service, operation, **members)
        except AwsError as error:
            self._trace.emit(
                "lambda",
                "destination-failed",
                f"{target} did not take the record of an invocation: {error.message}",
                destination=target,
            )

    def _version_of(self, event: Event) -> dict[str, Any]:
        versions = self._registry.versions(event.function)
        wanted = event.qualifier or LATEST
        return next((version for version in versions if version["Version"] == wanted), versions[0] if versions else {})


def _message_of(outcome: Outcome | None) -> str:
    if outcome is None:
        return "Rate Exceeded."
    try:
        return str(json.loads(outcome.payload)["errorMessage"])
    except (ValueError, TypeError, KeyError):
        return outcome.payload.decode("utf-8", "replace")
