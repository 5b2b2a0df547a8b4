"""Sending to a target, as the rule or schedule that has it."""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.model import OperationModel

from stepbridge.api.errors import AwsError
from stepbridge.api.models import has_operation, operation_model
from stepbridge.iam import RoleSession

RULES, SCHEDULER = "events.amazonaws.com", "scheduler.amazonaws.com"
_UNIVERSAL = re.compile(r"arn:aws:scheduler:::aws-sdk:(\w+):(\w+)")
# Services whose name in a universal target, the SDK's, is not the name of botocore's model.
_MODELS = {"sfn": "stepfunctions", "eventbridge": "events", "iotdataplane": "iot-data", "cloudwatchlogs": "logs"}


class AwsCalls(Protocol):
    """In-process calls to AWS services.  Raises AwsError as the service does."""

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]: ...


class Functions(Protocol):
    """Lambda, to services.  Raises AwsError."""

    async def invoke_as_service(
        self,
        function_arn: str,
        payload: bytes,
        *,
        principal: str,
        source_arn: str,
        source_account: str,
    ) -> object: ...


class Permissions(Protocol):
    """What roles may do, and who may assume them."""

    async def may_assume(self, service: str, role_arn: str, source_arn: str) -> bool:
        """Whether `service` may assume the role for the resource `source_arn`."""
        ...

    async def require(self, session: RoleSession, operation: OperationModel, members: Mapping[str, Any]) -> None:
        """Raises AwsError if the role may not call the operation so."""
        ...


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: the ARN of the rule or schedule, its account, and which of the two services it is of."""

    arn: str
    account: str
    service: str

    @property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]


def why_unsupported(arn: str, service: str) -> str | None:
    """Why nothing can be sent to a target with this ARN, or None if something can."""
    if match := _UNIVERSAL.fullmatch(arn):
        model, operation = _universal(match)
        known = service == SCHEDULER and has_operation(model, operation)
        return None if known else f"{arn} is not the ARN of an API operation"
    parts = arn.split(":", 5)
    kinds = ("lambda", "states", "sqs", "sns") + (("events",) if service == SCHEDULER else ())
    if len(parts) != 6 or parts[2] not in kinds:
        return f"stepbridge sends to {', '.join(kinds)}, not to {arn}"
    return None


class Targets:
    """Carries out what targets are for, with the permissions that it takes on AWS."""

    def __init__(self, calls: AwsCalls, functions: Functions, permissions: Permissions) -> None:
        self._calls = calls
        self._functions = functions
        self._permissions = permissions

    async def send(self, sender: Sender, target: Mapping[str, Any], text: str) -> None:
        """Send `text` to `target`.  Raises AwsError as the target's service does, or if it may not be sent there."""
        arn: str = target["Arn"]
        if match := _UNIVERSAL.fullmatch(arn):
            service, operation = _universal(match)
            members = json.loads(text or "{}")
            if not isinstance(members, dict):
                raise AwsError("ValidationException", "The Input of a universal target is a JSON object", status=400)
            await self._call(sender, target, service, operation, members)
        elif ":lambda:" in arn and sender.service == RULES:
            await self._functions.invoke_as_service(
                arn, text.encode(), principal=RULES, source_arn=sender.arn, source_account=sender.account
            )
        elif ":lambda:" in arn:
            members = {"FunctionName": arn, "InvocationType": "Event", "Payload": text.encode()}
            await self._call(sender, target, "lambda", "Invoke", members)
        elif ":states:" in arn:
            name = str(uuid.uuid4())
            await self._call(
                sender, target, "stepfunctions", "StartExecution", {"stateMachineArn": arn, "name": name, "input": text}
            )
        elif ":sqs:" in arn:
            await self._send_message(sender, target, arn, text)
        elif ":sns:" in arn:
            await self._call(sender, target, "sns", "Publish", {"TopicArn": arn, "Message": text})
        elif ":events:" in arn and (wanted := target.get("EventBridgeParameters")):
            entry = {"EventBusName": arn, "Detail": text, **wanted}
            await self._call(sender, target, "events", "PutEvents", {"Entries": [entry]})
        else:
            raise AwsError("ValidationException", why_unsupported(arn, sender.service) or "", status=400)

    async def bury(self, sender: Sender, target: Mapping[str, Any], text: str, error: AwsError) -> None:
        """Send what could not be delivered to the target's dead-letter queue, if it has one.  Raises AwsError."""
        queue = target.get("DeadLetterConfig", {}).get("Arn")
        if queue is None:
            return
        kind = "RULE_ARN" if sender.service == RULES else "SCHEDULE_ARN"
        facts = {
            kind: sender.arn,
            "TARGET_ARN": target["Arn"],
            "ERROR_CODE": error.code,
            "ERROR_MESSAGE": error.message,
            "RETRY_ATTEMPTS": "0",
        }
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in facts.items() if value}
        await self._send_message(sender, {"Arn": queue}, queue, text, MessageAttributes=attributes)

    async def _send_message(
        self, sender: Sender, target: Mapping[str, Any], arn: str, text: str, **members: Any
    ) -> None:
        url = (await self._calls.call("sqs", "GetQueueUrl", QueueName=arn.rpartition(":")[2]))["QueueUrl"]
        group = target.get("SqsParameters", {}).get("MessageGroupId")
        grouped = {"MessageGroupId": group} if group else {}
        await self._call(
            sender, target, "sqs", "SendMessage", {"QueueUrl": url, "MessageBody": text, **grouped, **members}
        )

    async def _call(
        self, sender: Sender, target: Mapping[str, Any], service: str, operation: str, members: dict[str, Any]
    ) -> None:
        if (role := target.get("RoleArn")) is not None:
            if not await self._permissions.may_assume(sender.service, role, sender.arn):
                raise AwsError("AccessDeniedException", f"{sender.service} may not assume {role}", status=403)
            session = RoleSession(role, sender.name)
            await self._permissions.require(session, operation_model(service, operation), members)
        await self._calls.call(service, operation, **members)


def _universal(match: re.Match[str]) -> tuple[str, str]:
    return _MODELS.get(match[1], match[1]), match[2][:1].upper() + match[2][1:]
