"""Word of each change to a rule or a schedule in moto, and of each event that a rule matches.

Who fires them then need not ask for them again and again.  What AWS would not take is refused.
"""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.models import operation_model
from stepbridge.api.validation import validate
from stepbridge.schedules.expressions import parse_expression, parse_zone
from stepbridge.schedules.targets import RULES, SCHEDULER, why_unsupported


def tell_of_rules(listener: Callable[[], object]) -> None:
    """Make moto's EventBridge check schedules and call `listener`, on whatever thread, after each change to a rule."""
    from moto.events.exceptions import ValidationException
    from moto.events.models import EventsBackend

    put_rule, put_targets = EventsBackend.put_rule, EventsBackend.put_targets

    @wraps(put_rule)
    def checked(backend: Any, *arguments: Any, **named: Any) -> Any:
        if expression := named.get("scheduled_expression"):
            try:
                parse_expression(expression, once=False)
            except ValueError:
                raise ValidationException("Parameter ScheduleExpression is not valid.") from None
        return put_rule(backend, *arguments, **named)

    @wraps(put_targets)
    def supported(backend: Any, name: str, event_bus_arn: str | None, targets: list[dict[str, Any]]) -> Any:
        scheduled = backend.describe_rule(name, event_bus_arn).scheduled_expression
        for target in targets:
            if (reason := why_unsupported(target["Arn"], RULES)) is not None and (
                scheduled or not _moto_sends_to(target["Arn"])
            ):
                raise ValidationException(reason)
            if ":states:" in target["Arn"] and "RoleArn" not in target:
                raise ValidationException(f"RoleArn is required for target {target['Arn']}.")
        return put_targets(backend, name, event_bus_arn, targets)

    EventsBackend.put_rule = checked  # type: ignore[method-assign, assignment]
    EventsBackend.put_targets = supported  # type: ignore[method-assign, assignment]
    _announce(
        EventsBackend,
        ("put_rule", "delete_rule", "put_targets", "remove_targets", "enable_rule", "disable_rule"),
        listener,
    )


# Called on whatever thread an event came, with the ARN of a rule that matches it, targets of the rule, and the event.
EventListener = Callable[[str, list[dict[str, Any]], dict[str, Any]], object]


def tell_of_events(listener: EventListener) -> None:
    """Make moto's EventBridge call `listener` for the targets that stepbridge sends to; moto sends to the others."""
    from moto.events.models import Rule

    send = Rule.send_to_targets

    def send_to_targets(rule: Any, original_event: Any, transform_input: bool = True) -> None:
        if rule.state == "DISABLED" or not rule.event_pattern.dump():
            return
        ours = [target for target in rule.targets if why_unsupported(target["Arn"], RULES) is None]
        if ours and rule.event_pattern.matches_event(original_event):
            listener(rule.arn, ours, _event(original_event))
        rest = copy.copy(rule)
        rest.targets = [target for target in rule.targets if target not in ours]
        send(rest, original_event, transform_input)

    Rule.send_to_targets = send_to_targets  # type: ignore[method-assign, assignment]


def _event(message: dict[str, Any]) -> dict[str, Any]:
    """An event as targets get it: without what moto has added, and with its time as text."""
    event = {name: value for name, value in message.items() if name not in ("ingestion-time", "replay-name")}
    if isinstance(event["time"], (int, float)):
        event["time"] = datetime.fromtimestamp(event["time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return event


def _moto_sends_to(arn: str) -> bool:
    return ":logs:" in arn or arn.startswith("arn:aws:events:")


def tell_of_schedules(listener: Callable[[], object]) -> None:
    """Make moto's Scheduler check schedules and call `listener`, on whatever thread, after each change to one."""
    from moto.scheduler.exceptions import ScheduleGroupNotFound, ValidationException
    from moto.scheduler.models import EventBridgeSchedulerBackend

    def check(backend: Any, named: dict[str, Any]) -> None:
        members = {member: named[name] for member, name in _SCHEDULE_MEMBERS.items() if named.get(name) is not None}
        try:
            validate("scheduler", operation_model("scheduler", "CreateSchedule").input_shape, members)
        except AwsError as error:
            raise ValidationException(error.message) from None
        group = named["group_name"] or "default"
        if group not in backend.schedule_groups:
            raise ScheduleGroupNotFound(group)
        if (reason := _why_invalid(members)) is not None:
            raise ValidationException(reason)
        expression, zone = named["schedule_expression"], named["schedule_expression_timezone"] or "UTC"
        try:
            there = parse_zone(zone)
        except ValueError:
            raise ValidationException(f"The provided timezone {zone} is not valid.") from None
        try:
            parse_expression(expression, there)
        except ValueError:
            raise ValidationException(f"Invalid Schedule Expression {expression}.") from None
        if (reason := why_unsupported(named["target"]["Arn"], SCHEDULER)) is not None:
            raise ValidationException(reason)

    def checked(operation: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(operation)
        def answer(backend: Any, **named: Any) -> Any:
            check(backend, named)
            return operation(backend, **named)

        return answer

    for name in ("create_schedule", "update_schedule"):
        setattr(EventBridgeSchedulerBackend, name, checked(getattr(EventBridgeSchedulerBackend, name)))
    _announce(
        EventBridgeSchedulerBackend,
        ("create_schedule", "update_schedule", "delete_schedule", "delete_schedule_group"),
        listener,
    )


_SCHEDULE_MEMBERS = {
    "EndDate": "end_date",
    "FlexibleTimeWindow": "flexible_time_window",
    "Name": "name",
    "ScheduleExpression": "schedule_expression",
    "StartDate": "start_date",
    "State": "state",
    "Target": "target",
}


def _why_invalid(members: dict[str, Any]) -> str | None:
    """What is wrong with a schedule beside what its model says."""
    window = members["FlexibleTimeWindow"]
    if (window["Mode"] == "FLEXIBLE") != ("MaximumWindowInMinutes" in window):
        return "A flexible time window has MaximumWindowInMinutes where its Mode is FLEXIBLE, and only there."
    start, end = members.get("StartDate"), members.get("EndDate")
    if isinstance(start, (int, float)) and isinstance(end, (int, float)) and end <= start:
        return "The EndDate must be after the StartDate."
    return None


def _announce(backend: Any, names: tuple[str, ...], listener: Callable[[], object]) -> None:
    def announced(operation: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(operation)
        def answer(*arguments: Any, **named: Any) -> Any:
            result = operation(*arguments, **named)
            listener()
            return result

        return answer

    for name in names:
        setattr(backend, name, announced(getattr(backend, name)))
