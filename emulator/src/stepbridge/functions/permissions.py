"""Who may invoke a function: its resource policy, and whether it admits a service.

https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stepbridge.functions.refusals import invalid

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
    if "SourceArn" in request:
        conditions["ArnLike"] = {"AWS:SourceArn": request["SourceArn"]}
    if conditions:
        statement["Condition"] = conditions
    return statement


def allows(statements: Iterable[Mapping[str, Any]], call: ServiceCall) -> bool:
    """Whether one of the statements lets `call` invoke the function."""
    facts = {"aws:sourcearn": call.source_arn, "aws:sourceaccount": call.source_account}
    return any(
        statement["Principal"] in ("*", {"Service": call.principal})
        and _matches(statement["Action"].lower(), "lambda:invokefunction")
        and _conditions_hold(statement.get("Condition", {}), facts)
        for statement in statements
    )


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


def _conditions_hold(conditions: Mapping[str, Mapping[str, str]], facts: Mapping[str, str]) -> bool:
    for operator, wanted in conditions.items():
        for key, value in wanted.items():
            fact = facts.get(key.lower())
            if fact is None:
                return False
            if not (fact == value if operator == "StringEquals" else _arn_matches(value, fact)):
                return False
    return True


def _arn_matches(pattern: str, arn: str) -> bool:
    """ArnLike: each of the six parts of an ARN is matched by itself."""
    patterns, parts = pattern.split(":", 5), arn.split(":", 5)
    return len(patterns) == len(parts) and all(map(_matches, patterns, parts))


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(character, re.escape(character)) for character in pattern), re.DOTALL)
