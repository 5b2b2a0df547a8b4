"""What is attached to what: policies to certificates and thing groups, certificates to things.

https://docs.aws.amazon.com/iot/latest/apireference/API_AttachPolicy.html
https://docs.aws.amazon.com/iot/latest/apireference/API_AttachThingPrincipal.html
"""

import re

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.iot.registry.core import RegistryService, invalid, not_found, present, select_page

# "Maximum number of policies that can be attached to a certificate or Amazon Cognito identity" (AWS IoT Core quotas)
_MOST_POLICIES = 10
# "You can attach a maximum number of two policies to a group." (AWS IoT developer guide, "Static thing groups")
_MOST_POLICIES_OF_A_GROUP = 2
_COGNITO_IDENTITY = re.compile(r"[\w-]+:[0-9a-f-]+")
_EXCLUSIVE = "EXCLUSIVE_THING"
_NON_EXCLUSIVE = "NON_EXCLUSIVE_THING"


class AttachmentService(RegistryService):
    """Attach…, Detach… and the listings of both sides."""

    async def attach_policy(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException, LimitExceededException."""
        return await self._attach_policy(request["policyName"], request["target"])

    async def attach_principal_policy(self, caller: Caller, request: Members) -> Members:
        """The older name of AttachPolicy."""
        return await self._attach_policy(request["policyName"], request["principal"])

    async def detach_policy(self, caller: Caller, request: Members) -> Members:
        """Raises InvalidRequestException, ResourceNotFoundException."""
        return await self._detach_policy(request["policyName"], request["target"])

    async def detach_principal_policy(self, caller: Caller, request: Members) -> Members:
        """The older name of DetachPolicy."""
        return await self._detach_policy(request["policyName"], request["principal"])

    async def list_attached_policies(self, caller: Caller, request: Members) -> Members:
        """The policies of a target; with `recursive` also those of the groups above a thing group."""
        target = request["target"]
        self._check_target(target)
        targets = [target]
        group = self._core.name_in_arn("thinggroup", target)
        if group is not None and request.get("recursive", False):
            targets = [self._core.arn("thinggroup", name) for name in self._core.group_and_ancestors(group)]
        return self._policies_of(targets, request, key="policy", descending=False)

    async def list_principal_policies(self, caller: Caller, request: Members) -> Members:
        """The older form of ListAttachedPolicies."""
        descending = not request.get("ascendingOrder", False)
        return self._policies_of([request["principal"]], request, key="policy", descending=descending)

    async def list_targets_for_policy(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        targets, marker = self._targets_of(request, "1", descending=False)
        return present(targets=targets, nextMarker=marker)

    async def list_policy_principals(self, caller: Caller, request: Members) -> Members:
        """The older form of ListTargetsForPolicy."""
        where = "target NOT LIKE '%:thinggroup/%'"
        principals, marker = self._targets_of(request, where, descending=not request.get("ascendingOrder", False))
        return present(principals=principals, nextMarker=marker)

    async def attach_thing_principal(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException."""
        thing, principal = request["thingName"], request["principal"]
        exclusive = request.get("thingPrincipalType", _NON_EXCLUSIVE) == _EXCLUSIVE
        self._check_thing(thing)
        self._check_principal(principal)
        attached = self._store.query("SELECT * FROM iot_thing_principal WHERE principal = ?", (principal,))
        others = [row for row in attached if row["thing"] != thing]
        # "EXCLUSIVE_THING - Attaches the specified principal to the specified thing, exclusively.  The thing will be
        # the only thing that's attached to the principal."
        if others and (exclusive or others[0]["exclusive"]):
            raise invalid(
                f"Principal {principal} is attached to thing {others[0]['thing']}"
                f"{' exclusively' if others[0]['exclusive'] else ''}; detach it first."
            )
        same = [row for row in attached if row["thing"] == thing]
        if same and bool(same[0]["exclusive"]) != exclusive:
            raise invalid(f"Principal {principal} is attached to thing {thing} with another thingPrincipalType.")
        if not same:
            self._store.execute(
                "INSERT INTO iot_thing_principal (thing, principal, exclusive) VALUES (?, ?, ?)",
                (thing, principal, int(exclusive)),
            )
        await self._finish()
        return {}

    async def detach_thing_principal(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException for the thing; detaching what is not attached does nothing."""
        self._check_thing(request["thingName"])
        self._store.execute(
            "DELETE FROM iot_thing_principal WHERE thing = ? AND principal = ?",
            (request["thingName"], request["principal"]),
        )
        await self._finish()
        return {}

    async def list_thing_principals(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        rows, token = self._thing_principals(request)
        return present(principals=[row[0] for row in rows], nextToken=token)

    async def list_thing_principals_v2(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        rows, token = self._thing_principals(request)
        entries = [{"principal": name, "thingPrincipalType": kind} for name, kind in rows]
        return present(thingPrincipalObjects=entries, nextToken=token)

    async def list_principal_things(self, caller: Caller, request: Members) -> Members:
        """The things of a principal."""
        rows, token = self._principal_things(request)
        return present(things=[row[0] for row in rows], nextToken=token)

    async def list_principal_things_v2(self, caller: Caller, request: Members) -> Members:
        """The things of a principal, and how they are attached."""
        rows, token = self._principal_things(request)
        entries = [{"thingName": name, "thingPrincipalType": kind} for name, kind in rows]
        return present(principalThingObjects=entries, nextToken=token)

    async def _attach_policy(self, policy: str, target: str) -> Members:
        self._check_policy(policy)
        self._check_target(target)
        attached = {
            row["policy"]
            for row in self._store.query("SELECT policy FROM iot_policy_target WHERE target = ?", (target,))
        }
        if policy not in attached:
            group = self._core.name_in_arn("thinggroup", target)
            most = _MOST_POLICIES if group is None else _MOST_POLICIES_OF_A_GROUP
            if len(attached) >= most:
                raise AwsError(
                    "LimitExceededException", f"{target} already has the maximum number of policies ({most})"
                )
            self._store.execute("INSERT INTO iot_policy_target (policy, target) VALUES (?, ?)", (policy, target))
        await self._finish()
        return {}

    async def _detach_policy(self, policy: str, target: str) -> Members:
        self._check_policy(policy)
        self._store.execute("DELETE FROM iot_policy_target WHERE policy = ? AND target = ?", (policy, target))
        await self._finish()
        return {}

    def _policies_of(self, targets: list[str], request: Members, *, key: str, descending: bool) -> Members:
        marks = ", ".join("?" * len(targets))
        rows, marker = select_page(
            self._store,
            f"SELECT DISTINCT policy FROM iot_policy_target WHERE target IN ({marks})",  # noqa: S608 - question marks
            targets,
            key,
            request.get("marker"),
            request.get("pageSize", 25),
            descending=descending,
        )
        policies = [{"policyName": row["policy"], "policyArn": self._core.arn("policy", row["policy"])} for row in rows]
        return present(policies=policies, nextMarker=marker)

    def _targets_of(self, request: Members, where: str, *, descending: bool) -> tuple[list[str], str | None]:
        self._check_policy(request["policyName"])
        rows, marker = select_page(
            self._store,
            f"SELECT number, target FROM iot_policy_target WHERE policy = ? AND {where}",  # noqa: S608 - fixed text
            (request["policyName"],),
            "number",
            request.get("marker"),
            request.get("pageSize", 25),
            descending=descending,
        )
        return [row["target"] for row in rows], marker

    def _thing_principals(self, request: Members) -> tuple[list[tuple[str, str]], str | None]:
        thing = request["thingName"]
        if self._store.query_one("SELECT 1 FROM iot_thing WHERE name = ?", (thing,)) is None:
            raise not_found(
                f"Failed to list principals for thing {thing} because the thing does not exist in your account"
            )
        return self._pairs("principal", "thing", thing, request)

    def _principal_things(self, request: Members) -> tuple[list[tuple[str, str]], str | None]:
        return self._pairs("thing", "principal", request["principal"], request)

    def _pairs(self, wanted: str, by: str, value: str, request: Members) -> tuple[list[tuple[str, str]], str | None]:
        kind = request.get("thingPrincipalType")
        rows, token = select_page(
            self._store,
            f"SELECT number, {wanted}, exclusive FROM iot_thing_principal"  # noqa: S608 - column names of this file
            f" WHERE {by} = ? AND (? IS NULL OR exclusive = ?)",
            (value, kind, int(kind == _EXCLUSIVE)),
            "number",
            request.get("nextToken"),
            request.get("maxResults", 25),
        )
        return [(row[wanted], _EXCLUSIVE if row["exclusive"] else _NON_EXCLUSIVE) for row in rows], token

    def _check_policy(self, name: str) -> None:
        if self._store.query_one("SELECT 1 FROM iot_policy WHERE name = ?", (name,)) is None:
            raise not_found(f"Policy not found (name={name})")

    def _check_thing(self, name: str) -> None:
        if self._store.query_one("SELECT 1 FROM iot_thing WHERE name = ?", (name,)) is None:
            raise not_found(f"Thing {name} does not exist")

    def _check_target(self, target: str) -> None:
        group = self._core.name_in_arn("thinggroup", target)
        if group is None:
            self._check_principal(target)
        elif self._store.query_one("SELECT 1 FROM iot_thing_group WHERE name = ?", (group,)) is None:
            raise not_found(f"No thing group with ARN {target} exists")

    def _check_principal(self, principal: str) -> None:
        """Whether a principal can be attached: a registered certificate, or an Amazon Cognito identity id."""
        certificate = self._core.name_in_arn("cert", principal)
        if certificate is not None:
            if self._store.query_one("SELECT 1 FROM iot_certificate WHERE id = ?", (certificate,)) is None:
                raise not_found(f"Certificate not found (arn={principal})")
        elif principal.startswith("arn:") or not _COGNITO_IDENTITY.fullmatch(principal):
            raise invalid(
                f"Invalid principal or target: {principal} is not an ARN of a certificate or thing group here."
            )
