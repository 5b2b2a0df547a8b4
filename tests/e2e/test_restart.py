"""kill -9, start again: what stacks rely on in the services that moto carries out is there, by the same names."""

from pathlib import Path

import pytest
from tests.e2e.harness import command, wait_until

from stepbridge.testing import EmulatorProcess

TEMPLATE = """\
Transform: AWS::Serverless-2016-10-31
Resources:
  Greeter:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: code/, Handler: app.handler, Runtime: python3.13}
  Queue: {Type: AWS::SQS::Queue}
  Topic:
    Type: AWS::SNS::Topic
    Properties:
      Subscription: [{Protocol: sqs, Endpoint: !GetAtt Queue.Arn}]
  Secret: {Type: AWS::SecretsManager::Secret, Properties: {SecretString: hush}}
  Parameter: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: v}}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: 7}}
  Bucket: {Type: AWS::S3::Bucket}
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      BillingMode: PAY_PER_REQUEST
  Rule:
    Type: AWS::Events::Rule
    Properties: {ScheduleExpression: rate(1 hour), Targets: [{Id: one, Arn: !GetAtt Queue.Arn}]}
Outputs:
  Queue: {Value: !Ref Queue}
  Topic: {Value: !Ref Topic}
  Secret: {Value: !Ref Secret}
  Bucket: {Value: !Ref Bucket}
  Rule: {Value: !Ref Rule}
  Table: {Value: !Ref Table}
  Group: {Value: !Ref Logs}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "code").mkdir(parents=True)
    (folder / "template.yaml").write_text(TEMPLATE)
    (folder / "code" / "app.py").write_text("def handler(event, context): return 'first'\n")
    return folder


def deploy(emulator: EmulatorProcess, project: Path) -> None:
    deployed = command(emulator, "deploy", str(project), "--stack-name", "kept")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr


def test_stacks_and_what_they_made_survive_kill_9(project: Path, tmp_path: Path) -> None:
    emulator = EmulatorProcess(tmp_path / "emulator")
    emulator.start()
    try:
        deploy(emulator, project)
        stack = emulator.client("cloudformation").describe_stacks(StackName="kept")["Stacks"][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        body = bytes(range(256)) * 40_000  # more than one part of a multipart upload
        emulator.client("s3").put_object(Bucket=outputs["Bucket"], Key="small", Body=b"content")
        upload_in_parts(emulator, outputs["Bucket"], body)
        subscription = subscriptions(emulator, outputs["Topic"])

        emulator.kill()
        emulator.start()
        s3 = emulator.client("s3")
        assert s3.get_object(Bucket=outputs["Bucket"], Key="small")["Body"].read() == b"content"
        assert s3.get_object(Bucket=outputs["Bucket"], Key="large")["Body"].read() == body
        assert emulator.client("secretsmanager").get_secret_value(SecretId=outputs["Secret"])["SecretString"] == "hush"
        assert subscriptions(emulator, outputs["Topic"]) == subscription
        rule = emulator.client("events").describe_rule(Name=outputs["Rule"])
        assert rule["ScheduleExpression"] == "rate(1 hour)"
        assert (
            emulator.client("dynamodb").describe_table(TableName=outputs["Table"])["Table"]["TableStatus"] == "ACTIVE"
        )
        groups = emulator.client("logs").describe_log_groups(logGroupNamePrefix=outputs["Group"])["logGroups"]
        assert [group["retentionInDays"] for group in groups] == [7]
        emulator.client("sns").publish(TopicArn=outputs["Topic"], Message="after")
        sqs = emulator.client("sqs")
        wait_until(lambda: sqs.receive_message(QueueUrl=outputs["Queue"]).get("Messages"), "the topic's message")

        # And it can be deployed again, and deleted.
        (project / "code" / "app.py").write_text("def handler(event, context): return 'second'\n")
        deploy(emulator, project)
        s3.delete_object(Bucket=outputs["Bucket"], Key="small")
        s3.delete_object(Bucket=outputs["Bucket"], Key="large")
        stacks = emulator.client("cloudformation")
        stacks.delete_stack(StackName="kept")
        deleted = {"StackName": stack["StackId"]}
        wait_until(
            lambda: stacks.describe_stacks(**deleted)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE", "the deletion"
        )
        emulator.kill()
        emulator.start()
        assert emulator.client("sqs").list_queues().get("QueueUrls", []) == []
        assert emulator.client("events").list_rules()["Rules"] == []
    finally:
        emulator.kill()


def upload_in_parts(emulator: EmulatorProcess, bucket: str, body: bytes) -> None:
    s3 = emulator.client("s3")
    upload = {"Bucket": bucket, "Key": "large"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(body), 6_000_000), start=1):
        part = s3.upload_part(**upload, PartNumber=number, Body=body[start : start + 6_000_000])
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


def subscriptions(emulator: EmulatorProcess, topic: str) -> list[str]:
    found = emulator.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    return [each["SubscriptionArn"] for each in found]
