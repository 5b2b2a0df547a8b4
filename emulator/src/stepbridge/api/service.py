"""What an AWS service is to the HTTP port: a class with one coroutine per operation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

# JSON as it comes from and goes to the wire; the model of the service says what is in it.
Members = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, from where: what an operation may want to know beside its own members.

    `user_id` is that of a role's session (`AROA…:name`); the user's own calls have none.
    """

    account: str
    region: str
    access_key: str | None = None
    source_ip: str = "127.0.0.1"
    headers: Mapping[str, str] = field(default_factory=dict)
    user_id: str | None = None

    @property
    def principal(self) -> str | None:
        """Who it is to other services: a role's session, or else an access key or a certificate."""
        return self.user_id or self.access_key


class Service:
    """Base of the emulator's own AWS services.

    Each operation of the botocore model named `service_name` that a subclass offers is a coroutine method with the
    operation's name in snake case (as in boto3), taking the caller and the parsed, validated request members and
    returning the members of the answer.  It raises :class:`~stepbridge.api.errors.AwsError` to refuse.  Blobs are
    `bytes`, timestamps `float` seconds since the epoch.  An operation with no method is refused by name.
    """

    service_name: ClassVar[str]
