"""What the rules engine writes to CloudWatch Logs, once SetV2LoggingOptions has turned it on.

The log group is AWSIotLogsV2, the entries are those of developerguide/cwl-format.html.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock
from stepbridge.iot.message import Message
from stepbridge.iot.rules.actions import AwsCalls
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

GROUP = "AWSIotLogsV2"
_LEVELS = ("DISABLED", "ERROR", "WARN", "INFO", "DEBUG")
_MAX_EVENTS = 10_000  # of PutLogEvents

_TABLES = """
CREATE TABLE rules_logging (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    role_arn TEXT,
    level TEXT NOT NULL
) STRICT;
"""


class RuleLogs:
    """Writes entries in the background, in the order they were made."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, trace: Trace, calls: AwsCalls) -> None:
        store.migrate("rules_logging", [_TABLES])
        self._settings = settings
        self._store = store
        self._clock = clock
        self._trace = trace
        self._calls = calls
        self._pending: list[dict[str, Any]] = []
        self._writer: asyncio.Task[None] | None = None
        self._is_ready = False
        row = store.query_one("SELECT role_arn, level FROM rules_logging")
        self.role_arn: str | None = row["role_arn"] if row else None
        self.level: str = row["level"] if row else "DISABLED"

    def configure(self, role_arn: str | None, level: str) -> None:
        """Set the role and the level, DISABLED or the least severe that is written."""
        self.role_arn, self.level = role_arn, level
        self._store.execute("INSERT OR REPLACE INTO rules_logging VALUES (1, ?, ?)", (role_arn, level))

    def write(
        self, level: str, event: str, rule: str, message: Message, details: Mapping[str, object] | None = None
    ) -> None:
        """Write an entry about a rule and a message, if entries of `level` are wanted."""
        if _LEVELS.index(level) > _LEVELS.index(self.level):
            return
        now = self._clock.now()
        entry = {
            "timestamp": datetime.fromtimestamp(now, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00"),
            "logLevel": level,
            "traceId": message.trace_id,
            "accountId": self._settings.account,
            "status": "Success" if level in ("INFO", "DEBUG") else "Failure",
            "eventType": event,
            "clientId": "n/a" if message.client_id is None else message.client_id,
            "topicName": message.topic,
            "ruleName": rule,
            **(details or {}),
            "principalId": message.principal,
        }
        self._pending.append({"timestamp": int(now * 1000), "message": json.dumps(entry)})
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_pending())

    async def flush(self) -> None:
        """Return when all entries are written."""
        if self._writer is not None:
            await self._writer

    async def _write_pending(self) -> None:
        stream = f"rules-engine_{self._settings.account}_0"
        try:
            while self._pending:
                events, self._pending = self._pending[:_MAX_EVENTS], self._pending[_MAX_EVENTS:]
                if not self._is_ready:
                    await self._create("CreateLogGroup", logGroupName=GROUP)
                    await self._create("CreateLogStream", logGroupName=GROUP, logStreamName=stream)
                    self._is_ready = True
                await self._calls.call(
                    "logs", "PutLogEvents", logGroupName=GROUP, logStreamName=stream, logEvents=events
                )
        except AwsError as error:
            self._is_ready = False
            self._trace.emit("rules", "logs-failed", f"The rules' log entries could not be written to {GROUP}: {error}")
        finally:
            self._writer = None

    async def _create(self, operation: str, **members: str) -> None:
        try:
            await self._calls.call("logs", operation, **members)
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise
