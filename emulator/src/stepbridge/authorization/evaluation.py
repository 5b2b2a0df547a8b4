"""Whether a set of policies allows a request, and which statement says so.

"By default, all requests are implicitly denied.  An explicit allow overrides this default.  An explicit deny in any
policy overrides any allows."
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from stepbridge.authorization.document import Policy, Principals, Statement
from stepbridge.authorization.patterns import Context

_NO_CONTEXT = Context({})
_MOST_MISSES = 5  # statements that an explanation names
_CLOSE = 0.9  # of 1: actions with a letter or two amiss; iot:GetRetainedMessage and iot:ListRetainedMessages are not


class Outcome(Enum):
    """The three answers, as TestAuthorization names them."""

    ALLOWED = "ALLOWED"
    EXPLICIT_DENY = "EXPLICIT_DENY"
    IMPLICIT_DENY = "IMPLICIT_DENY"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, for resource policies: `kind` is `AWS` (`value` an ARN), `Service` (`iot.amazonaws.com`), …"""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.  `resource` is an ARN; `principal` matters only to statements with a Principal."""

    action: str
    resource: str
    context: Context = field(default_factory=lambda: _NO_CONTEXT)
    principal: Principal | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, with the policy and statement that decided; both None for an implicit deny."""

    outcome: Outcome
    policy: Policy | None = None
    statement: Statement | None = None

    @property
    def allowed(self) -> bool:
        """Whether the request is allowed."""
        return self.outcome is Outcome.ALLOWED


_IMPLICIT_DENY = Verdict(Outcome.IMPLICIT_DENY)


def evaluate(policies: Iterable[Policy], request: Request) -> Verdict:
    """Evaluate all policies that concern a request together."""
    allowed: Verdict | None = None
    action = request.action.lower()
    for policy in policies:
        for statement in policy.statements:
            if statement.allow and allowed is not None:
                continue
            if not (
                statement.covers_action(action)
                and statement.covers_resource(request.resource, request.context)
                and _covers_principal(statement, request.principal)
                and statement.holds(request.context)
            ):
                continue
            if not statement.allow:
                return Verdict(Outcome.EXPLICIT_DENY, policy, statement)
            allowed = Verdict(Outcome.ALLOWED, policy, statement)
    return allowed or _IMPLICIT_DENY


def about(policies: Iterable[Policy], action: str) -> tuple[Policy, ...]:
    """The policies with only those statements that speak of an action: enough to evaluate requests for it."""
    folded = action.lower()
    return tuple(
        Policy(policy.name, tuple(statement for statement in policy.statements if statement.covers_action(folded)))
        for policy in policies
    )


def explain(policies: Sequence[Policy], request: Request, verdict: Verdict) -> str:
    """One sentence that names the statement that decided, or what each near miss lacks and what would allow it."""
    asked = f"{request.action} on {request.resource}"
    if verdict.policy is not None and verdict.statement is not None:
        verb = "allowed" if verdict.allowed else "denied"
        return f"{asked} is {verb} by policy {verdict.policy.name}, {verdict.statement.label}"
    wanted = f'{{"Effect": "Allow", "Action": "{request.action}", "Resource": "{request.resource}"}}'
    if not policies:
        return f"{asked} is not allowed: no policy applies. It would take {wanted}"
    misses = [
        f"policy {policy.name}, {statement.label} does not apply: {reason}"
        for policy in policies
        for statement in policy.statements
        if statement.allow and (reason := _near_miss(statement, request))
    ]
    names = ", ".join(policy.name for policy in policies)
    if len(misses) > _MOST_MISSES:
        misses[_MOST_MISSES:] = [f"{len(misses) - _MOST_MISSES} more statements do not apply"]
    if not misses:
        return f"{asked} is not allowed: no statement of {names} is about {request.action}. It would take {wanted}"
    return f"{asked} is not allowed: {'; '.join(misses)}. It would take {wanted}"


def missing_context(policies: Iterable[Policy], request: Request) -> list[str]:
    """The policy variables and condition keys that statements about the action ask for and the request lacks."""
    missing: dict[str, None] = {}
    for policy in policies:
        for statement in policy.statements:
            if not statement.covers_action(request.action.lower()):
                continue
            for template in statement.resources:
                missing.update(dict.fromkeys(template.unresolved(request.context)))
            for condition in statement.conditions:
                missing.update(dict.fromkeys(condition.unresolved(request.context)))
                if request.context.get(condition.key) is None:
                    missing[condition.key] = None
    return list(missing)


def _near_miss(statement: Statement, request: Request) -> str:
    """Why a statement about the action does not apply; empty if it is not about the action, by no stretch."""
    if not statement.covers_action(request.action.lower()):
        return _mistyped_action(statement, request.action)
    context = request.context
    if not statement.covers_resource(request.resource, context):
        unresolved = [name for template in statement.resources for name in template.unresolved(context)]
        if unresolved:
            return f"${{{unresolved[0]}}} has no value here"
        written = ", ".join(template.source for template in statement.resources)
        return f"its {'NotResource' if statement.not_resources else 'Resource'} is {written}"
    if not _covers_principal(statement, request.principal):
        return "its Principal is another one"
    for condition in statement.conditions:
        if not condition.holds(context):
            present = context.get(condition.key)
            value = "absent" if present is None else ", ".join(present) or "empty"
            wanted = ", ".join(template.source for template in condition.values)
            return f"its condition {condition.name} {condition.key} [{wanted}] is not fulfilled ({value})"
    return ""


def _mistyped_action(statement: Statement, action: str) -> str:
    """What is wrong with an action that may be meant to be `action`; empty if there is none.

    AWS takes a policy whatever actions it names: people find out when it allows nothing, as with `iot:GetThingSadow` in
    https://github.com/aws/aws-sdk-js/issues/3993.
    """
    from difflib import get_close_matches

    written = statement.source.get("Action", [])
    by_name = {each.lower(): each for each in ([written] if isinstance(written, str) else written)}
    close = get_close_matches(action.lower(), by_name, n=1, cutoff=_CLOSE)
    return f"its Action is {by_name[close[0]]} (mistyped?)" if close else ""


def _covers_principal(statement: Statement, principal: Principal | None) -> bool:
    if statement.principals is None:
        return True
    return _names(statement.principals, principal) is not statement.not_principals


def _names(principals: Principals, principal: Principal | None) -> bool:
    for kind, value in principals.entries:
        if kind == "*":
            return True
        if principal is None or kind != principal.kind:
            continue
        if value in ("*", principal.value):
            return True
        if kind == "AWS" and _account(value) is not None and _account(value) == _arn_account(principal.value):
            return True
    return False


def _account(value: str) -> str | None:
    """The account that a Principal names as a whole (`123456789012` or its root), or None."""
    if value.isdigit():
        return value
    if value.startswith("arn:") and value.endswith(":root"):
        return _arn_account(value)
    return None


def _arn_account(arn: str) -> str | None:
    parts = arn.split(":")
    return parts[4] if len(parts) > 5 else None
