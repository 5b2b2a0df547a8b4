"""Who may invoke a function: its resource policy, and whether it admits a service.

https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepbridge.authorization import IAM_RESOURCE, Context, Principal, Request, evaluate, explain, parse_policy
from stepbridge.functions.refusals import invalid

INVOKE = "lambda:InvokeFunction"
INVOKE_URL = "lambda:InvokeFunctionUrl"

_SERVICE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?|[a-z0-9.-]+\.amazon\.com")
_ACCOUNT = re.compile(r"\d{12}")


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """A service that wants to invoke a function on behalf of a resource."""

    principal: str
    source_arn: str
    source_account: str


def new_statement(request: Mapping[str, Any], function_arn: str) -> dict[str, Any]:
    """The statement that AddPermission adds for `function_arn`; raises InvalidParameterValueException."""
    for member, action in (("FunctionUrlAuthType", INVOKE_URL), ("InvokedViaFunctionUrl", INVOKE)):
        if member in request and request["Action"] != action:
            raise invalid(f"{member} is only supported for {action} action")
    principal = request["Principal"]
    statement: dict[str, Any] = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": _principal(principal),
        "Action": request["Action"],
        "Resource": function_arn,
    }
    conditions: dict[str, dict[str, str]] = {}
    if "SourceAccount" in request:
        conditions.setdefault("StringEquals", {})["AWS:SourceAccount"] = request["SourceAccount"]
    if "EventSourceToken" in request:
        conditions.setdefault("StringEquals", {})["lambda:EventSourceToken"] = request["EventSourceToken"]
    if "PrincipalOrgID" in request:
        conditions.setdefault("StringEquals", {})["aws:PrincipalOrgID"] = request["PrincipalOrgID"]
    if "FunctionUrlAuthType" in request:
        conditions.setdefault("StringEquals", {})["lambda:FunctionUrlAuthType"] = request["FunctionUrlAuthType"]
    if request.get("InvokedViaFunctionUrl"):
        conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": "true"}
    if "SourceArn" in request:
        conditions["ArnLike"] = {"AWS:SourceArn": request["SourceArn"]}
    if conditions:
        statement["Condition"] = conditions
    return statement


def why_refused(statements: Sequence[Mapping[str, Any]], call: ServiceCall, function_arn: str) -> str | None:
    """None if the resource policy made of `statements` lets `call` invoke the function, else what is in the way."""
    if not statements:
        return "the function has no resource policy"
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    policies = [parse_policy("of the function", document, IAM_RESOURCE)]
    facts = Context({"aws:SourceArn": (call.source_arn,), "aws:SourceAccount": (call.source_account,)})
    request = Request(INVOKE, function_arn, facts, Principal("Service", call.principal))
    verdict = evaluate(policies, request)
    return None if verdict.allowed else explain(policies, request, verdict)


def _principal(principal: str) -> str | dict[str, str]:
    if principal == "*":
        return "*"
    if _SERVICE.fullmatch(principal):
        return {"Service": principal}
    if _ACCOUNT.fullmatch(principal):
        return {"AWS": f"arn:aws:iam::{principal}:root"}
    if principal.startswith("arn:"):
        return {"AWS": principal}
    raise invalid("The provided principal was invalid. Please check the principal and try again.")
