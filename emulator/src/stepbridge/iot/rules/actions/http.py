"""http: posts the output to a URL (developerguide/https-rule-action.html)."""

from collections.abc import Mapping
from functools import partial

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock
from stepbridge.iot.rules.actions.base import (
    Action,
    ActionError,
    Delivery,
    Members,
    RefusedMemberError,
    TemplateCompiler,
)
from stepbridge.iot.rules.actions.batches import Batches
from stepbridge.iot.rules.actions.http_client import SECONDS, HttpConnection, url_fault
from stepbridge.iot.rules.sql import UNDEFINED
from stepbridge.iot.rules.sql.values import json_text

_ATTEMPTS = 3
_RETRIED = (429, *range(500, 600))


class HttpAction(Action):
    """The URL needs an enabled destination, which proves that its owner wants the messages."""

    name = "http"
    service = "HTTP"
    failure = "HttpAction failed to make a request to the specified endpoint"
    target_member = "url"
    target_label = "Url"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__(members, compile_template)
        if members.get("auth"):
            raise RefusedMemberError("auth", "SigV4 authorization of the http action is not supported by stepbridge")
        # Where a destination is created: nowhere if that is not known before there is a message.
        self.confirmation_url = self._confirmation_url()
        if self.confirmation_url is not None and (fault := url_fault(self.confirmation_url)):
            raise RefusedMemberError("url", f"{self.confirmation_url!r} is not the URL of an endpoint: {fault}")
        self._headers = [
            (header["key"], compile_template(header["value"], f"headers[{index}].value"))
            for index, header in enumerate(members.get("headers", []))
        ]
        self.batches = Batches(members.get("batchConfig", {})) if members.get("enableBatching") else None

    def _confirmation_url(self) -> str | None:
        confirmation = self.optional_template("confirmationUrl")
        if confirmation is None:
            if not self.target.is_constant:
                raise RefusedMemberError("confirmationUrl", "a url with substitution templates needs a confirmationUrl")
            return self.target.text
        if self.target.is_constant and confirmation.is_constant and not self.target.text.startswith(confirmation.text):
            raise RefusedMemberError("url", f"{self.target.text!r} does not begin with the confirmationUrl")
        return confirmation.text if confirmation.is_constant else None

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises ActionError for a URL without an enabled destination, and when the endpoint does not take it."""
        url = await delivery.text(self.target)
        if fault := url_fault(url):
            raise ActionError(f"{url!r} is not the URL of an endpoint: {fault}.")
        if not delivery.destinations.is_enabled(url):
            raise ActionError(f"There is no enabled topic rule destination for {url}.")
        headers = await self._message_headers(delivery)
        if self.batches is None:
            await _post(delivery.clock, url, delivery.output.payload, headers)
        else:
            send = partial(_post, delivery.clock, url)
            await self.batches.add(url, delivery.message.topic, _item(delivery), headers, delivery.clock, send)
        return {"Url": url}

    async def _message_headers(self, delivery: Delivery) -> dict[str, str]:
        headers = {name: await delivery.text(template) for name, template in self._headers}
        if not any(name.lower() == "content-type" for name in headers):
            is_json = self.batches is not None or delivery.output.value is not UNDEFINED
            headers["Content-Type"] = "application/json" if is_json else "application/octet-stream"
        return headers

    def error_message(self, delivery: Delivery, error: AwsError | ActionError) -> str:
        """As in the example of developerguide/http_batching.html: it names no topic, for there may be several."""
        return f"{self.failure}. {error}"


def _item(delivery: Delivery) -> bytes:
    """A message in a batch, which is a JSON array: text that is not JSON becomes a string."""
    if delivery.output.value is UNDEFINED:
        return json_text(delivery.payload_text()).encode()
    return delivery.output.payload


async def _post(clock: Clock, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Try up to three times.  Raises ActionError."""
    end = clock.now() + SECONDS
    connection = HttpConnection(url)
    try:
        for attempt in range(_ATTEMPTS):
            try:
                answer = await connection.post(body, headers)
            except OSError as error:
                raise ActionError(f"The request to {url} failed: {error}.") from error
            if answer.status < 300:
                return
            if answer.status not in _RETRIED or not answer.may_be_followed or clock.now() >= end:
                break
            if attempt < _ATTEMPTS - 1:
                await clock.sleep(0.1)
    finally:
        await connection.close()
    raise ActionError(f"StatusCode: {answer.status}. Reason: {answer.reason}.")
