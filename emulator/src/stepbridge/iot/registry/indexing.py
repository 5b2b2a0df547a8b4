"""Fleet indexing of the registry's own data.

Shadows, connectivity and Device Defender are not indexed; asking for them is refused.

https://docs.aws.amazon.com/iot/latest/developerguide/managing-fleet-index.html
"""

import json
from collections.abc import Iterator
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.iot.registry.core import RegistryService, invalid, not_found, present, slice_page
from stepbridge.iot.registry.search_query import Document, QueryError, compile_query

THINGS, GROUPS = "AWS_Things", "AWS_ThingGroups"
_SETTING = "indexing"
_OFF: Members = {
    "thingIndexingConfiguration": {"thingIndexingMode": "OFF"},
    "thingGroupIndexingConfiguration": {"thingGroupIndexingMode": "OFF"},
}
_NOT_EMULATED = {
    "thingIndexingMode": ("REGISTRY_AND_SHADOW",),
    "thingConnectivityIndexingMode": ("STATUS",),
    "deviceDefenderIndexingMode": ("VIOLATIONS",),
    "namedShadowIndexingMode": ("ON",),
}


class IndexingService(RegistryService):
    """Get- and UpdateIndexingConfiguration, ListIndices, DescribeIndex, SearchIndex."""

    async def get_indexing_configuration(self, caller: Caller, request: Members) -> Members:
        """What is indexed; nothing until it is switched on."""
        return self._configuration()

    async def update_indexing_configuration(self, caller: Caller, request: Members) -> Members:
        """Raises InvalidRequestException for what is not emulated."""
        things = request.get("thingIndexingConfiguration", {})
        for name, values in _NOT_EMULATED.items():
            if things.get(name) in values:
                raise invalid(f"{name} {things[name]} is not emulated: the index has the registry's data only.")
        configuration = {**self._configuration(), **request}
        self._store.execute("INSERT OR REPLACE INTO iot_setting VALUES (?, ?)", (_SETTING, json.dumps(configuration)))
        await self._store.committed()
        return {}

    async def list_indices(self, caller: Caller, request: Members) -> Members:
        """The indices that are switched on."""
        names, token = slice_page(self._indices(), request.get("nextToken"), request.get("maxResults", 25))
        return present(indexNames=names, nextToken=token)

    async def describe_index(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        name = self._index(request["indexName"])
        schema = "REGISTRY" if name == THINGS else "THING_GROUPS"
        return {"indexName": name, "indexStatus": "ACTIVE", "schema": schema}

    async def search_index(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidQueryException."""
        index = self._index(request.get("indexName", THINGS))
        try:
            matches = compile_query(request["queryString"])
        except QueryError as error:
            raise AwsError("InvalidQueryException", f"Invalid query: {error}") from None
        entries = self._things() if index == THINGS else self._groups()
        found = {name: entry for name, document, entry in entries if matches(document)}
        names, token = slice_page(sorted(found), request.get("nextToken"), request.get("maxResults", 100))
        member = "things" if index == THINGS else "thingGroups"
        return present(**{member: [found[name] for name in names], "nextToken": token})

    def _configuration(self) -> dict[str, Any]:
        row = self._store.query_one("SELECT value FROM iot_setting WHERE name = ?", (_SETTING,))
        configuration: dict[str, Any] = json.loads(row["value"]) if row is not None else _OFF
        return configuration

    def _indices(self) -> list[str]:
        configuration = self._configuration()
        on: list[str] = []
        if configuration["thingGroupIndexingConfiguration"]["thingGroupIndexingMode"] != "OFF":
            on.append(GROUPS)
        if configuration["thingIndexingConfiguration"]["thingIndexingMode"] != "OFF":
            on.append(THINGS)
        return on

    def _index(self, name: str) -> str:
        if name not in self._indices():
            raise not_found(f"The index {name} does not exist: switch it on with UpdateIndexingConfiguration.")
        return name

    def _things(self) -> Iterator[tuple[str, Document, dict[str, Any]]]:
        groups: dict[str, list[str]] = {}
        for row in self._store.query("SELECT thing, thing_group FROM iot_thing_group_member"):
            groups.setdefault(row["thing"], []).append(row["thing_group"])
        for row in self._store.query("SELECT * FROM iot_thing"):
            name, attributes = row["name"], json.loads(row["attributes"])
            member_of = groups.get(name, [])
            document = {
                "thingName": [name],
                "thingId": [row["id"]],
                "thingTypeName": [row["type"]] if row["type"] is not None else [],
                "thingGroupNames": member_of,
                **{f"attributes.{key}": [value] for key, value in attributes.items()},
            }
            entry = present(
                thingName=name,
                thingId=row["id"],
                thingTypeName=row["type"],
                thingGroupNames=member_of,
                attributes=attributes,
            )
            yield name, document, entry

    def _groups(self) -> Iterator[tuple[str, Document, dict[str, Any]]]:
        for row in self._store.query("SELECT * FROM iot_thing_group"):
            name, attributes = row["name"], json.loads(row["attributes"])
            above = self._core.group_and_ancestors(name)[1:]
            document = {
                "thingGroupName": [name],
                "thingGroupId": [row["id"]],
                "thingGroupDescription": [row["description"]] if row["description"] is not None else [],
                "parentGroupNames": above,
                **{f"attributes.{key}": [value] for key, value in attributes.items()},
            }
            entry = present(
                thingGroupName=name,
                thingGroupId=row["id"],
                thingGroupDescription=row["description"],
                attributes=attributes,
                parentGroupNames=above,
            )
            yield name, document, entry
