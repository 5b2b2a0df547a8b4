"""The IAM roles of rules: whether AWS IoT may assume them, and what they allow.

A rule's role is checked when the rule is created (it must trust iot.amazonaws.com) and whenever an action uses it.
"""

from stepbridge.api.errors import AwsError
from stepbridge.authorization import Context
from stepbridge.clock import Clock
from stepbridge.iam import Role, RoleReader, RoleSession, message
from stepbridge.iot.rules.actions.base import IOT, AwsCalls
from stepbridge.settings import Settings

# IAM is eventually consistent: a change takes seconds to be seen here, as on AWS.
_REMEMBERED = 5.0
_SESSION = "iot-rules-engine"


class Roles:
    """Answers for the roles of rules, from IAM."""

    def __init__(self, settings: Settings, clock: Clock, calls: AwsCalls) -> None:
        self._settings = settings
        self._clock = clock
        self._reader = RoleReader(settings.account, calls)
        self._known: dict[str, tuple[float, Role]] = {}

    async def require_trust(self, role_arn: str, rule_arn: str) -> None:
        """Raises InvalidRequestException unless AWS IoT may assume the role for the rule."""
        if self._settings.iam and await self._assumed(role_arn, rule_arn) is None:
            raise AwsError("InvalidRequestException", _unable_to_assume(role_arn), status=400)

    async def require(self, role_arn: str, rule_arn: str, action: str, resource: str) -> None:
        """Raises AccessDenied unless the role may be assumed for the rule and allows `action` on `resource`."""
        if not self._settings.iam:
            return
        known = self._known.get(role_arn)
        if known is None or known[0] < self._clock.now():
            role = await self._assumed(role_arn, rule_arn)
            if role is None:
                raise AwsError("AccessDenied", _unable_to_assume(role_arn), status=403)
            known = self._known[role_arn] = (self._clock.now() + _REMEMBERED, role)
        refusal = known[1].refusal(action, resource, self._context(rule_arn))
        if refusal is not None:
            session = RoleSession(role_arn, _SESSION)
            raise AwsError("AccessDenied", message(session.arn, action, resource, refusal), status=403)

    async def _assumed(self, role_arn: str, rule_arn: str) -> Role | None:
        """The role, if AWS IoT may assume it for the rule."""
        role = await self._reader.read(role_arn)
        if role is None or not role.may_be_assumed_by(IOT, self._context(rule_arn)):
            return None
        return role

    def _context(self, rule_arn: str) -> Context:
        return Context({"aws:SourceArn": (rule_arn,), "aws:SourceAccount": (self._settings.account,)})


def _unable_to_assume(role_arn: str) -> str:
    return (
        f"AWS IoT (iot.amazonaws.com) is unable to assume role (sts:AssumeRole) on resource: {role_arn}. "
        "If the role was just created or updated, please try again in a few seconds."
    )
