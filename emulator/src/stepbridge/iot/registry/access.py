"""The answers for the device gateway: who is admitted, and what a connection may do.

`decide` is on the path of each message.  So what concerns a connection (its policies, compiled, and what their
variables stand for) is gathered once and kept until the registry changes, and so are the decisions themselves.
AWS takes 6 to 8 minutes until a change of a policy acts everywhere; here it acts at once.
"""

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from stepbridge.authorization import IOT, Context, Policy, Request, about, evaluate, explain, parse_policy
from stepbridge.authorization.device_context import CertificateFacts, ThingFacts, device_context
from stepbridge.iot.access import Access, Admission, Connection, Decision, SignedCallers
from stepbridge.iot.certificates import certificate_id
from stepbridge.iot.registry.certificate_facts import facts_from_json
from stepbridge.iot.registry.core import RegistryCore
from stepbridge.iot.registry.provisioning import ProvisioningService

_MOST_CONNECTIONS = 20_000
_MOST_DECISIONS = 512


@dataclass(slots=True)
class _Standing:
    """What is known of a connection until the registry changes."""

    policies: tuple[Policy, ...]
    context: Context
    by_action: dict[str, tuple[Policy, ...]] = field(default_factory=dict)
    decisions: dict[tuple[str, str], Decision] = field(default_factory=dict)


class _Unrestricted(SignedCallers):
    """Lets IAM callers do everything, until somebody else judges them."""

    async def prepare(self, access_key: str) -> None:
        """There is nothing to learn."""

    def decide(self, connection: Connection, action: str, resource: str) -> Decision:
        return Decision(True, "nobody restricts IAM callers")


class RegistryAccess(Access):
    """Answers the device gateway from the registry; `provisioning` takes care of devices that nobody knows yet."""

    def __init__(self, core: RegistryCore, provisioning: ProvisioningService) -> None:
        self._core = core
        self._provisioning = provisioning
        self._store = core.store
        self._standings: OrderedDict[Connection, _Standing] = OrderedDict()
        self._resource_prefix = core.arn("", "").removesuffix("/")
        self._signed_callers: SignedCallers = _Unrestricted()
        core.on_change(self._standings.clear)

    def admit(self, certificate_der: bytes | None) -> Admission:
        """Whether the holder of this client certificate may go on to CONNECT."""
        if certificate_der is None:
            return Admission(None, "no client certificate was sent")
        identifier = certificate_id(certificate_der)
        row = self._store.query_one("SELECT status FROM iot_certificate WHERE id = ?", (identifier,))
        if row is None:
            registered = self._provisioning.register_unknown(certificate_der)
            return Admission(
                None, registered or f"the certificate {identifier} is not registered; register it, or create one here"
            )
        if row["status"] == "PENDING_ACTIVATION":
            self._provisioning.tell_of_pending(identifier)
        if row["status"] != "ACTIVE":
            return Admission(
                None, f"the certificate {identifier} is {row['status']}; UpdateCertificate can set it ACTIVE"
            )
        return Admission(identifier)

    def decide(self, connection: Connection, action: str, resource: str) -> Decision:
        """Whether a connection may do `action` (`iot:Publish`) on `resource` (`topic/a/b`)."""
        if connection.signed:
            return self._signed_callers.decide(connection, action, self._arn(resource))
        standing = self._standings.get(connection)
        if standing is None:
            standing = self._standing(connection)
        if action == "iot:Connect":  # once in a connection's life: nothing of it is worth its memory
            return self._decide(standing, action, resource, self.connection_context(connection, connecting=True))
        decision = standing.decisions.get((action, resource))
        if decision is None:
            if len(standing.decisions) >= _MOST_DECISIONS:
                standing.decisions.clear()
            decision = standing.decisions[action, resource] = self._decide(standing, action, resource, standing.context)
        return decision

    async def prepare(self, access_key: str) -> None:
        """Return when `decide` can be asked about a caller who signs with this key."""
        await self._signed_callers.prepare(access_key)

    def judge_signed(self, callers: SignedCallers) -> None:
        """Let `callers` say what IAM callers may do."""
        self._signed_callers = callers

    def on_revocation(self, callback: Callable[[str], object]) -> None:
        """Call `callback` with a certificate id that has ceased to be valid."""
        self._core.on_revocation(callback)

    def trusted_certificates(self) -> list[str]:
        """The certificates (PEM) that TLS must accept beside those of the local authority.

        Active certificates from elsewhere, which are trusted for themselves (`X509_V_FLAG_PARTIAL_CHAIN`), and
        active certificate authorities, whose devices may register by connecting.
        """
        rows = self._store.query(
            "SELECT pem FROM iot_certificate WHERE status = 'ACTIVE' AND own = 0"
            " UNION SELECT pem FROM iot_authority WHERE status = 'ACTIVE'"
        )
        return [row["pem"] for row in rows]

    def on_trust(self, callback: Callable[[str], object]) -> None:
        """Call `callback` with each of :meth:`trusted_certificates`, now and whenever one is added."""
        for pem in self.trusted_certificates():
            callback(pem)
        self._core.on_trust(callback)

    def thing_of(self, connection: Connection) -> str | None:
        """The name of the thing that a connection stands for, or None."""
        thing = self._thing(connection)
        return thing.name if thing is not None else None

    def exclusive_thing(self, principal: str) -> str | None:
        """The thing that a certificate (by id) is attached to exclusively, if it is so to any."""
        row = self._store.query_one(
            "SELECT thing FROM iot_thing_principal WHERE principal = ? AND exclusive",
            (self._core.arn("cert", principal),),
        )
        return None if row is None else str(row["thing"])

    def effective_policies(self, principal: str | None, thing: str | None) -> list[tuple[str, str]]:
        """Names and documents of the policies attached to a principal (an ARN) and to the groups of a thing."""
        rows = self._store.query(_EFFECTIVE_POLICIES, (thing, self._core.arn("thinggroup", ""), principal))
        return [(row["name"], row["document"]) for row in rows]

    def connection_context(self, connection: Connection, *, connecting: bool, with_certificate: bool = True) -> Context:
        """What the policy variables stand for on a connection; `connecting` adds the keys of iot:Connect."""
        attributes, will = None, None
        if connecting:
            attributes = ["PersistentConnect"] if connection.persistent else []
            if connection.last_will_topic is not None:
                attributes.append("LastWill")
                will = self._core.arn("topic", connection.last_will_topic)
        return device_context(
            client_id=connection.client_id,
            source_ip=connection.source_ip,
            domain_name=connection.domain_name,
            thing=self._thing(connection),
            certificate=self._certificate(connection.principal) if with_certificate else None,
            connect_attributes=attributes,
            last_will_topic=will,
        )

    def _decide(self, standing: _Standing, action: str, resource: str, context: Context) -> Decision:
        request = Request(action, self._arn(resource), context)
        policies = standing.by_action.get(action)
        if policies is None:
            policies = standing.by_action[action] = about(standing.policies, action)
        verdict = evaluate(policies, request)
        return Decision(verdict.allowed, explain(standing.policies, request, verdict))

    def _arn(self, resource: str) -> str:
        return resource if resource == "*" else self._resource_prefix + resource

    def _standing(self, connection: Connection) -> _Standing:
        thing = self._thing(connection)
        effective = self.effective_policies(
            self._core.arn("cert", connection.principal), thing.name if thing is not None else None
        )
        standing = _Standing(
            policies=tuple(compiled(name, document) for name, document in effective),
            context=self.connection_context(
                connection,
                connecting=False,
                with_certificate=any(_may_mention_certificates(document) for _, document in effective),
            ),
        )
        while len(self._standings) >= _MOST_CONNECTIONS:
            self._standings.popitem(last=False)
        self._standings[connection] = standing
        return standing

    def _thing(self, connection: Connection) -> ThingFacts | None:
        """The thing of an MQTT connection: attached to its principal exclusively, or also named by its client id."""
        if connection.client_id is None:
            return None
        row = self._store.query_one(
            "SELECT t.name, t.type, t.attributes FROM iot_thing_principal AS p JOIN iot_thing AS t ON t.name = p.thing"
            " WHERE p.principal = ? AND (p.exclusive OR p.thing = ?)",
            (self._core.arn("cert", connection.principal), connection.client_id),
        )
        return ThingFacts(row["name"], row["type"], json.loads(row["attributes"])) if row is not None else None

    def _certificate(self, identifier: str) -> CertificateFacts | None:
        row = self._store.query_one("SELECT facts FROM iot_certificate WHERE id = ?", (identifier,))
        return facts_from_json(row["facts"]) if row is not None else None


def _may_mention_certificates(document: str) -> bool:
    """Whether a policy's context needs the certificate: it has many keys, and there is a context for each device."""
    return "certificate" in document.lower() or "\\u" in document


@lru_cache(maxsize=2048)
def compiled(name: str, document: str) -> Policy:
    """A policy that has been checked when it was created, compiled."""
    return parse_policy(name, document, IOT)


# The groups of the thing with all groups above them, then the default versions of what is attached to those or to the
# principal.
_EFFECTIVE_POLICIES = """
WITH RECURSIVE above (name) AS (
    SELECT thing_group FROM iot_thing_group_member WHERE thing = ?
    UNION SELECT g.parent FROM iot_thing_group AS g JOIN above ON g.name = above.name WHERE g.parent IS NOT NULL
), targets (target) AS (SELECT ? || name FROM above UNION SELECT ?)
SELECT DISTINCT p.name, v.document FROM iot_policy_target AS t JOIN targets ON targets.target = t.target
JOIN iot_policy AS p ON p.name = t.policy
JOIN iot_policy_version AS v ON v.policy = p.name AND v.version = p.default_version
ORDER BY p.number
"""
