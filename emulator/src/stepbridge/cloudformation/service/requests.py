"""What a request asks for: a blueprint, or the reason why CloudFormation refuses to begin.

All that can be said without touching a resource is said here, before anything is recorded: members that nothing here
would heed, templates that are none, parameters that do not fit, capabilities that are not given.
"""

import asyncio
from collections.abc import Mapping

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Members
from stepbridge.cloudformation.blueprint import Blueprint, make_blueprint
from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.records import Records
from stepbridge.cloudformation.resources.base import AwsCalls, Stack
from stepbridge.cloudformation.serverless import SERVERLESS, load_translator
from stepbridge.cloudformation.sources import (
    given_parameters,
    looked_up_parameters,
    template_text,
    validation_error,
)
from stepbridge.cloudformation.template import Template, parse_template
from stepbridge.settings import Settings

# What requests may ask for that nothing here would heed.
_REFUSED = (
    "ImportExistingResources", "NotificationARNs", "ResourceTypes", "ResourcesToImport", "RoleARN",
    "RollbackConfiguration", "StackPolicyBody", "StackPolicyDuringUpdateBody", "StackPolicyDuringUpdateURL",
    "StackPolicyURL", "TimeoutInMinutes",
)  # fmt: skip


class Requests:
    """Makes blueprints of requests."""

    def __init__(self, settings: Settings, records: Records, calls: AwsCalls) -> None:
        self._settings = settings
        self._records = records
        self._calls = calls

    async def blueprint(self, stack: Members, request: Members, previous: Members | None) -> Blueprint:
        """The blueprint of `stack` that a request asks for; `previous` is what it updates, if anything.

        `request` has the members of CreateStack and the like, or its `template` as text.  Raises AwsError for what
        CloudFormation refuses at once, TemplateError where its transform fails.
        """
        for member in _REFUSED:
            if request.get(member):
                raise validation_error(f"{member} is not supported by stepbridge.")
        before = previous or {}
        text = request.get("template") or await template_text(self._calls, request, before.get("template"))
        template = parse(text)
        if SERVERLESS in template.transforms:
            await asyncio.to_thread(load_translator)
        given = given_parameters(request, before.get("parameters", {}), template)
        looked_up = await looked_up_parameters(self._calls, template, given)
        tags: list[dict[str, str]] = request.get("Tags", before.get("Tags")) or []
        identity = Stack(stack["StackName"], stack["StackId"], self._settings.account, self._settings.region)
        exports = {each["Name"]: each["Value"] for each in self._records.exports()}
        try:
            return make_blueprint(
                template, given, identity, {tag["Key"]: tag["Value"] for tag in tags}, exports, looked_up
            )
        except TemplateError as error:
            if "ChangeSetName" in request and error.message.startswith("Transform "):
                raise
            raise validation_error(error.message) from None

    async def again(self, stack: Members) -> Blueprint:
        """The blueprint of what a stack is on its way to, as its request asked for it.  Raises AwsError."""
        return await self.blueprint(
            stack, {"template": stack["template"], "Parameters": _texts(stack["parameters"])}, stack
        )


def parse(text: str) -> Template:
    """The template in a request.  Raises AwsError ValidationError."""
    try:
        return parse_template(text)
    except TemplateError as error:
        raise validation_error(error.message) from None


def require_capabilities(blueprint: Blueprint, request: Members, *, macros: bool) -> None:
    """Raise AwsError InsufficientCapabilitiesException unless the request allows what the blueprint needs.

    `macros`: whether a transform needs one too, as it does where no change set shows first what becomes of it.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html, "Capabilities"
    """
    needed = blueprint.capabilities()
    given = set(request.get("Capabilities", []))
    if "CAPABILITY_NAMED_IAM" in given:
        given.add("CAPABILITY_IAM")
    if macros and SERVERLESS in blueprint.original.transforms:
        needed = [*needed, "CAPABILITY_AUTO_EXPAND"]
    missing = [each for each in needed if each not in given]
    if missing:
        raise AwsError(
            "InsufficientCapabilitiesException", f"Requires capabilities : [{', '.join(missing)}]", status=400
        )


def _texts(parameters: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
