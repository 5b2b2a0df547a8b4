"""Who calls with a role."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RoleSession:
    """A role as it is assumed by a function, an execution or a rule.

    `facts` are condition keys that requests of this session have beside those that all requests have.
    """

    role_arn: str
    name: str
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def role_name(self) -> str:
        """The role's name, without its path."""
        return self.role_arn.rpartition("/")[2]

    @property
    def user_id(self) -> str:
        """The role's id and the session's name, as the condition key aws:userid has them."""
        role_id = "AROA" + hashlib.sha256(self.role_arn.encode()).hexdigest()[:17].upper()
        return f"{role_id}:{self.name}"

    @property
    def arn(self) -> str:
        """How the caller is called in errors and by sts:GetCallerIdentity."""
        return f"arn:aws:sts::{self.role_arn.split(':')[4]}:assumed-role/{self.role_name}/{self.name}"
