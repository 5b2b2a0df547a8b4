"""What the resource types declare, beside botocore's models."""

from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from stepbridge.cloudformation.resources import resource_types
from stepbridge.cloudformation.resources.base import Kind, ResourceType
from stepbridge.cloudformation.resources.shapes import KNOWN_AFTER_APPLY, shape_at

STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/s"
TYPES = sorted(resource_types().items())


@pytest.mark.parametrize(("name", "resource_type"), TYPES, ids=[name for name, _ in TYPES])
def test_every_property_is_in_the_model_of_its_service(name: str, resource_type: type[ResourceType]) -> None:
    for property_name, declared in resource_type.properties.items():
        if declared.kind is Kind.SHAPE and declared.shape:
            assert shape_at(resource_type.service, declared.shape) is not None, property_name
    assert next(iter(resource_type.check({"Nonsense": 1}))) == "#: extraneous key [Nonsense] is not permitted"


@pytest.mark.parametrize(
    ("type_name", "properties", "problems"),
    [
        (
            "AWS::Lambda::Function",
            {"Code": {"ZipFile": "x"}, "Role": "r", "Timeout": "30", "Environment": {"Variables": {"A": 1}}},
            [],
        ),
        (
            "AWS::Lambda::Function",
            {"Code": {"ZipFile": "x"}, "Role": "r", "Timeout": "soon", "Environment": {"Variable": {}}},
            [
                "#/Environment: extraneous key [Variable] is not permitted",
                "#/Timeout: expected type: Number, found: String",
            ],
        ),
        ("AWS::Lambda::Url", {"TargetFunctionArn": KNOWN_AFTER_APPLY, "AuthType": "NONE", "Cors": {"MaxAge": "5"}}, []),
        (
            "AWS::Lambda::Url",
            {"AuthType": "ANY", "InvokeMode": "STREAM", "Cors": {"AllowMethods": ["GET", "OPTION"]}},
            [
                "#: required key [TargetFunctionArn] not found",
                "#/AuthType: #: ANY is not a valid enum value",
                "#/InvokeMode: #: STREAM is not a valid enum value",
                "#/Cors/AllowMethods/1: #: OPTION is not a valid enum value",
            ],
        ),
        ("AWS::Lambda::Function", {"Code": {}, "Role": KNOWN_AFTER_APPLY}, ["#/Code: required key [S3Bucket], "]),
        (
            "AWS::Lambda::Function",
            {
                "Code": {"ImageUri": "i"},
                "Role": "r",
                "PackageType": "Image",
                "ImageConfig": {},
                "SnapStart": {"ApplyOn": "PublishedVersions"},
                "RuntimeManagementConfig": {"UpdateRuntimeOn": "Never", "Runtime": "r"},
            },
            [
                "#/Code/ImageUri: is not supported by stepbridge, zip archives are",
                "#/ImageConfig: is not supported by stepbridge",
                "#/PackageType: Image is not supported by stepbridge, Zip is",
                "#/RuntimeManagementConfig/UpdateRuntimeOn: #: Never is not a valid enum value",
                "#/RuntimeManagementConfig: extraneous key [Runtime] is not permitted",
                "#/SnapStart/ApplyOn: PublishedVersions is not supported by stepbridge, None is",
            ],
        ),
        (
            "AWS::Lambda::EventSourceMapping",
            {
                "FunctionName": "f",
                "EventSourceArn": "arn:aws:kinesis:us-east-1:1:stream/s",
                "StartingPosition": "LATEST",
            },
            [
                "#/EventSourceArn: sources of kinesis are not supported by stepbridge, those of sqs are",
                "#/StartingPosition: is not supported by stepbridge",
            ],
        ),
        ("AWS::Lambda::EventSourceMapping", {"FunctionName": "f", "EventSourceArn": KNOWN_AFTER_APPLY}, []),
        (
            "AWS::Lambda::Alias",
            {"FunctionName": "f", "FunctionVersion": "1", "Name": "a", "ProvisionedConcurrencyConfig": {}},
            ["#/ProvisionedConcurrencyConfig: wants [ProvisionedConcurrentExecutions]"],
        ),
        (
            "AWS::Lambda::Alias",
            {"FunctionName": "f", "FunctionVersion": "1", "Name": "a", "RoutingConfig": "2"},
            ["#/RoutingConfig: wants a list [AdditionalVersionWeights]"],
        ),
        (
            "AWS::Lambda::Alias",
            {
                "FunctionName": "f",
                "FunctionVersion": "1",
                "Name": "a",
                "RoutingConfig": {
                    "AdditionalVersionWeights": [
                        "2",
                        {"FunctionVersion": KNOWN_AFTER_APPLY, "FunctionWeight": "0.5"},
                        {"FunctionVersion": "3", "FunctionWeight": "half"},
                    ]
                },
            },
            [
                "#/RoutingConfig/AdditionalVersionWeights/0: wants [FunctionVersion] and [FunctionWeight]",
                "#/RoutingConfig/AdditionalVersionWeights/2/FunctionWeight: expected type: Number, found: String",
            ],
        ),
        (
            "AWS::Lambda::CodeSigningConfig",
            {"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Refuse"}},
            [
                "#/CodeSigningPolicies/UntrustedArtifactOnDeployment: #: Refuse is not a valid enum value",
                "#: required key [AllowedPublishers] not found",
            ],
        ),
        ("AWS::IoT::TopicRule", {"TopicRulePayload": {"Sql": "s", "Actions": [], "RuleDisabled": "false"}}, []),
        (
            "AWS::IoT::TopicRule",
            {"TopicRulePayload": {"sql": "s", "Actions": {}}},
            [
                "#/TopicRulePayload/Actions: expected type: JSONArray, found: JSONObject",
                "#/TopicRulePayload: extraneous key [sql] is not permitted",
                "#/TopicRulePayload: required key [Sql] not found",
            ],
        ),
        (
            "AWS::StepFunctions::StateMachine",
            {"RoleArn": "r", "StateMachineType": "FAST", "DefinitionString": "{}"},
            ["#/StateMachineType: #: FAST is not a valid enum value"],
        ),
        ("AWS::StepFunctions::StateMachine", {"RoleArn": "r"}, ["#: exactly one of [Definition, "]),
        ("AWS::IoT::Certificate", {"Status": "ACTIVE"}, ["#: one of [CertificateSigningRequest] and "]),
        ("AWS::SQS::Queue", {"Tags": [{"Key": "a"}]}, ["#/Tags/0: a tag has the keys [Key] and [Value]"]),
        (
            "AWS::DynamoDB::Table",
            {"KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]},
            ["#: required key [AttributeDefinitions] not found"],
        ),
        ("AWS::SSM::Parameter", {"Type": "SecureString", "Value": "v"}, ["#/Type: #: SecureString is not a valid"]),
    ],
)
def test_checks(type_name: str, properties: dict[str, Any], problems: list[str]) -> None:
    found = sorted(resource_types()[type_name].check(properties))
    assert len(found) == len(problems), found
    for text, beginning in zip(found, sorted(problems), strict=True):
        assert text.startswith(beginning)


def test_a_stacks_tags_go_to_what_can_have_tags() -> None:
    types = resource_types()
    own = {"Tags": [{"Key": "a", "Value": "own"}]}
    assert types["AWS::SQS::Queue"].with_stack_tags(own, {"a": "stack", "b": "stack"}) == {
        "Tags": [{"Key": "a", "Value": "own"}, {"Key": "b", "Value": "stack"}]
    }
    assert types["AWS::SSM::Parameter"].with_stack_tags({}, {"a": "stack"}) == {"Tags": {"a": "stack"}}
    assert types["AWS::IoT::Thing"].with_stack_tags({}, {"a": "stack"}) == {}


# Managed instances, micro virtual machines and web functions.
LAMBDA_NOT_OFFERED = {
    "AWS::Lambda::CapacityProvider",
    "AWS::Lambda::MicrovmImage",
    "AWS::Lambda::NetworkConnector",
    "AWS::Lambda::WebFunction",
    "AWS::Lambda::WebFunctionEndpoint",
    "AWS::Lambda::WebFunctionRevision",
}


def test_all_of_lambda_is_offered_or_known_not_to_be() -> None:
    """Compared with CloudFormation's own schemas: a property that is new there must not go by unseen."""
    types = resource_types()
    named = {name for name in PROVIDER_SCHEMA_MANAGER.get_resource_types("us-east-1") if name.startswith("AWS::Lambda")}
    assert {name for name in named if name not in types} == LAMBDA_NOT_OFFERED
    for name in named - LAMBDA_NOT_OFFERED:
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", name).schema
        read_only = {
            path.removeprefix("/properties/").replace("/", ".") for path in schema.get("readOnlyProperties", [])
        }
        create_only = {path.removeprefix("/properties/") for path in schema.get("createOnlyProperties", [])}
        ours = types[name]
        assert {*ours.properties, *ours.unsupported} == set(schema["properties"]) - read_only, name
        assert read_only == ours.attributes, name
        assert {key for key, each in ours.properties.items() if each.required} == set(schema["required"]), name
        replacing = {key for key, each in ours.properties.items() if each.replace}
        assert replacing == create_only - ours.unsupported, name
