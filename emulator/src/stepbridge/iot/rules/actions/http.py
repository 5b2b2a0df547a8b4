"""http: posts the output to a URL (developerguide/https-rule-action.html)."""

import asyncio
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from stepbridge.iot.rules.actions.base import (
    Action,
    ActionError,
    Delivery,
    Members,
    RefusedMemberError,
    TemplateCompiler,
)
from stepbridge.iot.rules.sql import UNDEFINED

# "The total timeout": everything, retries included, takes at most 3 seconds.
_SECONDS = 3.0
_ATTEMPTS = 3
_RETRIED = (429, *range(500, 600))
_MAX_ANSWER = 16_384
_LOCAL = ("localhost", "127.0.0.1", "::1", "host.docker.internal")


def url_fault(url: str) -> str | None:
    """What is wrong with the URL of an endpoint, or None.

    AWS takes HTTPS only.  Plain HTTP is taken here for this machine, which AWS cannot reach anyway.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return str(error)
    if not parts.hostname:
        return "it names no host"
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL):
        return None
    return "it does not begin with https://"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The status of an answer, and whether it was short enough to be read."""

    status: int
    is_too_long: bool


async def post(url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
    """POST.  Raises OSError if there is no answer."""
    return await asyncio.to_thread(_post, url, body, headers)


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=_SECONDS, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=_SECONDS)
    )
    try:
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        connection.request("POST", target, body, dict(headers))
        answer = connection.getresponse()
        return HttpAnswer(answer.status, len(answer.read(_MAX_ANSWER + 1)) > _MAX_ANSWER)
    except http.client.HTTPException as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
    finally:
        connection.close()


class HttpAction(Action):
    """The URL needs an enabled destination, which proves that its owner wants the messages."""

    name = "http"
    service = "HTTP"
    failure = "Failed to send message to HTTP endpoint"
    target_member = "url"
    target_label = "Url"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__(members, compile_template)
        for member, what in (("auth", "SigV4 authorization"), ("enableBatching", "batching")):
            if members.get(member):
                raise RefusedMemberError(member, f"{what} of the http action is not supported by stepbridge")
        self.confirmation_url: str | None = members.get("confirmationUrl")
        if self.confirmation_url is None:
            if not self.target.is_constant:
                raise RefusedMemberError("confirmationUrl", "a url with substitution templates needs a confirmationUrl")
            self.confirmation_url = self.target.text
        if fault := url_fault(self.confirmation_url):
            raise RefusedMemberError("url", f"{self.confirmation_url!r} is not the URL of an endpoint: {fault}")
        self._headers = [
            (header["key"], compile_template(header["value"], f"headers[{index}].value"))
            for index, header in enumerate(members.get("headers", []))
        ]

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises ActionError for a URL without an enabled destination, and when the endpoint does not take it."""
        url = await delivery.text(self.target)
        if fault := url_fault(url):
            raise ActionError(f"{url!r} is not the URL of an endpoint: {fault}")
        if not delivery.destinations.is_enabled(url):
            raise ActionError(f"there is no enabled topic rule destination for {url}")
        is_json = delivery.output.value is not UNDEFINED
        headers = {"Content-Type": "application/json" if is_json else "application/octet-stream"}
        for name, template in self._headers:
            headers[name] = await delivery.text(template)
        await self._post(delivery, url, headers)
        return {"Url": url}

    async def _post(self, delivery: Delivery, url: str, headers: Mapping[str, str]) -> None:
        end = delivery.clock.now() + _SECONDS
        for attempt in range(_ATTEMPTS):
            try:
                answer = await post(url, delivery.output.payload, headers)
            except OSError as error:
                raise ActionError(f"{url} did not answer: {error}") from error
            if answer.status < 300:
                return
            if answer.status not in _RETRIED or answer.is_too_long or delivery.clock.now() >= end:
                break
            if attempt < _ATTEMPTS - 1:
                await delivery.clock.sleep(0.1)
        raise ActionError(f"{url} answered with the status {answer.status}")
