"""Topic rule destinations: the endpoints that the http action may post to, once they have confirmed it.

An endpoint gets a message with a token, and gives the token back in ConfirmTopicRuleDestination.
developerguide/rule-destination.html
"""

import asyncio
import json
import secrets
import uuid
from collections.abc import Callable

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Members
from stepbridge.clock import Clock
from stepbridge.iot.rules.actions.http_client import post, url_fault
from stepbridge.settings import Settings
from stepbridge.store import Row, Store
from stepbridge.trace import Trace

# How long a token is valid.
_TOKEN_SECONDS = 3 * 86_400.0
_CONFIRMED = ("ENABLED", "DISABLED")

_TABLES = """
CREATE TABLE rules_destination (
    arn TEXT PRIMARY KEY,
    confirmation_url TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    status_reason TEXT,
    token TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
) STRICT;
"""


class Destinations:
    """The destinations of one emulator."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, trace: Trace, endpoint: Callable[[], str]
    ) -> None:
        store.migrate("rules_destination", [_TABLES])
        self._endpoint = endpoint
        self._settings = settings
        self._store = store
        self._clock = clock
        self._trace = trace
        self._tasks: set[asyncio.Task[None]] = set()

    def is_enabled(self, url: str) -> bool:
        """Whether a destination that is enabled covers `url`: its confirmation URL is how `url` begins."""
        rows = self._store.query("SELECT confirmation_url FROM rules_destination WHERE status = 'ENABLED'")
        return any(_covers(row["confirmation_url"], url) for row in rows)

    def ensure(self, confirmation_url: str) -> None:
        """Create a destination for a rule, unless there is one."""
        known = self._store.query_one("SELECT 1 FROM rules_destination WHERE confirmation_url = ?", (confirmation_url,))
        if known is None:
            self.create(confirmation_url)

    def create(self, confirmation_url: str) -> Members:
        """Create a destination and send it its token.  Raises AwsError."""
        if fault := url_fault(confirmation_url):
            raise AwsError("InvalidRequestException", f"The URL {confirmation_url} is not valid: {fault}")
        old = self._store.query_one("SELECT arn FROM rules_destination WHERE confirmation_url = ?", (confirmation_url,))
        if old is not None:
            raise AwsError(
                "ResourceAlreadyExistsException",
                f"A destination with the URL {confirmation_url} already exists",
                members={"resourceArn": old["arn"]},
            )
        region, account = self._settings.region, self._settings.account
        arn = f"arn:aws:iot:{region}:{account}:ruledestination/http/{uuid.uuid4()}"
        now, token = self._clock.now(), secrets.token_urlsafe(48)
        self._store.execute(
            "INSERT INTO rules_destination VALUES (?, ?, 'IN_PROGRESS', 'Awaiting confirmation.', ?, ?, ?)",
            (arn, confirmation_url, token, now, now),
        )
        self._send(arn, confirmation_url, token)
        return self.describe(arn)

    def describe(self, arn: str) -> Members:
        """A destination as the API describes it.  Raises AwsError if it is not there."""
        return self._described(self._row(arn))

    def all(self) -> list[Members]:
        """All destinations, in the order of their ARNs."""
        return [self._described(row) for row in self._store.query("SELECT * FROM rules_destination ORDER BY arn")]

    def confirm(self, token: str, *, enable: bool) -> None:
        """The endpoint has given its token back; enable it, or leave that to be done.  Raises AwsError."""
        row = self._store.query_one("SELECT * FROM rules_destination WHERE token = ?", (token,))
        if row is None or self._described(row)["status"] != "IN_PROGRESS":
            raise AwsError("InvalidRequestException", "The confirmation token is not valid")
        self._set_status(row["arn"], "ENABLED" if enable else "DISABLED", None)

    def update(self, arn: str, status: str) -> None:
        """Enable, disable, or ask for confirmation again.  Raises AwsError."""
        row = self._row(arn)
        current = self._described(row)["status"]
        if status == "IN_PROGRESS":
            token = secrets.token_urlsafe(48)
            self._store.execute("UPDATE rules_destination SET token = ? WHERE arn = ?", (token, arn))
            self._set_status(arn, status, "Awaiting confirmation.")
            self._send(arn, row["confirmation_url"], token)
        elif status not in _CONFIRMED:
            raise AwsError("InvalidRequestException", f"A destination cannot be set to {status}")
        elif current not in _CONFIRMED:
            raise AwsError("InvalidRequestException", f"The destination has not been confirmed, it is {current}")
        else:
            self._set_status(arn, status, None)

    def delete(self, arn: str) -> None:
        """Delete a destination, if it is there."""
        self._store.execute("DELETE FROM rules_destination WHERE arn = ?", (arn,))

    async def stop(self) -> None:
        """End the sending of tokens."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _described(self, row: Row) -> Members:
        status, reason = row["status"], row["status_reason"]
        if status == "IN_PROGRESS" and self._clock.now() > row["updated_at"] + _TOKEN_SECONDS:
            status, reason = "ERROR", "Confirmation timed out."
        described = {
            "arn": row["arn"],
            "status": status,
            "createdAt": row["created_at"],
            "lastUpdatedAt": row["updated_at"],
            "httpUrlProperties": {"confirmationUrl": row["confirmation_url"]},
        }
        return described if reason is None else {**described, "statusReason": reason}

    def _row(self, arn: str) -> Row:
        row = self._store.query_one("SELECT * FROM rules_destination WHERE arn = ?", (arn,))
        if row is None:
            raise AwsError("UnauthorizedException", f"Access to topic rule destination '{arn}' was denied")
        return row

    def _set_status(self, arn: str, status: str, reason: str | None) -> None:
        self._store.execute(
            "UPDATE rules_destination SET status = ?, status_reason = ?, updated_at = ? WHERE arn = ?",
            (status, reason, self._clock.now(), arn),
        )

    def _send(self, arn: str, url: str, token: str) -> None:
        task = asyncio.get_running_loop().create_task(self._confirmation(arn, url, token))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _confirmation(self, arn: str, url: str, token: str) -> None:
        enable = f"{self._endpoint()}/confirmdestination/{token}"
        body = {"arn": arn, "confirmationToken": token, "enableUrl": enable, "messageType": "DestinationConfirmation"}
        headers = {
            "Content-Type": "application/json",
            "x-amz-rules-engine-message-type": "DestinationConfirmation",
            "x-amz-rules-engine-destination-arn": arn,
        }
        try:
            answer = await post(_with_token(url, token), json.dumps(body).encode(), headers)
            outcome = f"answered with the status {answer.status}"
        except OSError as error:
            outcome = f"did not answer: {error}"
            self._set_status(arn, "ERROR", f"The endpoint {outcome}")
        self._trace.emit("rules", "destination-confirmation", f"{url} was sent its token, and {outcome}", arn=arn)


def _with_token(url: str, token: str) -> str:
    """Where the token is sent: `{confirmationUrl}/?confirmationToken={confirmationToken}`."""
    query = f"confirmationToken={token}"
    return f"{url}&{query}" if "?" in url else f"{url.rstrip('/')}/?{query}"


def _covers(confirmation_url: str, url: str) -> bool:
    return url == confirmation_url or url.startswith((confirmation_url.rstrip("/") + "/", confirmation_url + "?"))
