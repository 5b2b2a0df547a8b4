"""Policy documents: parsed and checked once, when they are created, so that evaluating them cannot fail.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
https://docs.aws.amazon.com/iot/latest/developerguide/iot-policies.html
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from stepbridge.authorization.conditions import Condition, parse_date, parse_network, parse_operator
from stepbridge.authorization.patterns import Context, Glob, Template

_ACTION = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+")
_WHITESPACE = re.compile(r"\s")
_TOP_ELEMENTS = frozenset({"Version", "Id", "Statement"})
_STATEMENT_ELEMENTS = frozenset({"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"})
_PRINCIPAL_ELEMENTS = frozenset({"Principal", "NotPrincipal"})
_PRINCIPAL_KINDS = frozenset({"AWS", "Service", "Federated", "CanonicalUser"})


class MalformedPolicyError(Exception):
    """A document that AWS refuses.

    `reason` says what is wrong in AWS's words where those are known, `place` where (`Statement[2].Effect`, or a line
    and column), empty for the document as a whole.
    """

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(f"{reason} ({place})" if place else reason)
        self.reason = reason
        self.place = place


@dataclass(frozen=True, slots=True)
class Dialect:
    """What kind of policy a document is.

    `versions` are the accepted values of Version, None standing for its absence; `size` the most characters that are
    not white space, None if someone else checks that; `principal` and `resource` whether a statement must (True),
    may not (False) or may (None) have Principal and Resource.
    """

    name: str
    versions: frozenset[str | None]
    size: int | None
    principal: bool | None
    resource: bool | None


_IAM_VERSIONS: frozenset[str | None] = frozenset({"2012-10-17", "2008-10-17", None})
# "Policy document size: 2048 characters, not counting white space" (AWS IoT Core endpoints and quotas)
IOT = Dialect("AWS IoT policy", frozenset({"2012-10-17"}), 2048, principal=False, resource=True)
IAM_IDENTITY = Dialect("IAM policy", _IAM_VERSIONS, None, principal=False, resource=True)
IAM_RESOURCE = Dialect("resource policy", _IAM_VERSIONS, None, principal=True, resource=None)
IAM_TRUST = Dialect("trust policy", _IAM_VERSIONS, None, principal=True, resource=False)


@dataclass(frozen=True, slots=True)
class Principals:
    """A Principal element: kind (`AWS`, `Service`, …) and value, `*` standing for anybody of the kind."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, compiled.  `index` counts from 0; `source` is the statement as written."""

    index: int
    sid: str | None
    allow: bool
    actions: tuple[Glob, ...]
    not_actions: bool
    resources: tuple[Template, ...]
    not_resources: bool
    principals: Principals | None
    not_principals: bool
    conditions: tuple[Condition, ...]
    source: dict[str, Any]

    @property
    def label(self) -> str:
        """The statement as a person finds it in the document."""
        return f"statement {self.index + 1}" + (f" ({self.sid})" if self.sid else "")

    def covers_action(self, action: str) -> bool:
        """Whether it speaks of an action; `action` in lower case."""
        return any(glob.matches(action) for glob in self.actions) is not self.not_actions

    def covers_resource(self, resource: str, context: Context) -> bool:
        """Whether it speaks of a resource.  A pattern whose variables have no value matches nothing."""
        if not self.resources:
            return True
        for template in self.resources:
            glob = template.glob(context)
            if glob is not None and glob.matches(resource):
                return not self.not_resources
        return self.not_resources

    def holds(self, context: Context) -> bool:
        """Whether all its conditions do."""
        return all(condition.holds(context) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy by its name, compiled."""

    name: str
    statements: tuple[Statement, ...]


def parse_policy(name: str, document: str | dict[str, Any], dialect: Dialect) -> Policy:
    """Parse and check a document.

    `name` is how verdicts refer to it; `document` JSON text, or the same already parsed.  Raises
    MalformedPolicyError.
    """
    tree = _load(document, dialect)
    if not isinstance(tree, dict):
        raise MalformedPolicyError("Invalid policy syntax.", "the document is not a JSON object")
    for element in tree:
        if element not in _TOP_ELEMENTS:
            raise MalformedPolicyError("Invalid policy syntax.", f"unknown element {element}")
    version = tree.get("Version")
    if not (version is None or isinstance(version, str)) or version not in dialect.versions:
        raise MalformedPolicyError("Unknown policy document version. It must be version 2012-10-17", "Version")
    statements = tree.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not statements:
        raise MalformedPolicyError("Policy has no statements")
    if not isinstance(statements, list):
        raise MalformedPolicyError("Invalid policy syntax.", "Statement is not a list")
    # Policy variables came with version 2012-10-17; before it "${…}" is text.
    parser = _StatementParser(dialect, variables=version == "2012-10-17")
    compiled = tuple(parser.parse(index, statement) for index, statement in enumerate(statements))
    sids = [statement.sid for statement in compiled if statement.sid]
    if len(set(sids)) < len(sids):
        repeated = next(sid for sid in sids if sids.count(sid) > 1)
        raise MalformedPolicyError("Invalid policy syntax.", f"the Sid {repeated} is used twice")
    return Policy(name, compiled)


def _load(document: str | dict[str, Any], dialect: Dialect) -> object:
    if not isinstance(document, str):
        return document
    if dialect.size is not None and len(_WHITESPACE.sub("", document)) > dialect.size:
        raise MalformedPolicyError(f"Size of a policy document cannot exceeds hard limit of {dialect.size}")
    try:
        return json.loads(document, object_pairs_hook=_unique_members)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise MalformedPolicyError("Invalid policy syntax.", place) from None
    except RecursionError:
        raise MalformedPolicyError("Invalid policy syntax.", "nested too deeply") from None
    except ValueError as error:  # a number with thousands of digits
        raise MalformedPolicyError("Invalid policy syntax.", str(error)) from None


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise MalformedPolicyError("Invalid policy syntax.", f"{repeated} is there twice in one object")
    return members


class _StatementParser:
    def __init__(self, dialect: Dialect, *, variables: bool) -> None:
        self._dialect = dialect
        self._variables = variables

    def parse(self, index: int, source: object) -> Statement:
        place = f"Statement[{index}]"
        if not isinstance(source, dict):
            raise MalformedPolicyError("Invalid policy syntax.", f"{place} is not an object")
        for element in source:
            if element not in _STATEMENT_ELEMENTS and not (
                element in _PRINCIPAL_ELEMENTS and self._dialect.principal is not False
            ):
                raise MalformedPolicyError(
                    "Invalid policy syntax.", f"{place}.{element} is not an element of an {self._dialect.name}"
                )
        sid = source.get("Sid")
        if sid is not None and not isinstance(sid, str):
            raise MalformedPolicyError("Invalid policy syntax.", f"{place}.Sid is not a string")
        effect = source.get("Effect")
        if effect is None:
            raise MalformedPolicyError("Invalid policy syntax.", f"{place} has no Effect")
        if effect not in ("Allow", "Deny"):
            raise MalformedPolicyError(f"Invalid effect: {effect}", f"{place}.Effect")
        actions, not_actions = self._actions(source, place)
        resources, not_resources = self._resources(source, place)
        principals, not_principals = self._principals(source, place)
        return Statement(
            index=index,
            sid=sid or None,
            allow=effect == "Allow",
            actions=actions,
            not_actions=not_actions,
            resources=resources,
            not_resources=not_resources,
            principals=principals,
            not_principals=not_principals,
            conditions=self._conditions(source.get("Condition"), f"{place}.Condition"),
            source=source,
        )

    def _actions(self, source: dict[str, Any], place: str) -> tuple[tuple[Glob, ...], bool]:
        element, values = self._one_of(source, place, "Action", "NotAction", required=True)
        invalid = [value for value in values if not _ACTION.fullmatch(value)]
        if invalid:
            raise MalformedPolicyError(f"The following actions are invalid : {', '.join(invalid)}", element)
        # Action names are compared without regard to case.
        globs = [Template(value.lower(), variables=False).glob(Context({})) for value in values]
        return tuple(glob for glob in globs if glob is not None), element.endswith("NotAction")

    def _resources(self, source: dict[str, Any], place: str) -> tuple[tuple[Template, ...], bool]:
        if self._dialect.resource is False:
            for element in ("Resource", "NotResource"):
                if element in source:
                    raise MalformedPolicyError(
                        "Invalid policy syntax.", f"{place}.{element}: a trust policy has no resource"
                    )
            return (), False
        required = self._dialect.resource is True
        element, values = self._one_of(source, place, "Resource", "NotResource", required=required)
        invalid = [value for value in values if not _is_resource(value)]
        if invalid:
            raise MalformedPolicyError(f"The following resources are invalid : {', '.join(invalid)}", element)
        templates = tuple(Template(value, variables=self._variables) for value in values)
        return templates, element.endswith("NotResource")

    def _principals(self, source: dict[str, Any], place: str) -> tuple[Principals | None, bool]:
        if self._dialect.principal is False:
            return None, False
        negated = "NotPrincipal" in source
        element = "NotPrincipal" if negated else "Principal"
        if negated and "Principal" in source:
            raise MalformedPolicyError("Invalid policy syntax.", f"{place} has both Principal and NotPrincipal")
        value = source.get(element)
        if value == "*":
            return Principals((("*", "*"),)), negated
        if not isinstance(value, dict) or not value:
            raise MalformedPolicyError("Invalid policy syntax.", f'{place}.{element} is neither "*" nor an object')
        entries: list[tuple[str, str]] = []
        for kind, names in value.items():
            if kind not in _PRINCIPAL_KINDS:
                raise MalformedPolicyError("Invalid policy syntax.", f"{place}.{element}.{kind}: unknown kind")
            entries += [(kind, name) for name in _strings(names, f"{place}.{element}.{kind}")]
        return Principals(tuple(entries)), negated

    def _conditions(self, source: object, place: str) -> tuple[Condition, ...]:
        if source is None:
            return ()
        if not isinstance(source, dict):
            raise MalformedPolicyError("Invalid policy syntax.", f"{place} is not an object")
        conditions: list[Condition] = []
        for written, keys in source.items():
            parsed = parse_operator(written)
            if parsed is None:
                raise MalformedPolicyError("Invalid policy syntax.", f"{place}.{written}: no such condition operator")
            if not isinstance(keys, dict) or not keys:
                raise MalformedPolicyError("Invalid policy syntax.", f"{place}.{written} is not an object of keys")
            operator, quantifier, if_exists = parsed
            for key, value in keys.items():
                texts = _scalars(value, f"{place}.{written}.{key}")
                _check_condition_values(operator.name, texts, f"{place}.{written}.{key}")
                templates = tuple(Template(text, variables=self._variables) for text in texts)
                conditions.append(Condition(operator, quantifier, if_exists, key, templates))
        return tuple(conditions)

    @staticmethod
    def _one_of(
        source: dict[str, Any], place: str, positive: str, negative: str, *, required: bool
    ) -> tuple[str, tuple[str, ...]]:
        if positive in source and negative in source:
            raise MalformedPolicyError("Invalid policy syntax.", f"{place} has both {positive} and {negative}")
        element = negative if negative in source else positive
        if element not in source and not required:
            return f"{place}.{element}", ()
        if element not in source:
            raise MalformedPolicyError("Invalid policy syntax.", f"{place} has no {positive}")
        values = _strings(source[element], f"{place}.{element}")
        if not values:
            raise MalformedPolicyError("Invalid policy syntax.", f"{place}.{element} is empty")
        return f"{place}.{element}", values


def _strings(value: object, place: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) for entry in values):
        raise MalformedPolicyError("Invalid policy syntax.", f"{place} is neither a string nor a list of strings")
    return tuple(values)


def _scalars(value: object, place: str) -> tuple[str, ...]:
    """The values of a condition: strings, or JSON's numbers and booleans, which stand for their text."""
    texts: list[str] = []
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, bool):
            texts.append("true" if entry else "false")
        elif isinstance(entry, str | int | float):
            texts.append(str(entry))
        else:
            raise MalformedPolicyError("Invalid policy syntax.", f"{place} is neither a string nor a list of strings")
    return tuple(texts)


def _check_condition_values(operator: str, texts: tuple[str, ...], place: str) -> None:
    for text in texts:
        if "${" in text:
            continue
        if operator.startswith("Date") and parse_date(text) is None:
            raise MalformedPolicyError("Invalid policy syntax.", f"{place}: {text} is not a date")
        if operator.endswith("IpAddress") and parse_network(text) is None:
            raise MalformedPolicyError("Invalid policy syntax.", f"{place}: {text} is not an address range")
        if operator.startswith("Numeric") and not re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
            raise MalformedPolicyError("Invalid policy syntax.", f"{place}: {text} is not a number")
        if operator in ("Bool", "Null") and text.lower() not in ("true", "false"):
            raise MalformedPolicyError("Invalid policy syntax.", f"{place}: {text} is neither true nor false")


def _is_resource(value: str) -> bool:
    if value.startswith("arn:"):
        return value.count(":") >= 5 or "*" in value
    return value.startswith("*")
