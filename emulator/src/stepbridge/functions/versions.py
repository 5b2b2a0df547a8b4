"""The part of the Lambda API that is about versions, aliases, and what happens with asynchronous invocations."""

import uuid
from typing import Any

from stepbridge.api.service import Caller, Members
from stepbridge.clock import Clock
from stepbridge.functions import configuration as configurations
from stepbridge.functions.aws_calls import function_session
from stepbridge.functions.destinations import check_destination
from stepbridge.functions.invoker import Functions
from stepbridge.functions.names import LATEST, FunctionName
from stepbridge.functions.pagination import page
from stepbridge.functions.refusals import conflict, invalid, not_found, revision_differs, validation_error
from stepbridge.functions.registry import Configuration, FunctionRegistry
from stepbridge.functions.urls import FunctionUrlRegistry
from stepbridge.store import Store


class VersionOperations:
    """Versions, aliases and event invoke configurations; a part of :class:`~service.LambdaService`."""

    functions: Functions
    urls: FunctionUrlRegistry
    _registry: FunctionRegistry
    _store: Store
    _clock: Clock

    # Versions

    async def publish_version(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"])
        self._registry.function(name)
        if "PublishTo" in request:
            raise configurations.not_offered("PublishTo is")
        latest = self._registry.version(name, LATEST)
        if request.get("CodeSha256", latest["CodeSha256"]) != latest["CodeSha256"]:
            raise invalid(
                f"CodeSHA256 ({request['CodeSha256']}) is different from current CodeSHA256 in $LATEST "
                f"({latest['CodeSha256']}). Please try again with the CodeSHA256 in $LATEST."
            )
        if request.get("RevisionId", latest["RevisionId"]) != latest["RevisionId"]:
            raise revision_differs()
        published = self._publish(name.name, latest, request.get("Description"))
        await self._store.committed()
        return published

    async def list_versions_by_function(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"])
        self._registry.function(name)
        versions = [
            configurations.qualified(version, version["Version"]) for version in self._registry.versions(name.name)
        ]
        return page("Versions", versions, request)

    def _publish(self, function: str, latest: Configuration, description: str | None) -> Configuration:
        """A version of `latest`; the last one if nothing changed since, as on AWS."""
        versions = self._registry.versions(function)
        if len(versions) > 1 and _same(versions[-1], latest, description):
            return versions[-1]
        record = self._registry.function(self.functions.name(function))
        record.last_version += 1
        self._registry.save(record)
        number = str(record.last_version)
        published = configurations.qualified({**latest, "Version": number}, number)
        if description is not None:
            published["Description"] = description
        configurations.touch(published, self._clock.now())
        self._registry.put_version(function, number, published)
        return published

    # Aliases

    async def create_alias(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"])
        self._registry.function(name)
        alias = request["Name"]
        if alias.isdecimal():
            raise validation_error(
                alias,
                "name",
                "Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
            )
        if self._registry.alias(name, alias) is not None:
            raise conflict(f"Alias already exists: {name.unqualified_arn}:{alias}")
        new = {"AliasArn": f"{name.unqualified_arn}:{alias}", "Name": alias, "Description": ""}
        return await self._put_alias(name, new, request)

    async def update_alias(self, caller: Caller, request: Members) -> Members:
        name, alias = self._alias(request)
        if request.get("RevisionId", alias["RevisionId"]) != alias["RevisionId"]:
            raise revision_differs()
        return await self._put_alias(name, alias, request)

    async def get_alias(self, caller: Caller, request: Members) -> Members:
        return self._alias(request)[1]

    async def delete_alias(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"])
        self._registry.function(name)
        self._registry.delete_alias(name.name, request["Name"])
        self.functions.provisioned.delete(name.name, request["Name"])
        self.urls.delete(name.name, request["Name"])
        await self._store.committed()
        return {}

    async def list_aliases(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"])
        self._registry.function(name)
        aliases = self._registry.aliases(name.name)
        if "FunctionVersion" in request:
            aliases = [alias for alias in aliases if alias["FunctionVersion"] == request["FunctionVersion"]]
        return page("Aliases", aliases, request)

    def _alias(self, request: Members) -> tuple[FunctionName, dict[str, Any]]:
        name = self.functions.name(request["FunctionName"])
        self._registry.function(name)
        alias = self._registry.alias(name, request["Name"])
        if alias is None:
            raise not_found(f"Cannot find alias arn: {name.unqualified_arn}:{request['Name']}")
        return name, alias

    async def _put_alias(self, name: FunctionName, alias: dict[str, Any], request: Members) -> Members:
        provisioned = self.functions.provisioned.get(name.name, alias["Name"]) is not None
        before = dict(alias)
        for member in ("FunctionVersion", "Description"):
            if member in request:
                alias[member] = request[member]
        self._registry.version(
            FunctionName(name.account, name.region, name.name, alias["FunctionVersion"]), alias["FunctionVersion"]
        )
        if "RoutingConfig" in request:
            alias.pop("RoutingConfig", None)
            if weights := request["RoutingConfig"].get("AdditionalVersionWeights"):
                alias["RoutingConfig"] = {"AdditionalVersionWeights": weights}
        self._check_routing(name, alias)
        if provisioned:
            if "RoutingConfig" in alias and alias["FunctionVersion"] != before["FunctionVersion"]:
                raise invalid("Invalid alias configuration for Provisioned Concurrency")
            self.functions.provisioned.check_alias(name, alias)
        alias["RevisionId"] = str(uuid.uuid4())
        self._registry.put_alias(name.name, alias["Name"], alias)
        if provisioned and any(alias.get(one) != before.get(one) for one in ("FunctionVersion", "RoutingConfig")):
            self.functions.provisioned.allocate(name.name)
        await self._store.committed()
        return alias

    def _check_routing(self, name: FunctionName, alias: dict[str, Any]) -> None:
        """https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html"""
        weights: dict[str, float] = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        if len(weights) > 1:
            raise invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
        for version in weights:
            if LATEST in (version, alias["FunctionVersion"]):
                raise invalid("$LATEST is not supported for an alias pointing to more than 1 version")
            if version == alias["FunctionVersion"]:
                raise invalid(
                    f"Invalid function version {version}. Function version {version} is already included in "
                    "routing configuration."
                )
            self._registry.version(FunctionName(name.account, name.region, name.name, version), version)

    # Asynchronous invocations

    async def put_function_event_invoke_config(self, caller: Caller, request: Members) -> Members:
        return await self._put_event_invoke_config(request, {})

    async def update_function_event_invoke_config(self, caller: Caller, request: Members) -> Members:
        return await self._put_event_invoke_config(request, self._event_invoke_config(request))

    async def get_function_event_invoke_config(self, caller: Caller, request: Members) -> Members:
        return self._event_invoke_config(request)

    async def delete_function_event_invoke_config(self, caller: Caller, request: Members) -> Members:
        self._event_invoke_config(request)
        name = self.functions.name(request["FunctionName"], request.get("Qualifier"))
        self._registry.delete_event_invoke_config(name.name, name.qualifier or LATEST)
        await self._store.committed()
        return {}

    async def list_function_event_invoke_configs(self, caller: Caller, request: Members) -> Members:
        name = self.functions.name(request["FunctionName"])
        self._registry.function(name)
        return page("FunctionEventInvokeConfigs", self._registry.event_invoke_configs(name.name), request)

    def _event_invoke_config(self, request: Members) -> dict[str, Any]:
        name = self.functions.name(request["FunctionName"], request.get("Qualifier"))
        self._registry.resolve(name)
        found = self._registry.event_invoke_config(name.name, name.qualifier or LATEST)
        if found is None:
            raise not_found(
                f"The function {name.unqualified_arn}:{name.qualifier or LATEST} doesn't have an EventInvokeConfig"
            )
        return found

    async def _put_event_invoke_config(self, request: Members, base: dict[str, Any]) -> Members:
        name = self.functions.name(request["FunctionName"], request.get("Qualifier"))
        configuration = self._registry.resolve(name)
        qualifier = name.qualifier or LATEST
        members = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
        given = {member: request[member] for member in members if member in request}
        if not given:
            raise invalid("You must specify at least one of error handling or destination setting.")
        session = function_session(configuration["Role"], configuration["FunctionArn"])
        for destination in given.get("DestinationConfig", {}).values():
            if "Destination" in destination:
                await check_destination(self.functions.role_calls, session, destination["Destination"])
        new = {
            "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
            **base,
            **given,
            "FunctionArn": f"{name.unqualified_arn}:{qualifier}",
            "LastModified": self._clock.now(),
        }
        self._registry.put_event_invoke_config(name.name, qualifier, new)
        await self._store.committed()
        return new


def _same(published: Configuration, latest: Configuration, description: str | None) -> bool:
    """Whether publishing would make the same version again: AWS then gives the one there is."""
    differing = {"Version", "FunctionArn", "RevisionId", "LastModified", "Description"}
    wanted = description if description is not None else latest["Description"]
    return published["Description"] == wanted and all(
        published.get(member) == latest.get(member) for member in {*published, *latest} - differing
    )
