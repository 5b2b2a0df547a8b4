"""Policies and their versions.

https://docs.aws.amazon.com/iot/latest/apireference/API_CreatePolicy.html and its neighbours
"""

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.authorization import IOT, MalformedPolicyError, parse_policy
from stepbridge.iot.registry.core import RegistryService, already_exists, not_found, present, select_page
from stepbridge.iot.registry.tags import set_tags
from stepbridge.store.database import Row

_MOST_VERSIONS = 5


class PolicyService(RegistryService):
    """CreatePolicy and what follows from it."""

    async def create_policy(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceAlreadyExistsException, MalformedPolicyException."""
        name, document = request["policyName"], request["policyDocument"]
        arn = self._core.arn("policy", name)
        if self._store.query_one("SELECT 1 FROM iot_policy WHERE name = ?", (name,)):
            raise already_exists(f"Policy cannot be created - name already exists (name={name})", name, arn)
        _check(document)
        now = self._core.clock.now()
        self._store.execute(
            "INSERT INTO iot_policy (name, default_version, last_version, created, modified, generation)"
            " VALUES (?, 1, 1, ?, ?, hex(randomblob(16)))",
            (name, now, now),
        )
        self._store.execute("INSERT INTO iot_policy_version VALUES (?, 1, ?, ?)", (name, document, now))
        set_tags(self._store, arn, request.get("tags", []))
        await self._finish()
        return {"policyName": name, "policyArn": arn, "policyDocument": document, "policyVersionId": "1"}

    async def get_policy(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        policy = self._policy(request["policyName"])
        version = self._version(policy["name"], str(policy["default_version"]))
        return {
            "policyName": policy["name"],
            "policyArn": self._core.arn("policy", policy["name"]),
            "policyDocument": version["document"],
            "defaultVersionId": str(policy["default_version"]),
            "creationDate": policy["created"],
            "lastModifiedDate": policy["modified"],
            "generationId": policy["generation"].lower(),
        }

    async def list_policies(self, caller: Caller, request: Members) -> Members:
        """The newest first unless asked otherwise."""
        rows, marker = select_page(
            self._store,
            "SELECT number, name FROM iot_policy WHERE 1",
            (),
            "number",
            request.get("marker"),
            request.get("pageSize", 25),
            descending=not request.get("ascendingOrder", False),
        )
        policies = [{"policyName": row["name"], "policyArn": self._core.arn("policy", row["name"])} for row in rows]
        return present(policies=policies, nextMarker=marker)

    async def delete_policy(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, DeleteConflictException while it is attached or has other versions."""
        name = self._policy(request["policyName"])["name"]
        if self._store.query_one("SELECT 1 FROM iot_policy_target WHERE policy = ?", (name,)):
            raise AwsError(
                "DeleteConflictException",
                f"The policy cannot be deleted as the policy is attached to one or more principals (name={name})",
            )
        if len(self._store.query("SELECT 1 FROM iot_policy_version WHERE policy = ?", (name,))) > 1:
            raise AwsError(
                "DeleteConflictException",
                f"Cannot delete the policy because it has one or more policy versions attached to it (name={name})",
            )
        self._store.execute("DELETE FROM iot_policy WHERE name = ?", (name,))
        set_tags(self._store, self._core.arn("policy", name), None)
        await self._finish()
        return {}

    async def create_policy_version(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, MalformedPolicyException, VersionsLimitExceededException."""
        policy, document = self._policy(request["policyName"]), request["policyDocument"]
        name = policy["name"]
        _check(document)
        if len(self._store.query("SELECT 1 FROM iot_policy_version WHERE policy = ?", (name,))) >= _MOST_VERSIONS:
            raise AwsError(
                "VersionsLimitExceededException",
                f"The policy {name} already has the maximum number of versions ({_MOST_VERSIONS})",
            )
        now, number = self._core.clock.now(), policy["last_version"] + 1
        default = request.get("setAsDefault", False)
        self._store.execute("INSERT INTO iot_policy_version VALUES (?, ?, ?, ?)", (name, number, document, now))
        self._store.execute(
            "UPDATE iot_policy SET last_version = ?, default_version = ?, modified = ? WHERE name = ?",
            (number, number if default else policy["default_version"], now, name),
        )
        await self._finish()
        return {
            "policyArn": self._core.arn("policy", name),
            "policyDocument": document,
            "policyVersionId": str(number),
            "isDefaultVersion": default,
        }

    async def get_policy_version(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        policy = self._policy(request["policyName"])
        version = self._version(policy["name"], request["policyVersionId"])
        return {
            "policyArn": self._core.arn("policy", policy["name"]),
            "policyName": policy["name"],
            "policyDocument": version["document"],
            "policyVersionId": str(version["version"]),
            "isDefaultVersion": version["version"] == policy["default_version"],
            "creationDate": version["created"],
            "lastModifiedDate": version["created"],
            "generationId": policy["generation"].lower(),
        }

    async def list_policy_versions(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        policy = self._policy(request["policyName"])
        rows = self._store.query(
            "SELECT version, created FROM iot_policy_version WHERE policy = ? ORDER BY version DESC", (policy["name"],)
        )
        return {
            "policyVersions": [
                {
                    "versionId": str(row["version"]),
                    "isDefaultVersion": row["version"] == policy["default_version"],
                    "createDate": row["created"],
                }
                for row in rows
            ]
        }

    async def delete_policy_version(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, DeleteConflictException for the default version."""
        policy = self._policy(request["policyName"])
        version = self._version(policy["name"], request["policyVersionId"])
        if version["version"] == policy["default_version"]:
            raise AwsError("DeleteConflictException", "Cannot delete the default version of a policy")
        self._store.execute(
            "DELETE FROM iot_policy_version WHERE policy = ? AND version = ?", (policy["name"], version["version"])
        )
        await self._finish()
        return {}

    async def set_default_policy_version(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        policy = self._policy(request["policyName"])
        version = self._version(policy["name"], request["policyVersionId"])
        self._store.execute(
            "UPDATE iot_policy SET default_version = ?, modified = ? WHERE name = ?",
            (version["version"], self._core.clock.now(), policy["name"]),
        )
        await self._finish()
        return {}

    def _policy(self, name: str) -> Row:
        row = self._store.query_one("SELECT * FROM iot_policy WHERE name = ?", (name,))
        if row is None:
            raise not_found(f"Policy not found (name={name})")
        return row

    def _version(self, name: str, version: str) -> Row:
        row = self._store.query_one(
            "SELECT * FROM iot_policy_version WHERE policy = ? AND version = ?",
            (name, int(version) if version.isdigit() else -1),
        )
        if row is None:
            raise not_found(f"Policy version not found (name={name}, version={version})")
        return row


def _check(document: str) -> None:
    try:
        parse_policy("", document, IOT)
    except MalformedPolicyError as error:
        raise AwsError("MalformedPolicyException", f"Policy document is Malformed: {error}") from None
