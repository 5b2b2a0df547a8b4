"""Which headers a function URL's CORS configuration makes."""

from typing import Any

import pytest

from stepbridge.functions.url_cors import preflight, response_headers
from stepbridge.functions.url_events import UrlRequest

PAGE = "https://www.example.com"
CORS: dict[str, Any] = {
    "AllowOrigins": [PAGE, "http://localhost:60905"],
    "AllowMethods": ["GET", "POST"],
    "AllowHeaders": ["Date", "X-Custom"],
    "ExposeHeaders": ["Keep-Alive"],
    "MaxAge": 300,
}
ORIGIN = ("access-control-allow-origin", PAGE)
VARY = ("vary", "Origin")


def request(method: str = "GET", **headers: str) -> UrlRequest:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return UrlRequest(method, "/", "", named, b"", "url.lambda-url.us-east-1.localhost", 80, "HTTP/1.1", "127.0.0.1")


@pytest.mark.parametrize(
    ("change", "origin", "headers"),
    [
        ({}, PAGE, [ORIGIN, VARY, ("access-control-expose-headers", "Keep-Alive")]),
        ({"ExposeHeaders": []}, "http://localhost:60905",
         [("access-control-allow-origin", "http://localhost:60905"), VARY]),
        ({}, "https://example.com", []),
        ({"AllowOrigins": ["*"], "ExposeHeaders": []}, PAGE, [("access-control-allow-origin", "*"), VARY]),
        ({"AllowOrigins": ["*"], "AllowCredentials": True, "ExposeHeaders": []}, PAGE,
         [ORIGIN, ("access-control-allow-credentials", "true"), VARY]),
        ({"AllowOrigins": []}, PAGE, []),
    ],
)  # fmt: skip
def test_headers_of_responses(change: dict[str, Any], origin: str, headers: list[tuple[str, str]]) -> None:
    assert response_headers({**CORS, **change}, request(origin=origin)) == headers


def test_a_request_of_no_page_gets_none() -> None:
    assert response_headers(CORS, request()) == []


def test_what_a_page_may_send() -> None:
    answer = preflight(CORS, request("OPTIONS", origin=PAGE, access_control_request_method="POST"))
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers == [
        ORIGIN,
        VARY,
        ("access-control-allow-methods", "GET,POST"),
        ("access-control-allow-headers", "Date,X-Custom"),
        ("access-control-max-age", "300"),
    ]


def test_other_pages_may_send_nothing() -> None:
    asked = request("OPTIONS", origin="https://other.example", access_control_request_method="POST")
    answer = preflight(CORS, asked)
    assert answer is not None
    assert (answer.status, answer.headers) == (200, [])


@pytest.mark.parametrize(
    "asked",
    [
        request("OPTIONS"),
        request("OPTIONS", origin=PAGE),
        request("GET", origin=PAGE, access_control_request_method="POST"),
    ],
)
def test_requests_that_are_for_the_function(asked: UrlRequest) -> None:
    assert preflight(CORS, asked) is None
