"""Each resource type that moto carries out: created, changed, deleted."""

from typing import Any

import pytest
from tests.integration.cloudformation.bench import Bench, Run, template

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
OTHER = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}}
ROLE = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}}
TABLE = {
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}

# The type, its properties, other properties it is updated to, other resources it needs.
CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        "AWS::IAM::Role",
        {"AssumeRolePolicyDocument": TRUST, "Policies": [{"PolicyName": "p", "PolicyDocument": ALLOW}]},
        {
            "AssumeRolePolicyDocument": TRUST,
            "ManagedPolicyArns": ["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"],
            "Description": "changed",
        },
        {},
    ),
    (
        "AWS::IAM::Policy",
        {"PolicyName": "p", "PolicyDocument": ALLOW, "Roles": [{"Ref": "R"}]},
        {"PolicyName": "q", "PolicyDocument": ALLOW, "Roles": [{"Ref": "R"}]},
        {"R": ROLE},
    ),
    (
        "AWS::IAM::ManagedPolicy",
        {"PolicyDocument": ALLOW},
        {"PolicyDocument": OTHER, "Roles": [{"Ref": "R"}]},
        {"R": ROLE},
    ),
    ("AWS::Logs::LogGroup", {"RetentionInDays": 7}, {"RetentionInDays": 14, "Tags": [{"Key": "a", "Value": "b"}]}, {}),
    (
        "AWS::S3::Bucket",
        {"VersioningConfiguration": {"Status": "Enabled"}},
        {
            "PublicAccessBlockConfiguration": {"BlockPublicAcls": "true"},
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        },
        {},
    ),
    (
        "AWS::S3::BucketPolicy",
        {"Bucket": {"Ref": "B"}, "PolicyDocument": ALLOW},
        {"Bucket": {"Ref": "B"}, "PolicyDocument": {**ALLOW, "Version": "2008-10-17"}},
        {"B": {"Type": "AWS::S3::Bucket"}},
    ),
    ("AWS::SQS::Queue", {"FifoQueue": True}, {"FifoQueue": True, "ContentBasedDeduplication": True}, {}),
    (
        "AWS::SQS::QueuePolicy",
        {"Queues": [{"Ref": "Q"}], "PolicyDocument": ALLOW},
        {"Queues": [{"Ref": "Q"}], "PolicyDocument": {**ALLOW, "Id": "x"}},
        {"Q": {"Type": "AWS::SQS::Queue"}},
    ),
    ("AWS::SNS::Topic", {"DisplayName": "a"}, {"DisplayName": "b", "Tags": [{"Key": "a", "Value": "b"}]}, {}),
    (
        "AWS::SNS::Subscription",
        {"TopicArn": {"Ref": "T"}, "Protocol": "sqs", "Endpoint": {"Fn::GetAtt": ["Q", "Arn"]}},
        {
            "TopicArn": {"Ref": "T"},
            "Protocol": "sqs",
            "Endpoint": {"Fn::GetAtt": ["Q", "Arn"]},
            "RawMessageDelivery": True,
        },
        {"T": {"Type": "AWS::SNS::Topic"}, "Q": {"Type": "AWS::SQS::Queue"}},
    ),
    (
        "AWS::SNS::TopicPolicy",
        {"Topics": [{"Ref": "T"}], "PolicyDocument": ALLOW},
        {"Topics": [{"Ref": "T"}], "PolicyDocument": {**ALLOW, "Id": "x"}},
        {"T": {"Type": "AWS::SNS::Topic"}},
    ),
    (
        "AWS::DynamoDB::Table",
        TABLE,
        {**TABLE, "StreamSpecification": {"StreamViewType": "NEW_IMAGE"}, "Tags": [{"Key": "a", "Value": "b"}]},
        {},
    ),
    (
        "AWS::Events::Rule",
        {"ScheduleExpression": "rate(5 minutes)", "Targets": [{"Id": "one", "Arn": {"Fn::GetAtt": ["Q", "Arn"]}}]},
        {"EventPattern": {"source": ["x"]}, "Targets": [{"Id": "two", "Arn": {"Fn::GetAtt": ["Q", "Arn"]}}]},
        {"Q": {"Type": "AWS::SQS::Queue"}},
    ),
    (
        "AWS::Scheduler::Schedule",
        {
            "ScheduleExpression": "rate(5 minutes)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": {"Fn::GetAtt": ["Q", "Arn"]}, "RoleArn": {"Fn::GetAtt": ["R", "Arn"]}},
        },
        {
            "ScheduleExpression": "rate(9 minutes)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": {"Fn::GetAtt": ["Q", "Arn"]}, "RoleArn": {"Fn::GetAtt": ["R", "Arn"]}},
        },
        {"Q": {"Type": "AWS::SQS::Queue"}, "R": ROLE},
    ),
    ("AWS::Scheduler::ScheduleGroup", {}, {"Tags": [{"Key": "a", "Value": "b"}]}, {}),
    (
        "AWS::SecretsManager::Secret",
        {"GenerateSecretString": {"SecretStringTemplate": '{"user": "u"}', "GenerateStringKey": "password"}},
        {"SecretString": "changed"},
        {},
    ),
    ("AWS::SSM::Parameter", {"Type": "String", "Value": "a"}, {"Type": "String", "Value": "b", "Tags": {"a": "b"}}, {}),
    ("AWS::StepFunctions::Activity", {"Name": "act"}, {"Name": "act", "Tags": [{"Key": "a", "Value": "b"}]}, {}),
    ("AWS::IoT::ThingGroup", {}, {"ThingGroupProperties": {"ThingGroupDescription": "d"}}, {}),
    ("AWS::IoT::Policy", {"PolicyDocument": ALLOW}, {"PolicyDocument": OTHER}, {}),
]


@pytest.mark.parametrize(("type_name", "first", "second", "others"), CASES, ids=[case[0] for case in CASES])
def test_created_changed_deleted(
    bench: Run, type_name: str, first: dict[str, Any], second: dict[str, Any], others: dict[str, Any]
) -> None:
    async def scenario(one: Bench) -> None:
        for properties, operation in ((first, "create_stack"), (second, "update_stack")):
            resources = {**others, "It": {"Type": type_name, "Properties": properties}}
            outputs = {
                name: {"Value": {"Fn::GetAtt": ["It", name]}}
                for name in ("Arn", "Id")
                if name in one.attributes(type_name)
            }
            await one.call(
                operation,
                StackName="s",
                TemplateBody=template(resources, **({"Outputs": outputs} if outputs else {})),
                Capabilities=["CAPABILITY_NAMED_IAM"],
            )
            assert (await one.status("s")).startswith(operation.split("_")[0].upper() + "_COMPLETE"), await one.events(
                "s"
            )
            stack = (await one.call("describe_stacks", StackName="s"))["Stacks"][0]
            assert all(output["OutputValue"] for output in stack.get("Outputs", []))
        await one.call("delete_stack", StackName="s")
        await one.service.settled()
        summary = (await one.call("list_stacks"))["StackSummaries"][0]
        assert summary["StackStatus"] == "DELETE_COMPLETE", summary

    bench(scenario)


@pytest.mark.parametrize(
    ("type_name", "properties", "reason"),
    [
        ("AWS::SQS::Queue", {"DelaySeconds": "soon"}, "Invalid value for the parameter DelaySeconds."),
        ("AWS::SQS::Queue", {"DelaySeconds": 901}, "Invalid value for the parameter DelaySeconds."),
        ("AWS::SQS::Queue", {"MaximumMessageSize": 1023}, "Invalid value for the parameter MaximumMessageSize."),
        ("AWS::S3::Bucket", {"BucketName": "BAD_name"}, "The specified bucket is not valid."),
        ("AWS::S3::Bucket", {"BucketName": "192.168.5.4"}, "The specified bucket is not valid."),
    ],
)
def test_what_the_service_refuses(bench: Run, type_name: str, properties: dict[str, Any], reason: str) -> None:
    async def scenario(one: Bench) -> None:
        resources = {"It": {"Type": type_name, "Properties": properties}}
        assert await one.create("s", resources) == "ROLLBACK_COMPLETE"
        failed = [event for event in await one.events("s") if event[1] == "CREATE_FAILED"]
        assert reason in str(failed[0][2])

    bench(scenario)
