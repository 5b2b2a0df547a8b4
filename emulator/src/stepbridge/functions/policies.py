"""The part of the Lambda API that is about resource policies: by statements, and as documents.

https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
"""

import json
from collections.abc import Sequence
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.authorization import IAM_RESOURCE, MalformedPolicyError, parse_policy
from stepbridge.functions.invoker import Functions
from stepbridge.functions.names import LATEST, FunctionName
from stepbridge.functions.permissions import new_statement
from stepbridge.functions.refusals import conflict, invalid, not_found, revision_differs
from stepbridge.functions.registry import FunctionRegistry, require_function
from stepbridge.store import Store

_MAX_POLICY = 20_480  # bytes; https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html

Statement = dict[str, Any]


class PolicyOperations:
    """Resource policies; a part of :class:`~service.LambdaService`."""

    functions: Functions
    _registry: FunctionRegistry
    _store: Store

    async def add_permission(self, caller: Caller, request: Members) -> Members:
        name = self._policy_name(request)
        require_function(self._registry, name)
        _refuse_latest(name)
        qualifier = name.qualifier or ""
        statements = self._registry.statements(name.name, qualifier)
        self._check_policy_revision(name, request)
        if request["StatementId"] in statements:
            raise conflict(
                f"The statement id ({request['StatementId']}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement."
            )
        statement = new_statement(request, name.arn)
        _check_size([*statements.values(), statement])
        self._registry.add_statement(name.name, qualifier, statement)
        await self._store.committed()
        return {"Statement": json.dumps(statement, separators=(",", ":"))}

    async def remove_permission(self, caller: Caller, request: Members) -> Members:
        name = self._policy_name(request)
        require_function(self._registry, name)
        self._check_policy_revision(name, request)
        if not self._registry.remove_statement(name.name, name.qualifier or "", request["StatementId"]):
            raise not_found(f"Statement {request['StatementId']} is not found in resource policy.")
        await self._store.committed()
        return {}

    async def get_policy(self, caller: Caller, request: Members) -> Members:
        name = self._policy_name(request)
        require_function(self._registry, name)
        return self._policy(name)

    async def put_resource_policy(self, caller: Caller, request: Members) -> Members:
        name = self._policy_name({"FunctionName": request["ResourceArn"]})
        require_function(self._registry, name)
        _refuse_latest(name)
        self._check_policy_revision(name, request)
        try:
            parse_policy("of the function", request["Policy"], IAM_RESOURCE)
        except MalformedPolicyError as error:
            raise invalid(f"The policy is not valid: {error}") from None
        statements = json.loads(request["Policy"])["Statement"]
        if isinstance(statements, dict):
            statements = [statements]
        _check_size(statements)
        self._registry.replace_statements(name.name, name.qualifier or "", statements)
        await self._store.committed()
        return self._policy(name)

    async def get_resource_policy(self, caller: Caller, request: Members) -> Members:
        return await self.get_policy(caller, {"FunctionName": request["ResourceArn"]})

    async def delete_resource_policy(self, caller: Caller, request: Members) -> Members:
        name = self._policy_name({"FunctionName": request["ResourceArn"]})
        require_function(self._registry, name)
        self._check_policy_revision(name, request)
        self._policy(name)
        self._registry.replace_statements(name.name, name.qualifier or "", [])
        await self._store.committed()
        return {}

    def _policy_name(self, request: Members) -> FunctionName:
        return self.functions.name(request["FunctionName"], request.get("Qualifier"))

    def _policy(self, name: FunctionName) -> Members:
        """Raises ResourceNotFoundException if there is none."""
        statements = self._registry.statements(name.name, name.qualifier or "")
        if not statements:
            raise not_found()
        return {
            "Policy": _document(list(statements.values())),
            "RevisionId": self._registry.policy_revision(name.name, name.qualifier or ""),
        }

    def _check_policy_revision(self, name: FunctionName, request: Members) -> None:
        revision = self._registry.policy_revision(name.name, name.qualifier or "")
        if request.get("RevisionId", revision) != revision:
            raise revision_differs()


def _refuse_latest(name: FunctionName) -> None:
    if name.qualifier == LATEST:
        raise invalid("We currently do not support adding policies for $LATEST.")


def _check_size(statements: Sequence[Statement]) -> None:
    """Raises PolicyLengthExceededException for a policy of these statements."""
    size = len(_document(statements).encode())
    if size > _MAX_POLICY:
        raise AwsError(
            "PolicyLengthExceededException",
            f"The final policy size ({size}) is bigger than the limit ({_MAX_POLICY})",
            members={"Type": "User"},
        )


def _document(statements: Sequence[Statement]) -> str:
    document = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
    return json.dumps(document, separators=(",", ":"))
