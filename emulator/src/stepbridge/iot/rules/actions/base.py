"""What an action is, what it is given to work with, and how it fails."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock
from stepbridge.iot.message import Message
from stepbridge.iot.rules.sql import UNDEFINED, Evaluation, ExternalCall, Failed, Output, Template
from stepbridge.settings import Settings

IOT = "iot.amazonaws.com"

Members = Mapping[str, Any]

# Compiles the text of a member that may hold substitution templates; the second argument says which member.
TemplateCompiler = Callable[[str, str], Template]


class FunctionInvoker(Protocol):
    """The functions that rules invoke."""

    async def invoke_as_service(
        self,
        function_arn: str,
        payload: bytes,
        *,
        principal: str,
        source_arn: str,
        source_account: str,
        invocation_type: str = "Event",
    ) -> Any:
        """Invoke.  Raises AwsError, also when the function's resource policy does not allow it.

        The answer of a RequestResponse invocation has `payload` (bytes) and `function_error` (None if there is none).
        """
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


class RoleChecks(Protocol):
    """What rules' roles allow."""

    async def require(self, role_arn: str, rule_arn: str, action: str, resource: str) -> None:
        """Raises AwsError unless the role can be assumed and allows `action` on `resource`."""
        ...


class EnabledDestinations(Protocol):
    """The endpoints that have agreed to be posted to."""

    def is_enabled(self, url: str) -> bool:
        """Whether messages may be posted to `url`."""
        ...


@dataclass(frozen=True, slots=True)
class RuleServices:
    """What actions and external functions reach."""

    functions: FunctionInvoker
    publisher: Publisher
    calls: AwsCalls
    endpoint: Callable[[], str]  # the URL of the emulator's HTTP port


class ActionError(Exception):
    """An action that could not be carried out; the message says why."""


class RefusedMemberError(Exception):
    """A member of an action that cannot be accepted when the rule is created."""

    def __init__(self, member: str, problem: str) -> None:
        super().__init__(problem)
        self.member = member


@dataclass(frozen=True, slots=True)
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
    roles: RoleChecks
    destinations: EnabledDestinations
    resolve: Callable[[Evaluation, ExternalCall], Awaitable[None]]

    async def text(self, template: Template) -> str:
        """The text of a template for this message.  Raises ActionError where its expressions fail."""
        while isinstance(rendered := template.render(self.evaluation), ExternalCall):
            await self.resolve(self.evaluation, rendered)
        if isinstance(rendered, Failed):
            raise ActionError(f"the substitution template {template.text} failed: {rendered.message}")
        return rendered

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of the emulator's account in its region."""
        return f"arn:aws:{service}:{self.settings.region}:{self.settings.account}:{resource}"

    def payload_text(self) -> str:
        """The output as text.  Raises ActionError if it is not."""
        try:
            return self.output.payload.decode()
        except UnicodeDecodeError as error:
            raise ActionError("the payload is not UTF-8 text") from error

    def json_value(self) -> Any:
        """The output as a value.  Raises ActionError if it is not JSON."""
        if self.output.value is UNDEFINED:
            raise ActionError("the payload is not JSON")
        return self.output.value


class Action:
    """An action of a rule, compiled from its members in CreateTopicRule.

    Subclasses say in `name` what it is called in the API, in `service` who carries it out (as in Java's error texts)
    and in `failure` what could not be done; they compile their templates in `__init__` and act in :meth:`run`.
    """

    name: ClassVar[str]
    service: ClassVar[str]
    failure: ClassVar[str]
    # The member that names what is acted on, and what error messages call it.
    target_member: ClassVar[str]
    target_label: ClassVar[str]

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        self.members = members
        self._compile = compile_template
        self.role_arn: str | None = members.get("roleArn")
        self.target = self.template(self.target_member)

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

    async def authorize(self, delivery: Delivery, action: str, resource: str) -> None:
        """Raises AwsError unless the action's role allows the IAM `action` on the ARN `resource`."""
        if self.role_arn is not None:
            await delivery.roles.require(self.role_arn, delivery.rule_arn, action, resource)

    def details(self) -> str:
        """What is acted on, as error messages put it after the action's name."""
        return f"{self.target_label}: {self.target.text}"

    def failure_of(self, error: AwsError) -> str:
        """What could not be done, when a service has refused it."""
        return self.failure

    def error_message(self, delivery: Delivery, error: AwsError | ActionError) -> str:
        """The failure as AWS words it (developerguide/rule-error-handling.html)."""
        failure = self.failure
        if isinstance(error, AwsError):
            failure = self.failure_of(error)
            reason = f"{error.message} (Service: {self.service}; Status Code: {error.status or 400}; "
            reason += f"Error Code: {error.code}; Request ID: {delivery.message.trace_id or 'n/a'})"
        else:
            reason = str(error)
        return (
            f"{failure}. The error received was {reason}. "
            f"Message arrived on: {delivery.message.topic}, Action: {self.name}, {self.details()}"
        )
