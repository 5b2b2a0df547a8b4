"""One evaluator for policy documents as AWS writes them: AWS IoT policies, IAM role policies, resource policies.

Pure: a document and a request in, a verdict out.  What differs between the kinds of policy is a
:class:`~stepbridge.authorization.document.Dialect`; what the variables stand for is the
:class:`~stepbridge.authorization.patterns.Context` of the request, which the caller fills.

- ``patterns``: wildcards and policy variables
- ``conditions``: the condition operators
- ``document``: parsing and checking a document, with the place of each mistake
- ``evaluation``: whether a set of policies allows a request, and why
- ``cases``: files of expectations that users keep beside their policies
"""

from stepbridge.authorization.document import (
    IAM_IDENTITY,
    IAM_RESOURCE,
    IAM_TRUST,
    IOT,
    Dialect,
    MalformedPolicyError,
    Policy,
    Statement,
    parse_policy,
)
from stepbridge.authorization.evaluation import Outcome, Principal, Request, Verdict, about, evaluate, explain
from stepbridge.authorization.patterns import Context

__all__ = [
    "IAM_IDENTITY",
    "IAM_RESOURCE",
    "IAM_TRUST",
    "IOT",
    "Context",
    "Dialect",
    "MalformedPolicyError",
    "Outcome",
    "Policy",
    "Principal",
    "Request",
    "Statement",
    "Verdict",
    "about",
    "evaluate",
    "explain",
    "parse_policy",
]
