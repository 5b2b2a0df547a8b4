"""Each action against the service that it acts on (moto's, in-process), with real roles in IAM."""

import asyncio
import base64
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stepbridge.api.calls import AwsCalls
from stepbridge.api.dispatch import Dispatcher
from stepbridge.api.errors import AwsError
from stepbridge.api.moto_backend import MotoBackend
from stepbridge.api.service import Caller
from stepbridge.clock import SystemClock
from stepbridge.iot.message import Message
from stepbridge.iot.registry.core import RegistryCore
from stepbridge.iot.rules.actions import RuleServices
from stepbridge.iot.rules.engine import RulesEngine
from stepbridge.iot.rules.service import TopicRuleService
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/rules"
Call = Callable[..., Awaitable[dict[str, Any]]]


class _Nobody:
    """Stands where functions and the broker are; no test here reaches them."""

    async def invoke_as_service(self, function_arn: str, payload: bytes, **_: Any) -> None:
        raise AssertionError(function_arn)

    async def publish(self, message: Message) -> None:
        raise AssertionError(message)


class World:
    """A rules engine before moto."""

    def __init__(self, moto: MotoBackend) -> None:
        settings = Settings(Path("/nowhere"))
        store, clock = Store(None), SystemClock()
        trace = Trace(clock)
        calls = AwsCalls(settings, Dispatcher(), moto, lambda: "http://127.0.0.1:4566")
        RegistryCore(settings, store, clock, trace)
        self.call: Call = calls.call
        self.trace = trace
        self.engine = RulesEngine(
            settings, store, clock, trace, RuleServices(_Nobody(), _Nobody(), calls, lambda: "http://127.0.0.1:4566")
        )
        self.service = TopicRuleService(settings, store, self.engine)
        self.caller = Caller(ACCOUNT, "us-east-1")

    async def create(self, sql: str, action: dict[str, Any]) -> None:
        payload = {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": [action]}
        await self.service.create_topic_rule(self.caller, {"ruleName": "r", "topicRulePayload": payload})

    async def publish(self, payload: Any) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.engine.accept(Message("a/b", data, 0, False, 0.0))
        await self.engine.idle()

    def failures(self) -> list[str]:
        return [hop.text for hop in self.trace.recent if hop.event in ("action-failed", "sql-failed")]


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoBackend]:
    backend = MotoBackend(ACCOUNT)
    yield backend
    backend.close()


async def _role(call: Call, *statements: dict[str, Any]) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    try:
        await call("iam", "CreateRole", RoleName="rules", AssumeRolePolicyDocument=document)
    except AwsError as error:
        assert error.code == "EntityAlreadyExists"  # noqa: PT017 - of the test before
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    await call("iam", "PutRolePolicy", RoleName="rules", PolicyName="p", PolicyDocument=policy)


ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def run(moto: MotoBackend, test: Callable[[World], Awaitable[None]], *statements: dict[str, Any]) -> World:
    async def within() -> World:
        world = World(moto)
        await _role(world.call, *(statements or (ALL,)))
        await test(world)
        await world.engine.stop()
        return world

    return asyncio.run(within())


def test_sqs_with_the_least_privilege(moto: MotoBackend) -> None:
    async def test(world: World) -> None:
        url = (await world.call("sqs", "CreateQueue", QueueName="q"))["QueueUrl"]
        await world.create("SELECT n FROM 'a/+'", {"sqs": {"roleArn": ROLE, "queueUrl": url, "useBase64": True}})
        await world.publish({"n": 1.5, "x": 1})
        [message] = (await world.call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"]
        assert base64.b64decode(message["Body"]) == b'{"n":1.5}'

    resource = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"
    world = run(moto, test, {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": resource})
    assert world.failures() == []


def test_a_managed_policy_counts_and_a_deny_wins(moto: MotoBackend) -> None:
    async def test(world: World) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": [ALL]})
        policy = await world.call("iam", "CreatePolicy", PolicyName="all", PolicyDocument=document)
        arn = policy["Policy"]["Arn"]
        await world.call("iam", "AttachRolePolicy", RoleName="rules", PolicyArn=arn)
        url = (await world.call("sqs", "CreateQueue", QueueName="denied"))["QueueUrl"]
        await world.create("SELECT * FROM 'a/+'", {"sqs": {"roleArn": ROLE, "queueUrl": url}})
        await world.publish({})
        await world.call("iam", "DetachRolePolicy", RoleName="rules", PolicyArn=arn)

    world = run(moto, test, {"Effect": "Deny", "Action": "sqs:*", "Resource": "*"})
    [failure] = world.failures()
    assert "sqs:SendMessage" in failure
    assert "with an explicit deny in an identity-based policy" in failure


def test_sns_and_kinesis_and_firehose(moto: MotoBackend) -> None:
    async def test(world: World) -> None:
        call = world.call
        url = (await call("sqs", "CreateQueue", QueueName="subscriber"))["QueueUrl"]
        topic = (await call("sns", "CreateTopic", Name="t"))["TopicArn"]
        queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:subscriber"
        attributes = {"RawMessageDelivery": "true"}
        await call("sns", "Subscribe", TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes=attributes)
        await world.create("SELECT n FROM 'a/+'", {"sns": {"roleArn": ROLE, "targetArn": topic}})
        await world.publish({"n": 1})
        [message] = (await call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"]
        assert message["Body"] == '{"n":1}'

        await call("kinesis", "CreateStream", StreamName="s", ShardCount=1)
        action = {"kinesis": {"roleArn": ROLE, "streamName": "s", "partitionKey": "${topic(2)}"}}
        await world.service.delete_topic_rule(world.caller, {"ruleName": "r"})
        await world.create("SELECT * FROM 'a/+'", action)
        await world.publish(b"\x00\xff")
        shard = (await call("kinesis", "ListShards", StreamName="s"))["Shards"][0]["ShardId"]
        iterator = await call(
            "kinesis", "GetShardIterator", StreamName="s", ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )
        [record] = (await call("kinesis", "GetRecords", ShardIterator=iterator["ShardIterator"]))["Records"]
        assert (record["Data"], record["PartitionKey"]) == (b"\x00\xff", "b")

        await call("s3", "CreateBucket", Bucket="lake")
        destination = {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::lake"}
        await call("firehose", "CreateDeliveryStream", DeliveryStreamName="f", S3DestinationConfiguration=destination)
        await world.service.delete_topic_rule(world.caller, {"ruleName": "r"})
        firehose = {"roleArn": ROLE, "deliveryStreamName": "f", "batchMode": True, "separator": "\n"}
        await world.create("SELECT VALUE l FROM 'a/+'", {"firehose": firehose})
        await world.publish({"l": [{"n": 1}, 2]})
        contents = (await call("s3", "ListObjectsV2", Bucket="lake"))["Contents"]
        bodies = [(await call("s3", "GetObject", Bucket="lake", Key=one["Key"]))["Body"] for one in contents]
        assert b"".join(bodies) == b'{"n":1}\n2\n'
        await world.publish({"l": 1})

    world = run(moto, test)
    [failure] = world.failures()
    assert "batchMode needs a statement whose output is an array" in failure


def test_s3_and_what_it_answers_when_there_is_no_bucket(moto: MotoBackend) -> None:
    async def test(world: World) -> None:
        await world.call("s3", "CreateBucket", Bucket="photos")
        action = {"roleArn": ROLE, "bucketName": "photos", "key": "${topic(2)}/${n}", "cannedAcl": "private"}
        await world.create("SELECT * FROM 'a/+'", {"s3": action})
        await world.publish({"n": 1})
        assert (await world.call("s3", "GetObject", Bucket="photos", Key="b/1"))["Body"] == b'{"n":1}'
        await world.call("s3", "DeleteObject", Bucket="photos", Key="b/1")
        await world.call("s3", "DeleteBucket", Bucket="photos")
        await world.publish({"n": 1})

    [failure] = run(moto, test).failures()
    assert failure.startswith("r: Failed to put S3 object. The error received was The specified bucket does not exist")
    assert "(Service: Amazon S3; Status Code: 404; Error Code: NoSuchBucket; Request ID: " in failure
    assert failure.endswith('Message arrived on: a/b, Action: s3, Bucket: photos, Key: "${topic(2)}/${n}"')


def test_dynamodb(moto: MotoBackend) -> None:
    async def test(world: World) -> None:
        call = world.call
        for name in ("one", "many"):
            await call(
                "dynamodb",
                "CreateTable",
                TableName=name,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
                AttributeDefinitions=[
                    {"AttributeName": "id", "AttributeType": "S"},
                    {"AttributeName": "at", "AttributeType": "N"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        key = {"id": {"S": "b"}, "at": {"N": "7"}}
        action = {"roleArn": ROLE, "tableName": "one", "hashKeyField": "id", "hashKeyValue": "${topic(2)}"}
        action |= {"rangeKeyField": "at", "rangeKeyValue": "${at}", "rangeKeyType": "NUMBER", "operation": "${op}"}
        await world.create("SELECT n, l FROM 'a/+'", {"dynamoDB": action})
        await world.publish({"at": 7, "op": "INSERT", "n": 1.5, "l": [True, None, "x"]})
        payload = {"M": {"n": {"N": "1.5"}, "l": {"L": [{"BOOL": True}, {"NULL": True}, {"S": "x"}]}}}
        assert (await call("dynamodb", "GetItem", TableName="one", Key=key))["Item"] == {**key, "payload": payload}
        await world.publish({"at": 7, "op": "UPDATE", "n": 2})
        item = (await call("dynamodb", "GetItem", TableName="one", Key=key))["Item"]
        assert item == {**key, "payload": {"M": {"n": {"N": "2"}}}}
        await world.publish({"at": 7, "op": "DELETE"})
        assert "Item" not in await call("dynamodb", "GetItem", TableName="one", Key=key)
        await world.publish({"at": 7, "op": "MERGE"})

        await world.service.delete_topic_rule(world.caller, {"ruleName": "r"})
        v2 = {"dynamoDBv2": {"roleArn": ROLE, "putItem": {"tableName": "many"}}}
        await world.create("SELECT *, topic(2) AS id FROM 'a/+'", v2)
        await world.publish({"at": 7, "n": {"deep": 1}})
        item = (await call("dynamodb", "GetItem", TableName="many", Key=key))["Item"]
        assert item == {**key, "n": {"M": {"deep": {"N": "1"}}}}
        await world.publish({"n": 1})  # without the range key

    merge, missing = run(moto, test).failures()
    assert "the operation is 'MERGE', and not one of INSERT, UPDATE, DELETE" in merge
    assert "ValidationException" in missing


def test_cloudwatch(moto: MotoBackend) -> None:
    async def test(world: World) -> None:
        call = world.call

        async def act(action: dict[str, Any], payload: Any, sql: str = "SELECT * FROM 'a/+'") -> None:
            await world.service.delete_topic_rule(world.caller, {"ruleName": "r"})
            await world.create(sql, action)
            await world.publish(payload)

        metric = {"metricName": "temp", "metricNamespace": "ns", "metricUnit": "None", "metricValue": "${temp}"}
        await act(
            {"cloudwatchMetric": {"roleArn": ROLE, "metricTimestamp": "${at}", **metric}}, {"temp": 21.5, "at": 1e9}
        )
        [found] = (await call("cloudwatch", "ListMetrics", Namespace="ns"))["Metrics"]
        assert found["MetricName"] == "temp"
        await act({"cloudwatchMetric": {"roleArn": ROLE, **metric}}, {"temp": "hot"})

        await call(
            "cloudwatch",
            "PutMetricAlarm",
            AlarmName="alarm",
            EvaluationPeriods=1,
            ComparisonOperator="GreaterThanThreshold",
            MetricName="temp",
            Namespace="ns",
            Period=60,
            Statistic="Average",
            Threshold=1.0,
        )
        alarm = {"roleArn": ROLE, "alarmName": "alarm", "stateReason": "it is ${temp}", "stateValue": "ALARM"}
        await act({"cloudwatchAlarm": alarm}, {"temp": 99})
        [state] = (await call("cloudwatch", "DescribeAlarms", AlarmNames=["alarm"]))["MetricAlarms"]
        assert (state["StateValue"], state["StateReason"]) == ("ALARM", "it is 99")

        await call("logs", "CreateLogGroup", logGroupName="g")
        logs = {"roleArn": ROLE, "logGroupName": "g"}
        await act({"cloudwatchLogs": logs}, {"n": 1})
        now = 1000 * int(SystemClock().now())
        items = [{"timestamp": now + 1, "message": "two"}, {"timestamp": now, "message": "one"}]
        await act({"cloudwatchLogs": {**logs, "batchMode": True}}, {"l": items}, "SELECT VALUE l FROM 'a/+'")
        events = (await call("logs", "GetLogEvents", logGroupName="g", logStreamName="r", startFromHead=True))["events"]
        assert {event["message"] for event in events} == {'{"n":1}', "one", "two"}

    [failure] = run(moto, test).failures()
    assert "metricValue is 'hot', and not a number" in failure


def test_timestream(moto: MotoBackend) -> None:
    async def test(world: World) -> None:
        call = world.call
        await call("timestream-write", "CreateDatabase", DatabaseName="d")
        await call("timestream-write", "CreateTable", DatabaseName="d", TableName="t")
        action: dict[str, Any] = {"roleArn": ROLE, "databaseName": "d", "tableName": "t"}
        action |= {"dimensions": [{"name": "device", "value": "${topic(2)}"}]}
        await world.create("SELECT * FROM 'a/+'", {"timestream": action})
        await world.publish({"temp": 21.5, "n": 1, "on": True, "s": "x"})

    world = run(moto, test)
    assert world.failures() == []


class _Endpoint(BaseHTTPRequestHandler):
    received: list[tuple[dict[str, str], bytes]]
    statuses: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((dict(self.headers), body))
        self.send_response(self.statuses.pop(0) if self.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[tuple[str, type[_Endpoint]]]:
    handler = type("Endpoint", (_Endpoint,), {"received": [], "statuses": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_http_needs_a_confirmed_destination(moto: MotoBackend, endpoint: tuple[str, type[_Endpoint]]) -> None:
    url, handler = endpoint

    async def test(world: World) -> None:
        sent = asyncio.Event()
        world.trace.listen(lambda hop: sent.set() if hop.event == "destination-confirmation" else None)
        action: dict[str, Any] = {"url": url + "/in/${topic(2)}", "confirmationUrl": url + "/in"}
        action["headers"] = [{"key": "x-n", "value": "${n}"}]
        await world.create("SELECT * FROM 'a/+'", {"http": action})
        await sent.wait()
        [(headers, body)] = handler.received
        assert headers["x-amz-rules-engine-message-type"] == "DestinationConfirmation"
        request = json.loads(body)
        [destination] = (await world.service.list_topic_rule_destinations(world.caller, {}))["destinationSummaries"]
        assert (destination["arn"], destination["status"]) == (request["arn"], "IN_PROGRESS")
        assert destination["httpUrlSummary"] == {"confirmationUrl": url + "/in"}
        await world.publish({"n": 1})  # not confirmed yet
        token = {"confirmationToken": request["confirmationToken"]}
        await world.service.confirm_topic_rule_destination(world.caller, token)
        await world.publish({"n": 2})
        handler.statuses[:] = [503, 429]
        await world.publish(b"\xff")
        handler.statuses[:] = [400]
        await world.publish({"n": 3})
        arn = {"arn": request["arn"]}
        await world.service.update_topic_rule_destination(world.caller, {**arn, "status": "DISABLED"})
        described = await world.service.get_topic_rule_destination(world.caller, arn)
        assert described["topicRuleDestination"]["status"] == "DISABLED"
        await world.publish({"n": 4})
        await world.service.delete_topic_rule_destination(world.caller, arn)
        with pytest.raises(AwsError, match="was denied"):
            await world.service.get_topic_rule_destination(world.caller, arn)

    failures = run(moto, test).failures()
    messages = [(headers["Content-Type"], headers.get("x-n"), body) for headers, body in handler.received[1:]]
    assert messages == [
        ("application/json", "2", b'{"n":2}'),
        *[("application/octet-stream", "", b"\xff")] * 3,
        ("application/json", "3", b'{"n":3}'),
    ]
    assert len(failures) == 3
    assert f"there is no enabled topic rule destination for {url}/in/b" in failures[0]
    assert f"{url}/in/b answered with the status 400" in failures[1]


def test_the_engines_logs_are_in_cloudwatch(moto: MotoBackend) -> None:
    async def test(world: World) -> None:
        url = (await world.call("sqs", "CreateQueue", QueueName="logged"))["QueueUrl"]
        await world.service.set_v2_logging_options(world.caller, {"roleArn": ROLE, "defaultLogLevel": "INFO"})
        await world.create("SELECT * FROM 'a/+'", {"sqs": {"roleArn": ROLE, "queueUrl": url}})
        await world.publish({})
        events = (await world.call("logs", "FilterLogEvents", logGroupName="AWSIotLogsV2"))["events"]
        assert [json.loads(event["message"])["eventType"] for event in events] == [
            "RuleMatch",
            "StartingRuleExecution",
            "RuleExecution",
        ]

    assert run(moto, test).failures() == []


def test_decoding_protobuf_by_a_descriptor_in_s3(moto: MotoBackend) -> None:
    # message Reading { string id = 1; } in reading.proto, as protoc describes it
    field = b"\x0a\x02id\x18\x01\x20\x01\x28\x09"
    message = b"\x0a\x07Reading\x12" + bytes([len(field)]) + field
    file = b"\x0a\x0dreading.proto\x22" + bytes([len(message)]) + message
    descriptors = b"\x0a" + bytes([len(file)]) + file

    async def test(world: World) -> None:
        call = world.call
        url = (await call("sqs", "CreateQueue", QueueName="decoded"))["QueueUrl"]
        await call("s3", "CreateBucket", Bucket="descriptors")
        await call("s3", "PutObject", Bucket="descriptors", Key="d", Body=descriptors)
        sql = "SELECT VALUE decode(*, 'proto', 'descriptors', 'd', 'reading.proto', 'Reading') FROM 'a/+'"
        await world.create(sql, {"sqs": {"roleArn": ROLE, "queueUrl": url}})
        await world.publish(b"\x0a\x01x")  # no bucket policy yet
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "iot.amazonaws.com"},
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::descriptors/*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        await call("s3", "PutBucketPolicy", Bucket="descriptors", Policy=policy)
        await world.publish(b"\x0a\x01x")
        [received] = (await call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"]
        assert received["Body"] == '{"id":"x"}'

    [failure] = run(moto, test).failures()
    assert "no bucket policy of descriptors allows iot.amazonaws.com s3:GetObject on d" in failure
