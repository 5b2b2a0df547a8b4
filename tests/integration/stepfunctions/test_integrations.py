"""What the services that tasks call answer and refuse, as AWS words it: each by TestState on a running emulator."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config

from stepbridge.testing import EmulatorProcess

ROLE = "test-integrations"
KEY = {"id": {"S": "1"}}
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
ENCODED_POLICY = quote(json.dumps(EVERYTHING, separators=(",", ":")), safe="")


@pytest.fixture(scope="module")
def role(stepbridge: EmulatorProcess) -> str:
    """A role that may do everything, and the resources that the tasks use."""
    iam = stepbridge.client("iam")
    statement = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn: str = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName=ROLE, PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
    stepbridge.client("s3").create_bucket(Bucket="integrations")
    stepbridge.client("s3").put_object(Bucket="integrations", Key="key", Body=b"text")
    stepbridge.client("sqs").create_queue(QueueName="integrations")
    stepbridge.client("sns").create_topic(Name="integrations")
    stepbridge.client("sns").create_topic(Name="integrations.fifo", Attributes={"FifoTopic": "true"})
    stepbridge.client("dynamodb").create_table(
        TableName="integrations",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return arn


@cache
def client(endpoint: str) -> Any:
    """A client that leaves the host as it is, where the model of TestState would have "sync-" before it."""
    return boto3.client(
        "stepfunctions",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(inject_host_prefix=False),
    )


def answer(stepbridge: EmulatorProcess, role: str, resource: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What TestState says of a task."""
    task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, "End": True}
    tested: dict[str, Any] = client(stepbridge.endpoints["http"]).test_state(
        definition=json.dumps(task), roleArn=role, input="{}"
    )
    return tested


def topic(name: str) -> str:
    return f"arn:aws:sns:us-east-1:123456789012:{name}"


@pytest.mark.parametrize(
    ("resource", "parameters", "expected"),
    [
        (
            "aws-sdk:s3:getObject",
            {"Bucket": "integrations", "Key": "key"},
            {"Body": "text", "ContentLength": 4, "ServerSideEncryption": "AES256"},
        ),
        ("aws-sdk:s3:putObject", {"Bucket": "integrations", "Key": "k", "Body": {"a": 1}}, {"ETag": ...}),
        (
            "aws-sdk:s3:putObject",
            {"Bucket": "integrations", "Key": "acl", "Body": None, "Acl": "private", "SsekmsKeyId": None},
            {"ETag": ...},
        ),
        (
            "aws-sdk:s3:headObject",
            {"Bucket": "integrations", "Key": "k"},
            {"ContentType": "text/plain; charset=UTF-8", "ContentLength": 7},
        ),
        ("aws-sdk:dynamodb:putItem", {"TableName": "integrations", "Item": KEY}, {}),
        (
            "dynamodb:updateItem",
            {
                "TableName": "integrations",
                "Key": KEY,
                "UpdateExpression": "SET a = :a",
                "ExpressionAttributeValues": {":a": {"N": "1"}},
            },
            {},
        ),
        (
            "aws-sdk:dynamodb:getItem",
            {"TableName": "integrations", "Key": KEY, "ReturnConsumedCapacity": "TOTAL"},
            {"ConsumedCapacity": {"TableName": "integrations", "CapacityUnits": 0.5}},
        ),
        ("aws-sdk:cloudwatchlogs:createLogGroup", {"LogGroupName": "integrations"}, {}),
        (
            "aws-sdk:dynamodb:updateItem",
            {
                "TableName": "integrations",
                "Key": {"id": {"S": "types"}},
                "UpdateExpression": "SET a = :a, b = :b, c = :c",
                "ExpressionAttributeValues": {":a": {"Bool": True}, ":b": {"Nul": True}, ":c": {"Ss": ["x"]}},
                "ReturnValues": "ALL_NEW",
            },
            {
                "Attributes": {
                    "id": {"S": "types"},
                    "a": {"Bool": True},
                    "b": {"Nul": True},
                    "c": {"Ss": ["x"]},
                },
            },
        ),
        (
            "dynamodb:getItem",
            {"TableName": "integrations", "Key": {"id": {"S": "types"}}},
            {"Item": {"id": {"S": "types"}, "a": {"BOOL": True}, "b": {"NULL": True}, "c": {"SS": ["x"]}}},
        ),
        ("aws-sdk:iam:getRolePolicy", {"RoleName": ROLE, "PolicyName": "all"}, {"PolicyDocument": ENCODED_POLICY}),
    ],
)
def test_what_a_task_puts_out(
    stepbridge: EmulatorProcess, role: str, resource: str, parameters: dict[str, Any], expected: dict[str, Any]
) -> None:
    tested = answer(stepbridge, role, resource, parameters)

    assert tested["status"] == "SUCCEEDED", tested
    output = json.loads(tested["output"])
    assert {name: output.get(name) if value is not ... else ... for name, value in expected.items()} == expected
    if not expected:
        assert output.keys() <= {"SdkHttpMetadata", "SdkResponseMetadata"}


@pytest.mark.parametrize(
    ("resource", "parameters", "error", "cause"),
    [
        (
            "aws-sdk:s3:getObject",
            {"Bucket": "integrations", "Key": "none"},
            "S3.NoSuchKeyException",
            "The specified key does not exist. (Service: S3, Status Code: 404, Request ID: ",
        ),
        (
            "aws-sdk:s3:getObject",
            {"Bucket": "no-such-bucket", "Key": "none"},
            "S3.NoSuchBucketException",
            "The specified bucket does not exist (Service: S3, Status Code: 404, Request ID: ",
        ),
        (
            "aws-sdk:s3:headObject",
            {"Bucket": "integrations", "Key": "none"},
            "S3.NoSuchKeyException",
            "null (Service: S3, Status Code: 404, Request ID: ",
        ),
        (
            "aws-sdk:secretsmanager:createSecret",
            {"Name": "Not A Name", "SecretString": "x"},
            "SecretsManager.SecretsManagerException",
            (
                "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: "
                "-/_+=.@! (Service: SecretsManager, Status Code: 400, Request ID: "
            ),
        ),
        (
            "aws-sdk:secretsmanager:getSecretValue",
            {"SecretId": "none"},
            "SecretsManager.ResourceNotFoundException",
            "Secrets Manager can't find the specified secret. (Service: SecretsManager, Status Code: 400, Request ID: ",
        ),
        (
            "dynamodb:getItem",
            {"TableName": "integrations", "Key": {"id": {"N": "1"}}},
            "DynamoDB.AmazonDynamoDBException",
            (
                "The provided key element does not match the schema (Service: AmazonDynamoDBv2; Status Code: 400; "
                "Error Code: ValidationException; Request ID: "
            ),
        ),
        (
            "dynamodb:putItem",
            {"TableName": "/invalid", "Item": KEY},
            "DynamoDB.AmazonDynamoDBException",
            (
                "1 validation error detected: Value '/invalid' at 'tableName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+ (Service: AmazonDynamoDBv2; "
            ),
        ),
        (
            "sqs:sendMessage",
            {"QueueUrl": "http://no-such-host.invalid/123456789012/q", "MessageBody": "x"},
            "SQS.SdkClientException",
            "Unable to execute HTTP request: no-such-host.invalid: Name or service not known",
        ),
        (
            "sqs:sendMessage",
            {"QueueUrl": "http://127.0.0.1/123456789012/none", "MessageBody": "x"},
            "SQS.QueueDoesNotExistException",
            (
                "The specified queue does not exist. (Service: AmazonSQS; Status Code: 400; "
                "Error Code: AWS.SimpleQueueService.NonExistentQueue; Request ID: "
            ),
        ),
        (
            "sqs:sendMessage",
            {"QueueUrl": "http://127.0.0.1/123456789012/integrations", "MessageBody": ""},
            "SQS.AmazonSQSException",
            "The request must contain the parameter MessageBody. (Service: AmazonSQS; Status Code: 400; ",
        ),
        (
            "sns:publish",
            {"TopicArn": topic("none"), "Message": "x"},
            "SNS.NotFoundException",
            "Topic does not exist (Service: AmazonSNS; Status Code: 404; Error Code: NotFound; Request ID: ",
        ),
        (
            "sns:publish",
            {"TopicArn": topic("integrations.fifo"), "Message": "x"},
            "SNS.InvalidParameterException",
            "Invalid parameter: The MessageGroupId parameter is required for FIFO topics (Service: AmazonSNS; ",
        ),
        (
            "sns:publish",
            {"TopicArn": "none", "Message": "x"},
            "SNS.InvalidParameterException",
            "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1 (Service: AmazonSNS; ",
        ),
        (
            "sns:publish",
            {"TopicArn": topic("integrations"), "Message": "{}", "MessageStructure": "json"},
            "SNS.InvalidParameterException",
            "Invalid parameter: Message Structure - No default entry in JSON message body (Service: AmazonSNS; ",
        ),
        (
            "sqs:sendMessage",
            {"QueueUrl": "5", "MessageBody": "x"},
            "SQS.InvalidAddressException",
            "The address 5 is not valid for this endpoint. (Service: AmazonSQS; Status Code: 404; ",
        ),
        (
            "lambda:invoke",
            {"FunctionName": "f", "InvocationType": "Later"},
            "Lambda.AWSLambdaException",
            (
                "1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy constraint: "
                "Member must satisfy enum value set: [Event, RequestResponse, DryRun] (Service: AWSLambda; "
            ),
        ),
        (
            "states:startExecution",
            {"StateMachineArn": None},
            "StepFunctions.ValidationException",
            "1 validation error detected: Value null at 'stateMachineArn' failed to satisfy constraint: ",
        ),
        (
            "aws-sdk:rds:describeDBInstances",
            {"DbInstanceIdentifier": "none"},
            "Rds.DbInstanceNotFoundException",
            "DBInstance none not found. (Service: Rds, Status Code: 404, Request ID: ",
        ),
        (
            "aws-sdk:iotdataplane:getThingShadow",
            {"ThingName": "none"},
            "IotDataPlane.ResourceNotFoundException",
            "No shadow exists with name: 'none' (Service: IotDataPlane, Status Code: 404, Request ID: ",
        ),
        (
            "aws-sdk:lambda:getFunction",
            {"FunctionName": "none"},
            "Lambda.ResourceNotFoundException",
            (
                "Function not found: arn:aws:lambda:us-east-1:123456789012:function:none (Service: Lambda, "
                "Status Code: 404, Request ID: "
            ),
        ),
    ],
)
def test_how_a_task_is_refused(
    stepbridge: EmulatorProcess, role: str, resource: str, parameters: dict[str, Any], error: str, cause: str
) -> None:
    tested = answer(stepbridge, role, resource, parameters)

    assert (tested["status"], tested["error"]) == ("FAILED", error), tested
    assert tested["cause"].startswith(cause)


@pytest.mark.parametrize("resource", ["lambda:invoke", "aws-sdk:lambda:invoke"])
def test_what_no_task_can_be_started_with_fails_before_it_is_scheduled_and_is_not_caught(
    stepbridge: EmulatorProcess, role: str, resource: str
) -> None:
    catcher = {"ErrorEquals": ["States.ALL"], "Next": "Caught"}
    task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": "{% $states.input %}"}
    machine = {
        "QueryLanguage": "JSONata",
        "StartAt": "Call",
        "States": {"Call": {**task, "Catch": [catcher], "End": True}, "Caught": {"Type": "Succeed"}},
    }
    states = stepbridge.client("stepfunctions")
    name = resource.replace(":", "-")
    arn = states.create_state_machine(name=name, definition=json.dumps(machine), roleArn=role)["stateMachineArn"]

    execution = states.start_execution(stateMachineArn=arn, input='{"FunctionName":5,"Later":1}')["executionArn"]

    history = states.get_execution_history(executionArn=execution)["events"]
    assert [event["type"] for event in history] == ["ExecutionStarted", "TaskStateEntered", "ExecutionFailed"]
    assert history[-1]["executionFailedEventDetails"] == {
        "error": "States.Runtime",
        "cause": (
            "An error occurred while executing the state 'Call' (entered at the event id #2). "
            """The Parameters '{"FunctionName":5,"Later":1}' could not be used to start the Task: """
            "[The value for the field 'FunctionName' must be a STRING]"
        ),
    }


@pytest.mark.parametrize(
    "resource", ["aws-sdk:translate:translateText", "aws-sdk:sqs:listMessageMoveTaskz", "ecs:runTask.sync"]
)
def test_a_service_that_is_not_there_is_refused_at_creation_by_name(
    stepbridge: EmulatorProcess, role: str, resource: str
) -> None:
    parameters = {
        "ecs:runTask.sync": {"Cluster": "c", "TaskDefinition": "t"},
        "aws-sdk:translate:translateText": {"Text": "t", "SourceLanguageCode": "en", "TargetLanguageCode": "de"},
    }.get(resource, {})
    task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, "End": True}
    definition = json.dumps({"StartAt": "T", "States": {"T": task}})
    states = stepbridge.client("stepfunctions")

    with pytest.raises(states.exceptions.InvalidDefinition) as refusal:
        states.create_state_machine(name="refused", definition=definition, roleArn=role)

    assert f"arn:aws:states:::{resource}" in str(refusal.value)
    assert ("is not recognized" in str(refusal.value)) is resource.endswith("Taskz")  # what AWS has not either
    assert "/States/T/Resource" in str(refusal.value)
