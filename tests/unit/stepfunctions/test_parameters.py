"""Which parameters a service's API cannot take, in AWS's words."""

from typing import Any

import pytest

from stepbridge.api.models import operation_model
from stepbridge.stepfunctions.language import resources
from stepbridge.stepfunctions.service.integrations import parameters
from stepbridge.stepfunctions.service.integrations.members import OPTIMIZED, SDK, to_members, to_output


def integration(name: str) -> resources.Integration:
    parsed = resources.parse(f"arn:aws:states:::{name}")
    assert isinstance(parsed, resources.Integration)
    return parsed


def must_be(field: str, kind: str) -> str:
    return f"The value for the field '{field}' must be a{'n' if kind[0] in 'AIO' else ''} {kind}"


def missing(field: str) -> str:
    return f"The field '{field}' is required but was missing"


def unsupported(field: str) -> str:
    return f'The field "{field}" is not supported by Step Functions'


@pytest.mark.parametrize(
    ("resource", "given", "expected"),
    [
        ("lambda:invoke", {"FunctionName": "f", "Payload": 1}, [must_be("Payload", "STRING")]),
        ("lambda:invoke", {"FunctionName": "f", "Payload": [1]}, []),
        ("lambda:invoke", {"FunctionName": "f", "Payload": None}, []),
        ("lambda:invoke", {"FunctionName": 5}, [must_be("FunctionName", "STRING")]),
        ("lambda:invoke", {"Payload": {}}, [missing("FunctionName")]),
        ("lambda:invoke", {"FunctionName": "f", "LogType": "Tail"},
         ["The field 'LogType' is not supported by Step Functions"]),
        ("ecs:runTask.sync", {"TaskDefinition": "t", "Count": 2},
         ["The field 'Count' is not supported by Step Functions"]),
        ("ecs:runTask.waitForTaskToken", {"TaskDefinition": "t", "Count": 2}, []),
        ("lambda:invoke", ["f"], [must_be("Parameters", "OBJECT")]),
        ("sqs:sendMessage", {"QueueUrl": "u"}, [missing("MessageBody")]),
        ("sqs:sendMessage", {"QueueUrl": "u", "MessageBody": {"a": 1}}, []),
        ("sqs:sendMessage", {"QueueUrl": 5, "MessageBody": True},
         [must_be("QueueUrl", "STRING")]),
        ("sqs:sendMessage", {"QueueUrl": "u", "MessageBody": "b", "DelaySeconds": 2.0},
         [must_be("DelaySeconds", "INTEGER")]),
        ("sns:publish", {"TopicArn": "t"}, [missing("Message")]),
        ("sns:publish", {"TopicArn": "t", "Message": "m", "MessageAttributes": {"a": {"DataType": 1}}},
         [must_be("DataType", "STRING")]),
        ("dynamodb:getItem", {"TableName": "t", "Key": ["x"]}, [must_be("Key", "OBJECT")]),
        ("dynamodb:putItem", {"TableName": "t", "Item": {"a": {"S": {"b": 1}}, "c": {"N": 1}, "d": {"BOOL": True}}},
         [must_be("S", "STRING")]),
        ("dynamodb:putItem", {"TableName": "t", "Item": None}, []),
        ("events:putEvents", {"Entries": [{"Detail": {"a": 1}, "DetailType": "d"}, {"detail": "d"}]},
         [unsupported("detail")]),
        ("states:startExecution", {"Input": {}, "Name": 1}, [missing("StateMachineArn")]),
        ("http:invoke", {"ApiEndpoint": 5, "RequestBody": [1]}, [missing("Method")]),
        ("http:invoke", {}, [missing("ApiEndpoint"), missing("Method")]),
        ("glue:startJobRun.sync", {"jobName": "j"}, [missing("JobName")]),
        ("batch:submitJob", {"JobName": "n", "JobQueue": "q", "JobDefinition": "d", "ArrayProperties": {"Size": 2.5}},
         [must_be("Size", "INTEGER")]),
        ("ecs:runTask", {"TaskDefinition": "t",
                         "NetworkConfiguration": {"awsvpcConfiguration": {"Subnets": ["s"]}}},
         [unsupported("awsvpcConfiguration")]),
        ("eks:runJob.sync", {"anything": 1}, []),
        ("aws-sdk:sqs:receiveMessage", {"QueueUrl": "u", "MaxNumberOfMessages": "1", "AttributeNames": "All"},
         [must_be("MaxNumberOfMessages", "INTEGER")]),
        ("aws-sdk:sqs:receiveMessage", {"QueueUrl": "u", "AttributeNames": "All"},
         [must_be("AttributeNames", "ARRAY")]),
        ("aws-sdk:sqs:sendMessage",
         {"QueueUrl": None, "MessageBody": "b", "MessageAttributes": {"a": {"StringValue": "s"}}}, []),
        ("aws-sdk:sqs:sendMessage", {"QueueUrl": "u", "MessageBody": "b", "MessageAttributes": {"a": {"Bogus": "s"}}},
         [unsupported("Bogus")]),
        ("aws-sdk:sqs:sendMessage", {"QueueUrl": "u", "MessageBody": "b", "MessageAttributes": {"a": "text"}},
         [("Cannot construct instance of `software.amazon.awssdk.services.sqs.model.MessageAttributeValue$BuilderImpl` "
          "(although at least one Creator exists): no String-argument constructor/factory method to deserialize from "
          "String value ('text')")]),
        ("aws-sdk:s3:listObjectsV2", {"Bucket": "b", "FetchOwner": " TRUE "}, []),
        ("aws-sdk:s3:listObjectsV2", {"Bucket": "b", "FetchOwner": -1}, []),
        ("aws-sdk:s3:listObjectsV2", {"Bucket": "b", "FetchOwner": 1.0},
         [("Cannot deserialize value of type `java.lang.Boolean` from Floating-point value "
          "(token `JsonToken.VALUE_NUMBER_FLOAT`)")]),
        ("aws-sdk:s3:listObjectsV2", {"Bucket": "b", "FetchOwner": "TrUe"},
         [('Cannot deserialize value of type `java.lang.Boolean` from String "TrUe": '
          'only "true" or "false" recognized')]),
        ("aws-sdk:s3:putObject", {"bucket": "b", "Key": "k"}, [missing("Bucket"), missing("Body")]),
        ("aws-sdk:s3:putObject", {"Bucket": "b", "Key": "k", "Body": "t", "contentType": "text/plain"},
         [unsupported("contentType") + ". Did you mean 'ContentType'?"]),
        ("aws-sdk:s3:putObject", {"Bucket": "b", "Key": "k", "Bogus": True, "Body": "t"},
         [unsupported("Bogus") + ". Did you mean 'Bucket'?"]),
        ("aws-sdk:s3:putObject", {"Bucket": "b", "Key": "k", "Body": 0, "SsekmsKeyId": "i"}, []),
        ("aws-sdk:s3:putObject", {"Bucket": "b", "Key": "k", "Body": {}, "SSEKMSKeyId": "i"},
         [unsupported("SSEKMSKeyId") + ". Did you mean 'SsekmsKeyId'?"]),
        ("aws-sdk:sfn:startExecution", {"StateMachineArn": "a", "Input": {"a": 1}}, []),
        ("aws-sdk:rds:startDBInstance", {"DbInstanceIdentifier": "d"}, []),
        ("aws-sdk:rds:startDBInstance", {"DBInstanceIdentifier": "d"},
         [missing("DbInstanceIdentifier")]),
        ("aws-sdk:emrserverless:startJobRun", {"ApplicationId": "a", "ExecutionRoleArn": "r"}, []),
        ("aws-sdk:nothing:atAll", {"a": 1}, []),
    ],
)  # fmt: skip
def test_what_a_call_cannot_take(resource: str, given: Any, expected: list[str]) -> None:
    assert parameters.problems(integration(resource), given) == expected


@pytest.mark.parametrize(
    ("template", "language", "expected"),
    [
        ({"FunctionName.$": "$.f", "Payload.$": "$"}, "JSONPath", []),
        ({"FunctionName.$": "$.f", "Payload": 1, "Later.$": "$"}, "JSONPath",
         [must_be("Payload", "STRING")]),
        ({"FunctionName": "{% $f %}", "Payload": ["{% $p %}"]}, "JSONata", []),
        ({"FunctionName": ["{% $f %}"], "Payload.$": "x"}, "JSONata",
         [must_be("FunctionName", "STRING")]),
        ({"FunctionName": "{% $f %}", "Payload.$": "x"}, "JSONata", [unsupported("Payload.$")]),
        ("{% $all %}", "JSONata", []),
        ("no expression", "JSONata", [must_be("Parameters", "OBJECT")]),
    ],
)  # fmt: skip
def test_what_is_known_of_a_template(template: Any, language: str, expected: list[str]) -> None:
    assert parameters.problems(integration("lambda:invoke"), template, language) == expected


@pytest.mark.parametrize(
    ("style", "service", "operation", "given", "members"),
    [
        (SDK, "rds", "StartDBInstance", {"DbInstanceIdentifier": "d"}, {"DBInstanceIdentifier": "d"}),
        (SDK, "dynamodb", "PutItem", {"TableName": "t", "Item": {"a": {"Nul": True}, "b": {"Ss": ["x"]}}},
         {"TableName": "t", "Item": {"a": {"NULL": True}, "b": {"SS": ["x"]}}}),
        (SDK, "logs", "PutMetricFilter", {"FilterName": None, "ApplyOnTransformedLogs": " TRUE "},
         {"applyOnTransformedLogs": True}),
        (SDK, "s3", "ListObjectsV2", {"FetchOwner": "null"}, {}),
        (SDK, "s3", "ListObjectsV2", {"FetchOwner": 0}, {"FetchOwner": False}),
        (SDK, "s3", "PutObject", {"Body": "t"}, {"Body": b'"t"'}),
        (SDK, "kinesis", "PutRecord", {"Data": "t"}, {"Data": b"t"}),
        (SDK, "lambda", "Invoke", {"Payload": {"a": 1}}, {"Payload": b'{"a":1}'}),
        (OPTIMIZED, "dynamodb", "PutItem", {"TableName": "t", "Item": {"a": {"NULL": True}}},
         {"TableName": "t", "Item": {"a": {"NULL": True}}}),
        (OPTIMIZED, "stepfunctions", "StartExecution", {"StateMachineArn": "a", "Input": {"b": 1}},
         {"stateMachineArn": "a", "input": '{"b":1}'}),
    ],
)  # fmt: skip
def test_names_of_members(style: Any, service: str, operation: str, given: Any, members: Any) -> None:
    assert to_members(operation_model(service, operation).input_shape, given, style) == members


def test_the_sdk_names_members_of_answers_too() -> None:
    shape = operation_model("dynamodb", "GetItem").output_shape
    item = {"Item": {"a": {"BOOL": True}, "b": {"L": [{"NULL": True}]}}}

    assert to_output(shape, item, SDK) == {"Item": {"a": {"Bool": True}, "b": {"L": [{"Nul": True}]}}}
    assert to_output(shape, item, OPTIMIZED) == item
