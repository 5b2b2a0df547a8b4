"""Whether a role may do what it is about to do."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from botocore.model import OperationModel

from stepbridge.api.errors import AwsError
from stepbridge.authorization import Context
from stepbridge.clock import Clock, iso_timestamp
from stepbridge.iam.needs import Need, Place, needs_of
from stepbridge.iam.refusals import access_denied
from stepbridge.iam.roles import AwsCalls, Refusal, Role, RoleReader
from stepbridge.iam.sessions import RoleSession
from stepbridge.settings import Settings
from stepbridge.trace import Trace


class Permissions:
    """Authorises what roles do, unless `settings.iam` is off.

    A role is read from IAM once, and again when `iam_revision`, which counts the changes made to IAM, is another one;
    while it is 0 IAM has no roles.  `token_issuer` gives the ARN of what issued a task token.

    On AWS a role exists, or nothing that names it could have been created.  Here state machines and functions may be
    created with made-up roles: of a role that IAM does not have it is said once that nothing it does is checked.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        trace: Trace,
        calls: AwsCalls,
        iam_revision: Callable[[], int],
        token_issuer: Callable[[str], str | None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._trace = trace
        self._calls = calls
        self._iam_revision = iam_revision
        self._token_issuer = token_issuer
        self._reader = RoleReader(settings.account, calls)
        self._place = Place(settings.account, settings.region)
        self._known: dict[str, tuple[int, Role | None]] = {}
        self._reading: dict[str, asyncio.Future[Role | None]] = {}
        self._told: set[str] = set()

    async def role(self, role_arn: str) -> Role | None:
        """The role, or None if IAM has no such role."""
        revision = self._iam_revision()
        if revision == 0:
            return None
        known = self._known.get(role_arn)
        if known is None or known[0] != revision:
            known = self._known[role_arn] = (revision, await self._reader.read(role_arn))
        return known[1]

    async def may_assume(self, service: str, role_arn: str, source_arn: str) -> bool:
        """Whether `service` (`lambda.amazonaws.com`) may assume the role for the resource `source_arn`.

        A role that IAM does not have may be assumed by anyone, as nothing it does is checked either.
        """
        role = await self.role(role_arn) if self._settings.iam else None
        facts = {"aws:SourceArn": (source_arn,), "aws:SourceAccount": (self._settings.account,)}
        return role is None or role.may_be_assumed_by(service, Context(facts))

    async def require(self, session: RoleSession, operation: OperationModel, members: Mapping[str, Any]) -> None:
        """Raises AwsError, the service's AccessDenied, unless the role of `session` may call `operation` so."""
        if not self._settings.iam:
            return
        role = await self.role(session.role_arn)
        if role is None:
            self._tell_unknown(session.role_arn)
            return
        context = self._context(session)
        for need in await needs_of(operation, members, self._place, self):
            facts = {name: (value,) for name, value in need.facts}
            known = Context({**context.values, **facts}) if facts else context
            self._check(role, session, operation, need, known)

    def refusal(self, session: RoleSession, action: str, resource: str, source_ip: str) -> Refusal | None:
        """Why the role of `session` may not do `action` on the ARN `resource`, or None if it may.

        For what cannot wait, such as each message of a connection: the role is as it was last read, by :meth:`role`.
        If IAM has changed since, it is read anew meanwhile.
        """
        revision = self._iam_revision()
        if not self._settings.iam or revision == 0:
            return None
        known = self._known.get(session.role_arn)
        if known is None or known[0] != revision:
            self._read_anew(session.role_arn)
        if known is None or known[1] is None:
            self._tell_unknown(session.role_arn)
            return None
        return known[1].refusal(action, resource, self._context(session, source_ip))

    def _read_anew(self, role_arn: str) -> None:
        if role_arn not in self._reading:
            task = self._reading[role_arn] = asyncio.ensure_future(self.role(role_arn))
            task.add_done_callback(lambda _: self._reading.pop(role_arn))

    async def secret(self, name: str) -> str | None:
        """The ARN of a secret by its name."""
        try:
            return str((await self._calls.call("secretsmanager", "DescribeSecret", SecretId=name))["ARN"])
        except AwsError:
            return None

    def task_token(self, token: str) -> str | None:
        """The ARN of what issued a task token."""
        return self._token_issuer(token)

    def _check(self, role: Role, session: RoleSession, operation: OperationModel, need: Need, context: Context) -> None:
        refusal = role.refusal(need.action, need.resource, context)
        if refusal is None:
            return
        self._trace.emit(
            "iam",
            "access-denied",
            f"{session.role_name} may not {need.action}" + (f" on {need.resource}" if need.resource else ""),
            role=session.role_arn,
            session=session.name,
            action=need.action,
            resource=need.resource,
        )
        raise access_denied(operation.service_model, session.arn, need.action, need.resource, refusal)

    def _context(self, session: RoleSession, source_ip: str = "127.0.0.1") -> Context:
        """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html"""
        now = self._clock.now()
        facts = {
            "aws:CurrentTime": iso_timestamp(now),
            "aws:EpochTime": str(int(now)),
            "aws:PrincipalAccount": self._settings.account,
            "aws:PrincipalArn": session.role_arn,
            "aws:PrincipalIsAWSService": "false",
            "aws:PrincipalType": "AssumedRole",
            "aws:RequestedRegion": self._settings.region,
            "aws:ResourceAccount": self._settings.account,
            "aws:SecureTransport": "true",  # the loopback stands for the connection that clients of AWS have
            "aws:SourceIp": source_ip,
            **session.facts,
        }
        return Context({name: (value,) for name, value in facts.items()})

    def _tell_unknown(self, role_arn: str) -> None:
        if role_arn in self._told:
            return
        self._told.add(role_arn)
        self._trace.emit(
            "iam",
            "unknown-role",
            f"IAM has no role {role_arn}: AWS would refuse what uses it, here it may do everything",
            role=role_arn,
        )
