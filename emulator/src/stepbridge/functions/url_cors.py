"""Cross-origin resource sharing, as a function URL is configured for it.

https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html#urls-cors
"""

from collections.abc import Mapping
from typing import Any

from stepbridge.functions.url_events import UrlRequest, UrlResponse

_ANY = "*"


def preflight(cors: Mapping[str, Any], request: UrlRequest) -> UrlResponse | None:
    """The answer to a browser that asks what it may send, None for any other request.

    The function does not get these requests.  What is not allowed is answered without the headers that would allow it.
    """
    method = request.header("access-control-request-method")
    if request.method != "OPTIONS" or method is None or request.header("origin") is None:
        return None
    headers = _origin(cors, request)
    if headers:
        headers += _listed("access-control-allow-methods", cors.get("AllowMethods"))
        headers += _listed("access-control-allow-headers", cors.get("AllowHeaders"))
        headers.append(("access-control-max-age", str(cors.get("MaxAge", 0))))
    return UrlResponse(200, headers)


def response_headers(cors: Mapping[str, Any], request: UrlRequest) -> list[tuple[str, str]]:
    """What is added to the response to `request`: nothing for an origin that is not allowed, or none.

    What the function answers of the same names stays, as on AWS: a browser then finds two and refuses both.
    """
    headers = _origin(cors, request)
    if headers:
        headers += _listed("access-control-expose-headers", cors.get("ExposeHeaders"))
    return headers


def _origin(cors: Mapping[str, Any], request: UrlRequest) -> list[tuple[str, str]]:
    origin = request.header("origin")
    allowed = cors.get("AllowOrigins", [])
    if origin is None or (origin not in allowed and _ANY not in allowed):
        return []
    if not cors.get("AllowCredentials"):
        return [("access-control-allow-origin", _ANY if _ANY in allowed else origin), ("vary", "Origin")]
    # To a request with credentials browsers take no wildcard: Fetch standard, "CORS check".
    return [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin"),
    ]


def _listed(name: str, values: list[str] | None) -> list[tuple[str, str]]:
    return [(name, ",".join(values))] if values else []
