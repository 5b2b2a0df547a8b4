"""Word of each change to a rule or a schedule in moto, and the refusal of what AWS would not take.

Who fires them then need not ask for them again and again.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

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
        if backend.describe_rule(name, event_bus_arn).scheduled_expression:
            for target in targets:
                if (reason := why_unsupported(target["Arn"], RULES)) is not None:
                    raise ValidationException(reason)
        return put_targets(backend, name, event_bus_arn, targets)

    EventsBackend.put_rule = checked  # type: ignore[method-assign, assignment]
    EventsBackend.put_targets = supported  # type: ignore[method-assign, assignment]
    _announce(
        EventsBackend,
        ("put_rule", "delete_rule", "put_targets", "remove_targets", "enable_rule", "disable_rule"),
        listener,
    )


def tell_of_schedules(listener: Callable[[], object]) -> None:
    """Make moto's Scheduler check schedules and call `listener`, on whatever thread, after each change to one."""
    from moto.scheduler.exceptions import ValidationException
    from moto.scheduler.models import EventBridgeSchedulerBackend

    def check(named: dict[str, Any]) -> None:
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
            check(named)
            return operation(backend, **named)

        return answer

    for name in ("create_schedule", "update_schedule"):
        setattr(EventBridgeSchedulerBackend, name, checked(getattr(EventBridgeSchedulerBackend, name)))
    _announce(
        EventBridgeSchedulerBackend,
        ("create_schedule", "update_schedule", "delete_schedule", "delete_schedule_group"),
        listener,
    )


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
