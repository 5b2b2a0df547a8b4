"""The server's half of the wire protocols against botocore's own, the client's half."""

import io
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.compat import HTTPHeaders
from botocore.model import OperationModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from stepbridge.api.errors import AwsError
from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.api.models import operation_model
from stepbridge.api.protocols import protocol_of


def request_of(operation: OperationModel, members: dict[str, Any]) -> HttpRequest:
    """The request that botocore would send."""
    serializer = create_serializer(operation.service_model.metadata["protocol"], include_validation=False)
    request = serializer.serialize_to_request(members, operation)
    prepare_request_dict(request, endpoint_url="http://127.0.0.1:4566")
    prepared = create_request_object(request).prepare()
    url = urlsplit(prepared.url)
    headers = {name.lower(): v.decode() if isinstance(v, bytes) else str(v) for name, v in prepared.headers.items()}
    body = prepared.body or b""
    return HttpRequest(
        prepared.method, url.path, url.query, headers, body if isinstance(body, bytes) else body.encode()
    )


def read_by_botocore(operation: OperationModel, answer: HttpResponse) -> dict[str, Any]:
    """The answer as a boto3 user would see it."""
    headers = HTTPHeaders()
    for name, value in answer.headers.items():
        headers[name] = value
    parser = create_parser(operation.service_model.metadata["protocol"])
    response = {"status_code": answer.status, "headers": headers, "body": answer.body}
    shape = operation.output_shape
    if shape is not None and shape.serialization.get("payload") == "Payload":
        response["body"] = io.BytesIO(answer.body)
    parsed: dict[str, Any] = parser.parse(response, shape)
    parsed.pop("ResponseMetadata")
    return parsed


REQUESTS = [
    ("stepfunctions", "StartExecution", {"stateMachineArn": "arn:x", "input": '{"ü": "☃"}'}),
    ("stepfunctions", "CreateStateMachine", {"name": "n", "definition": "{}", "roleArn": "r", "publish": False}),
    ("stepfunctions", "TagResource", {"resourceArn": "arn:x", "tags": [{"key": "a", "value": "b"}, {"key": "c"}]}),
    ("stepfunctions", "GetExecutionHistory", {"executionArn": "a", "maxResults": 7, "reverseOrder": True}),
    ("lambda", "GetFunction", {"FunctionName": "arn:aws:lambda:us-east-1:1:function:f", "Qualifier": "3"}),
    ("lambda", "Invoke", {"FunctionName": "f", "InvocationType": "Event", "Payload": b'{"a": 1}'}),
    (
        "lambda",
        "CreateFunction",
        {
            "FunctionName": "f",
            "Role": "r",
            "Code": {"ZipFile": b"\x00\xff"},
            "Timeout": 3,
            "Environment": {"Variables": {"A": "1", "B": ""}},
            "Architectures": ["arm64"],
        },
    ),
    ("lambda", "UntagResource", {"Resource": "arn:x", "TagKeys": ["a", "b c"]}),
    ("iot", "CreateThing", {"thingName": "t:1", "attributePayload": {"attributes": {"a": "1"}, "merge": True}}),
    ("iot", "CreateKeysAndCertificate", {"setAsActive": True}),
    ("iot", "AttachPolicy", {"policyName": "p", "target": "arn:aws:iot:us-east-1:1:cert/ab"}),
    ("iot", "AttachThingPrincipal", {"thingName": "t", "principal": "arn:aws:iot:us-east-1:1:cert/ab"}),
    ("iot", "CreateTopicRule", {"ruleName": "r", "topicRulePayload": {"sql": "SELECT 1", "actions": []}}),
    ("iot-data", "Publish", {"topic": "a/ü b/c", "qos": 1, "retain": True, "payload": b"\x00\x01"}),
    ("iot-data", "Publish", {"topic": "a", "payload": b"", "messageExpiry": 60, "correlationData": "YQ=="}),
    (
        "cloudformation",
        "CreateChangeSet",
        {
            "StackName": "s",
            "ChangeSetName": "c",
            "Parameters": [
                {"ParameterKey": "A", "UsePreviousValue": True},
                {"ParameterKey": "B", "ParameterValue": ""},
            ],
            "Capabilities": ["CAPABILITY_IAM"],
            "Tags": [{"Key": "k", "Value": "v.w"}],
        },
    ),
    ("cloudformation", "ExecuteChangeSet", {"ChangeSetName": "c", "DisableRollback": False}),
]


@pytest.mark.parametrize(("service", "name", "members"), REQUESTS, ids=[f"{s}.{o}" for s, o, _ in REQUESTS])
def test_what_botocore_sends_is_read_back(service: str, name: str, members: dict[str, Any]) -> None:
    operation = operation_model(service, name)
    parsed_operation, parsed = protocol_of(service).parse(request_of(operation, members))
    assert parsed_operation.name == name
    assert parsed == members


def test_a_json_header_is_read() -> None:
    operation = operation_model("iot-data", "Publish")
    members = {"topic": "a", "userProperties": [{"device": "1"}, {"device": "2"}], "payload": b""}
    _, parsed = protocol_of("iot-data").parse(request_of(operation, members))
    assert parsed["userProperties"] == '[{"device": "1"}, {"device": "2"}]'


ANSWERS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("stepfunctions", "StartExecution", {"executionArn": "arn:x", "startDate": 1.5}, {"executionArn": "arn:x"}),
    ("stepfunctions", "SendTaskSuccess", {}, {}),
    ("lambda", "Invoke", {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": b"{}"}, {"StatusCode": 200}),
    ("lambda", "CreateFunction", {"FunctionName": "f", "Timeout": 3}, {"FunctionName": "f", "Timeout": 3}),
    ("lambda", "DeleteFunction", {}, {}),
    ("iot", "DescribeEndpoint", {"endpointAddress": "localhost"}, {"endpointAddress": "localhost"}),
    (
        "iot-data",
        "GetRetainedMessage",
        {"topic": "a", "payload": b"\x00", "qos": 1},
        {"topic": "a", "payload": b"\x00"},
    ),
    (
        "cloudformation",
        "DescribeStacks",
        {
            "Stacks": [
                {
                    "StackName": "s<&>",
                    "CreationTime": 1_700_000_000.0,
                    "StackStatus": "CREATE_COMPLETE",
                    "Outputs": [{"OutputKey": "k", "OutputValue": "v"}],
                    "Tags": [],
                    "DisableRollback": False,
                }
            ]
        },
        {},
    ),
]


@pytest.mark.parametrize(("service", "name", "output", "expected"), ANSWERS, ids=[f"{s}.{o}" for s, o, *_ in ANSWERS])
def test_botocore_reads_what_we_answer(
    service: str, name: str, output: dict[str, Any], expected: dict[str, Any]
) -> None:
    operation = operation_model(service, name)
    parsed = read_by_botocore(operation, protocol_of(service).serialize(operation, output, "request-1"))
    assert expected.items() <= parsed.items()
    assert set(output) <= set(parsed)


def test_xml_answers_keep_text_lists_and_times() -> None:
    operation = operation_model("cloudformation", "DescribeStacks")
    output = ANSWERS[-1][2]
    stack = read_by_botocore(operation, protocol_of("cloudformation").serialize(operation, output, "r"))["Stacks"][0]
    assert stack["StackName"] == "s<&>"
    assert stack["CreationTime"].timestamp() == 1_700_000_000
    assert stack["Outputs"] == [{"OutputKey": "k", "OutputValue": "v"}]
    assert stack["Tags"] == []
    assert stack["DisableRollback"] is False


ERRORS = [
    ("stepfunctions", "StartExecution", "StateMachineDoesNotExist", 400),
    ("lambda", "Invoke", "ResourceNotFoundException", 404),
    ("iot", "CreateThing", "ResourceAlreadyExistsException", 409),
    ("cloudformation", "DescribeStacks", "ValidationError", 400),
]


@pytest.mark.parametrize(("service", "name", "code", "status"), ERRORS)
def test_botocore_reads_the_code_and_message_of_an_error(service: str, name: str, code: str, status: int) -> None:
    operation = operation_model(service, name)
    answer = protocol_of(service).serialize_error(operation, AwsError(code, "what <is> wrong"), "r")
    assert answer.status == status
    parser = create_parser(operation.service_model.metadata["protocol"])
    response = {"status_code": answer.status, "headers": answer.headers, "body": answer.body}
    error = parser.parse(response, operation.output_shape)["Error"]
    assert (error["Code"], error["Message"]) == (code, "what <is> wrong")


START = {"x-amz-target": "AWSStepFunctions.StartExecution"}
MALFORMED = [
    ("stepfunctions", "POST", "/", START, b"{", "SerializationException"),
    (
        "stepfunctions",
        "POST",
        "/",
        START,
        b"[]",
        "SerializationException",
    ),
    (
        "stepfunctions",
        "POST",
        "/",
        START,
        b'{"stateMachineArn": 1}',
        "SerializationException",
    ),
    ("stepfunctions", "POST", "/", {"x-amz-target": "AWSStepFunctions.Nope"}, b"{}", "UnknownOperationException"),
    ("lambda", "GET", "/no/such/path", {}, b"", "UnknownOperationException"),
    (
        "lambda",
        "PUT",
        "/2017-10-31/functions/f/concurrency",
        {},
        b'{"ReservedConcurrentExecutions": "x"}',
        "SerializationException",
    ),
    ("iot-data", "POST", "/topics/a?qos=x", {}, b"", "SerializationException"),
    ("iot-data", "POST", "/topics/a", {"x-amz-mqtt5-user-properties": "!"}, b"", "SerializationException"),
    ("cloudformation", "POST", "/", {}, b"Action=Nope", "InvalidAction"),
]


@pytest.mark.parametrize(("service", "method", "target", "headers", "body", "code"), MALFORMED)
def test_malformed_requests_are_refused_in_words(
    service: str, method: str, target: str, headers: dict[str, str], body: bytes, code: str
) -> None:
    path, _, query = target.partition("?")
    request = HttpRequest(method, path, query, headers, body)
    with pytest.raises(AwsError) as refusal:
        protocol_of(service).parse(request)
    assert refusal.value.code == code
    assert refusal.value.message


def test_the_path_with_more_literal_text_wins() -> None:
    request = HttpRequest("GET", "/policies/p/version/1", "", {}, b"")
    assert protocol_of("iot").parse(request)[0].name == "GetPolicyVersion"


def test_a_trailing_slash_does_not_matter() -> None:
    for path in ("/2015-03-31/functions", "/2015-03-31/functions/"):
        assert protocol_of("lambda").parse(HttpRequest("GET", path, "", {}, b""))[0].name == "ListFunctions"
