"""How Lambda calls the other services of the emulator, the way it calls AWS's on AWS: in a function's role."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

from botocore.model import OperationModel

from stepbridge.api.models import operation_model
from stepbridge.iam import RoleSession


class AwsCalls(Protocol):
    """In-process calls to any AWS service the emulator offers."""

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        """Call `operation` (as botocore's model names it) of `service`; raises AwsError as the service does."""
        ...


class Permissions(Protocol):
    """What roles allow, and who may assume them."""

    async def may_assume(self, service: str, role_arn: str, source_arn: str) -> bool:
        """Whether `service` may assume the role for the resource `source_arn`."""
        ...

    async def require(self, session: RoleSession, operation: OperationModel, members: Mapping[str, Any]) -> None:
        """Raises AwsError unless the role of `session` may call `operation` so."""
        ...


class RoleCalls:
    """Calls that are made in a role: refused where the role does not allow them."""

    def __init__(self, calls: AwsCalls, permissions: Permissions) -> None:
        self._calls = calls
        self._permissions = permissions

    async def call(self, session: RoleSession, service: str, operation: str, **members: Any) -> dict[str, Any]:
        """As `AwsCalls.call`, by `session`."""
        await self.require(session, service, operation, members)
        return await self._calls.call(service, operation, **members)

    async def call_unchecked(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        """As `AwsCalls.call`, by Lambda itself."""
        return await self._calls.call(service, operation, **members)

    async def require(self, session: RoleSession, service: str, operation: str, members: Mapping[str, Any]) -> None:
        """Raises AwsError unless `session` may make the call."""
        await self._permissions.require(session, operation_model(service, operation), members)


@lru_cache(maxsize=1024)
def function_session(role: str, function_arn: str) -> RoleSession:
    """A function in its role, as its calls and those that Lambda makes for it are seen by other services."""
    unqualified = ":".join(function_arn.split(":")[:7])
    return RoleSession(role, unqualified.rpartition(":")[2], {"lambda:SourceFunctionArn": unqualified})
