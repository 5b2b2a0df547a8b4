"""Which permissions calls take: the actions and resources of AWS's service authorization reference."""

import asyncio
from typing import Any

import pytest

from stepbridge.api.foreign import named_operation
from stepbridge.api.http import HttpRequest
from stepbridge.api.models import operation_model
from stepbridge.iam.needs import Place, needs_of

PLACE = Place("123456789012", "eu-west-1")
HERE = "eu-west-1:123456789012"


class Known:
    """One secret and one token."""

    async def secret(self, name: str) -> str | None:
        return f"arn:aws:secretsmanager:{HERE}:secret:{name}-AbCdEf" if name == "known" else None

    def task_token(self, token: str) -> str | None:
        return f"arn:aws:states:{HERE}:stateMachine:m" if token == "good" else None


def needs(service: str, operation: str, **members: Any) -> list[tuple[str, str | None]]:
    found = asyncio.run(needs_of(operation_model(service, operation), members, PLACE, Known()))
    return [(need.action, need.resource) for need in found]


CASES: list[tuple[str, str, dict[str, Any], list[tuple[str, str | None]]]] = [
    ("iot-data", "Publish", {"topic": "a/b"}, [("iot:Publish", f"arn:aws:iot:{HERE}:topic/a/b")]),
    ("iot-data", "Publish", {"topic": "a", "retain": True},
     [("iot:Publish", f"arn:aws:iot:{HERE}:topic/a"), ("iot:RetainPublish", f"arn:aws:iot:{HERE}:topic/a")]),
    ("iot-data", "GetThingShadow", {"thingName": "t"}, [("iot:GetThingShadow", f"arn:aws:iot:{HERE}:thing/t")]),
    ("iot", "CreateThing", {"thingName": "t"}, [("iot:CreateThing", f"arn:aws:iot:{HERE}:thing/t")]),
    ("iot", "DescribeEndpoint", {}, [("iot:DescribeEndpoint", "*")]),
    ("iot", "AttachPolicy", {"policyName": "p", "target": "arn"}, [("iot:AttachPolicy", None)]),
    ("stepfunctions", "SendTaskSuccess", {"taskToken": "good"},
     [("states:SendTaskSuccess", f"arn:aws:states:{HERE}:stateMachine:m")]),
    ("stepfunctions", "SendTaskFailure", {"taskToken": "made up"}, [("states:SendTaskFailure", None)]),
    ("stepfunctions", "DescribeExecution", {"executionArn": "arn:x"}, [("states:DescribeExecution", "arn:x")]),
    ("stepfunctions", "ListStateMachines", {}, [("states:ListStateMachines", "*")]),
    ("lambda", "Invoke", {"FunctionName": "f"}, [("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:f")]),
    ("lambda", "Invoke", {"FunctionName": "f", "Qualifier": "live"},
     [("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:f:live")]),
    ("lambda", "Invoke", {"FunctionName": f"arn:aws:lambda:{HERE}:function:f:2"},
     [("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:f:2")]),
    ("lambda", "Invoke", {"FunctionName": "123456789012:function:f"},
     [("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:f")]),
    ("lambda", "InvokeWithResponseStream", {"FunctionName": "f"},
     [("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:f")]),
    ("lambda", "ListFunctions", {}, [("lambda:ListFunctions", "*")]),
    ("lambda", "CreateFunction", {"FunctionName": "f", "Role": "arn:r"},
     [("lambda:CreateFunction", f"arn:aws:lambda:{HERE}:function:f"), ("iam:PassRole", "arn:r")]),
    ("lambda", "UpdateFunctionConfiguration", {"FunctionName": "f", "Timeout": 5},
     [("lambda:UpdateFunctionConfiguration", f"arn:aws:lambda:{HERE}:function:f")]),
    ("stepfunctions", "CreateStateMachine", {"name": "m", "roleArn": "arn:r"},
     [("states:CreateStateMachine", f"arn:aws:states:{HERE}:stateMachine:m"), ("iam:PassRole", "arn:r")]),
    ("scheduler", "CreateSchedule", {"Name": "s", "Target": {"Arn": "arn:q", "RoleArn": "arn:r"}},
     [("scheduler:CreateSchedule", f"arn:aws:scheduler:{HERE}:schedule/default/s"), ("iam:PassRole", "arn:r")]),
    ("events", "PutTargets",
     {"Rule": "r", "Targets": [{"RoleArn": "arn:a"}, {"RoleArn": "arn:a"}, {"RoleArn": "arn:b"}]},
     [("events:PutTargets", f"arn:aws:events:{HERE}:rule/r"), ("iam:PassRole", "arn:a"), ("iam:PassRole", "arn:b")]),
    ("iot", "CreateTopicRule",
     {"ruleName": "r", "topicRulePayload": {"actions": [{"sqs": {"queueUrl": "u", "roleArn": "arn:r"}}]}},
     [("iot:CreateTopicRule", f"arn:aws:iot:{HERE}:rule/r"), ("iam:PassRole", "arn:r")]),
    ("sqs", "SendMessageBatch", {"QueueUrl": "https://h/123456789012/q"},
     [("sqs:SendMessage", f"arn:aws:sqs:{HERE}:q")]),
    ("sqs", "ListQueues", {}, [("sqs:ListQueues", "*")]),
    ("sns", "Publish", {"TopicArn": "arn:t"}, [("sns:Publish", "arn:t")]),
    ("sns", "Publish", {"PhoneNumber": "+1"}, [("sns:Publish", "*")]),
    ("sns", "Unsubscribe", {"SubscriptionArn": f"arn:aws:sns:{HERE}:t:1-2"},
     [("sns:Unsubscribe", f"arn:aws:sns:{HERE}:t")]),
    ("s3", "HeadObject", {"Bucket": "b", "Key": "k"}, [("s3:GetObject", "arn:aws:s3:::b/k")]),
    ("s3", "CopyObject", {"Bucket": "b", "Key": "k", "CopySource": "/c/l?versionId=1"},
     [("s3:GetObject", "arn:aws:s3:::c/l"), ("s3:PutObject", "arn:aws:s3:::b/k")]),
    ("s3", "DeleteObjects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}, {"Key": "l"}]}},
     [("s3:DeleteObject", "arn:aws:s3:::b/k"), ("s3:DeleteObject", "arn:aws:s3:::b/l")]),
    ("s3", "ListBuckets", {}, [("s3:ListAllMyBuckets", "*")]),
    ("dynamodb", "Query", {"TableName": "t", "IndexName": "i"},
     [("dynamodb:Query", f"arn:aws:dynamodb:{HERE}:table/t/index/i")]),
    ("dynamodb", "BatchWriteItem", {"RequestItems": {"t": [], "u": []}},
     [("dynamodb:BatchWriteItem", f"arn:aws:dynamodb:{HERE}:table/{name}") for name in "tu"]),
    ("dynamodb", "TransactWriteItems",
     {"TransactItems": [{"Put": {"TableName": "t"}}, {"ConditionCheck": {"TableName": "u"}}]},
     [("dynamodb:PutItem", f"arn:aws:dynamodb:{HERE}:table/t"),
      ("dynamodb:ConditionCheckItem", f"arn:aws:dynamodb:{HERE}:table/u")]),
    ("secretsmanager", "GetSecretValue", {"SecretId": "known"},
     [("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{HERE}:secret:known-AbCdEf")]),
    ("logs", "PutLogEvents", {"logGroupName": "/g", "logStreamName": "s"},
     [("logs:PutLogEvents", f"arn:aws:logs:{HERE}:log-group:/g:log-stream:s")]),
    ("logs", "CreateLogGroup", {"logGroupName": "/g"},
     [("logs:CreateLogGroup", f"arn:aws:logs:{HERE}:log-group:/g:log-stream:")]),
    ("events", "PutEvents", {"Entries": [{}, {"EventBusName": "b"}]},
     [("events:PutEvents", f"arn:aws:events:{HERE}:event-bus/default"),
      ("events:PutEvents", f"arn:aws:events:{HERE}:event-bus/b")]),
    ("events", "PutRule", {"Name": "r", "EventBusName": "b"},
     [("events:PutRule", f"arn:aws:events:{HERE}:rule/b/r")]),
    ("kinesis", "PutRecord", {"StreamName": "s"}, [("kinesis:PutRecord", f"arn:aws:kinesis:{HERE}:stream/s")]),
    ("firehose", "PutRecord", {"DeliveryStreamName": "s"},
     [("firehose:PutRecord", f"arn:aws:firehose:{HERE}:deliverystream/s")]),
    ("ssm", "GetParameters", {"Names": ["/a/b", "c"]},
     [("ssm:GetParameters", f"arn:aws:ssm:{HERE}:parameter/a/b"),
      ("ssm:GetParameters", f"arn:aws:ssm:{HERE}:parameter/c")]),
    ("kms", "Decrypt", {"KeyId": "1-2"}, [("kms:Decrypt", f"arn:aws:kms:{HERE}:key/1-2")]),
    ("kms", "Encrypt", {"KeyId": "alias/a"}, [("kms:Encrypt", None)]),
    ("cloudwatch", "PutMetricData", {}, [("cloudwatch:PutMetricData", "*")]),
    ("sts", "AssumeRole", {"RoleArn": "arn:r"}, [("sts:AssumeRole", "arn:r")]),
    ("sts", "GetCallerIdentity", {}, []),
    ("iam", "GetRole", {"RoleName": "r"}, [("iam:GetRole", "arn:aws:iam::123456789012:role/r")]),
    ("scheduler", "CreateSchedule", {"Name": "s"},
     [("scheduler:CreateSchedule", f"arn:aws:scheduler:{HERE}:schedule/default/s")]),
    ("ec2", "RunInstances", {}, [("ec2:RunInstances", None)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "operation", "members", "expected"),
    CASES,
    ids=[f"{number}-{each[0]}.{each[1]}" for number, each in enumerate(CASES)],
)
def test_what_a_call_needs(
    service: str, operation: str, members: dict[str, Any], expected: list[tuple[str, str | None]]
) -> None:
    assert needs(service, operation, **members) == expected


REQUESTS: list[tuple[str, str, str, dict[str, str], str | None, dict[str, Any]]] = [
    ("s3", "GET", "/", {}, "ListBuckets", {}),
    ("s3", "GET", "/b?list-type=2&prefix=x", {}, "ListObjectsV2", {"Bucket": "b", "Prefix": "x"}),
    ("s3", "GET", "/b?location", {}, "GetBucketLocation", {"Bucket": "b"}),
    ("s3", "PUT", "/b", {}, "CreateBucket", {"Bucket": "b"}),
    ("s3", "PUT", "/b/a%20k?x-id=PutObject", {}, "PutObject", {"Bucket": "b", "Key": "a k"}),
    ("s3", "PUT", "/b/k", {"x-amz-copy-source": "/c/l"}, "CopyObject",
     {"Bucket": "b", "Key": "k", "CopySource": "/c/l"}),
    ("s3", "PUT", "/b/k?uploadId=u&partNumber=1", {}, "UploadPart", {"Bucket": "b", "Key": "k"}),
    ("s3", "DELETE", "/b/k?uploadId=u", {}, "AbortMultipartUpload", {"Bucket": "b", "Key": "k"}),
    ("s3", "GET", "/k", {"host": "b.localhost:4566"}, "GetObject", {"Bucket": "b", "Key": "k"}),
    ("s3", "GET", "/b/k", {"host": "s3.localhost:4566"}, "GetObject", {"Bucket": "b", "Key": "k"}),
    ("sqs", "POST", "/", {"x-amz-target": "AmazonSQS.SendMessage"}, "SendMessage", {"n": 1}),
    ("monitoring", "POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData", {}, "PutMetricData", {}),
    ("scheduler", "GET", "/schedules/s", {}, "GetSchedule", {"Name": "s"}),
    ("sqs", "POST", "/", {"x-amz-target": "AmazonSQS.Nonsense"}, None, {}),
    ("nonsense", "POST", "/", {"x-amz-target": "A.B"}, None, {}),
]  # fmt: skip


@pytest.mark.parametrize(("service", "method", "url", "headers", "operation", "members"), REQUESTS)
def test_what_a_request_names(
    service: str, method: str, url: str, headers: dict[str, str], operation: str | None, members: dict[str, Any]
) -> None:
    path, _, query = url.partition("?")
    body = b'{"n": 1}' if "x-amz-target" in headers else b""
    named = named_operation(service, HttpRequest(method, path, query, {"host": "127.0.0.1:4566", **headers}, body))
    if operation is None:
        assert named is None
    else:
        assert named is not None
        assert (named[0].name, named[1]) == (operation, members)


def test_what_a_form_names() -> None:
    body = b"Action=Publish&Version=2010-03-31&TopicArn=arn%3At&Message=m"
    named = named_operation("sns", HttpRequest("POST", "/", "", {"host": "127.0.0.1"}, body))
    assert named is not None
    assert (named[0].name, named[1]["TopicArn"]) == ("Publish", "arn:t")


def test_a_deletion_of_several_objects_names_them() -> None:
    body = b"<Delete><Object><Key>a&amp;b</Key></Object><Object><Key>c</Key></Object></Delete>"
    named = named_operation("s3", HttpRequest("POST", "/b", "delete", {"host": "127.0.0.1"}, body))
    assert named is not None
    assert named[0].name == "DeleteObjects"
    assert named[1]["Delete"] == {"Objects": [{"Key": "a&b"}, {"Key": "c"}]}
