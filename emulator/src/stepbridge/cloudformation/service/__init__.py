"""The API of CloudFormation: requests, the operations that they start, and what is answered about both.

A request that changes a stack goes through three steps: `requests` makes a blueprint of it, or refuses it; `runner`
begins an operation that carries the blueprint out in the background; and the request is answered.  The rest is asking
what has become of it.  One file holds one family of operations, as CloudFormation's reference has them.
"""

from stepbridge.cloudformation.service.service import CloudFormationService

__all__ = ["CloudFormationService"]
