"""What a function gets of a request to its URL, and what its answers are as responses."""

import base64
import json
from typing import Any

import pytest

from stepbridge.functions.url_events import MalformedResponseError, UrlRequest, event, response

URL_ID = "abcdefghijklmnopqrstuvwxyz012345"
DOMAIN = f"{URL_ID}.lambda-url.us-east-1.localhost"
NOW = 1631055022.677
IAM = {"accountId": "123456789012", "userArn": "arn:aws:iam::123456789012:root"}


def request(
    *headers: tuple[str, str],
    method: str = "GET",
    path: str = "/",
    query: str = "",
    body: bytes = b"",
    port: int = 4566,
) -> UrlRequest:
    return UrlRequest(method, path, query, headers, body, DOMAIN, port, "HTTP/1.1", "127.0.0.1")


def event_of(asked: UrlRequest, iam: dict[str, Any] | None = None) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(event(asked, URL_ID, "e1506fd5", NOW, iam))
    return document


def test_the_event_of_a_request_without_anything() -> None:
    document = event_of(request(("user-agent", "agent"), ("host", "127.0.0.1:4566"), ("connection", "close")))
    trace = document["headers"].pop("x-amzn-trace-id")
    assert trace.startswith("Root=1-6137ecae-")
    assert document == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {
            "host": f"{DOMAIN}:4566",
            "user-agent": "agent",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-port": "4566",
            "x-forwarded-proto": "http",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": URL_ID,
            "domainName": DOMAIN,
            "domainPrefix": URL_ID,
            "http": {
                "method": "GET",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "agent",
            },
            "requestId": "e1506fd5",
            "routeKey": "$default",
            "stage": "$default",
            "time": "07/Sep/2021:22:50:22 +0000",
            "timeEpoch": 1631055022677,
        },
        "isBase64Encoded": False,
    }


def test_the_caller_where_the_url_asks_for_it() -> None:
    context = event_of(request(), IAM)["requestContext"]
    assert (context["accountId"], context["authorizer"]) == ("123456789012", {"iam": IAM})


@pytest.mark.parametrize(
    ("asked", "members"),
    [
        (request(path="/a%20b/c"), {"rawPath": "/a%20b/c"}),
        (
            request(query="parameter1=value1&parameter1=value2&parameter2=a%20b&empty="),
            {
                "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=a%20b&empty=",
                "queryStringParameters": {"parameter1": "value1,value2", "parameter2": "a b", "empty": ""},
            },
        ),
        (request(("cookie", "a=1; b=2")), {"cookies": ["a=1", "b=2"]}),
        (request(("cookie", "a=1"), ("cookie", "b=2")), {"cookies": ["a=1", "b=2"]}),
    ],
)
def test_members_of_the_event(asked: UrlRequest, members: dict[str, Any]) -> None:
    document = event_of(asked)
    assert {name: document[name] for name in members} == members


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ([("header2", "value1"), ("header2", "value2")], {"header2": "value1,value2"}),
        ([("x-amzn-trace-id", "Root=mine")], {"x-amzn-trace-id": "Root=mine"}),
        ([("cookie", "a=1")], {"cookie": None}),
    ],
)
def test_headers_of_the_event(headers: list[tuple[str, str]], seen: dict[str, str | None]) -> None:
    found = event_of(request(*headers))["headers"]
    assert {name: found.get(name) for name in seen} == seen


def test_the_host_has_no_port_that_goes_without_saying() -> None:
    assert event_of(request(port=80))["headers"]["host"] == DOMAIN


@pytest.mark.parametrize(
    ("content_type", "body", "encoded"),
    [
        ("application/json", b'{"a":1}', False),
        ("application/json; charset=utf-8", "{ü}".encode(), False),
        ("text/plain", b"hello", False),
        ("TEXT/HTML", b"<p>", False),
        ("application/xml", b"<p/>", False),
        ("application/javascript", b"1", False),
        ("application/x-www-form-urlencoded", b"a=1", True),
        ("multipart/form-data; boundary=x", b"--x", True),
        ("application/octet-stream", b"\x00\xff", True),
        ("image/png", b"\x89PNG", True),
        (None, b"hello", True),
        ("text/plain", b"\xff\xfe", True),
    ],
)
def test_bodies(content_type: str | None, body: bytes, encoded: bool) -> None:
    headers = [] if content_type is None else [("content-type", content_type)]
    document = event_of(request(*headers, method="POST", body=body))
    assert document["isBase64Encoded"] is encoded
    assert document["body"] == (base64.b64encode(body).decode() if encoded else body.decode())


JSON = ("content-type", "application/json")


@pytest.mark.parametrize(
    ("answer", "status", "headers", "body"),
    [
        # The format is inferred where there is no statusCode.
        ("Hello, world!", 200, [JSON], b'"Hello, world!"'),
        ({"message": "Hello"}, 200, [JSON], b'{"message": "Hello"}'),
        ({"body": "a"}, 200, [JSON], b'{"body": "a"}'),
        (None, 200, [JSON], b"null"),
        ([1], 200, [JSON], b"[1]"),
        # And taken as it is where there is one.
        ({"statusCode": 204}, 204, [JSON], b""),
        ({"statusCode": 200, "body": "hello"}, 200, [JSON], b"hello"),
        (
            {"statusCode": 201, "headers": {"Content-Type": "text/html", "My-Custom-Header": "Custom"}, "body": "<p>"},
            201,
            [("content-type", "text/html"), ("my-custom-header", "Custom")],
            b"<p>",
        ),
        ({"statusCode": 200, "headers": {"x-count": 3, "x-true": True}}, 200,
         [("x-count", "3"), ("x-true", "true"), JSON], b""),
        ({"statusCode": 200, "headers": {"Content-Length": "9", "Connection": "x", "x": "y"}}, 200,
         [("x", "y"), JSON], b""),
        ({"statusCode": 200, "cookies": ["a=1; Max-Age=9", "b=2"]}, 200,
         [JSON, ("set-cookie", "a=1; Max-Age=9"), ("set-cookie", "b=2")], b""),
        ({"statusCode": 200, "body": "AP8=", "isBase64Encoded": True}, 200, [JSON], b"\x00\xff"),
        ({"statusCode": 200, "body": "AP8=", "isBase64Encoded": False}, 200, [JSON], b"AP8="),
        ({"statusCode": 200, "headers": None, "cookies": None, "body": None}, 200, [JSON], b""),
    ],
)  # fmt: skip
def test_responses(answer: object, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    got = response(json.dumps(answer).encode())
    assert (got.status, got.headers, got.body) == (status, headers, body)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"statusCode": "soon"}, 'its statusCode is "soon", not a number from 200 to 599'),
        ({"statusCode": True}, "its statusCode is true, not a number from 200 to 599"),
        ({"statusCode": 101}, "its statusCode is 101, not a number from 200 to 599"),
        ({"statusCode": None}, "its statusCode is null, not a number from 200 to 599"),
        ({"statusCode": 200, "body": {"a": 1}}, 'its body is no string, but {"a": 1}'),
        ({"statusCode": 200, "body": "%", "isBase64Encoded": True}, "its body is not base64, though isBase64Encoded"),
        ({"statusCode": 200, "headers": ["a"]}, "its headers are no object"),
        ({"statusCode": 200, "headers": {"a": ["b"]}}, 'its header a is ["b"], not a string'),
        ({"statusCode": 200, "cookies": "a=1"}, "its cookies are not a list of strings"),
        ({"statusCode": 200, "headers": {"a": "b\nc"}}, 'its header a is "b\\nc", with a control character'),
        ({"statusCode": 200, "cookies": ["a\r\nb: c"]}, 'its header set-cookie is "a\\r\\nb: c", with a control'),
        ({"statusCode": 200, "headers": {"a b": "c"}}, '"a b" is no name of a header'),
        ({"statusCode": 200, "headers": {"": "c"}}, '"" is no name of a header'),
        ({"statusCode": 200, "headers": {"€": "c"}}, '"\\u20ac" is no name of a header'),
        ({"statusCode": 200, "body": "\ud800"}, "its body is no text"),
    ],
)
def test_answers_that_are_no_response(answer: object, why: str) -> None:
    with pytest.raises(MalformedResponseError) as refusal:
        response(json.dumps(answer).encode())
    assert str(refusal.value).startswith(why)


def test_an_answer_that_is_no_json() -> None:
    with pytest.raises(MalformedResponseError, match="it is no JSON"):
        response(b"bytes of a handler")
