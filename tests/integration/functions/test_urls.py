"""Function URLs of a running emulator: their configurations, and requests to them by real HTTP clients."""

import http.client
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.e2e.harness import wait_until
from tests.integration.functions.test_with_services import Account, allow

from stepbridge.testing import EmulatorProcess

ARN = "arn:aws:lambda:us-east-1:123456789012:function:"
FAILED_TO_CREATE, EXISTS = (
    "Failed to create function url config for",
    "FunctionUrlConfig exists for this Lambda function",
)
FORBIDDEN = {
    "Message": "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
}
# Answers what the path says, else the event.
CODE = """
import json, time

def handler(event, context):
    what = event["rawPath"]
    if what == "/fail":
        raise ValueError("no")
    if what == "/slow":
        time.sleep(60)
    if what == "/malformed":
        return {"statusCode": "none"}
    if what == "/bytes":
        return b"no JSON"
    if what == "/injected":
        return {"statusCode": 200, "headers": {"x": "a\\r\\nb: c"}}
    if what == "/text":
        return "hello"
    if what == "/large":
        return {"statusCode": 200, "body": "x" * 7_000_000}
    if what == "/answer":
        return json.loads(event["body"])
    return {**event, "invocation": context.aws_request_id, "arn": context.invoked_function_arn}
"""
# Calls the URL that the event names with its own credentials.
SIGNS = """
import boto3, urllib.request, urllib.error
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

def handler(event, context):
    request = AWSRequest("GET", event["url"])
    SigV4Auth(boto3.Session().get_credentials(), "lambda", "us-east-1").add_auth(request)
    try:
        with urllib.request.urlopen(urllib.request.Request(event["url"], headers=dict(request.headers))) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
"""

Answer = tuple[int, list[tuple[str, str]], bytes]


def send(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """A request, and the status, headers (names in lower case) and body of its response."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, named)
        response = connection.getresponse()
        return response.status, [(name.lower(), value) for name, value in response.getheaders()], response.read()
    finally:
        connection.close()


def signed(
    url: str, access_key: str = "AKIAUSERSOWN00000000", service: str = "lambda", region: str = "us-east-1"
) -> Answer:
    request = AWSRequest("GET", url)
    SigV4Auth(Credentials(access_key, "secret"), service, region).add_auth(request)
    return send(url, **dict(request.headers.items()))


class Urls(Account):
    """Functions with URLs."""

    def url(self, name: str, *, public: bool = True, qualifier: str | None = None, **members: Any) -> str:
        where = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
        config = {"AuthType": "NONE", **members}
        created: str = self.functions.create_function_url_config(**where, **config)["FunctionUrl"]
        if public:
            self.admit(name, qualifier)
        return created

    def admit(self, name: str, qualifier: str | None = None) -> None:
        """Both permissions that a public URL takes."""
        where = {"FunctionName": name, "Principal": "*", **({"Qualifier": qualifier} if qualifier else {})}
        self.functions.add_permission(
            **where, StatementId="url", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE"
        )
        self.functions.add_permission(
            **where, StatementId="invoke", Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True
        )


@pytest.fixture(scope="module")
def urls(stepbridge: EmulatorProcess) -> Urls:
    account = Urls(stepbridge)
    account.role("url-functions", allow("logs:*"))
    return account


@pytest.fixture
def function(urls: Urls, request: pytest.FixtureRequest) -> Iterator[str]:
    """A function named after the test."""
    name = request.node.originalname[:60]
    urls.function(name, "arn:aws:iam::123456789012:role/url-functions", CODE)
    yield name
    urls.functions.delete_function(FunctionName=name)


def test_the_life_of_a_url(urls: Urls, function: str) -> None:
    client = urls.functions
    cors = {"AllowOrigins": ["https://a.example"], "MaxAge": 5}
    created = client.create_function_url_config(FunctionName=function, AuthType="NONE", Cors=cors)
    assert created["FunctionUrl"].startswith(f"{urls.emulator.endpoints['http']}/_stepbridge/lambda-url/")
    assert created["FunctionUrl"].endswith("/")
    assert (created["FunctionArn"], created["AuthType"], created["Cors"]) == (ARN + function, "NONE", cors)
    assert (created["InvokeMode"], "LastModifiedTime" in created) == ("BUFFERED", False)
    assert urls.refused(client.create_function_url_config, FunctionName=function, AuthType="NONE") == (
        "ResourceConflictException",
        f"{FAILED_TO_CREATE} [functionArn = {ARN}{function}]. Error message:  {EXISTS}",
    )
    got = client.get_function_url_config(FunctionName=ARN + function)
    assert got["FunctionUrl"] == created["FunctionUrl"]
    assert got["LastModifiedTime"] == got["CreationTime"] == created["CreationTime"]

    changed = client.update_function_url_config(FunctionName=function, AuthType="AWS_IAM")
    assert (changed["AuthType"], changed["Cors"], changed["FunctionUrl"]) == ("AWS_IAM", cors, created["FunctionUrl"])
    assert "Cors" not in client.update_function_url_config(FunctionName=function, Cors={})

    client.delete_function_url_config(FunctionName=function)
    for operation in (client.get_function_url_config, client.delete_function_url_config):
        assert urls.refused(operation, FunctionName=function) == (
            "ResourceNotFoundException",
            "The resource you requested does not exist.",
        )
        assert urls.refused(operation, FunctionName="nobody")[0] == "ResourceNotFoundException"
    again = client.create_function_url_config(FunctionName=function, AuthType="NONE")
    assert again["FunctionUrl"] != created["FunctionUrl"]


def test_one_for_each_alias(urls: Urls, function: str) -> None:
    client = urls.functions
    client.publish_version(FunctionName=function)
    client.create_alias(FunctionName=function, Name="live", FunctionVersion="1")
    urls.url(function)
    live = urls.url(function, qualifier="live")
    listed = client.list_function_url_configs(FunctionName=function)["FunctionUrlConfigs"]
    assert [url["FunctionArn"] for url in listed] == [ARN + function, f"{ARN}{function}:live"]
    assert json.loads(send(live)[2])["arn"] == f"{ARN}{function}:live"

    client.delete_alias(FunctionName=function, Name="live")
    assert send(live)[0] == 403
    listed = client.list_function_url_configs(FunctionName=function)["FunctionUrlConfigs"]
    assert [url["FunctionArn"] for url in listed] == [ARN + function]


NOT_THERE = ("ResourceNotFoundException", "Function does not exist")


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"FunctionName": "nobody"}, *NOT_THERE),
        ({"Qualifier": "nothing"}, *NOT_THERE),
        ({"Qualifier": "1"}, "ValidationException", "1 validation error detected: Value '1' at 'qualifier' failed to"),
        (
            {"Qualifier": "$LATEST"},
            "ValidationException",
            "1 validation error detected: Value '$LATEST' at 'qualifier'",
        ),
        (
            {"AuthType": "ANY"},
            "ValidationException",
            "1 validation error detected: Value 'ANY' at 'authType' failed to",
        ),
        (
            {"Cors": {"MaxAge": 86401}},
            "ValidationException",
            "1 validation error detected: Value '86401' at 'cors.maxAge'",
        ),
        ({"Cors": {"AllowMethods": ["OPTIONS"]}}, "ValidationException", "1 validation error detected: Value"),
        ({"InvokeMode": "RESPONSE_STREAM"}, "InvalidParameterValueException", "InvokeMode RESPONSE_STREAM is not supp"),
    ],
)
def test_urls_that_are_refused(urls: Urls, function: str, members: dict[str, Any], code: str, message: str) -> None:
    refused = urls.refused(
        urls.functions.create_function_url_config, **{"FunctionName": function, "AuthType": "NONE", **members}
    )
    assert refused[0] == code
    assert refused[1].startswith(message)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"Action": "lambda:InvokeFunction", "FunctionUrlAuthType": "NONE"},
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        ),
        (
            {"Action": "lambda:InvokeFunctionUrl", "InvokedViaFunctionUrl": True},
            "InvokedViaFunctionUrl is only supported for lambda:InvokeFunction action",
        ),
    ],
)
def test_permissions_that_are_refused(urls: Urls, function: str, members: dict[str, Any], message: str) -> None:
    refused = urls.refused(
        urls.functions.add_permission, FunctionName=function, StatementId="s", Principal="*", **members
    )
    assert refused == ("InvalidParameterValueException", message)


def test_a_request(urls: Urls, function: str) -> None:
    url = urls.url(function)
    url_id = urlsplit(url).path.split("/")[-2]
    status, headers, body = send(
        f"{url}a%20b/c?x=1&x=2&y=%26", "POST", b'{"a": 1}', content_type="application/json", cookie="k=v", x_own="z"
    )
    assert (status, dict(headers)["content-type"]) == (200, "application/json")
    event = json.loads(body)
    assert (event["rawPath"], event["rawQueryString"]) == ("/a%20b/c", "x=1&x=2&y=%26")
    assert event["queryStringParameters"] == {"x": "1,2", "y": "&"}
    assert (event["cookies"], event["body"], event["isBase64Encoded"]) == (["k=v"], '{"a": 1}', False)
    port = urlsplit(url).port
    domain = f"{url_id}.lambda-url.us-east-1.localhost"
    assert event["headers"]["host"] == f"{domain}:{port}"
    assert (event["headers"]["x-own"], event["headers"]["content-length"]) == ("z", "8")
    context = event["requestContext"]
    assert (context["apiId"], context["domainName"], context["accountId"]) == (url_id, domain, "anonymous")
    assert context["requestId"] == event["invocation"] == dict(headers)["x-amzn-requestid"]
    assert context["http"]["path"] == "/a%20b/c"


def test_without_the_slash_at_its_end(urls: Urls, function: str) -> None:
    assert json.loads(send(urls.url(function).rstrip("/"))[2])["rawPath"] == "/"


@pytest.mark.parametrize("suffix", ["localhost", "on.aws"])
def test_by_host_name(urls: Urls, function: str, suffix: str) -> None:
    url = urlsplit(urls.url(function))
    domain = f"{url.path.split('/')[-2]}.lambda-url.us-east-1.{suffix}"
    event = json.loads(send(f"http://{url.netloc}/things?a=b", host=domain)[2])
    assert (event["rawPath"], event["rawQueryString"]) == ("/things", "a=b")
    assert (event["requestContext"]["domainName"], event["headers"]["host"]) == (domain, domain)


def test_curl_finds_the_host_name(urls: Urls, function: str) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "curl is missing: tests/install_programs.sh installs it"
    url = urlsplit(urls.url(function))
    domain = f"{url.path.split('/')[-2]}.lambda-url.us-east-1.localhost:{url.port}"
    called = subprocess.run([curl, "-sS", f"http://{domain}/text"], capture_output=True, timeout=60, check=True)
    assert called.stdout == b'"hello"'


def test_a_response(urls: Urls, function: str) -> None:
    answer = {
        "statusCode": 201,
        "headers": {"Content-Type": "image/png", "X-Own": "z"},
        "cookies": ["a=1; Max-Age=9", "b=2"],
        "body": "AP8=",
        "isBase64Encoded": True,
    }
    url = urls.url(function)
    body = json.dumps(answer).encode()
    status, headers, got = send(f"{url}answer", "POST", body, content_type="application/json")
    assert (status, got) == (201, b"\x00\xff")
    assert (dict(headers)["content-type"], dict(headers)["x-own"]) == ("image/png", "z")
    assert [value for name, value in headers if name == "set-cookie"] == ["a=1; Max-Age=9", "b=2"]

    status, headers, got = send(f"{url}answer", "HEAD", body, content_type="application/json")
    assert (status, got, dict(headers)["content-length"]) == (201, b"", "2")
    nothing = json.dumps({"statusCode": 204}).encode()
    status, headers, got = send(f"{url}answer", "PUT", nothing, content_type="application/json")
    assert (status, got, "content-length" in dict(headers)) == (204, b"", False)


@pytest.mark.parametrize("path", ["fail", "malformed", "bytes", "injected", "slow", "large"])
def test_functions_that_fail(urls: Urls, function: str, path: str) -> None:
    urls.functions.update_function_configuration(FunctionName=function, Timeout=1 if path == "slow" else 20)
    status, headers, body = send(urls.url(function) + path)
    assert (status, body, dict(headers)["content-type"]) == (502, b"Internal Server Error", "application/json")


def test_a_request_that_is_too_large(urls: Urls, function: str) -> None:
    status, headers, body = send(urls.url(function), "POST", b"x" * 5_000_000)  # more than 6 MB in base64
    assert (status, dict(headers)["x-amzn-errortype"]) == (413, "RequestTooLargeException")
    assert "byte payload is too large for the RequestResponse invocation type" in json.loads(body)["message"]


def test_throttling(urls: Urls, function: str) -> None:
    url = urls.url(function)
    urls.functions.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    status, _, body = send(url)
    assert (status, json.loads(body)) == (
        429,
        {
            "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
            "Type": "User",
            "message": "Rate Exceeded.",
        },
    )


def test_cors(urls: Urls, function: str) -> None:
    page = "https://page.example"
    url = urls.url(function, Cors={"AllowOrigins": [page], "AllowMethods": ["POST"], "MaxAge": 7})
    status, headers, body = send(url, "OPTIONS", origin=page, access_control_request_method="POST")
    assert (status, body) == (200, b"")
    assert dict(headers)["access-control-allow-methods"] == "POST"
    assert dict(headers)["access-control-max-age"] == "7"

    own = json.dumps({"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}}).encode()
    _, headers, _ = send(f"{url}answer", "POST", own, content_type="application/json", origin=page)
    assert [value for name, value in headers if name == "access-control-allow-origin"] == ["*", page]
    assert "access-control-allow-origin" not in dict(send(url, origin="https://other.example")[1])
    # It is the function that answers what is no question of a browser.
    assert json.loads(send(url, "OPTIONS")[2])["requestContext"]["http"]["method"] == "OPTIONS"


def test_a_public_url_takes_both_permissions(urls: Urls, function: str) -> None:
    url = urls.url(function, public=False)

    def refused() -> bool:
        status, headers, body = send(url)
        assert (status, dict(headers).get("x-amzn-errortype")) in [(200, None), (403, "AccessDeniedException")]
        return status == 403 and json.loads(body) == FORBIDDEN

    client = urls.functions
    assert refused()
    everyone = {"FunctionName": function, "Principal": "*"}
    url_action = {"Action": "lambda:InvokeFunctionUrl"}
    invoke = {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True}
    client.add_permission(**everyone, StatementId="iam", **url_action, FunctionUrlAuthType="AWS_IAM")
    client.add_permission(**everyone, StatementId="invoke", **invoke)
    assert refused(), "what is for AWS_IAM does not hold for NONE"
    client.add_permission(**everyone, StatementId="none", **url_action, FunctionUrlAuthType="NONE")
    assert not refused()
    client.remove_permission(FunctionName=function, StatementId="invoke")
    assert refused()


def test_no_such_url(urls: Urls) -> None:
    base = urls.emulator.endpoints["http"]
    for status, _, body in (
        send(f"{base}/_stepbridge/lambda-url/{'0' * 32}/"),
        send(base, host=f"{'0' * 32}.lambda-url.us-east-1.localhost"),
    ):
        assert (status, json.loads(body)) == (403, FORBIDDEN)
    wait_until(lambda: f"There is no function URL {'0' * 32}" in urls.emulator.log.read_text(), "the trace's word")


def test_the_user_may_call_what_takes_a_signature(urls: Urls, function: str) -> None:
    url = urls.url(function, public=False, AuthType="AWS_IAM")
    assert (send(url)[0], json.loads(send(url)[2])) == (403, FORBIDDEN)
    status, _, body = signed(url)
    assert status == 200
    context = json.loads(body)["requestContext"]
    assert context["accountId"] == "123456789012"
    assert context["authorizer"]["iam"] == {
        "accessKey": "AKIAUSERSOWN00000000",
        "accountId": "123456789012",
        "callerId": "123456789012",
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": "arn:aws:iam::123456789012:root",
        "userId": "123456789012",
    }


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"service": "execute-api"}, "Credential should be scoped to correct service: 'lambda'."),
        ({"region": "eu-west-1"}, "Credential should be scoped to a valid region, not 'eu-west-1'."),
    ],
)
def test_signatures_for_something_else(urls: Urls, function: str, scope: dict[str, str], message: str) -> None:
    status, headers, body = signed(urls.url(function, public=False, AuthType="AWS_IAM"), **scope)
    assert (status, dict(headers)["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert json.loads(body) == {"message": message}


URL_ACTION, INVOKE = "lambda:InvokeFunctionUrl", "lambda:InvokeFunction"
VIA_URL = {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
WITH_IAM = {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}


@pytest.mark.parametrize(
    ("statements", "granted", "admitted"),
    [
        ([], [], False),
        ([allow([URL_ACTION, INVOKE])], [], True),
        ([allow(URL_ACTION)], [], False),
        ([allow(INVOKE)], [], False),
        ([allow(URL_ACTION, Condition=WITH_IAM), allow(INVOKE, Condition=VIA_URL)], [], True),
        (
            [allow(URL_ACTION, Condition={"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}), allow(INVOKE)],
            [],
            False,
        ),
        # In one account the function's policy is enough.
        ([], [URL_ACTION, INVOKE], True),
        ([allow(INVOKE)], [URL_ACTION], True),
        ([{"Effect": "Deny", "Action": URL_ACTION, "Resource": "*"}], [URL_ACTION, INVOKE], False),
    ],
)
def test_a_role_calls_what_takes_a_signature(
    urls: Urls, function: str, statements: list[Any], granted: list[str], admitted: bool, request: pytest.FixtureRequest
) -> None:
    url = urls.url(function, public=False, AuthType="AWS_IAM")
    caller = f"url-caller-{request.node.callspec.indices['statements']}"
    role = urls.role(caller, allow("logs:*"), *statements)
    urls.function(caller, role, SIGNS)
    for number, action in enumerate(granted):
        more: dict[str, Any] = (
            {"FunctionUrlAuthType": "AWS_IAM"} if action == URL_ACTION else {"InvokedViaFunctionUrl": True}
        )
        urls.functions.add_permission(
            FunctionName=function, StatementId=f"s{number}", Action=action, Principal=role, **more
        )
    status, body = urls.invoke(caller, {"url": url})
    assert status == (200 if admitted else 403)
    if admitted:
        iam = json.loads(body)["requestContext"]["authorizer"]["iam"]
        assert iam["userArn"] == f"arn:aws:sts::123456789012:assumed-role/{caller}/{caller}"
        assert iam["userId"] == iam["callerId"]
        assert iam["userId"].endswith(f":{caller}")


def test_a_grant_to_the_account_is_none_to_its_roles(urls: Urls, function: str) -> None:
    url = urls.url(function, public=False, AuthType="AWS_IAM")
    urls.function("url-caller-of-the-account", urls.role("url-caller-of-the-account"), SIGNS)
    account = {"FunctionName": function, "Principal": "123456789012"}
    urls.functions.add_permission(**account, StatementId="url", Action=URL_ACTION, FunctionUrlAuthType="AWS_IAM")
    urls.functions.add_permission(**account, StatementId="invoke", Action=INVOKE, InvokedViaFunctionUrl=True)
    assert urls.invoke("url-caller-of-the-account", {"url": url})[0] == 403


def test_a_denial_in_the_functions_policy(urls: Urls, function: str) -> None:
    """A policy put as a document may deny, also to all but somebody."""
    urls.function("url-caller-denied", urls.role("url-caller-denied", allow([URL_ACTION, INVOKE])), SIGNS)
    url = urls.url(function, public=False, AuthType="AWS_IAM")
    assert urls.invoke("url-caller-denied", {"url": url})[0] == 200
    for denied in (
        {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}},
        {"NotPrincipal": {"AWS": "arn:aws:iam::123456789012:role/other"}},
    ):
        statement = {"Sid": "no", "Effect": "Deny", "Action": URL_ACTION, "Resource": ARN + function, **denied}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        urls.functions.put_resource_policy(ResourceArn=ARN + function, Policy=policy)
        assert urls.invoke("url-caller-denied", {"url": url})[0] == 403, denied


def test_the_trace_tells_of_them(urls: Urls, function: str) -> None:
    printed: Callable[[], str] = urls.emulator.log.read_text
    url = urls.url(function)
    send(f"{url}malformed")
    wait_until(lambda: f"{function} invoked" in printed(), "the invocation is told")
    told = f'{function} answered its URL with no HTTP response: its statusCode is "none"'
    wait_until(lambda: told in printed(), "the malformed answer is told")
    urls.functions.remove_permission(FunctionName=function, StatementId="url")
    send(f"{url}things", "POST")
    why = "its resource policy does not allow lambda:InvokeFunctionUrl to everyone (lambda:FunctionUrlAuthType NONE)"
    refused = f"POST /things may not invoke {function} by its URL: {why}"
    wait_until(lambda: refused in printed(), "the refusal is told")


def test_urls_outlive_kill_9(tmp_path: Path) -> None:
    emulator = EmulatorProcess(tmp_path)
    emulator.start()
    try:
        account = Urls(emulator)
        account.function("kept", account.role("kept", allow("logs:*")), CODE)
        url = account.url("kept")
        assert send(f"{url}text")[2] == b'"hello"'
        emulator.kill()
        emulator.start()
        assert send(f"{url}text")[2] == b'"hello"'
    finally:
        emulator.close()
