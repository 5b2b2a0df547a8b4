"""What an action is, what it is given to work with, and how it fails."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock
from stepbridge.iot.message import Message
from stepbridge.iot.rules.sql import Evaluation, ExternalCall, Failed, Output, Template
from stepbridge.settings import Settings

Members = Mapping[str, Any]

# Compiles the text of a member that may hold substitution templates; the first argument says which member.
TemplateCompiler = Callable[[str, str], Template]


class FunctionInvoker(Protocol):
    """The functions that rules invoke."""

    async def invoke_as_service(
        self, function_arn: str, payload: bytes, *, principal: str, source_arn: str, source_account: str
    ) -> object:
        """Invoke asynchronously.  Raises AwsError, also when the function's resource policy does not allow it."""
        ...


class Publisher(Protocol):
    """The message broker that rules publish to."""

    async def publish(self, message: Message) -> None:
        """Publish as the rules engine: the message goes to subscribers, and back to the rules engine."""
        ...


class AwsCalls(Protocol):
    """The other AWS services."""

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        """The answer of an operation, named as in botocore's model.  Raises AwsError."""
        ...


@dataclass(frozen=True, slots=True)
class RuleServices:
    """What actions and external functions reach."""

    functions: FunctionInvoker
    publisher: Publisher
    calls: AwsCalls


class ActionError(Exception):
    """An action that could not be carried out; the message says why."""


@dataclass(slots=True)
class Delivery:
    """One message that a rule has matched, on its way through the actions.

    `resolve` answers an external call of the evaluation.
    """

    rule_name: str
    rule_arn: str
    message: Message
    evaluation: Evaluation
    output: Output
    settings: Settings
    clock: Clock
    services: RuleServices
    resolve: Callable[[Evaluation, ExternalCall], Awaitable[None]]

    async def text(self, template: Template) -> str:
        """The text of a template for this message.  Raises ActionError where its expressions fail."""
        while isinstance(rendered := template.render(self.evaluation), ExternalCall):
            await self.resolve(self.evaluation, rendered)
        if isinstance(rendered, Failed):
            raise ActionError(f"the substitution template {template.text} failed: {rendered.message}")
        return rendered

    async def optional_text(self, template: Template | None) -> str | None:
        """The text of a template, or None if there is none."""
        return None if template is None else await self.text(template)


class Action:
    """An action of a rule, compiled from its members in CreateTopicRule.

    Subclasses say in `name` what it is called in the API, in `service` who carries it out (for messages), and in
    `failure` what could not be done; they compile their templates in `__init__` and act in :meth:`run`.
    """

    name: ClassVar[str]
    service: ClassVar[str]
    failure: ClassVar[str]

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        self.members = members
        self._compile = compile_template
        self.role_arn: str | None = members.get("roleArn")

    @property
    def log_name(self) -> str:
        """Its name in logs and error messages: `RepublishAction`, `DynamoDBv2Action`."""
        return f"{self.name[0].upper()}{self.name[1:]}Action"

    def template(self, member: str) -> Template:
        """The template in a member."""
        return self._compile(self.members[member], member)

    def optional_template(self, member: str) -> Template | None:
        """The template in a member that may be absent."""
        return self.template(member) if member in self.members else None

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Do it; the answer names the resources it was done to.  Raises AwsError or ActionError."""
        raise NotImplementedError

    def target(self) -> str:
        """What is acted on, the error action's `failedResource`: the member as it is written."""
        raise NotImplementedError

    def resource(self) -> str:
        """What is acted on, as error messages put it."""
        raise NotImplementedError


def error_message(action: Action, delivery: Delivery, error: AwsError | ActionError) -> str:
    """The failure as AWS words it (developerguide/rule-error-handling.html)."""
    if isinstance(error, AwsError):
        reason = f"{error.message} (Service: {action.service}; Status Code: {error.status or 400}; "
        reason += f"Error Code: {error.code}; Request ID: {delivery.message.trace_id or 'n/a'})"
    else:
        reason = str(error)
    return (
        f"{action.failure}. The error received was {reason}. "
        f"Message arrived on: {delivery.message.topic}, Action: {action.name}, {action.resource()}"
    )
