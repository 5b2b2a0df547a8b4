"""Lambda in a whole emulator: what functions may do at the port, what invokes them, and what their packages are."""

import io
import json
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.e2e.harness import ended, wait_until
from tests.integration.functions.harness import archive

from stepbridge.testing import EmulatorProcess

ACCOUNT = "123456789012"
# Makes the call that the event names, and returns the code, message and status of its refusal.
CALLER = """
import boto3
from botocore.exceptions import ClientError

def handler(event, context):
    client = boto3.client(event["service"])
    try:
        getattr(client, event["call"])(**event["members"])
        return "done"
    except ClientError as error:
        answer = error.response
        return [answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]]
"""


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


class Account:
    """An emulator to make roles and functions in."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self.emulator = emulator
        self.iam = emulator.client("iam")
        self.functions = emulator.client("lambda")
        self.sqs = emulator.client("sqs")

    def role(self, name: str, *statements: dict[str, Any], service: str = "lambda.amazonaws.com") -> str:
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        arn: str = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
        if statements:
            self.iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=document(*statements))
        return arn

    def function(self, name: str, role: str, files: str | Mapping[str, str] = CALLER, **settings: Any) -> str:
        code = {"app.py": files} if isinstance(files, str) else files
        defaults = {"Runtime": "python3.11", "Handler": "app.handler", "Timeout": 20}
        created = self.functions.create_function(
            FunctionName=name, Role=role, Code={"ZipFile": archive(code)}, **{**defaults, **settings}
        )
        arn: str = created["FunctionArn"]
        return arn

    def invoke(self, name: str, event: object = None, **members: Any) -> Any:
        answer = self.functions.invoke(FunctionName=name, Payload=json.dumps(event), **members)
        payload = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload

    def call_as(self, function: str, service: str, call: str, **members: Any) -> Any:
        """What the function gets that makes the call."""
        return self.invoke(function, {"service": service, "call": call, "members": members})

    def queue(self, name: str, **attributes: str) -> tuple[str, str]:
        url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url, f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"

    def refused(self, call: Any, **members: Any) -> tuple[str, str]:
        with pytest.raises(ClientError) as refusal:
            call(**members)
        return refusal.value.response["Error"]["Code"], refusal.value.response["Error"]["Message"]


@pytest.fixture(scope="module")
def account(stepbridge: EmulatorProcess) -> Account:
    return Account(stepbridge)


@pytest.fixture(scope="module")
def powerless(account: Account) -> str:
    """A function whose role allows nothing."""
    account.function("powerless", account.role("powerless"))
    return "powerless"


REFUSALS = [
    ("sqs", "send_message", {"QueueUrl": f"http://q/{ACCOUNT}/jobs", "MessageBody": "x"}, "AccessDenied", 403,
     "sqs:sendmessage", f"arn:aws:sqs:us-east-1:{ACCOUNT}:jobs"),
    ("sns", "publish", {"TopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:t", "Message": "x"}, "AuthorizationError", 403,
     "SNS:Publish", f"arn:aws:sns:us-east-1:{ACCOUNT}:t"),
    ("s3", "get_object", {"Bucket": "b", "Key": "a/k"}, "AccessDenied", 403, "s3:GetObject", '"arn:aws:s3:::b/a/k"'),
    ("s3", "list_objects_v2", {"Bucket": "b"}, "AccessDenied", 403, "s3:ListBucket", '"arn:aws:s3:::b"'),
    ("dynamodb", "put_item", {"TableName": "t", "Item": {"k": {"S": "1"}}}, "AccessDeniedException", 400,
     "dynamodb:PutItem", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t"),
    ("secretsmanager", "get_secret_value", {"SecretId": "none"}, "AccessDeniedException", 400,
     "secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:none"),
    ("events", "put_events", {"Entries": [{"Source": "s", "DetailType": "d", "Detail": "{}"}]},
     "AccessDeniedException", 400, "events:PutEvents", f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"),
    ("ssm", "get_parameter", {"Name": "/a/b"}, "AccessDeniedException", 400,
     "ssm:GetParameter", f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/a/b"),
    ("cloudwatch", "put_metric_data", {"Namespace": "n", "MetricData": []}, "AccessDenied", 403,
     "cloudwatch:PutMetricData", "*"),
    ("iam", "get_role", {"RoleName": "r"}, "AccessDenied", 403, "iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/r"),
    ("iot-data", "publish", {"topic": "a/b", "payload": b"x".decode()}, "AccessDeniedException", 403,
     "iot:Publish", f"arn:aws:iot:us-east-1:{ACCOUNT}:topic/a/b"),
    ("stepfunctions", "start_execution",
     {"stateMachineArn": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:m"}, "AccessDeniedException", 400,
     "states:StartExecution", f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:m"),
    ("lambda", "invoke", {"FunctionName": "powerless", "Qualifier": "live"}, "AccessDeniedException", 403,
     "lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:powerless:live"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "call", "members", "code", "status", "action", "resource"),
    REFUSALS,
    ids=[f"{each[0]}.{each[1]}" for each in REFUSALS],
)
def test_each_service_refuses_in_its_own_way(
    account: Account,
    powerless: str,
    service: str,
    call: str,
    members: dict[str, Any],
    code: str,
    status: int,
    action: str,
    resource: str,
) -> None:
    message = (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/powerless/powerless is not authorized to perform: {action} on "
        f"resource: {resource} because no identity-based policy allows the {action} action"
    )
    assert account.call_as(powerless, service, call, **members) == [code, message, status]


def test_who_one_is_needs_no_permission(account: Account) -> None:
    code = "import boto3\ndef handler(event, context):\n    return boto3.client('sts').get_caller_identity()['Arn']\n"
    account.function("who", account.role("whose"), code)
    assert account.invoke("who") == f"arn:aws:sts::{ACCOUNT}:assumed-role/whose/who"


def test_nothing_is_refused_with_iam_off(tmp_path: Path) -> None:
    emulator = EmulatorProcess(tmp_path, "--memory", "--iam", "off")
    emulator.start()
    try:
        account = Account(emulator)
        account.function("powerless", account.role("powerless", service="nobody.amazonaws.com"))
        url, _ = account.queue("open")
        assert account.call_as("powerless", "sqs", "send_message", QueueUrl=url, MessageBody="x") == "done"
    finally:
        emulator.stop()


def test_changes_of_policies_are_seen_at_once(account: Account) -> None:
    name = "changing"
    account.function(name, account.role(name))
    bucket = {"Bucket": "changing-bucket"}
    account.emulator.client("s3").create_bucket(**bucket)
    arn = "arn:aws:s3:::changing-bucket"
    assert account.call_as(name, "s3", "list_objects_v2", **bucket)[0] == "AccessDenied"
    policy = account.iam.create_policy(PolicyName=name, PolicyDocument=document(allow("s3:*", [arn, f"{arn}/*"])))
    account.iam.attach_role_policy(RoleName=name, PolicyArn=policy["Policy"]["Arn"])
    assert account.call_as(name, "s3", "list_objects_v2", **bucket) == "done"
    deny = {"Effect": "Deny", "Action": "s3:ListBucket", "Resource": arn}
    account.iam.put_role_policy(RoleName=name, PolicyName="deny", PolicyDocument=document(deny))
    said = account.call_as(name, "s3", "list_objects_v2", **bucket)
    assert said[1].endswith("with an explicit deny in an identity-based policy")
    assert account.call_as(name, "s3", "put_object", **bucket, Key="k", Body="x") == "done"


def test_a_list_of_objects_may_be_allowed_for_a_prefix(account: Account) -> None:
    name = "prefixed"
    account.emulator.client("s3").create_bucket(Bucket="prefixed-bucket")
    only = {"StringLike": {"s3:prefix": ["mine/*"]}}
    account.function(name, account.role(name, allow("s3:ListBucket", "arn:aws:s3:::prefixed-bucket", Condition=only)))

    def listed(**members: str) -> Any:
        return account.call_as(name, "s3", "list_objects_v2", Bucket="prefixed-bucket", **members)

    assert listed(Prefix="mine/x") == "done"
    assert listed(Prefix="yours/")[0] == "AccessDenied"
    assert listed()[0] == "AccessDenied"


def test_policies_in_roles_need_no_version(account: Account) -> None:
    """What SAM makes of policy templates has none; managed policies must have one."""
    name = "unversioned"
    account.function(name, account.role(name))
    url, arn = account.queue(name)
    statement = allow("sqs:SendMessage", arn)
    grant = json.dumps({"Statement": [statement]})
    account.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=grant)
    assert account.call_as(name, "sqs", "send_message", QueueUrl=url, MessageBody="x") == "done"
    said = ("MalformedPolicyDocument", "Policy document must be version 2012-10-17 or greater.")
    assert account.refused(account.iam.create_policy, PolicyName=name, PolicyDocument=grant) == said
    assert account.refused(account.iam.put_role_policy, RoleName=name, PolicyName="p", PolicyDocument="{}") == (
        "MalformedPolicyDocument",
        "Syntax errors in policy.",
    )


def test_a_boundary_bounds(account: Account) -> None:
    name = "bounded"
    role = account.role(name, allow("sqs:*"))
    account.function(name, role)
    url, _ = account.queue("bounded")
    assert account.call_as(name, "sqs", "send_message", QueueUrl=url, MessageBody="x") == "done"
    boundary = account.iam.create_policy(PolicyName="boundary", PolicyDocument=document(allow("s3:*")))
    account.iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary["Policy"]["Arn"])
    said = account.call_as(name, "sqs", "send_message", QueueUrl=url, MessageBody="x")
    assert said[1].endswith("because no permissions boundary allows the sqs:sendmessage action")


def test_lambda_must_be_allowed_to_take_the_role(account: Account) -> None:
    role = account.role("for-others", service="ec2.amazonaws.com")
    with pytest.raises(ClientError, match="The role defined for the function cannot be assumed by Lambda"):
        account.function("for-others", role)


def test_the_role_of_a_dead_letter_queue_must_send_to_it(account: Account) -> None:
    _, arn = account.queue("dead")
    with pytest.raises(ClientError, match="does not have permissions to call SendMessage on SQS"):
        account.function("dead", account.role("dead"), DeadLetterConfig={"TargetArn": arn})


# Layers, locations, aliases


def test_a_function_imports_from_its_layers(account: Account) -> None:
    role = account.role("layered")
    for name, files in (
        (
            "first",
            {"python/shared.py": "NAME = 'first'", "python/one.py": "ONE = 1", "bin/say": "#!/bin/sh\necho hi\n"},
        ),
        ("second", {"python/shared.py": "NAME = 'second'"}),
    ):
        published = account.functions.publish_layer_version(
            LayerName=name, Content={"ZipFile": archive(files)}, CompatibleRuntimes=["python3.11", "python3.13"]
        )
        assert published["LayerVersionArn"] == f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:{name}:1"
    layers = [f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:{name}:1" for name in ("first", "second")]
    account.function(
        "layered",
        role,
        "import one, shared\ndef handler(event, context):\n    return [one.ONE, shared.NAME]\n",
        Layers=layers,
    )
    assert account.invoke("layered") == [1, "second"]
    described = account.functions.get_function_configuration(FunctionName="layered")["Layers"]
    assert [layer["Arn"] for layer in described] == layers
    account.functions.delete_layer_version(LayerName="first", VersionNumber=1)
    assert account.invoke("layered") == [1, "second"]
    assert [layer["LayerName"] for layer in account.functions.list_layers()["Layers"]] == ["second"]
    assert account.refused(account.functions.get_layer_version, LayerName="first", VersionNumber=1)[0] == (
        "ResourceNotFoundException"
    )
    refusal = account.refused(
        account.functions.update_function_configuration,
        FunctionName="layered",
        Layers=["arn:aws:lambda:us-east-1:999999999999:layer:theirs:1"],
    )
    assert refusal[0] == "InvalidParameterValueException"
    assert "publish the layer here" in refusal[1]
    account.functions.update_function_configuration(FunctionName="layered", Layers=[])
    assert "Layers" not in account.functions.get_function_configuration(FunctionName="layered")


def test_the_locations_of_packages_are_real(account: Account, powerless: str) -> None:
    location = account.functions.get_function(FunctionName=powerless)["Code"]["Location"]
    with zipfile.ZipFile(io.BytesIO(urllib.request.urlopen(location).read())) as package:
        assert package.read("app.py").decode() == CALLER
    layer = account.functions.publish_layer_version(LayerName="data", Content={"ZipFile": archive({"a.txt": "A"})})
    with zipfile.ZipFile(io.BytesIO(urllib.request.urlopen(layer["Content"]["Location"]).read())) as package:
        assert package.namelist() == ["a.txt"]


def test_an_alias_shares_invocations_out_between_two_versions(account: Account) -> None:
    version = "import os\ndef handler(event, context):\n    return context.function_version\n"
    account.function("shared", account.role("shared"), version, Publish=True)
    account.functions.update_function_configuration(FunctionName="shared", Description="second")
    account.functions.publish_version(FunctionName="shared")
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    account.functions.create_alias(FunctionName="shared", Name="live", FunctionVersion="1", RoutingConfig=routing)
    ran = {account.invoke("shared", Qualifier="live") for _ in range(60)}
    assert ran == {"1", "2"}  # by chance only one of them: once in 2^59
    shifted = account.functions.update_alias(
        FunctionName="shared", Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert "RoutingConfig" not in shifted
    assert account.invoke("shared", Qualifier="live") == "2"
    for version, weights, message in (
        ("$LATEST", {"1": 0.1}, "$LATEST is not supported for an alias pointing to more than 1 version"),
        ("2", {"1": 0.1, "2": 0.1}, "Number of items in AdditionalVersionWeights cannot be greater than 1"),
    ):
        refusal = account.refused(
            account.functions.update_alias,
            FunctionName="shared",
            Name="live",
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": weights},
        )
        assert refusal == ("InvalidParameterValueException", message)


# Queues as event sources

COLLECTOR = """
import json, os
import boto3

def handler(event, context):
    failed = []
    for record in event["Records"]:
        if record["body"] == "bad" and int(record["attributes"]["ApproximateReceiveCount"]) < 2:
            failed.append({"itemIdentifier": record["messageId"]})
    boto3.client("sqs").send_message(QueueUrl=os.environ["SINK"], MessageBody=json.dumps(event["Records"]))
    if failed and os.environ.get("WHOLE"):
        raise ValueError("bad")
    return {"batchItemFailures": failed}
"""
QUEUES = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"]


class Collector:
    """A function that is invoked for the messages of a queue, and shows what it got."""

    def __init__(self, account: Account, name: str, *, whole: bool = False, **mapping: Any) -> None:
        self.account = account
        self.source, self.arn = account.queue(name, VisibilityTimeout="3")
        self.sink, _ = account.queue(f"{name}-sink")
        environment = {"SINK": self.sink, **({"WHOLE": "1"} if whole else {})}
        role = account.role(name, allow(QUEUES))
        account.function(name, role, COLLECTOR, Environment={"Variables": environment}, Timeout=3)
        self.mapping = account.functions.create_event_source_mapping(
            EventSourceArn=self.arn, FunctionName=name, **mapping
        )

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.account.sqs.send_message(
                QueueUrl=self.source,
                MessageBody=body,
                MessageAttributes={"kind": {"DataType": "String", "StringValue": "job"}},
            )

    def batches(self, count: int) -> list[list[dict[str, Any]]]:
        """The first batches that it got."""
        found: list[list[dict[str, Any]]] = []

        def probe() -> bool:
            answer = self.account.sqs.receive_message(QueueUrl=self.sink, MaxNumberOfMessages=10)
            for message in answer.get("Messages", []):
                found.append(json.loads(message["Body"]))
                self.account.sqs.delete_message(QueueUrl=self.sink, ReceiptHandle=message["ReceiptHandle"])
            return len(found) >= count

        wait_until(probe, f"{count} batches")
        return found

    def left(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.account.sqs.get_queue_attributes(QueueUrl=self.source, AttributeNames=names)
        return sum(int(value) for value in answer["Attributes"].values())

    def remove(self) -> None:
        self.account.functions.delete_event_source_mapping(UUID=self.mapping["UUID"])


@pytest.fixture
def collect(account: Account) -> Iterator[Any]:
    made: list[Collector] = []

    def make(name: str, **settings: Any) -> Collector:
        made.append(Collector(account, name, **settings))
        return made[-1]

    yield make
    for collector in made:
        collector.remove()


def test_messages_of_a_queue_invoke_a_function(account: Account, collect: Any) -> None:
    collector = collect("arrivals")
    assert collector.mapping["State"] == "Creating"
    shown = account.functions.get_event_source_mapping(UUID=collector.mapping["UUID"])
    assert (shown["State"], shown["BatchSize"]) == ("Enabled", 10)
    collector.send("hello")
    ((record,),) = collector.batches(1)
    assert record["body"] == "hello"
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"] == collector.arn
    assert record["awsRegion"] == "us-east-1"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["kind"] == {
        "stringValue": "job",
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "String",
    }
    wait_until(lambda: collector.left() == 0, "the deletion")


def test_messages_of_a_failed_batch_come_again(collect: Any) -> None:
    collector = collect("failing", whole=True)
    collector.send("bad")
    (first,), (again,) = collector.batches(2)
    assert (first["messageId"], again["attributes"]["ApproximateReceiveCount"]) == (again["messageId"], "2")
    wait_until(lambda: collector.left() == 0, "the deletion")


def test_only_the_messages_reported_as_failed_come_again(collect: Any) -> None:
    collector = collect(
        "partly", FunctionResponseTypes=["ReportBatchItemFailures"], BatchSize=2, MaximumBatchingWindowInSeconds=5
    )
    collector.send("good", "bad")
    first, again = collector.batches(2)
    assert sorted(record["body"] for record in first) == ["bad", "good"]
    assert [record["body"] for record in again] == ["bad"]
    wait_until(lambda: collector.left() == 0, "the deletion")


def test_a_mapping_lets_through_what_its_filters_match(account: Account, collect: Any) -> None:
    wanted = {"Filters": [{"Pattern": json.dumps({"body": {"kind": ["job"], "size": [{"numeric": ["<", 5]}]}})}]}
    collector = collect("filtered", FilterCriteria=wanted)
    collector.send('{"kind": "job", "size": 9}', "no JSON", '{"kind": "job", "size": 3}')
    assert [record["body"] for record in collector.batches(1)[0]] == ['{"kind": "job", "size": 3}']
    wait_until(lambda: collector.left() == 0, "the deletion of what was not wanted")
    mapping = {"UUID": collector.mapping["UUID"]}
    assert account.functions.get_event_source_mapping(**mapping)["FilterCriteria"] == wanted
    bad = {"Filters": [{"Pattern": '{"body": "job"}'}]}
    assert account.refused(account.functions.update_event_source_mapping, **mapping, FilterCriteria=bad) == (
        "InvalidParameterValueException",
        'Invalid filter pattern definition: {"body": "job"}',
    )
    account.functions.update_event_source_mapping(**mapping, FilterCriteria={"Filters": []})
    assert "FilterCriteria" not in account.functions.get_event_source_mapping(**mapping)
    collector.send("no JSON")
    assert collector.batches(1)[0][0]["body"] == "no JSON"


def test_destinations_that_are_refused(account: Account, powerless: str) -> None:
    put = account.functions.put_function_event_invoke_config
    _, queue = account.queue("destination")

    def said(function: str, destination: str) -> tuple[str, str]:
        answer: tuple[str, str] = account.refused(
            put, FunctionName=function, DestinationConfig={"OnFailure": {"Destination": destination}}
        )
        return answer

    assert said(powerless, queue) == (
        "InvalidParameterValueException",
        f"The function's execution role does not have permissions to call SendMessage on {queue}",
    )
    account.function("sender", account.role("sender", allow(["sqs:SendMessage", "sns:Publish"])))
    put(FunctionName="sender", DestinationConfig={"OnFailure": {"Destination": queue}})
    for missing in (f"arn:aws:sqs:us-east-1:{ACCOUNT}:missing", f"arn:aws:sns:us-east-1:{ACCOUNT}:missing"):
        assert said("sender", missing)[1] == f"The destination ARN {missing} is invalid."
    assert said("sender", "arn:aws:s3:::bucket")[1].startswith("Destinations of s3 are not supported by stepbridge")


def test_a_disabled_mapping_rests(account: Account, collect: Any) -> None:
    collector = collect("resting", Enabled=False)
    collector.send("later")
    assert account.functions.get_event_source_mapping(UUID=collector.mapping["UUID"])["State"] == "Disabled"
    assert collector.left() == 1
    account.functions.update_event_source_mapping(UUID=collector.mapping["UUID"], Enabled=True)
    assert collector.batches(1)[0][0]["body"] == "later"


def test_mappings_that_are_refused(account: Account, powerless: str, collect: Any) -> None:
    create = account.functions.create_event_source_mapping
    _, queue = account.queue("unread")
    assert account.refused(create, EventSourceArn=queue, FunctionName=powerless) == (
        "InvalidParameterValueException",
        "The provided execution role does not have permissions to call GetQueueAttributes on SQS",
    )
    collector = collect("strict")
    assert (
        account.refused(create, EventSourceArn=collector.arn, FunctionName="strict")[0] == "ResourceConflictException"
    )
    missing = f"arn:aws:sqs:us-east-1:{ACCOUNT}:missing"
    assert (
        "AWS.SimpleQueueService.NonExistentQueue"
        in account.refused(create, EventSourceArn=missing, FunctionName="strict")[1]
    )
    _, quick = account.queue("quick", VisibilityTimeout="0")
    assert account.refused(create, EventSourceArn=quick, FunctionName="strict")[1] == (
        "Queue visibility timeout: 0 seconds is less than Function timeout: 3 seconds"
    )
    stream = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s"
    assert account.refused(create, EventSourceArn=stream, FunctionName="strict")[1] == (
        "Event sources of kinesis are not supported by stepbridge: those of sqs are."
    )


def test_a_distributed_map_reads_in_its_role(account: Account) -> None:
    states = account.emulator.client("stepfunctions")
    role = account.role("maps", service="states.amazonaws.com")
    each = {"Type": "Pass", "End": True}
    state = {
        "Type": "Map",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Parameters": {"Bucket": "maps-items", "Key": "items.json"},
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Each",
            "States": {"Each": each},
        },
        "End": True,
    }
    s3 = account.emulator.client("s3")
    s3.create_bucket(Bucket="maps-items")
    s3.put_object(Bucket="maps-items", Key="items.json", Body=b"[1, 2]")
    definition = json.dumps({"StartAt": "All", "States": {"All": state}})
    machine = states.create_state_machine(name="maps", definition=definition, roleArn=role)["stateMachineArn"]

    def run() -> dict[str, Any]:
        return ended(account.emulator, states.start_execution(stateMachineArn=machine)["executionArn"])

    failed = run()
    assert (failed["status"], failed["error"]) == ("FAILED", "States.ItemReaderFailed")
    assert (
        'is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::maps-items/items.json"'
        in failed["cause"]
    )
    grant = document(allow("s3:GetObject", "arn:aws:s3:::maps-items/*"))
    account.iam.put_role_policy(RoleName="maps", PolicyName="read", PolicyDocument=grant)
    assert run()["output"] == "[1,2]"


def test_step_functions_must_be_allowed_to_take_the_role(account: Account) -> None:
    states = account.emulator.client("stepfunctions")
    definition = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    role = account.role("not-for-states")
    said = account.refused(states.create_state_machine, name="untrusted", definition=definition, roleArn=role)
    message = "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume"
    assert said == ("AccessDeniedException", f"{message} the provided role.")
