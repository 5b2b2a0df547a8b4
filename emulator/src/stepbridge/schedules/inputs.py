"""What a target is sent."""

import json
import re
from collections.abc import Mapping
from typing import Any

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']+)'\]")
_VARIABLE = re.compile(r"<([\w.-]+)>")


def rule_input(target: Mapping[str, Any], event: Mapping[str, Any], rule_arn: str) -> str:
    """The text that a rule's target gets for `event`.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    """
    if "Input" in target:
        text: str = target["Input"]
        return text
    if "InputPath" in target:
        return json.dumps(at_path(event, target["InputPath"]))
    if "InputTransformer" in target:
        return _transformed(target["InputTransformer"], event, rule_arn)
    return json.dumps(event)


def at_path(document: Any, path: str) -> Any:
    """What stands at a path such as `$.detail.items[0]`; None if there is nothing.  Raises ValueError."""
    if not path.startswith("$"):
        raise ValueError(f"{path} is not a JSONPath: it must start with $")
    position = 1
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise ValueError(f"{path} is not a JSONPath that EventBridge has")
        position = step.end()
        try:
            document = document[int(step[2])] if step[2] else document[step[1] or step[3]]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _transformed(transformer: Mapping[str, Any], event: Mapping[str, Any], rule_arn: str) -> str:
    """A template with its variables replaced: JSON values where they stand bare, text inside of quotes."""
    values: dict[str, Any] = {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rpartition("/")[2],
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": event,
        "aws.events.event.ingestion-time": event["time"],
    }
    values |= {name: at_path(event, path) for name, path in transformer.get("InputPathsMap", {}).items()}
    template: str = transformer["InputTemplate"]
    parts: list[str] = []
    end, quoted = 0, False
    for match in _VARIABLE.finditer(template):
        between = template[end : match.start()]
        parts.append(between)
        quoted ^= len(re.findall(r'(?<!\\)"', between)) % 2 == 1
        end = match.end()
        if match[1] not in values:
            parts.append(match[0])
            continue
        value = values[match[1]]
        if not quoted:
            parts.append("" if value is None else json.dumps(value))
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            parts.append(json.dumps(text, ensure_ascii=False)[1:-1])
    return "".join([*parts, template[end:]])


def schedule_input(text: str, attributes: Mapping[str, str]) -> str:
    """A schedule's Input with the context attributes (`<aws.scheduler.schedule-arn>` …) in place.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    for name, value in attributes.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text
