"""The timer behind all rules and schedules, and what events make rules send."""

import asyncio
import json
import logging
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock, Timer
from stepbridge.schedules.expressions import Once
from stepbridge.schedules.inputs import rule_input, schedule_input
from stepbridge.schedules.source import Entry, read_entries
from stepbridge.schedules.targets import RULES, AwsCalls, Functions, Permissions, Sender, Targets
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

_log = logging.getLogger(__name__)

_TABLES = """
CREATE TABLE schedule (
    arn TEXT PRIMARY KEY, definition TEXT NOT NULL, since REAL NOT NULL, fired REAL
) STRICT;
"""
# How late a time may be noticed that is not missed: the emulator did not run then.
_GRACE = 60.0
# How long stopping waits for what is being sent, in seconds.
_DRAIN_SECONDS = 3.0


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    since: float
    fired: float | None  # the last time that it was due, None if it never was
    due: float | None = None


class Schedules:
    """Fires the rules and schedules that moto keeps, each at its times on the emulator's clock.

    There is one timer, for the earliest of them.  :meth:`changed` is to be called when a rule or schedule changes.
    Times that pass while the emulator is stopped are skipped, but for a schedule that happens once: it fires late.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        trace: Trace,
        calls: AwsCalls,
        functions: Functions,
        permissions: Permissions,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._trace = trace
        self._calls = calls
        self._targets = Targets(calls, functions, permissions)
        self._waiting: dict[str, _Waiting] = {}
        self._timer: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = False
        self._outdated = False
        self._draining = False
        store.migrate("schedules", [_TABLES])

    async def start(self) -> None:
        """Set the timer for what there was when the emulator was stopped."""
        if self._store.query_one("SELECT 1 FROM schedule"):
            self.changed()
            await self.settled()

    async def drain(self) -> None:
        """The emulator is about to stop: let what is being sent be sent, for a while."""
        if not self._draining and self._tasks:
            self._draining = True
            await asyncio.wait(self._tasks, timeout=_DRAIN_SECONDS)

    async def stop(self) -> None:
        """Stop the timer, and give up what is still being sent: a target may take for ever over what it is sent."""
        if self._timer is not None:
            self._timer.cancel()
        await self.drain()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def settled(self) -> None:
        """Return when nothing is being read or sent."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def changed(self) -> None:
        """Read the rules and schedules again."""
        self._outdated = True
        if not self._reading:
            self._reading = True
            self._run(self._read())

    def take(self, rule_arn: str, targets: Sequence[Mapping[str, Any]], event: Mapping[str, Any]) -> None:
        """Send an event that a rule matches to targets of the rule."""
        sender = Sender(rule_arn, self._settings.account, RULES)
        for target in targets:
            self._run(self._send_event(sender, target, event))

    async def _send_event(self, sender: Sender, target: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        try:
            text = rule_input(target, event, sender.arn)
        except ValueError as error:
            self._tell(sender, "schedule-failed", f"has an input that cannot be made: {error}")
        else:
            await self._deliver(sender, target, text)

    async def _read(self) -> None:
        try:
            while self._outdated:
                self._outdated = False
                entries = await read_entries(self._calls, self._settings.account)
                self._take(entries)
        finally:
            self._reading = False
            if self._outdated:  # what failed is no reason to miss a change that came meanwhile
                self.changed()

    def _take(self, entries: list[Entry]) -> None:
        now = self._clock.now()
        known = {row["arn"]: row for row in self._store.query("SELECT * FROM schedule")}
        self._waiting = {}
        for entry in entries:
            arn = entry.sender.arn
            row = known.pop(arn, None)
            if row is not None and row["definition"] == entry.definition:
                waiting = _Waiting(entry, row["since"], row["fired"])
            else:
                waiting = _Waiting(entry, now, None)
                self._store.execute(
                    "INSERT OR REPLACE INTO schedule VALUES (?, ?, ?, NULL)", (arn, entry.definition, now)
                )
            self._waiting[arn] = waiting
            self._set_due(waiting)
            if waiting.due is not None and waiting.due < now - _GRACE and not isinstance(entry.expression, Once):
                waiting.fired = now  # what was missed
                self._set_due(waiting)
        for arn in known:
            self._store.execute("DELETE FROM schedule WHERE arn = ?", (arn,))
        self._set_timer()

    def _set_due(self, waiting: _Waiting) -> None:
        waiting.due = waiting.entry.next_after(waiting.fired, waiting.since)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        times = [waiting.due for waiting in self._waiting.values() if waiting.due is not None]
        self._timer = self._clock.call_at(min(times), self._fire) if times else None

    def _fire(self) -> None:
        now = self._clock.now()
        for arn, waiting in self._waiting.items():
            if waiting.due is None or waiting.due > now:
                continue
            waiting.fired = waiting.due
            self._store.execute("UPDATE schedule SET fired = ? WHERE arn = ?", (waiting.fired, arn))
            self._set_due(waiting)
            self._run(self._send(waiting.entry, waiting.fired, last=waiting.due is None))
        self._set_timer()

    async def _send(self, entry: Entry, time: float, *, last: bool) -> None:
        await self._store.committed()
        for target in entry.targets:
            event = self._event(entry, time)
            if entry.sender.service == RULES:
                await self._send_event(entry.sender, target, event)
                continue
            attributes = {
                "schedule-arn": entry.sender.arn,
                "scheduled-time": event["time"],
                "execution-id": uuid.uuid4().hex[:16],
                "attempt-number": "1",
            }
            text = schedule_input(target.get("Input") or json.dumps(event), attributes)
            await self._deliver(entry.sender, target, text)
        if last and entry.deleted_after:
            await self._calls.call("scheduler", "DeleteSchedule", Name=entry.sender.name, GroupName=entry.group)

    async def _deliver(self, sender: Sender, target: Mapping[str, Any], text: str) -> None:
        self._tell(sender, "schedule-fired", f"fires for {target['Arn']}")
        try:
            await self._targets.send(sender, target, text)
        except AwsError as error:
            self._tell(sender, "schedule-failed", f"cannot reach {target['Arn']}: {error.code}: {error.message}")
            try:
                await self._targets.bury(sender, target, text, error)
            except AwsError as failure:
                self._tell(sender, "schedule-failed", f"cannot reach its dead-letter queue: {failure.message}")

    def _event(self, entry: Entry, time: float) -> dict[str, Any]:
        rule = entry.sender.service == RULES
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events" if rule else "aws.scheduler",
            "account": self._settings.account,
            "time": datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._settings.region,
            "resources": [entry.sender.arn],
            "detail": {} if rule else "{}",
        }

    def _tell(self, sender: Sender, event: str, text: str) -> None:
        kind = "Rule" if sender.service == RULES else "Schedule"
        self._trace.emit("events", event, f"{kind} {sender.name} {text}", arn=sender.arn)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a schedule failed", exc_info=error)
