"""The resource types that the emulator's own services carry out: created, changed, deleted on a running emulator."""

import io
import json
import urllib.request
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.integration.cloudformation.stacks import ROLE, Stacks, function

from stepbridge.testing import EmulatorProcess

BUCKET = "code-of-layers"
DEFINITION = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
OTHER_DEFINITION = {"StartAt": "Over", "States": {"Over": {"Type": "Succeed"}}}
ANSWER = "def handler(event, context): return 1"


def signing_request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


REQUEST = signing_request()
SIGNING_PROFILE = "arn:aws:signer:us-east-1:123456789012:/signing-profiles/edge/aBcDeFgHiJ"
FUNCTION = {"Role": ROLE, "F": function(ANSWER)}
VERSION = {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "F"}}}
MACHINE: dict[str, Any] = {
    "Type": "AWS::StepFunctions::StateMachine",
    "Properties": {"RoleArn": {"Fn::GetAtt": ["Role", "Arn"]}, "Definition": DEFINITION},
}
MACHINE_VERSION = {
    "Type": "AWS::StepFunctions::StateMachineVersion",
    "Properties": {
        "StateMachineArn": {"Ref": "M"},
        "StateMachineRevisionId": {"Fn::GetAtt": ["M", "StateMachineRevisionId"]},
    },
}
CERTIFICATE: dict[str, Any] = {
    "Type": "AWS::IoT::Certificate",
    "Properties": {"CertificateSigningRequest": REQUEST, "Status": "ACTIVE"},
}
DEVICE_POLICY = {
    "Type": "AWS::IoT::Policy",
    "Properties": {
        "PolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}],
        }
    },
}
RULE = {
    "Sql": "SELECT * FROM 'a'",
    "Actions": [{"Republish": {"RoleArn": {"Fn::GetAtt": ["Role", "Arn"]}, "Topic": "b"}}],
}


def function_policy(service: str) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "lambda:InvokeFunction",
        "Resource": {"Fn::GetAtt": ["F", "Arn"]},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


# The type, its properties, other properties it is updated to, the resources it needs, whether it is another one then.
CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], bool]] = [
    (
        "AWS::Lambda::Function",
        function(ANSWER)["Properties"],
        function("def handler(event, context): return 2", MemorySize=256, Environment={"Variables": {"AB": "1"}})[
            "Properties"
        ],
        {"Role": ROLE},
        False,
    ),
    (
        "AWS::Lambda::Permission",
        {"FunctionName": {"Ref": "F"}, "Action": "lambda:InvokeFunction", "Principal": "iot.amazonaws.com"},
        {"FunctionName": {"Ref": "F"}, "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com"},
        FUNCTION,
        True,
    ),
    (
        "AWS::Lambda::Alias",
        {
            "FunctionName": {"Ref": "F"},
            "Name": "live",
            "FunctionVersion": {"Fn::GetAtt": ["V", "Version"]},
            "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": "1"},
        },
        {"FunctionName": {"Ref": "F"}, "Name": "live", "FunctionVersion": "$LATEST", "Description": "newest"},
        {**FUNCTION, "V": VERSION},
        False,
    ),
    (
        "AWS::Lambda::Version",
        {"FunctionName": {"Ref": "F"}, "Description": "one"},
        {
            "FunctionName": {"Ref": "Other"},
            "Description": "other",
            "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 1},
        },
        {**FUNCTION, "Other": function("def handler(event, context): return 3")},
        True,
    ),
    (
        "AWS::Lambda::ResourcePolicy",
        {"ResourceArn": {"Fn::GetAtt": ["F", "Arn"]}, "PolicyDocument": function_policy("iot.amazonaws.com")},
        {"ResourceArn": {"Fn::GetAtt": ["F", "Arn"]}, "PolicyDocument": function_policy("events.amazonaws.com")},
        FUNCTION,
        False,
    ),
    (
        "AWS::Lambda::CodeSigningConfig",
        {"AllowedPublishers": {"SigningProfileVersionArns": [SIGNING_PROFILE]}, "Description": "one"},
        {
            "AllowedPublishers": {"SigningProfileVersionArns": [SIGNING_PROFILE]},
            "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"},
            "Tags": [{"Key": "a", "Value": "b"}],
        },
        {},
        False,
    ),
    (
        "AWS::Lambda::EventInvokeConfig",
        {"FunctionName": {"Ref": "F"}, "Qualifier": "$LATEST", "MaximumRetryAttempts": 0},
        {"FunctionName": {"Ref": "F"}, "Qualifier": "$LATEST", "MaximumRetryAttempts": 1},
        FUNCTION,
        False,
    ),
    (
        "AWS::Lambda::LayerVersion",
        {"Content": {"S3Bucket": BUCKET, "S3Key": "layer.zip"}, "CompatibleRuntimes": ["python3.13"]},
        {"Content": {"S3Bucket": BUCKET, "S3Key": "layer.zip"}, "Description": "another"},
        {},
        True,
    ),
    (
        "AWS::Lambda::LayerVersionPermission",
        {"LayerVersionArn": {"Ref": "L"}, "Action": "lambda:GetLayerVersion", "Principal": "*"},
        {"LayerVersionArn": {"Ref": "L"}, "Action": "lambda:GetLayerVersion", "Principal": "210987654321"},
        {
            "L": {
                "Type": "AWS::Lambda::LayerVersion",
                "Properties": {"Content": {"S3Bucket": BUCKET, "S3Key": "layer.zip"}},
            }
        },
        True,
    ),
    (
        "AWS::Lambda::Url",
        {"TargetFunctionArn": {"Ref": "F"}, "AuthType": "NONE", "Cors": {"AllowOrigins": ["*"], "MaxAge": "5"}},
        {"TargetFunctionArn": {"Ref": "F"}, "AuthType": "AWS_IAM", "InvokeMode": "BUFFERED"},
        FUNCTION,
        False,
    ),
    (
        "AWS::Lambda::Url",
        {"TargetFunctionArn": {"Fn::GetAtt": ["F", "Arn"]}, "AuthType": "NONE"},
        {"TargetFunctionArn": {"Fn::GetAtt": ["F", "Arn"]}, "AuthType": "NONE", "Qualifier": "live"},
        {
            **FUNCTION,
            "V": VERSION,
            "A": {
                "Type": "AWS::Lambda::Alias",
                "Properties": {
                    "FunctionName": {"Ref": "F"},
                    "Name": "live",
                    "FunctionVersion": {"Fn::GetAtt": ["V", "Version"]},
                },
            },
        },
        True,
    ),
    (
        "AWS::Lambda::EventSourceMapping",
        {"FunctionName": {"Ref": "F"}, "EventSourceArn": {"Fn::GetAtt": ["Q", "Arn"]}, "BatchSize": 5},
        {
            "FunctionName": {"Ref": "F"},
            "EventSourceArn": {"Fn::GetAtt": ["Q", "Arn"]},
            "BatchSize": 7,
            "Enabled": False,
        },
        {
            **FUNCTION,
            "Q": {"Type": "AWS::SQS::Queue"},
            "Role": {
                **ROLE,
                "Properties": {
                    **ROLE["Properties"],
                    "ManagedPolicyArns": ["arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"],
                },
            },
        },
        False,
    ),
    (
        "AWS::StepFunctions::StateMachine",
        MACHINE["Properties"],
        {
            "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
            "DefinitionString": json.dumps(OTHER_DEFINITION),
            "Tags": [{"Key": "a", "Value": "b"}],
        },
        {"Role": ROLE},
        False,
    ),
    (
        "AWS::StepFunctions::StateMachineVersion",
        {"StateMachineArn": {"Ref": "M"}, "Description": "one"},
        {"StateMachineArn": {"Ref": "Other"}, "Description": "two"},
        {"Role": ROLE, "M": MACHINE, "Other": MACHINE},
        True,
    ),
    (
        "AWS::StepFunctions::StateMachineAlias",
        {"Name": "live", "RoutingConfiguration": [{"StateMachineVersionArn": {"Ref": "V"}, "Weight": 100}]},
        {"Name": "live", "DeploymentPreference": {"StateMachineVersionArn": {"Ref": "V"}, "Type": "ALL_AT_ONCE"}},
        {"Role": ROLE, "M": MACHINE, "V": MACHINE_VERSION},
        False,
    ),
    (
        "AWS::IoT::Thing",
        {"ThingName": "made-thing"},
        {"ThingName": "made-thing", "AttributePayload": {"Attributes": {"place": "cellar"}}},
        {},
        False,
    ),
    (
        "AWS::IoT::Certificate",
        CERTIFICATE["Properties"],
        {**CERTIFICATE["Properties"], "Status": "INACTIVE"},
        {},
        False,
    ),
    (
        "AWS::IoT::PolicyPrincipalAttachment",
        {"PolicyName": {"Ref": "P"}, "Principal": {"Fn::GetAtt": ["C", "Arn"]}},
        {"PolicyName": {"Ref": "O"}, "Principal": {"Fn::GetAtt": ["C", "Arn"]}},
        {"P": DEVICE_POLICY, "O": DEVICE_POLICY, "C": CERTIFICATE},
        True,
    ),
    (
        "AWS::IoT::ThingPrincipalAttachment",
        {"ThingName": {"Ref": "T"}, "Principal": {"Fn::GetAtt": ["C", "Arn"]}},
        {"ThingName": {"Ref": "O"}, "Principal": {"Fn::GetAtt": ["C", "Arn"]}},
        {"T": {"Type": "AWS::IoT::Thing"}, "O": {"Type": "AWS::IoT::Thing"}, "C": CERTIFICATE},
        True,
    ),
    (
        "AWS::IoT::TopicRule",
        {"TopicRulePayload": RULE},
        {"TopicRulePayload": {**RULE, "Sql": "SELECT x FROM 'c'", "RuleDisabled": True}},
        {"Role": ROLE},
        False,
    ),
    (
        "AWS::IoT::TopicRuleDestination",
        {"HttpUrlProperties": {"ConfirmationUrl": "http://127.0.0.1:9/confirm"}},
        {"HttpUrlProperties": {"ConfirmationUrl": "http://127.0.0.1:9/other"}},
        {},
        True,
    ),
]


@pytest.fixture(scope="module")
def stacks(stepbridge: EmulatorProcess) -> Iterator[Stacks]:
    s3 = stepbridge.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("python/layered.py", "VALUE = 1\n")
    s3.put_object(Bucket=BUCKET, Key="layer.zip", Body=archive.getvalue())
    yield Stacks(stepbridge)
    s3.delete_object(Bucket=BUCKET, Key="layer.zip")
    s3.delete_bucket(Bucket=BUCKET)


@pytest.mark.parametrize(
    ("type_name", "first", "second", "others", "replaced"), CASES, ids=[case[0].rpartition("::")[2] for case in CASES]
)
def test_created_changed_deleted(
    stacks: Stacks,
    type_name: str,
    first: dict[str, Any],
    second: dict[str, Any],
    others: dict[str, Any],
    replaced: bool,
) -> None:
    name = f"one-{type_name.rpartition('::')[2]}"
    created = stacks.create(name, {**others, "It": {"Type": type_name, "Properties": first}})
    assert created == "CREATE_COMPLETE", "\n".join(map(str, stacks.events(name)))
    before = stacks.physical_id(name, "It")
    updated = stacks.update(name, {**others, "It": {"Type": type_name, "Properties": second}})
    assert updated == "UPDATE_COMPLETE", "\n".join(map(str, stacks.events(name)))
    assert (stacks.physical_id(name, "It") != before) is replaced
    stack_id = stacks.client.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    assert stacks.delete(name) == "DELETE_COMPLETE", stacks.events(stack_id)


def test_what_a_template_gets_of_a_function_url(stacks: Stacks) -> None:
    """Also where the URL is of an alias, which its ARN names, and is changed."""
    alias = {"FunctionName": {"Ref": "F"}, "Name": "live", "FunctionVersion": {"Fn::GetAtt": ["V", "Version"]}}
    url = {"TargetFunctionArn": {"Ref": "A"}, "AuthType": "NONE", "Cors": {"AllowOrigins": ["*"]}}
    everyone = {"FunctionName": {"Ref": "A"}, "Principal": "*"}
    trust = {"AssumeRolePolicyDocument": ROLE["Properties"]["AssumeRolePolicyDocument"]}
    resources = {
        **FUNCTION,
        "Role": {**ROLE, "Properties": trust},  # which allows no logs: their group would outlive the stack
        "V": VERSION,
        "A": {"Type": "AWS::Lambda::Alias", "Properties": alias},
        "U": {"Type": "AWS::Lambda::Url", "Properties": url},
        "P": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {**everyone, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
        },
        "I": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {**everyone, "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
        },
    }
    values = {"Ref": {"Ref": "U"}, **{name: {"Fn::GetAtt": ["U", name]} for name in ("FunctionArn", "FunctionUrl")}}
    outputs = {name: {"Value": value} for name, value in values.items()}
    assert stacks.create("urls", resources, Outputs=outputs) == "CREATE_COMPLETE", stacks.events("urls")
    got = stacks.outputs("urls")
    assert got["Ref"] == got["FunctionArn"] == stacks.physical_id("urls", "A")
    with urllib.request.urlopen(got["FunctionUrl"]) as answer:
        assert (answer.status, answer.read()) == (200, b"1")
    config = stacks.emulator.client("lambda").get_function_url_config(FunctionName=got["Ref"])
    assert config["Cors"] == {"AllowOrigins": ["*"]}

    resources["U"] = {"Type": "AWS::Lambda::Url", "Properties": {**url, "AuthType": "AWS_IAM", "Cors": {"MaxAge": 5}}}
    assert stacks.update("urls", resources, Outputs=outputs) == "UPDATE_COMPLETE", stacks.events("urls")
    assert stacks.outputs("urls") == got
    config = stacks.emulator.client("lambda").get_function_url_config(FunctionName=got["Ref"])
    assert (config["AuthType"], config["Cors"]) == ("AWS_IAM", {"MaxAge": 5})
    del resources["U"]
    assert stacks.update("urls", resources) == "UPDATE_COMPLETE", stacks.events("urls")
    function = stacks.physical_id("urls", "F")
    listed = stacks.emulator.client("lambda").list_function_url_configs(FunctionName=function)
    assert listed["FunctionUrlConfigs"] == []
    assert stacks.delete("urls") == "DELETE_COMPLETE"


def groups_of(logs: Any) -> list[str]:
    return [each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]]


def test_a_failure_leaves_nothing_behind(stacks: Stacks) -> None:
    """All of it is made before the last resource fails, and all of it goes again."""
    emulator = stacks.emulator
    clients = {name: emulator.client(name) for name in ("iot", "lambda", "stepfunctions", "iam", "sqs", "logs")}

    def inventory() -> dict[str, list[str]]:
        return {
            "things": [each["thingName"] for each in clients["iot"].list_things()["things"]],
            "certificates": [each["certificateId"] for each in clients["iot"].list_certificates()["certificates"]],
            "policies": [each["policyName"] for each in clients["iot"].list_policies()["policies"]],
            "rules": [each["ruleName"] for each in clients["iot"].list_topic_rules()["rules"]],
            "functions": [each["FunctionName"] for each in clients["lambda"].list_functions()["Functions"]],
            "machines": [each["name"] for each in clients["stepfunctions"].list_state_machines()["stateMachines"]],
            "roles": [each["RoleName"] for each in clients["iam"].list_roles()["Roles"]],
            "queues": clients["sqs"].list_queues().get("QueueUrls", []),
            # What functions of other tests have written may arrive only now, in groups of theirs.
            "groups": [group for group in groups_of(clients["logs"]) if "leaving" in group],
        }

    before = inventory()
    resources = {
        **FUNCTION,
        "V": VERSION,
        "M": MACHINE,
        "MV": MACHINE_VERSION,
        "T": {"Type": "AWS::IoT::Thing"},
        "P": DEVICE_POLICY,
        "C": CERTIFICATE,
        "R": {"Type": "AWS::IoT::TopicRule", "Properties": {"TopicRulePayload": RULE}},
        "Q": {"Type": "AWS::SQS::Queue"},
        "L": {"Type": "AWS::Logs::LogGroup"},
        "A": {
            "Type": "AWS::IoT::PolicyPrincipalAttachment",
            "Properties": {"PolicyName": {"Ref": "P"}, "Principal": {"Fn::GetAtt": ["C", "Arn"]}},
        },
    }
    bad = {
        "Type": "AWS::IoT::PolicyPrincipalAttachment",
        "DependsOn": list(resources),
        "Properties": {"PolicyName": "nobody", "Principal": {"Fn::GetAtt": ["C", "Arn"]}},
    }
    assert stacks.create("leaving", {**resources, "Bad": bad}) == "ROLLBACK_COMPLETE"
    assert inventory() == before
    # The same with an update: what it made goes, what it changed comes back.
    kept = {"T": {"Type": "AWS::IoT::Thing", "Properties": {"AttributePayload": {"Attributes": {"a": "1"}}}}}
    stacks.delete("leaving")
    assert stacks.create("leaving", kept) == "CREATE_COMPLETE"
    before = inventory()
    changed = {**resources, "T": {"Type": "AWS::IoT::Thing"}, "Bad": bad}
    assert stacks.update("leaving", changed) == "UPDATE_ROLLBACK_COMPLETE", stacks.events("leaving")
    assert inventory() == before
    thing = clients["iot"].describe_thing(thingName=stacks.physical_id("leaving", "T"))
    assert thing["attributes"] == {"a": "1"}
    assert stacks.delete("leaving") == "DELETE_COMPLETE"


def test_what_is_under_way_when_another_fails_is_cancelled(stacks: Stacks) -> None:
    slow = {"Type": "AWS::DynamoDB::Table", "Properties": {
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }}  # fmt: skip
    bad = {"Type": "AWS::IoT::PolicyPrincipalAttachment", "Properties": {"PolicyName": "nobody", "Principal": "nobody"}}
    assert stacks.create("cancelled", {"Slow": slow, "Bad": bad}) == "ROLLBACK_COMPLETE"
    events = stacks.events("cancelled")
    assert ("Slow", "CREATE_FAILED", "Resource creation cancelled") in events
    assert any(
        event[1] == "ROLLBACK_IN_PROGRESS"
        and event[2] == "The following resource(s) failed to create: [Bad, Slow]. Rollback requested by user."
        for event in events
    )
    tables = stacks.emulator.client("dynamodb").list_tables()["TableNames"]
    assert [name for name in tables if name.startswith("cancelled-")] == []
    stacks.delete("cancelled")
