"""Rules and schedules that moto keeps, firing on a clock that the test moves."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stepbridge.api.calls import AwsCalls
from stepbridge.api.dispatch import Dispatcher
from stepbridge.api.errors import AwsError
from stepbridge.api.moto_backend import MotoBackend
from stepbridge.api.service import Caller, Members, Service
from stepbridge.clock import ManualClock
from stepbridge.schedules import Schedules, engine
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/schedule"
MACHINE = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:m"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
MONDAY = datetime(2025, 3, 3, 12, 0, 30, tzinfo=UTC).timestamp()


class StepFunctions(Service):
    """Remembers what it is asked to start."""

    service_name = "stepfunctions"

    def __init__(self) -> None:
        self.inputs: list[str] = []
        self.silent = asyncio.Event()

    async def start_sync_execution(self, caller: Caller, request: Members) -> Members:
        self.silent.set()
        await asyncio.get_running_loop().create_future()
        return {}

    async def start_execution(self, caller: Caller, request: Members) -> Members:
        self.inputs.append(request["input"])
        return {"executionArn": f"{MACHINE}:e", "startDate": 0.0}


class Functions:
    """Remembers who invokes what."""

    def __init__(self) -> None:
        self.invoked: list[tuple[str, str, Any]] = []

    async def invoke_as_service(
        self, function_arn: str, payload: bytes, *, principal: str, source_arn: str, source_account: str
    ) -> object:
        self.invoked.append((principal, source_arn, json.loads(payload)))
        return None


class Permissions:
    """Refuses the roles it is told to."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.trusted = {"events.amazonaws.com", "scheduler.amazonaws.com"}

    async def may_assume(self, service: str, role_arn: str, source_arn: str) -> bool:
        return service in self.trusted

    async def require(self, session: Any, operation: Any, members: Mapping[str, Any]) -> None:
        if session.role_arn in self.refused:
            raise AwsError("AccessDeniedException", f"{session.role_name} may not {operation.name}", status=403)


class Bench:
    """Schedules over moto, on a database of their own."""

    def __init__(self, store: Store, folder: Path, clock: ManualClock) -> None:
        settings = Settings(folder, memory=True)
        self.clock = clock
        self.states, self.functions, self.permissions = StepFunctions(), Functions(), Permissions()
        dispatcher = Dispatcher()
        dispatcher.register(self.states)
        self.moto = MotoBackend(ACCOUNT)
        self.calls = AwsCalls(settings, dispatcher, self.moto, lambda: "http://127.0.0.1:1")
        self.told: list[str] = []
        trace = Trace(clock)
        trace.listen(lambda hop: self.told.append(hop.text))
        self.schedules = Schedules(settings, store, clock, trace, self.calls, self.functions, self.permissions)
        self.moto.tell_schedule_changes(self.schedules.changed)
        self.moto.tell_events(self.schedules.take)

    async def call(self, service: str, operation: str, **members: Any) -> Members:
        """An API call, and all that comes of it."""
        answer = await self.calls.call(service, operation, **members)
        await asyncio.sleep(0)  # what moto's thread has told is taken up
        await self.schedules.settled()
        return answer

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.schedules.settled()

    async def schedule(self, name: str, expression: str, target: Mapping[str, Any], **members: Any) -> None:
        window = {"Mode": "OFF"}
        wanted = {"Name": name, "ScheduleExpression": expression, "FlexibleTimeWindow": window, **members}
        await self.call("scheduler", "CreateSchedule", Target={"RoleArn": ROLE, **target}, **wanted)

    async def clear(self) -> None:
        """Take away what is in moto, which lives as long as the process."""
        for rule in (await self.calls.call("events", "ListRules"))["Rules"]:
            targets = (await self.calls.call("events", "ListTargetsByRule", Rule=rule["Name"]))["Targets"]
            if targets:
                await self.calls.call(
                    "events", "RemoveTargets", Rule=rule["Name"], Ids=[each["Id"] for each in targets]
                )
            await self.calls.call("events", "DeleteRule", Name=rule["Name"])
        for schedule in (await self.calls.call("scheduler", "ListSchedules"))["Schedules"]:
            await self.calls.call("scheduler", "DeleteSchedule", Name=schedule["Name"])


Run = Callable[[Callable[[Bench], Awaitable[None]]], None]


@pytest.fixture
def bench(tmp_path: Path) -> Run:
    """Runs a scenario on a new bench, at half a minute past noon on a Monday."""

    def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async def main() -> None:
            store = Store(None)
            one = Bench(store, tmp_path, ManualClock(MONDAY))
            await one.clear()
            try:
                await scenario(one)
            finally:
                await one.schedules.stop()
                one.moto.close()
                store.close()

        asyncio.run(main())

    return run


def test_a_rule_with_a_rate(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        await one.call("events", "PutRule", Name="every", ScheduleExpression="rate(5 minutes)")
        arn = f"arn:aws:events:us-east-1:{ACCOUNT}:rule/every"
        targets = [
            {"Id": "1", "Arn": MACHINE, "RoleArn": ROLE, "Input": '{"a": 15}'},
            {"Id": "2", "Arn": FUNCTION},
        ]
        await one.call("events", "PutTargets", Rule="every", Targets=targets)
        await one.advance(299)
        assert one.states.inputs == []
        await one.advance(1)
        assert one.states.inputs == ['{"a": 15}']
        principal, source, event = one.functions.invoked[0]
        assert (principal, source) == ("events.amazonaws.com", arn)
        assert (event["detail-type"], event["time"], event["resources"]) == (
            "Scheduled Event",
            "2025-03-03T12:05:30Z",
            [arn],
        )
        await one.advance(3600)
        assert len(one.states.inputs) == 13
        await one.call("events", "DisableRule", Name="every")
        await one.advance(3600)
        assert len(one.states.inputs) == 13
        await one.call("events", "EnableRule", Name="every")
        await one.call("events", "RemoveTargets", Rule="every", Ids=["1"])
        await one.advance(300)
        assert (len(one.states.inputs), len(one.functions.invoked)) == (13, 14)
        await one.call("events", "RemoveTargets", Rule="every", Ids=["2"])
        await one.call("events", "DeleteRule", Name="every")
        assert one.clock.next_timer() is None

    bench(scenario)


def test_a_rule_with_a_cron_expression_and_a_queue(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        url = (await one.call("sqs", "CreateQueue", QueueName="scheduled"))["QueueUrl"]
        await one.call("events", "PutRule", Name="nightly", ScheduleExpression="cron(0 3 ? * TUE *)")
        transformer = {"InputPathsMap": {"t": "$.time"}, "InputTemplate": '"at <t>"'}
        queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:scheduled"
        targets = [{"Id": "1", "Arn": queue, "InputTransformer": transformer}]
        await one.call("events", "PutTargets", Rule="nightly", Targets=targets)
        await one.advance(24 * 3600)
        received = await one.calls.call("sqs", "ReceiveMessage", QueueUrl=url)
        assert [message["Body"] for message in received["Messages"]] == ['"at 2025-03-04T03:00:00Z"']
        await one.call("sqs", "DeleteQueue", QueueUrl=url)

    bench(scenario)


def test_schedules(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        target = {"Arn": MACHINE, "Input": '"<aws.scheduler.scheduled-time>"'}
        await one.schedule("berlin", "cron(0 14 * * ? *)", target, ScheduleExpressionTimezone="Europe/Berlin")
        await one.schedule("once", "at(2025-03-03T13:30:00)", target, ActionAfterCompletion="DELETE")
        await one.advance(3600 + 1800)
        assert one.states.inputs == ['"2025-03-03T13:00:00Z"', '"2025-03-03T13:30:00Z"']
        await one.schedules.settled()
        names = [each["Name"] for each in (await one.calls.call("scheduler", "ListSchedules"))["Schedules"]]
        assert names == ["berlin"]
        # A rate begins at once, and a function gets an event if there is no input.
        await one.schedule("rate", "rate(1 hour)", {"Arn": MACHINE})
        await one.advance(0)
        event = json.loads(one.states.inputs[2])
        assert (event["source"], event["detail"], event["time"]) == ("aws.scheduler", "{}", "2025-03-03T13:30:30Z")
        await one.advance(3600)
        assert len(one.states.inputs) == 4

    bench(scenario)


def test_an_event_goes_to_the_targets_of_the_rules_that_match_it(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        url = (await one.call("sqs", "CreateQueue", QueueName="matched"))["QueueUrl"]
        queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:matched"
        pattern = json.dumps({"source": ["shop"], "detail": {"total": [{"numeric": [">", 10]}]}})
        await one.call("events", "PutRule", Name="matching", EventPattern=pattern)
        await one.call("events", "PutRule", Name="timed", ScheduleExpression="rate(5 minutes)")
        transformer = {"InputPathsMap": {"n": "$.detail.total"}, "InputTemplate": '{"n": <n>}'}
        targets = [
            {"Id": "1", "Arn": FUNCTION},
            {"Id": "2", "Arn": MACHINE, "RoleArn": ROLE, "InputTransformer": transformer},
            {"Id": "3", "Arn": queue, "InputPath": "$.detail"},
        ]
        await one.call("events", "PutTargets", Rule="matching", Targets=targets)
        await one.call("events", "PutTargets", Rule="timed", Targets=[{"Id": "1", "Arn": FUNCTION}])

        async def put(total: int) -> None:
            entry = {"Source": "shop", "DetailType": "Sold", "Detail": json.dumps({"total": total})}
            answer = await one.call("events", "PutEvents", Entries=[entry])
            assert answer["FailedEntryCount"] == 0

        await put(5)
        await put(15)
        ((principal, source, event),) = one.functions.invoked
        assert (principal, source) == ("events.amazonaws.com", f"arn:aws:events:us-east-1:{ACCOUNT}:rule/matching")
        assert (event["source"], event["detail-type"], event["detail"]) == ("shop", "Sold", {"total": 15})
        assert set(event) == {
            "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"
        }  # fmt: skip
        assert datetime.fromisoformat(event["time"])
        assert one.states.inputs == ['{"n": 15}']
        received = await one.calls.call("sqs", "ReceiveMessage", QueueUrl=url)
        assert [json.loads(message["Body"]) for message in received["Messages"]] == [{"total": 15}]

        one.permissions.trusted.clear()
        await put(16)
        assert any("events.amazonaws.com may not assume" in text for text in one.told)
        await one.call("events", "DisableRule", Name="matching")
        await put(17)
        assert (len(one.functions.invoked), len(one.states.inputs)) == (2, 1)
        await one.call("sqs", "DeleteQueue", QueueUrl=url)

    bench(scenario)


def test_a_schedule_with_bounds(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        start, end = (datetime.fromtimestamp(MONDAY + seconds, UTC) for seconds in (600, 1300))
        await one.schedule("bounded", "rate(10 minutes)", {"Arn": MACHINE}, StartDate=start, EndDate=end)
        await one.advance(599)
        assert one.states.inputs == []
        await one.advance(7200)
        assert len(one.states.inputs) == 2

    bench(scenario)


def test_a_rule_that_is_deleted_while_the_rules_are_read(bench: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that comes meanwhile is not lost, as it once was on a busy machine."""

    async def scenario(one: Bench) -> None:
        await one.call("events", "PutRule", Name="short-lived", ScheduleExpression="rate(5 minutes)")
        call, asked, go_on = one.calls.call, asyncio.Event(), asyncio.Event()

        async def held(service: str, operation: str, **members: Any) -> Members:
            if operation == "ListTargetsByRule":
                asked.set()
                await go_on.wait()
            return await call(service, operation, **members)

        monkeypatch.setattr(one.calls, "call", held)
        one.schedules.changed()
        await asked.wait()
        await call("events", "DeleteRule", Name="short-lived")
        window = {"Mode": "OFF"}
        wanted = {"Name": "minute", "ScheduleExpression": "rate(1 minute)", "FlexibleTimeWindow": window}
        await call("scheduler", "CreateSchedule", Target={"Arn": MACHINE, "RoleArn": ROLE}, **wanted)
        await asyncio.sleep(0)  # what moto's thread has told is taken up
        go_on.set()
        await one.schedules.settled()
        await one.advance(60)
        assert len(one.states.inputs) == 2

    bench(scenario)


def test_a_target_of_any_api(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        members = json.dumps({"QueueName": "made-on-time"})
        target = {"Arn": "arn:aws:scheduler:::aws-sdk:sqs:createQueue", "Input": members}
        await one.schedule("universal", "at(2025-03-03T12:01:00)", target)
        await one.advance(30)
        url = (await one.calls.call("sqs", "GetQueueUrl", QueueName="made-on-time"))["QueueUrl"]
        await one.call("sqs", "DeleteQueue", QueueUrl=url)

    bench(scenario)


def test_a_role_that_may_not(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        url = (await one.call("sqs", "CreateQueue", QueueName="buried"))["QueueUrl"]
        one.permissions.refused.add(ROLE)
        dead = {"Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:buried"}
        target = {"Arn": MACHINE, "Input": "{}", "DeadLetterConfig": dead}
        await one.schedule("denied", "at(2025-03-03T12:01:00)", target)
        await one.advance(30)
        assert one.states.inputs == []
        assert any("AccessDeniedException: schedule may not StartExecution" in text for text in one.told)
        received = await one.calls.call("sqs", "ReceiveMessage", QueueUrl=url, MessageAttributeNames=["All"])
        assert received["Messages"][0]["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "AccessDeniedException"
        await one.call("sqs", "DeleteQueue", QueueUrl=url)

    bench(scenario)


def test_after_a_restart_the_rate_goes_on(tmp_path: Path) -> None:
    clock = ManualClock(MONDAY)

    async def scenario() -> None:
        store = Store(tmp_path / "db.sqlite")
        one = Bench(store, tmp_path, clock)
        await one.clear()
        await one.call("events", "PutRule", Name="kept", ScheduleExpression="rate(1 hour)")
        await one.call("events", "PutTargets", Rule="kept", Targets=[{"Id": "1", "Arn": MACHINE, "RoleArn": ROLE}])
        await one.schedule("late", "at(2025-03-03T12:10:00)", {"Arn": MACHINE, "Input": '"late"'})
        await one.schedules.stop()
        store.close()
        clock.advance(5400)  # nobody is there
        store = Store(tmp_path / "db.sqlite")
        other = Bench(store, tmp_path, clock)
        await other.schedules.start()
        await other.advance(0)
        assert other.states.inputs == ['"late"']
        await other.advance(1799)
        assert len(other.states.inputs) == 1
        await other.advance(1)
        assert len(other.states.inputs) == 2
        await other.clear()
        await other.schedules.stop()
        store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("service", "operation", "members", "message"),
    [
        ("events", "PutRule", {"Name": "x", "ScheduleExpression": "cron(7 20 * * 1-7 *)"}, "Parameter ScheduleExpress"),
        ("events", "PutRule", {"Name": "x", "ScheduleExpression": "rate(1 minutes)"}, "Expression is not valid"),
        (
            "scheduler", "CreateSchedule", {"ScheduleExpression": "cron(* * * * *)"},
            "Invalid Schedule Expression cron(* * * * *).",
        ),
        (
            "scheduler", "CreateSchedule",
            {"ScheduleExpression": "rate(1 hour)", "ScheduleExpressionTimezone": "Europe/Nowhere"}, "Europe/Nowhere",
        ),
        (
            "scheduler", "CreateSchedule",
            {"ScheduleExpression": "rate(1 hour)", "Target": {"Arn": "arn:aws:ecs:us-east-1:1:x", "RoleArn": ROLE}},
            "stepbridge sends to",
        ),
        (
            "scheduler", "CreateSchedule",
            {"ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": {"Mode": "FLEXIBLE"}},
            "MaximumWindowInMinutes",
        ),
        (
            "scheduler", "CreateSchedule",
            {
                "ScheduleExpression": "rate(1 hour)",
                "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1441},
            },
            "Value '1441' at 'flexibleTimeWindow.maximumWindowInMinutes' failed to satisfy constraint",
        ),
        (
            "scheduler", "CreateSchedule",
            {
                "ScheduleExpression": "rate(1 hour)",
                "Target": {"Arn": MACHINE, "RoleArn": ROLE, "RetryPolicy": {"MaximumRetryAttempts": 186}},
            },
            "Value '186' at 'target.retryPolicy.maximumRetryAttempts' failed to satisfy constraint",
        ),
        (
            "scheduler", "CreateSchedule", {"ScheduleExpression": "rate(1 hour)", "State": "MAYBE"},
            "Value 'MAYBE' at 'state' failed to satisfy constraint",
        ),
        (
            "scheduler", "CreateSchedule",
            {
                "ScheduleExpression": "rate(1 hour)",
                "StartDate": datetime(2030, 1, 2, tzinfo=UTC),
                "EndDate": datetime(2030, 1, 1, tzinfo=UTC),
            },
            "The EndDate must be after the StartDate.",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(bench: Run, service: str, operation: str, members: Mapping[str, Any], message: str) -> None:
    async def scenario(one: Bench) -> None:
        whole = dict(members)
        if service == "scheduler":
            whole = {
                "Name": "x", "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": {"Arn": MACHINE, "RoleArn": ROLE}, **whole
            }  # fmt: skip
        with pytest.raises(AwsError) as refusal:
            await one.call(service, operation, **whole)
        assert refusal.value.code == "ValidationException"
        assert message in refusal.value.message

    bench(scenario)


def test_what_is_not_there_is_told(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        with pytest.raises(AwsError) as refusal:
            await one.schedule("x", "rate(1 hour)", {"Arn": MACHINE}, GroupName="nowhere")
        assert (refusal.value.code, refusal.value.message) == (
            "ResourceNotFoundException",
            "Schedule group nowhere does not exist.",
        )
        await one.call("events", "PutRule", Name="matching", EventPattern='{"source": ["shop"]}')
        for target, message in (
            ({"Id": "1", "Arn": MACHINE}, f"RoleArn is required for target {MACHINE}."),
            (
                {"Id": "1", "Arn": "arn:aws:ecs:us-east-1:1:cluster/c"},
                "stepbridge sends to lambda, states, sqs, sns, not",
            ),
        ):
            with pytest.raises(AwsError) as refusal:
                await one.call("events", "PutTargets", Rule="matching", Targets=[target])
            assert refusal.value.code == "ValidationException"
            assert message in refusal.value.message

    bench(scenario)


def test_a_target_that_never_answers_does_not_keep_the_emulator_from_stopping(
    bench: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_DRAIN_SECONDS", 0.1)

    async def scenario(one: Bench) -> None:
        target = {
            "Arn": "arn:aws:scheduler:::aws-sdk:sfn:startSyncExecution",
            "Input": json.dumps({"stateMachineArn": MACHINE}),
        }
        await one.schedule("waits", "at(2025-03-03T12:01:00)", target)
        one.clock.advance(60)
        await one.states.silent.wait()
        await asyncio.wait_for(one.schedules.stop(), 30)

    bench(scenario)
