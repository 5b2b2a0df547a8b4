"""Each action against the service that it acts on (moto's, in-process), with real roles in IAM."""

import base64
import json
from typing import Any

from tests.integration.rules.conftest import ACCOUNT, ALL, ROLE, World, run

from stepbridge.api.moto_backend import MotoBackend
from stepbridge.clock import SystemClock


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
        await world.publish({"l": list(range(501))})

    world = run(moto, test)
    of_one, of_many = world.failures()
    assert "batchMode needs a statement whose output is an array" in of_one
    assert "batchMode takes an array of at most 500 records, not 501" in of_many


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
        await world.publish({"at": "noon", "op": "UPDATE"})

        await world.service.delete_topic_rule(world.caller, {"ruleName": "r"})
        v2 = {"dynamoDBv2": {"roleArn": ROLE, "putItem": {"tableName": "many"}}}
        await world.create("SELECT *, topic(2) AS id FROM 'a/+'", v2)
        await world.publish({"at": 7, "n": {"deep": 1}})
        item = (await call("dynamodb", "GetItem", TableName="many", Key=key))["Item"]
        assert item == {**key, "n": {"M": {"deep": {"N": "1"}}}}
        await world.publish({"n": 1})  # without the range key

    merge, noon, missing = run(moto, test).failures()
    assert (
        "The parameter cannot be converted to a numeric value: noon (Service: AmazonDynamoDBv2; Status Code: 400"
        in noon
    )
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


def test_the_engines_logs_are_in_cloudwatch(moto: MotoBackend) -> None:
    async def test(world: World) -> None:
        url = (await world.call("sqs", "CreateQueue", QueueName="logged"))["QueueUrl"]
        await world.service.set_v2_logging_options(world.caller, {"roleArn": ROLE, "defaultLogLevel": "DEBUG"})
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
