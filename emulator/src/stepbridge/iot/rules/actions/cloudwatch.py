"""cloudwatchMetric, cloudwatchAlarm and cloudwatchLogs."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.iot.rules.actions.base import Action, ActionError, Delivery, Members, TemplateCompiler

_STATES = ("OK", "ALARM", "INSUFFICIENT_DATA")


class CloudWatchMetricAction(Action):
    """A data point of a metric: developerguide/cloudwatch-metrics-rule-action.html."""

    name = "cloudwatchMetric"
    service = "AmazonCloudWatch"
    failure = "Failed to put CloudWatch metric"
    target_member = "metricName"
    target_label = "Metric name"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__(members, compile_template)
        self._namespace = self.template("metricNamespace")
        self._unit = self.template("metricUnit")
        self._value = self.template("metricValue")
        self._timestamp = self.optional_template("metricTimestamp")

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises ActionError for a value or timestamp (seconds since the epoch) that is not a number."""
        name, namespace = await delivery.text(self.target), await delivery.text(self._namespace)
        datum: dict[str, Any] = {
            "MetricName": name,
            "Value": _number(await delivery.text(self._value), "metricValue"),
            "Unit": await delivery.text(self._unit),
        }
        if self._timestamp is not None:
            datum["Timestamp"] = _moment(await delivery.text(self._timestamp))
        await self.authorize(delivery, "cloudwatch:PutMetricData", "*")
        await delivery.services.calls.call("cloudwatch", "PutMetricData", Namespace=namespace, MetricData=[datum])
        return {"MetricName": name}


class CloudWatchAlarmAction(Action):
    """The state of an alarm: developerguide/cloudwatch-alarms-rule-action.html."""

    name = "cloudwatchAlarm"
    service = "AmazonCloudWatch"
    failure = "Failed to set CloudWatch alarm state"
    target_member = "alarmName"
    target_label = "Alarm name"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__(members, compile_template)
        self._reason = self.template("stateReason")
        self._value = self.template("stateValue")

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises ActionError for a state there is not."""
        name, state = await delivery.text(self.target), await delivery.text(self._value)
        if state not in _STATES:
            raise ActionError(f"stateValue is {state!r}, and not one of {', '.join(_STATES)}")
        await self.authorize(delivery, "cloudwatch:SetAlarmState", delivery.arn("cloudwatch", f"alarm:{name}"))
        reason = await delivery.text(self._reason)
        await delivery.services.calls.call(
            "cloudwatch", "SetAlarmState", AlarmName=name, StateValue=state, StateReason=reason
        )
        return {"AlarmName": name}


class CloudWatchLogsAction(Action):
    """The output as a log event, or several: developerguide/cloudwatch-logs-rule-action.html.

    The log stream has the rule's name.
    """

    name = "cloudwatchLogs"
    service = "AWSLogs"
    failure = "Failed to put CloudWatch log events"
    target_member = "logGroupName"
    target_label = "Log group name"

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """In batch mode the output is an array of objects with `timestamp` (milliseconds) and `message`."""
        group, stream = await delivery.text(self.target), delivery.rule_name
        events = self._events(delivery)
        resource = delivery.arn("logs", f"log-group:{group}:log-stream:{stream}")
        streams = delivery.arn("logs", f"log-group:{group}:log-stream:")
        await self.authorize(delivery, "logs:DescribeLogStreams", streams)
        await self.authorize(delivery, "logs:CreateLogStream", resource)
        await self.authorize(delivery, "logs:PutLogEvents", resource)
        call = delivery.services.calls.call
        try:
            await call("logs", "CreateLogStream", logGroupName=group, logStreamName=stream)
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise
        await call("logs", "PutLogEvents", logGroupName=group, logStreamName=stream, logEvents=events)
        return {"LogGroupName": group}

    def _events(self, delivery: Delivery) -> list[dict[str, Any]]:
        if not self.members.get("batchMode", False):
            return [{"timestamp": int(delivery.clock.now() * 1000), "message": delivery.payload_text()}]
        items = delivery.json_value()
        if not isinstance(items, list) or not all(_is_event(item) for item in items):
            raise ActionError("batchMode needs an output that is an array of objects with timestamp and message")
        events = [{"timestamp": item["timestamp"], "message": item["message"]} for item in items]
        return sorted(events, key=lambda event: int(event["timestamp"]))


def _is_event(item: Any) -> bool:
    return isinstance(item, dict) and type(item.get("timestamp")) is int and isinstance(item.get("message"), str)


def _number(text: str, member: str) -> float:
    try:
        number = float(Decimal(text))
    except ArithmeticError as error:
        raise ActionError(f"{member} is {text!r}, and not a number") from error
    if not math.isfinite(number):
        raise ActionError(f"{member} is {text!r}, which is no metric's value")
    return number


def _moment(text: str) -> datetime:
    try:
        return datetime.fromtimestamp(_number(text, "metricTimestamp"), UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise ActionError(f"metricTimestamp is {text!r}, and not a number of seconds since 1970") from error
