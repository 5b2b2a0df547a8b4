"""Files of expectations on an AWS IoT policy, as users keep them beside it.

A file is a JSON list of cases: the policy document, who connects (`client_id`, `thing`, `context`), what is asked
(`action`, `resource`) and what is `expected` (`allow` or `deny`).  `stepbridge policy test` runs such files,
`stepbridge policy explain` one question.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stepbridge.authorization.device_context import CertificateFacts, ThingFacts, device_context
from stepbridge.authorization.document import IOT, MalformedPolicyError, Policy, parse_policy
from stepbridge.authorization.evaluation import Request, Verdict, evaluate, explain
from stepbridge.authorization.patterns import Context
from stepbridge.case_form import form_fault

_THING = {"name": str, "attached": (bool, None), "exclusive": (bool, None), "type": (str, None)}
_CONTEXT = {
    "source_ip": (str, None),
    "domain_name": (str, None),
    "connect_attributes": ([str], None),
    "last_will_topic": (str, None),
    "certificate": (dict, None),
}
_FORM = {"action": str, "resource": str, "client_id": (str, None), "thing": (dict, None), "context": (dict, None)}


class CaseError(ValueError):
    """A file or a case that cannot be read; the text says which and why."""


@dataclass(frozen=True, slots=True)
class PolicyCase:
    """One case, ready to run."""

    name: str
    policies: tuple[Policy, ...]
    request: Request
    expect_allowed: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What a case gave, and the sentence that explains it."""

    case: PolicyCase
    verdict: Verdict
    explanation: str

    @property
    def passed(self) -> bool:
        """Whether the verdict is the expected one."""
        return self.verdict.allowed is self.case.expect_allowed


def load_cases(text: str) -> list[PolicyCase]:
    """The cases of a file.  Raises CaseError."""
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise CaseError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise CaseError("nested too deeply") from None
    if not isinstance(entries, list):
        raise CaseError("the file must hold a JSON list of cases")
    return [_case(number, entry) for number, entry in enumerate(entries, start=1)]


def run_case(case: PolicyCase) -> CaseResult:
    """Evaluate one case."""
    verdict = evaluate(case.policies, case.request)
    return CaseResult(case, verdict, explain(case.policies, case.request, verdict))


def explain_request(
    documents: Sequence[tuple[str, str]],
    action: str,
    resource: str,
    *,
    client_id: str | None = None,
    thing: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
) -> tuple[Verdict, str]:
    """Whether policies (pairs of name and document text) allow something, and why.

    `thing` and `context` are written as in a file of cases.  Raises MalformedPolicyError.
    """
    policies = [parse_policy(name, document, IOT) for name, document in documents]
    request = Request(action, resource, _context(client_id, thing, context or {}, resource))
    verdict = evaluate(policies, request)
    return verdict, explain(policies, request, verdict)


def _case(number: int, entry: object) -> PolicyCase:
    if not isinstance(entry, dict):
        raise CaseError(f"case {number} is not a JSON object")
    name = str(entry.get("id") or f"case {number}")
    missing = [member for member in ("policy", "action", "resource", "expected") if member not in entry]
    if missing:
        raise CaseError(f"{name} has no {', '.join(missing)}")
    if (fault := _fault(entry, name)) is not None:
        raise CaseError(fault)
    if entry["expected"] not in ("allow", "deny"):
        raise CaseError(f'{name}: expected is neither "allow" nor "deny"')
    documents = entry["policy"] if isinstance(entry["policy"], list) else [entry["policy"]]
    try:
        policies = tuple(
            parse_policy(f"policy {index}" if len(documents) > 1 else "policy", document, IOT)
            for index, document in enumerate(documents, start=1)
        )
    except MalformedPolicyError as error:
        raise CaseError(f"{name}: the policy is malformed: {error}") from None
    resource = str(entry["resource"])
    context = _context(entry.get("client_id"), entry.get("thing"), entry.get("context") or {}, resource)
    return PolicyCase(
        name=name,
        policies=policies,
        request=Request(str(entry["action"]), resource, context),
        expect_allowed=entry["expected"] == "allow",
        note=str(entry.get("note", "")),
    )


def _fault(entry: dict[str, Any], name: str) -> str | None:
    """What has the wrong form in a case, or None."""
    fault = form_fault(entry, _FORM, name)
    if fault is not None:
        return fault
    thing = entry.get("thing") or {}
    if thing and "name" not in thing:
        return f"{name}.thing has no name"
    attributes = thing.get("attributes") or {}
    named: Any = dict.fromkeys(attributes, str) if isinstance(attributes, dict) else dict  # the names are the user's
    return (
        form_fault(thing, _THING, f"{name}.thing")
        or form_fault(attributes, named, f"{name}.thing.attributes")
        or form_fault(entry.get("context") or {}, _CONTEXT, f"{name}.context")
    )


def _context(client_id: str | None, thing: dict[str, Any] | None, context: dict[str, Any], resource: str) -> Context:
    facts = None
    if thing is not None and thing.get("attached") and (thing.get("exclusive") or thing.get("name") == client_id):
        facts = ThingFacts(thing["name"], thing.get("type"), thing.get("attributes") or {})
    will = context.get("last_will_topic")
    if will is not None and not will.startswith("arn:"):
        will = ":".join(resource.split(":")[:5]) + f":topic/{will}"
    return device_context(
        client_id=client_id,
        source_ip=context.get("source_ip"),
        domain_name=context.get("domain_name"),
        thing=facts,
        certificate=_certificate(context.get("certificate")),
        connect_attributes=context.get("connect_attributes"),
        last_will_topic=will,
    )


def _certificate(source: dict[str, Any] | None) -> CertificateFacts | None:
    """`{"Subject": {"Country": ["DE"]}, "SerialNumber": "1"}` as names with dots."""
    if source is None:
        return None
    names: dict[str, list[str]] = {}

    def collect(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                collect(f"{prefix}.{name}" if prefix else name, inner)
        else:
            names[prefix] = [str(entry) for entry in (value if isinstance(value, list) else [value])]

    collect("", source)
    return CertificateFacts(names)
