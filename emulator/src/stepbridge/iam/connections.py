"""What IAM callers may do on connections that outlast a request: MQTT over WebSocket, signed once."""

from collections.abc import Callable

from stepbridge.iam.permissions import Permissions
from stepbridge.iam.refusals import message
from stepbridge.iam.sessions import RoleSession
from stepbridge.iot.access import Connection, Decision, SignedCallers

_OWN = Decision(True, "the user's own calls are not restricted")


class ConnectedCallers(SignedCallers):
    """Judges the callers whose access keys `session_of` knows to be given to roles; others are the user."""

    def __init__(self, permissions: Permissions, session_of: Callable[[str], RoleSession | None]) -> None:
        self._permissions = permissions
        self._session_of = session_of
        self._sessions: dict[str, RoleSession] = {}  # a connection may outlive the environment that had the key

    async def prepare(self, access_key: str) -> None:
        """Read the caller's role."""
        session = self._session_of(access_key)
        if session is not None:
            self._sessions[access_key] = session
            await self._permissions.role(session.role_arn)

    def decide(self, connection: Connection, action: str, resource: str) -> Decision:
        """Whether the role's policies allow it."""
        session = self._sessions.get(connection.principal)
        if session is None:
            return _OWN
        refusal = self._permissions.refusal(session, action, resource, connection.source_ip)
        if refusal is None:
            return Decision(True, f"the role {session.role_name} allows it, or is not checked")
        return Decision(False, message(session.arn, action, resource, refusal))
