"""Activities, Express executions, child executions, versions and map runs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.integration.stepfunctions import machines
from tests.integration.stepfunctions.driving import Emulator, FunctionError, eventually, refused

from stepbridge.api.errors import AwsError
from stepbridge.clock import ManualClock

ACTIVITY = "arn:aws:states:us-east-1:123456789012:activity:work"


@dataclass
class Bucket:
    """An S3 of one bucket, and a record of all other calls."""

    objects: dict[str, bytes] = field(default_factory=dict)
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    event_rules: bool = False

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        self.calls.append((service, operation, members))
        if operation == "PutObject":
            self.objects[members["Key"]] = members["Body"]
            return {"ETag": '"1"'}
        if operation == "GetObject":
            if members["Key"] not in self.objects:
                raise AwsError("NoSuchKey", "The specified key does not exist.", status=404)
            return {"Body": self.objects[members["Key"]]}
        if operation == "ListObjectsV2":
            found = [
                (key, len(body)) for key, body in sorted(self.objects.items()) if key.startswith(members["Prefix"])
            ]
            at = datetime.fromtimestamp(5, UTC)
            return {
                "Contents": [
                    {"Key": key, "Size": size, "ETag": '"e"', "LastModified": at, "StorageClass": "STANDARD"}
                    for key, size in found
                ]
            }
        if service in ("logs", "events"):
            return {}
        if operation == "SendMessage":
            return {"MessageId": "1", "MD5OfMessageBody": "2"}
        raise AwsError("Unknown", operation)

    def offers(self, service: str, operation: str) -> bool:
        del service, operation
        return True

    def has_event_rules(self) -> bool:
        return self.event_rules


def run(scenario: Callable[[Emulator], Awaitable[None]], bucket: Bucket | None = None) -> None:
    async def main() -> None:
        async with Emulator(None, calls=bucket or Bucket()) as emulator:
            await scenario(emulator)

    asyncio.run(main())


def task(resource: str, **fields: Any) -> dict[str, Any]:
    return {"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": resource, "End": True, **fields}}}


def distributed(**fields: Any) -> dict[str, Any]:
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Task",
                "Resource": "arn:aws:lambda:us-east-1:123456789012:function:each",
                "End": True,
            }
        },
    }
    state = {"Type": "Map", "Label": "Items", "ItemProcessor": processor, "End": True, **fields}
    return {"StartAt": "All", "States": {"All": state}}


def test_a_worker_waits_for_its_task_without_asking_again() -> None:
    async def scenario(emulator: Emulator) -> None:
        await emulator.call("create_activity", name="work")
        machine = await emulator.create(task(ACTIVITY, HeartbeatSeconds=60))
        poll = asyncio.create_task(emulator.call("get_activity_task", activityArn=ACTIVITY, workerName="me"))
        await asyncio.sleep(0)
        execution = await emulator.run(machine, {"a": 1})
        given = await poll
        assert given["input"] == '{"a":1}'
        await emulator.call("send_task_heartbeat", taskToken=given["taskToken"])
        await emulator.call("send_task_success", taskToken=given["taskToken"], output='"done"')
        assert (await emulator.ended(execution))["output"] == '"done"'
        events = await emulator.history(execution)
        assert [event["type"] for event in events][2:5] == [
            "ActivityScheduled",
            "ActivityStarted",
            "ActivitySucceeded",
        ]
        assert events[3]["activityStartedEventDetails"] == {"workerName": "me"}

    run(scenario)


def test_each_task_goes_to_one_worker_in_order_and_a_poll_ends_after_a_minute() -> None:
    async def scenario(emulator: Emulator) -> None:
        await emulator.call("create_activity", name="work")
        machine = await emulator.create(task(ACTIVITY))
        for number in range(3):
            await emulator.run(machine, number + 1)
        polls = [asyncio.create_task(emulator.call("get_activity_task", activityArn=ACTIVITY)) for _ in range(4)]
        answers = await asyncio.gather(*polls[:3])
        assert [answer["input"] for answer in answers] == ["1", "2", "3"]
        assert not polls[3].done()
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        clock.advance(60)
        assert await polls[3] == {}

    run(scenario)


def test_an_activity_that_is_deleted() -> None:
    async def scenario(emulator: Emulator) -> None:
        await emulator.call("create_activity", name="work")
        poll = asyncio.create_task(emulator.call("get_activity_task", activityArn=ACTIVITY))
        await asyncio.sleep(0)
        await emulator.call("delete_activity", activityArn=ACTIVITY)
        assert (await refused(poll)).code == "ActivityDoesNotExist"
        execution = await emulator.run(await emulator.create(task(ACTIVITY)))
        answer = await emulator.ended(execution)
        assert answer["error"] == "States.Runtime"
        assert answer["cause"].endswith(f"The activity {ACTIVITY} does not exist.")

    run(scenario)


def test_an_express_execution_answers_its_caller_and_leaves_nothing() -> None:
    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.wait(2), type="EXPRESS")
        answer = asyncio.create_task(emulator.call("start_sync_execution", stateMachineArn=machine, input='{"a": 1}'))
        await asyncio.sleep(0)
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        clock.advance(2)
        result = await answer
        assert (result["status"], result["output"]) == ("SUCCEEDED", '{"a":1}')
        assert result["billingDetails"] == {"billedMemoryUsedInMB": 64, "billedDurationInMilliseconds": 2000}
        assert ":express:machine:" in result["executionArn"]
        started = await emulator.call("start_execution", stateMachineArn=machine)
        described = emulator.call("describe_execution", executionArn=started["executionArn"])
        assert (await refused(described)).code == "InvalidArn"
        listed = await refused(emulator.call("list_executions", stateMachineArn=machine))
        assert listed.code == "StateMachineTypeNotSupported"
        clock.advance(2)
        for table in ("executions", "history", "execution_states"):
            assert emulator.store.query(f"SELECT * FROM {table}") == [], table
        standard = await emulator.create(machines.PASS, "standard")
        refusal = await refused(emulator.call("start_sync_execution", stateMachineArn=standard))
        assert refusal.code == "StateMachineTypeNotSupported"

    run(scenario)


def test_an_express_execution_ends_after_five_minutes() -> None:
    async def scenario(emulator: Emulator) -> None:
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        for number, (fields, limit) in enumerate(
            [({}, 300), ({"TimeoutSeconds": 900}, 300), ({"TimeoutSeconds": 9}, 9)]
        ):
            machine = await emulator.create({**machines.wait(1000), **fields}, f"slow-{number}", type="EXPRESS")
            answer = asyncio.create_task(emulator.call("start_sync_execution", stateMachineArn=machine))
            await asyncio.sleep(0)
            clock.advance(1000)
            result = await answer
            assert (result["status"], result["stopDate"] - result["startDate"]) == ("TIMED_OUT", limit)

    run(scenario)


def parent(child: str, pattern: str) -> dict[str, Any]:
    resource = f"arn:aws:states:::states:startExecution{pattern}"
    parameters = {"StateMachineArn": child, "Name": "child", "Input.$": "$"}
    return task(resource, Parameters=parameters)


def test_a_parent_waits_for_its_child() -> None:
    async def scenario(emulator: Emulator) -> None:
        child = await emulator.create(machines.wait(60), "child")
        execution = await emulator.run(await emulator.create(parent(child, ".sync:2")), {"a": 1})

        async def submitted() -> bool | None:
            return True if "TaskSubmitted" in await emulator.types(execution) else None

        await eventually(submitted)
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        clock.advance(60)
        output = json.loads((await emulator.ended(execution))["output"])
        assert (output["Status"], output["Input"], output["Output"]) == ("SUCCEEDED", {"a": 1}, {"a": 1})

        other = await emulator.run(await emulator.create(parent(child, ".sync"), "second"), {"a": 1})
        answer = await emulator.ended(other)
        assert answer["error"] == "StepFunctions.ExecutionAlreadyExistsException"

    run(scenario)


@pytest.mark.parametrize("pattern", [".sync", ".sync:2"])
def test_a_parent_cannot_wait_for_an_express_child(pattern: str) -> None:
    async def scenario(emulator: Emulator) -> None:
        child = await emulator.create(machines.PASS, "child", type="EXPRESS")
        execution = await emulator.run(await emulator.create(parent(child, pattern)), {})
        answer = await emulator.ended(execution)
        assert answer["error"] == "StepFunctions.StateMachineTypeNotSupportedException"

    run(scenario)


def test_a_child_that_ends_at_once_and_one_that_fails() -> None:
    async def scenario(emulator: Emulator) -> None:
        child = await emulator.create(machines.PASS, "child")
        execution = await emulator.run(await emulator.create(parent(child, ".sync")))
        output = json.loads((await emulator.ended(execution))["output"])
        assert output["Output"] == '{"done":true}'
        assert (await emulator.types(execution))[3:6] == ["TaskStarted", "TaskSubmitted", "TaskSucceeded"]
        failing = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E", "Cause": "C"}}}
        bad = await emulator.create(failing, "bad")
        execution = await emulator.run(await emulator.create(parent(bad, ".sync"), "second"))
        answer = await emulator.ended(execution)
        assert answer["error"] == "States.TaskFailed"
        assert json.loads(answer["cause"])["Error"] == "E"

    run(scenario)


def test_stopping_a_parent_stops_its_child() -> None:
    async def scenario(emulator: Emulator) -> None:
        child = await emulator.create(machines.wait(60), "child")
        execution = await emulator.run(await emulator.create(parent(child, ".sync")))
        child_execution = "arn:aws:states:us-east-1:123456789012:execution:child:child"

        async def started() -> bool | None:
            return True if (await emulator.call("list_executions", stateMachineArn=child))["executions"] else None

        await eventually(started)
        await emulator.call("stop_execution", executionArn=execution)
        assert await emulator.status(child_execution) == "ABORTED"

    run(scenario)


def test_versions_and_an_alias_that_leads_to_them() -> None:
    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.PASS, publish=True)
        await emulator.call(
            "update_state_machine", stateMachineArn=machine, definition=json.dumps(machines.wait(1)), publish=True
        )
        routing = [{"stateMachineVersionArn": f"{machine}:1", "weight": 100}]
        alias = (await emulator.call("create_state_machine_alias", name="live", routingConfiguration=routing))[
            "stateMachineAliasArn"
        ]
        execution = await emulator.run(alias)
        answer = await emulator.ended(execution)
        assert (answer["stateMachineVersionArn"], answer["stateMachineAliasArn"]) == (f"{machine}:1", alias)
        assert answer["output"] == '{"done":true}'
        delete = emulator.call("delete_state_machine_version", stateMachineVersionArn=f"{machine}:1")
        assert (await refused(delete)).code == "ConflictException"
        listed = await emulator.call("list_executions", stateMachineArn=alias)
        assert [entry["executionArn"] for entry in listed["executions"]] == [execution]
        assert (await refused(emulator.run(f"{machine}:7"))).code == "StateMachineDoesNotExist"

    run(scenario)


def test_a_map_run_of_a_file_with_limited_concurrency_writes_its_results() -> None:
    bucket = Bucket({"items.json": json.dumps([{"n": n} for n in range(7)]).encode()})

    async def scenario(emulator: Emulator) -> None:
        running = most = 0

        async def each(event: Any) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return event["n"] * 2

        emulator.functions.by_name["each"] = each
        definition = distributed(
            MaxConcurrency=2,
            ItemReader={
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket": "b", "Key": "items.json"},
            },
            ResultWriter={
                "Resource": "arn:aws:states:::s3:putObject",
                "Parameters": {"Bucket": "b", "Prefix": "out"},
            },
        )
        execution = await emulator.run(await emulator.create(definition))
        output = json.loads((await emulator.ended(execution))["output"])
        assert most == 2
        manifest = json.loads(bucket.objects[output["ResultWriterDetails"]["Key"]])
        results = json.loads(bucket.objects[manifest["ResultFiles"]["SUCCEEDED"][0]["Key"]])
        assert [result["Output"] for result in results] == ["0", "2", "4", "6", "8", "10", "12"]
        described = await emulator.call("describe_map_run", mapRunArn=output["MapRunArn"])
        assert described["status"] == "SUCCEEDED"
        assert described["itemCounts"]["succeeded"] == described["itemCounts"]["resultsWritten"] == 7
        runs = await emulator.call("list_map_runs", executionArn=execution)
        assert [run["mapRunArn"] for run in runs["mapRuns"]] == [output["MapRunArn"]]
        children = await emulator.call("list_executions", mapRunArn=output["MapRunArn"])
        assert [child["itemCount"] for child in children["executions"]] == [1] * 7
        refusal = await refused(emulator.call("list_executions", mapRunArn=output["MapRunArn"] + "x"))
        assert refusal.code == "ResourceNotFound"

    run(scenario, bucket)


@pytest.mark.parametrize(
    ("transformation", "output_type", "ending", "expected"),
    [
        ("COMPACT", "JSON", "json", "[[0],[2]]"),
        ("FLATTEN", "JSON", "json", "[0,2]"),
        ("FLATTEN", "JSONL", "jsonl", "0\n2\n"),
    ],
)
def test_results_are_written_as_the_writer_config_says(
    transformation: str, output_type: str, ending: str, expected: str
) -> None:
    bucket = Bucket()

    async def scenario(emulator: Emulator) -> None:
        emulator.functions.by_name["each"] = _odd_ones_fail
        config = {"Transformation": transformation, "OutputType": output_type}
        to_bucket = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b"}}
        definition = distributed(ToleratedFailureCount=1, ResultWriter={**to_bucket, "WriterConfig": config})
        answer = await emulator.ended(await emulator.run(await emulator.create(definition, "written"), [0, 1, 2]))
        details = json.loads(answer["output"])["ResultWriterDetails"]
        files = json.loads(bucket.objects[details["Key"]])["ResultFiles"]
        assert files["SUCCEEDED"][0]["Key"].endswith(f"/SUCCEEDED_0.{ending}")
        assert bucket.objects[files["SUCCEEDED"][0]["Key"]].decode() == expected
        failed = bucket.objects[files["FAILED"][0]["Key"]].decode()
        entry = json.loads(failed) if output_type == "JSONL" else json.loads(failed)[0]
        assert (entry["Status"], entry["Error"], entry["Input"]) == ("FAILED", "ValueError", "1")
        assert entry["RedriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
        assert entry["ExecutionArn"].endswith(f":{entry['Name']}")
        assert entry["StartDate"] <= entry["StopDate"]

        shown = distributed(ToleratedFailureCount=1, ResultWriter={"WriterConfig": config})
        answer = await emulator.ended(await emulator.run(await emulator.create(shown, "shown"), [0, 2]))
        output = json.loads(answer["output"])
        assert output == (expected if output_type == "JSONL" else json.loads(expected))

    run(scenario, bucket)


async def _odd_ones_fail(event: Any) -> Any:
    if event % 2:
        raise FunctionError(str(event))
    return [event]


def test_children_that_failed_are_told_of_as_they_are_in_the_output() -> None:
    async def scenario(emulator: Emulator) -> None:
        emulator.functions.by_name["each"] = _odd_ones_fail
        machine = await emulator.create(distributed(ToleratedFailureCount=1))
        output = json.loads((await emulator.ended(await emulator.run(machine, [0, 1, 2])))["output"])
        assert output[::2] == [[0], [2]]
        assert (output[1]["Status"], output[1]["Error"]) == ("FAILED", "ValueError")

    run(scenario)


@pytest.mark.parametrize(
    "reader",
    [
        {
            "Resource": "arn:aws:states:::s3:listObjectsV2",
            "ReaderConfig": {"InputType": "JSONL", "Transformation": "LOAD_AND_FLATTEN", "MaxItems": 3},
            "Parameters": {"Bucket": "b", "Prefix": "part"},
        },
        {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSONL", "ManifestType": "ATHENA_DATA", "MaxItems": 3},
            "Parameters": {"Bucket": "b", "Key": "manifest.csv"},
        },
    ],
)
def test_the_items_of_many_objects(reader: dict[str, Any]) -> None:
    bucket = Bucket(
        {"part1": b"1\n2\n", "part2": b"3\n4\n", "manifest.csv": b"s3://b/part1\ns3://b/part2\n", "part0/": b""}
    )

    async def scenario(emulator: Emulator) -> None:
        async def each(event: Any) -> Any:
            return event

        emulator.functions.by_name["each"] = each
        machine = await emulator.create(distributed(ItemReader=reader))
        assert (await emulator.ended(await emulator.run(machine)))["output"] == "[1,2,3]"

    run(scenario, bucket)


def test_a_map_run_fails_when_more_fail_than_it_tolerates() -> None:
    async def scenario(emulator: Emulator) -> None:
        async def each(event: Any) -> Any:
            if event % 2:
                raise FunctionError(str(event))
            return event

        emulator.functions.by_name["each"] = each
        tolerant = await emulator.create(distributed(ToleratedFailureCount=2), "tolerant")
        strict = await emulator.create(distributed(ToleratedFailureCount=1), "strict")
        answer = await emulator.ended(await emulator.run(tolerant, [0, 1, 2, 3]))
        assert answer["status"] == "SUCCEEDED"
        answer = await emulator.ended(await emulator.run(strict, [0, 1, 2, 3]))
        assert answer["error"] == "States.ExceedToleratedFailureThreshold"
        missing = distributed(
            ItemReader={
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket": "b", "Key": "none"},
            }
        )
        answer = await emulator.ended(await emulator.run(await emulator.create(missing, "missing")))
        assert answer["error"] == "States.ItemReaderFailed"

    run(scenario)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_map_run_that_fails_or_is_stopped_writes_what_there_is_of_results(stopped: bool) -> None:
    bucket = Bucket()

    async def scenario(emulator: Emulator) -> None:
        second = asyncio.Event()

        async def each(event: Any) -> Any:
            if event == 1:
                second.set()
                if stopped:
                    await asyncio.sleep(600)
                raise FunctionError("1")
            return event

        emulator.functions.by_name["each"] = each
        writer = {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": "b", "Prefix": "out/"},
            "WriterConfig": {"Transformation": "COMPACT", "OutputType": "JSON"},
        }
        machine = await emulator.create(distributed(MaxConcurrency=1, ResultWriter=writer))
        execution = await emulator.run(machine, [0, 1, 2, 3])
        await second.wait()
        if stopped:
            await emulator.call("stop_execution", executionArn=execution)
        answer = await emulator.ended(execution)
        assert answer.get("error") == (None if stopped else "States.ExceedToleratedFailureThreshold")
        (listed,) = (await emulator.call("list_map_runs", executionArn=execution))["mapRuns"]
        run_arn = listed["mapRunArn"]
        folder = f"out/{run_arn.rsplit(':', 1)[1]}"

        async def manifest() -> bytes | None:
            return bucket.objects.get(f"{folder}/manifest.json")

        files = json.loads(await eventually(manifest))["ResultFiles"]
        assert {status: [file["Key"] for file in listed] for status, listed in files.items()} == {
            status: [f"{folder}/{status}_0.json"] for status in ("FAILED", "PENDING", "SUCCEEDED")
        }
        written = {status: json.loads(bucket.objects[f"{folder}/{status}_0.json"]) for status in files}
        assert written["SUCCEEDED"] == [0]
        (failed,) = written["FAILED"]
        assert (failed["Status"], failed["Input"]) == ("ABORTED" if stopped else "FAILED", "1")
        assert written["PENDING"] == [
            {"Input": text, "InputDetails": {"Included": True}, "Status": "PENDING"} for text in ("2", "3")
        ]
        described = await emulator.call("describe_map_run", mapRunArn=run_arn)
        assert described["status"] == ("ABORTED" if stopped else "FAILED")
        counts = described["executionCounts"]
        assert (counts["pending"], counts["resultsWritten"]) == (2, 4)

    run(scenario, bucket)


def test_the_objects_of_a_bucket_are_items() -> None:
    bucket = Bucket({"part1": b"1\n"})
    reader = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": "b", "Prefix": "part"}}

    async def scenario(emulator: Emulator) -> None:
        async def each(event: Any) -> Any:
            return event

        emulator.functions.by_name["each"] = each
        selector = {"value.$": "$$.Map.Item.Value", "source.$": "$$.Map.Item.Source"}
        machine = await emulator.create(distributed(ItemReader=reader, ItemSelector=selector))
        (item,) = json.loads((await emulator.ended(await emulator.run(machine)))["output"])
        assert item["source"] == "S3://b"
        assert item["value"] == {
            "Etag": '"e"', "Key": "part1", "LastModified": 5, "Size": 2, "StorageClass": "STANDARD",
        }  # fmt: skip

    run(scenario, bucket)


def test_a_message_to_a_queue() -> None:
    bucket = Bucket()

    async def scenario(emulator: Emulator) -> None:
        parameters = {"QueueUrl": "http://q", "MessageBody": {"a.$": "$.a"}}
        machine = await emulator.create(task("arn:aws:states:::sqs:sendMessage", Parameters=parameters))
        output = json.loads((await emulator.ended(await emulator.run(machine, {"a": 1})))["output"])
        assert bucket.calls == [("sqs", "SendMessage", {"QueueUrl": "http://q", "MessageBody": '{"a":1}'})]
        assert (output["MessageId"], output["SdkHttpMetadata"]["HttpStatusCode"]) == ("1", 200)

    run(scenario, bucket)


def test_an_execution_is_logged_as_far_as_the_level_says() -> None:
    bucket = Bucket()
    group = {"logGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/vendedlogs/states/a:*"}
    failing = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E"}}}

    async def scenario(emulator: Emulator) -> None:
        for level in ("ALL", "ERROR", "FATAL", "OFF"):
            configuration = {"level": level, "destinations": [{"cloudWatchLogsLogGroup": group}]}
            await emulator.ended(
                await emulator.run(await emulator.create(failing, level, loggingConfiguration=configuration))
            )

    run(scenario, bucket)
    logged: dict[str, list[str]] = {}
    for _, operation, members in bucket.calls:
        if operation == "PutLogEvents":
            assert members["logGroupName"] == "/aws/vendedlogs/states/a"
            entries = [json.loads(event["message"]) for event in members["logEvents"]]
            assert not any("input" in entry["details"] for entry in entries)
            logged.setdefault(members["logStreamName"].split("/")[1], []).extend(entry["type"] for entry in entries)
    assert logged == {
        "ALL": ["ExecutionStarted", "FailStateEntered", "ExecutionFailed"],
        "ERROR": ["FailStateEntered", "ExecutionFailed"],
        "FATAL": ["ExecutionFailed"],
    }


async def events_sent(bucket: Bucket, count: int) -> list[dict[str, Any]]:
    """The entries of PutEvents, once there are as many."""

    async def sent() -> list[dict[str, Any]] | None:
        puts = [members for _, operation, members in bucket.calls if operation == "PutEvents"]
        entries = [entry for members in puts for entry in members["Entries"]]
        return entries if len(entries) >= count else None

    return await eventually(sent)


def test_status_changes_are_sent_to_event_bridge() -> None:
    bucket = Bucket()

    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create(machines.PASS)
        await emulator.ended(await emulator.run(machine, {"a": 1}))
        bucket.event_rules = True
        execution = await emulator.run(machine, {"a": 1})
        await emulator.ended(execution)
        express = await emulator.create(machines.PASS, "express", type="EXPRESS")
        await emulator.call("start_sync_execution", stateMachineArn=express)

        began, ended = await events_sent(bucket, 2)
        assert [began["Source"], began["DetailType"]] == ["aws.states", "Step Functions Execution Status Change"]
        assert began["Resources"] == ended["Resources"] == [execution]
        detail = json.loads(began["Detail"])
        assert [detail["status"], detail["input"], detail["output"]] == ["RUNNING", '{"a": 1}', None]
        assert [detail["stopDate"], detail["outputDetails"], detail["error"]] == [None, None, None]
        detail = json.loads(ended["Detail"])
        assert [detail["status"], detail["output"]] == ["SUCCEEDED", '{"done":true}']
        assert detail["inputDetails"] == detail["outputDetails"] == {"included": True}
        assert isinstance(detail["startDate"], int)

    run(scenario, bucket)


def test_data_too_large_for_an_event_is_left_out() -> None:
    bucket = Bucket(event_rules=True)

    async def scenario(emulator: Emulator) -> None:
        machine = await emulator.create({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
        await emulator.ended(await emulator.run(machine, "x" * 150_000))
        await emulator.ended(await emulator.run(machine, "x" * 254_000))

        details = [json.loads(entry["Detail"]) for entry in await events_sent(bucket, 4)]
        assert [(detail["inputDetails"], detail["outputDetails"]) for detail in details] == [
            ({"included": True}, None),
            ({"included": False}, {"included": True}),
            ({"included": False}, None),
            ({"included": False}, {"included": False}),
        ]
        assert details[3]["input"] is details[3]["output"] is None

    run(scenario, bucket)
