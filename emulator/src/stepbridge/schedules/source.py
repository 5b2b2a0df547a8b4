"""The rules with a schedule and the schedules, read from moto, as things that fire."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.schedules.expressions import Expression, Once, parse_expression, parse_zone
from stepbridge.schedules.targets import RULES, SCHEDULER, AwsCalls, Sender


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that fires.  `definition` changes when its times do; `starts` and `ends` bound a recurrence.

    `group` is that of a schedule, which is deleted after its last time if `deleted_after`.
    """

    sender: Sender
    definition: str
    expression: Expression
    targets: tuple[Mapping[str, Any], ...]
    starts: float | None = None
    ends: float | None = None
    group: str | None = None
    deleted_after: bool = False

    def next_after(self, time: float | None, since: float) -> float | None:
        """The first time after `time`, None if it has never fired; `since` is when it was made."""
        if isinstance(self.expression, Once):
            return self.expression.next_after(since - 1, since) if time is None else None
        if self.sender.service == RULES:
            found = self.expression.next_after(since if time is None else time, since)
        else:  # a schedule with a rate begins at once
            began = max(since, self.starts or since)
            found = self.expression.next_after(began - 1 if time is None else time, began)
        return None if found is None or (self.ends is not None and found > self.ends) else found


async def read_entries(calls: AwsCalls, account: str) -> list[Entry]:
    """All that fires, as moto has it now."""
    return [*await _rules(calls, account), *await _schedules(calls, account)]


async def _rules(calls: AwsCalls, account: str) -> list[Entry]:
    entries = []
    for rule in await _all(calls, "events", "ListRules", "Rules"):
        text = rule.get("ScheduleExpression")
        if not text or rule.get("State", "ENABLED") == "DISABLED":
            continue
        try:
            targets = await _all(calls, "events", "ListTargetsByRule", "Targets", Rule=rule["Name"])
        except AwsError as error:
            if error.code == "ResourceNotFoundException":  # deleted since
                continue
            raise
        try:
            expression = parse_expression(text, once=False)
        except ValueError:  # cannot be: it was refused
            continue
        entries.append(Entry(Sender(rule["Arn"], account, RULES), text, expression, tuple(targets)))
    return entries


async def _schedules(calls: AwsCalls, account: str) -> list[Entry]:
    entries = []
    for summary in await _all(calls, "scheduler", "ListSchedules", "Schedules"):
        try:
            schedule = await calls.call(
                "scheduler", "GetSchedule", Name=summary["Name"], GroupName=summary["GroupName"]
            )
        except AwsError as error:
            if error.code == "ResourceNotFoundException":  # deleted since
                continue
            raise
        if schedule.get("State", "ENABLED") == "DISABLED":
            continue
        zone = schedule.get("ScheduleExpressionTimezone") or "UTC"
        text = schedule["ScheduleExpression"]
        starts, ends = _seconds(schedule.get("StartDate")), _seconds(schedule.get("EndDate"))
        entries.append(
            Entry(
                Sender(schedule["Arn"], account, SCHEDULER),
                f"{text} {zone} {starts}",
                parse_expression(text, parse_zone(zone)),
                (schedule["Target"],),
                starts,
                ends,
                schedule["GroupName"],
                schedule.get("ActionAfterCompletion") == "DELETE",
            )
        )
    return entries


async def _all(calls: AwsCalls, service: str, operation: str, member: str, **members: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = await calls.call(service, operation, **members, **token)
        found += page.get(member, [])
        if not page.get("NextToken"):
            return found
        token = {"NextToken": page["NextToken"]}


def _seconds(value: Any) -> float | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return None
