"""IAM, enforced: what the roles of functions, state machines and topic rules may do.

Roles and policies are kept by moto's IAM; :mod:`roles` reads them.  :mod:`needs` says which actions on which resources
an operation of an AWS service takes, :mod:`s3` how a request to S3 names its operation.  :mod:`permissions` puts a
role's policies and an operation's needs to the evaluator of :mod:`stepbridge.authorization`, and :mod:`refusals` words
what follows as the service does.

The user's own calls are never restricted: only those signed with credentials that the emulator gave to a role.
"""

from stepbridge.iam.permissions import Permissions
from stepbridge.iam.refusals import message
from stepbridge.iam.roles import Role, RoleReader
from stepbridge.iam.sessions import RoleSession

__all__ = ["Permissions", "Role", "RoleReader", "RoleSession", "message"]
