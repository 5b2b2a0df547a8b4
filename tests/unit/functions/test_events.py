"""Asynchronous invocations: their retries on the emulator's clock, and where they go in the end."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.integration.functions.harness import ROLE, RecordedCalls, Unrestricted

from stepbridge.api.errors import AwsError
from stepbridge.clock import ManualClock
from stepbridge.functions.aws_calls import RoleCalls
from stepbridge.functions.environment import Outcome
from stepbridge.functions.events import AsynchronousInvocations, Event
from stepbridge.functions.registry import FunctionRegistry
from stepbridge.store import Store
from stepbridge.trace import Trace

FAILED = Outcome(b'{"errorType":"E","errorMessage":"no"}', "Unhandled", b"", 0.0)
DONE = Outcome(b'{"ok":true}', None, b"", 0.0)
THROTTLED = AwsError("TooManyRequestsException", "Rate Exceeded.")
EVENT = Event("request", "f", None, b'{"n":1}')


class Queue:
    """A queue of events for the function `f`, whose runs end as `outcomes` says, then well."""

    def __init__(self, *outcomes: Outcome | AwsError, store: Store | None = None) -> None:
        self.clock = ManualClock(1000.0)
        self.store = store or Store(None)
        self.registry = FunctionRegistry(self.store)
        self.calls = RecordedCalls()
        self.outcomes = list(outcomes)
        self.times: list[float] = []
        self.events = AsynchronousInvocations(
            self.store,
            self.clock,
            Trace(self.clock),
            RoleCalls(self.calls, Unrestricted()),
            self.run,
            self.registry,
        )

    async def run(self, event: Event) -> Outcome:
        self.times.append(self.clock.now() - 1000.0)
        outcome = self.outcomes.pop(0) if self.outcomes else DONE
        if isinstance(outcome, AwsError):
            raise outcome
        return outcome

    def create(self, **configuration: Any) -> None:
        arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
        self.registry.create("f", {"FunctionArn": arn, "Version": "$LATEST", "Role": ROLE, **configuration}, {})

    async def pass_time(self, seconds: float) -> None:
        """In steps, each followed by what falls due."""
        await settle()
        end = self.clock.now() + seconds
        while (due := self.clock.next_timer()) is not None and due <= end:
            self.clock.advance(due - self.clock.now())
            await settle()
        self.clock.advance(end - self.clock.now())
        await settle()

    @property
    def left(self) -> int:
        return len(self.store.query("SELECT 1 FROM lambda_events"))


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario()

    asyncio.run(run())


def test_an_event_that_succeeds_is_forgotten() -> None:
    async def scenario() -> None:
        queue = Queue()
        queue.create()
        await queue.events.accept(EVENT)
        await settle()
        assert (queue.times, queue.left) == ([0.0], 0)

    play(scenario)


def test_a_function_error_is_retried_after_one_and_two_minutes() -> None:
    async def scenario() -> None:
        queue = Queue(FAILED, FAILED, FAILED)
        queue.create(DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:123456789012:dead"})
        await queue.events.accept(EVENT)
        await queue.pass_time(59)
        assert queue.times == [0.0]
        await queue.pass_time(3600)
        assert queue.times == [0.0, 60.0, 180.0]
        assert queue.left == 0
        (letter,) = queue.calls.of("SendMessage")
        assert (letter["QueueUrl"], letter["MessageBody"]) == (
            "https://sqs.us-east-1.amazonaws.com/123456789012/dead",
            '{"n":1}',
        )
        assert letter["MessageAttributes"]["ErrorMessage"]["StringValue"] == "no"

    play(scenario)


def test_a_throttled_event_is_retried_until_it_is_too_old() -> None:
    async def scenario() -> None:
        queue = Queue(*[THROTTLED] * 100)
        queue.create()
        queue.registry.put_event_invoke_config("f", "$LATEST", {"MaximumEventAgeInSeconds": 60})
        await queue.events.accept(EVENT)
        await queue.pass_time(3600)
        assert queue.times == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0]
        assert queue.left == 0

    play(scenario)


def test_a_function_switched_off_gets_no_retries() -> None:
    async def scenario() -> None:
        queue = Queue(THROTTLED)
        queue.create()
        queue.store.execute("UPDATE lambda_functions SET reserved_concurrency = 0")
        settings = {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sns:us-east-1:123456789012:failed"}}}
        queue.registry.put_event_invoke_config("f", "$LATEST", settings)
        await queue.events.accept(EVENT)
        await settle()
        assert queue.left == 0
        (published,) = queue.calls.of("Publish")
        assert json.loads(published["Message"])["requestContext"]["condition"] == "ZeroReservedConcurrency"

    play(scenario)


def test_destinations_get_a_record() -> None:
    async def scenario() -> None:
        queue = Queue(DONE, FAILED)
        queue.create()
        targets = {
            "OnSuccess": {"Destination": "arn:aws:lambda:us-east-1:123456789012:function:g"},
            "OnFailure": {"Destination": "arn:aws:events:us-east-1:123456789012:event-bus/default"},
        }
        settings = {"MaximumRetryAttempts": 0, "DestinationConfig": targets}
        queue.registry.put_event_invoke_config("f", "$LATEST", settings)
        await queue.events.accept(EVENT)
        await settle()
        (invoked,) = queue.calls.of("Invoke")
        assert invoked["FunctionName"].endswith(":function:g")
        assert json.loads(invoked["Payload"]) == {
            "version": "1.0",
            "timestamp": "1970-01-01T00:16:40.000Z",
            "requestContext": {
                "requestId": "request",
                "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST",
                "condition": "Success",
                "approximateInvokeCount": 1,
            },
            "requestPayload": {"n": 1},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": {"ok": True},
        }
        await queue.events.accept(EVENT)
        await settle()
        ((entry,),) = [call["Entries"] for call in queue.calls.of("PutEvents")]
        assert entry["DetailType"] == "Lambda Function Invocation Result - Failure"
        record = json.loads(entry["Detail"])
        assert record["requestContext"]["condition"] == "RetriesExhausted"
        assert record["responseContext"]["functionError"] == "Unhandled"

    play(scenario)


def test_what_waits_goes_on_after_a_restart() -> None:
    async def scenario() -> None:
        queue = Queue(FAILED)
        queue.create()
        await queue.events.accept(EVENT)
        await settle()
        await queue.events.stop()
        again = Queue(store=queue.store)
        again.events.start()
        await again.pass_time(59)
        assert again.times == []
        await again.pass_time(1)
        assert (again.times, again.left) == ([60.0], 0)

    play(scenario)


def test_a_burst_of_events_does_not_run_all_at_once() -> None:
    async def scenario() -> None:
        queue = Queue()
        queue.create()
        gate = asyncio.Event()
        running = 0

        async def run(event: Event) -> Outcome:
            nonlocal running
            running += 1
            await gate.wait()
            return DONE

        queue.events._run = run
        for number in range(300):
            await queue.events.accept(Event(str(number), "f", None, b"{}"))
        await settle()
        assert running == 64
        gate.set()
        while queue.left:
            await settle()
        assert running == 300

    play(scenario)
