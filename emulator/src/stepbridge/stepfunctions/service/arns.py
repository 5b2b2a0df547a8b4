"""ARNs and names of Step Functions' resources.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
"""

import re
import uuid
from dataclasses import dataclass

from stepbridge.api.errors import AwsError

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html, "name": no white space,
# brackets, wildcards, special characters, control characters.
_FORBIDDEN_IN_NAMES = re.compile(r"[\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\U0010ffff]")

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")

ALIAS_NAME = re.compile(r"(?=.*[a-zA-Z_\-.])[a-zA-Z0-9_\-.]+")


def check_name(name: str) -> None:
    """Raise InvalidName if AWS does not take `name` for a state machine, an execution or an activity."""
    if not 1 <= len(name) <= 80 or _FORBIDDEN_IN_NAMES.search(name):
        raise AwsError("InvalidName", f"Invalid Name: '{name}'")


def not_valid(message: str, reason: str) -> AwsError:
    """A ValidationException with one of the API model's reasons."""
    return AwsError("ValidationException", message, members={"reason": reason})


def invalid_arn(reason: str) -> AwsError:
    return AwsError("InvalidArn", f"Invalid Arn: '{reason}'")


def check_role(role: str) -> None:
    """Raise AwsError InvalidArn unless `role` is the ARN of a role."""
    if not _ROLE.fullmatch(role):
        raise invalid_arn(role if role.startswith("arn:") else f"Invalid ARN prefix: {role}")


@dataclass(frozen=True, slots=True)
class Arn:
    """An ARN of Step Functions taken apart: `parts` is what follows the resource type."""

    text: str
    region: str
    account: str
    resource_type: str
    parts: tuple[str, ...]


def parse(text: str, *resource_types: str) -> Arn:
    """Take `text` apart; it must name one of `resource_types`.

    Raises AwsError InvalidArn.
    """
    pieces = text.split(":")
    if len(pieces) < 2 or pieces[0] != "arn":
        raise invalid_arn(f"Invalid ARN prefix: {text}")
    if len(pieces) < 7 or not all(pieces[1:6]) or not all(pieces[6:]):
        raise invalid_arn(f"Invalid ARN: {text}")
    if pieces[2] != "states":
        raise invalid_arn(f"Service not valid in this context: {pieces[2]}")
    arn = Arn(text, pieces[3], pieces[4], pieces[5], tuple(pieces[6:]))
    if arn.resource_type not in resource_types:
        raise invalid_arn(f"Resource type not valid in this context: {arn.resource_type}")
    return arn


@dataclass(frozen=True, slots=True)
class MachineReference:
    """What a state machine ARN points at: the machine, and the version or alias if it is qualified."""

    machine: str
    version: int | None = None
    alias: str | None = None


def parse_machine(text: str) -> MachineReference:
    """What the state machine ARN `text`, qualified or not, points at.

    Raises AwsError InvalidArn, and ValidationException for the ARN of a distributed Map state.
    """
    arn = parse(text, "stateMachine")
    if "/" in arn.parts[0]:
        raise not_valid(
            "Labeled State Machine ARNs are not supported for this API", "API_DOES_NOT_SUPPORT_LABELED_ARNS"
        )
    if len(arn.parts) > 2:
        raise invalid_arn(f"Invalid ARN: {text}")
    if len(arn.parts) == 1:
        return MachineReference(text)
    machine, qualifier = text.rsplit(":", 1)
    if qualifier.isascii() and qualifier.isdigit():
        return MachineReference(machine, version=int(qualifier))
    return MachineReference(machine, alias=text)


def parse_unqualified(text: str) -> str:
    """The state machine ARN `text`, which has neither version nor alias.

    Raises AwsError InvalidArn or ValidationException.
    """
    reference = parse_machine(text)
    if reference.machine != text:
        raise AwsError("ValidationException", f"Expected an unqualified state machine ARN. Received: {text}")
    return text


def machine_name(machine: str) -> str:
    """The name in an unqualified state machine ARN."""
    return machine.rsplit(":", 1)[1]


def express_arn(machine: str, name: str) -> str:
    """The ARN of a new Express execution; each start is another one, whatever its `name`."""
    return f"{machine.replace(':stateMachine:', ':express:', 1)}:{name}:{uuid.uuid4()}"


def execution_arn(machine: str, name: str) -> str:
    """The ARN of the standard execution `name` of the state machine whose unqualified ARN is `machine`."""
    return f"{machine.replace(':stateMachine:', ':execution:', 1)}:{name}"
