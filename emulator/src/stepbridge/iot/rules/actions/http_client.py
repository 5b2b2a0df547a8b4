"""POST, as rules do: from a thread, on a connection that stays open for another try."""

import asyncio
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

# "The total timeout": everything, tries after the first included, takes at most 3 seconds.
SECONDS = 3.0
_MAX_ANSWER = 16_384
_LOCAL = ("localhost", "127.0.0.1", "host.docker.internal")


def url_fault(url: str) -> str | None:
    """What is wrong with the URL of an endpoint, or None.

    AWS takes HTTPS only, and no addresses of IPv6 (developerguide/https-rule-action.html).  Plain HTTP is taken here
    for this machine, which AWS cannot reach anyway.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return str(error)
    if not parts.hostname:
        return "it names no host"
    if ":" in parts.hostname:
        return "IPv6 addresses are not supported"
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL):
        return None
    return "it does not begin with https://"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The status of an answer and its reason, and whether another try may follow on the connection."""

    status: int
    reason: str
    may_be_followed: bool


class HttpConnection:
    """A connection to the host of a URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        self._target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        self._connection = (
            http.client.HTTPSConnection(host, parts.port, timeout=SECONDS, context=ssl.create_default_context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, parts.port, timeout=SECONDS)
        )

    async def post(self, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """POST.  Raises OSError if there is no answer, or if this is nothing that HTTP can send."""
        return await asyncio.to_thread(self._post, body, headers)

    async def close(self) -> None:
        """End the connection."""
        await asyncio.to_thread(self._connection.close)

    def _post(self, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        try:
            self._connection.request("POST", self._target, body, dict(headers))
            answer = self._connection.getresponse()
            is_short = len(answer.read(_MAX_ANSWER + 1)) <= _MAX_ANSWER
            return HttpAnswer(answer.status, answer.reason, is_short and not answer.will_close)
        except (http.client.HTTPException, ValueError) as error:  # such as a header of two lines
            raise ConnectionError(str(error) or type(error).__name__) from error


async def post(url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
    """POST once.  Raises OSError if there is no answer."""
    connection = HttpConnection(url)
    try:
        return await connection.post(body, headers)
    finally:
        await connection.close()
