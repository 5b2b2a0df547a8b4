"""Questions about policies, answered as the device gateway would.

https://docs.aws.amazon.com/iot/latest/apireference/API_TestAuthorization.html
https://docs.aws.amazon.com/iot/latest/apireference/API_GetEffectivePolicies.html
"""

from typing import Any

from stepbridge.api.service import Caller, Members
from stepbridge.authorization import Context, Outcome, Policy, Request, evaluate
from stepbridge.authorization.device_context import device_context
from stepbridge.authorization.evaluation import missing_context
from stepbridge.iot.access import Connection
from stepbridge.iot.registry.access import RegistryAccess, compiled
from stepbridge.iot.registry.core import RegistryCore, RegistryService, invalid, not_found

_ACTIONS = {"PUBLISH": "iot:Publish", "SUBSCRIBE": "iot:Subscribe", "RECEIVE": "iot:Receive", "CONNECT": "iot:Connect"}


class AuthorizationService(RegistryService):
    """GetEffectivePolicies, TestAuthorization."""

    def __init__(self, core: RegistryCore, access: RegistryAccess) -> None:
        super().__init__(core)
        self._access = access

    async def get_effective_policies(self, caller: Caller, request: Members) -> Members:
        """Raises InvalidRequestException, ResourceNotFoundException."""
        principal, thing = request.get("principal"), request.get("thingName")
        if principal is None and thing is None:
            raise invalid("One of principal and thingName is needed.")
        if thing is not None and self._store.query_one("SELECT 1 FROM iot_thing WHERE name = ?", (thing,)) is None:
            raise not_found(f"Thing {thing} does not exist")
        self._check_principal(principal)
        effective = self._access.effective_policies(principal, thing)
        policies = [
            {"policyName": name, "policyArn": self._core.arn("policy", name), "policyDocument": document}
            for name, document in effective
        ]
        return {"effectivePolicies": policies}

    async def test_authorization(self, caller: Caller, request: Members) -> Members:
        """Raises InvalidRequestException, ResourceNotFoundException."""
        principal = request.get("principal")
        self._check_principal(principal)
        certificate = self._core.name_in_arn("cert", principal) if principal is not None else None
        connection = Connection(certificate or "", request.get("clientId"), caller.source_ip)
        effective = dict(self._access.effective_policies(principal, self._access.thing_of(connection)))
        for name in request.get("policyNamesToAdd", []):
            effective[name] = self._document(name)
        for name in request.get("policyNamesToSkip", []):
            effective.pop(name, None)
        policies = [compiled(name, document) for name, document in effective.items()]
        results: list[dict[str, Any]] = []
        for info in request["authInfos"]:
            if "actionType" not in info:
                raise invalid("Each of authInfos needs an actionType.")
            context = self._context(certificate, connection, connecting=info["actionType"] == "CONNECT")
            results += [self._result(policies, info, resource, context) for resource in info["resources"]]
        return {"authResults": results}

    def _result(self, policies: list[Policy], info: Members, resource: str, context: Context) -> dict[str, Any]:
        asked = Request(_ACTIONS[info["actionType"]], resource, context)
        outcomes = {policy.name: evaluate([policy], asked).outcome for policy in policies}

        def named(wanted: Outcome) -> list[dict[str, str]]:
            names = [name for name, outcome in outcomes.items() if outcome is wanted]
            return [{"policyName": name, "policyArn": self._core.arn("policy", name)} for name in names]

        decision = evaluate(policies, asked).outcome
        return {
            "authInfo": {"actionType": info["actionType"], "resources": [resource]},
            "allowed": {"policies": named(Outcome.ALLOWED)},
            "denied": {
                "implicitDeny": {"policies": named(Outcome.IMPLICIT_DENY)},
                "explicitDeny": {"policies": named(Outcome.EXPLICIT_DENY)},
            },
            "authDecision": decision.value,
            "missingContextValues": missing_context(policies, asked) if decision is Outcome.IMPLICIT_DENY else [],
        }

    def _context(self, certificate: str | None, connection: Connection, *, connecting: bool) -> Context:
        if certificate is not None:
            return self._access.connection_context(connection, connecting=connecting)
        return device_context(client_id=connection.client_id, source_ip=connection.source_ip)

    def _document(self, name: str) -> str:
        row = self._store.query_one(
            "SELECT v.document FROM iot_policy AS p JOIN iot_policy_version AS v"
            " ON v.policy = p.name AND v.version = p.default_version WHERE p.name = ?",
            (name,),
        )
        if row is None:
            raise not_found(f"Policy not found (name={name})")
        return str(row["document"])

    def _check_principal(self, principal: str | None) -> None:
        if principal is None:
            return
        certificate = self._core.name_in_arn("cert", principal)
        if principal.startswith("arn:") and certificate is None:
            raise invalid(f"Invalid principal: {principal}")
        if certificate is not None and not self._store.query_one(
            "SELECT 1 FROM iot_certificate WHERE id = ?", (certificate,)
        ):
            raise not_found(f"Certificate not found (arn={principal})")
