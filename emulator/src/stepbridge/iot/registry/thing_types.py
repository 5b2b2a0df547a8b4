"""Thing types.

https://docs.aws.amazon.com/iot/latest/developerguide/thing-types.html
"""

import json
import uuid
from typing import Any

from stepbridge.api.service import Caller, Members
from stepbridge.iot.registry.core import RegistryService, already_exists, invalid, not_found, present, select_page
from stepbridge.iot.registry.tags import set_tags
from stepbridge.store.database import Row

# "You can delete a thing type only 5 minutes after it was deprecated" (API_DeprecateThingType)
_DEPRECATION_SECONDS = 300
_MOST_SEARCHABLE = 3  # "Number of searchable attributes of a thing type" (AWS IoT Device Management quotas)


class ThingTypeService(RegistryService):
    """CreateThingType … DeleteThingType."""

    async def create_thing_type(self, caller: Caller, request: Members) -> Members:
        """Creating the same type again gives the same answer.

        Raises ResourceAlreadyExistsException, InvalidRequestException.
        """
        name, properties = request["thingTypeName"], request.get("thingTypeProperties", {})
        _check_searchable(properties)
        arn = self._core.arn("thingtype", name)
        existing = self._store.query_one("SELECT * FROM iot_thing_type WHERE name = ?", (name,))
        if existing is not None:
            if json.loads(existing["properties"]) != properties:
                message = f"Thing type {name} already exists in account with different properties"
                raise already_exists(message, existing["id"], arn)
            return {"thingTypeName": name, "thingTypeArn": arn, "thingTypeId": existing["id"]}
        identifier = str(uuid.uuid4())
        self._store.execute(
            "INSERT INTO iot_thing_type VALUES (?, ?, ?, ?, NULL)",
            (name, identifier, json.dumps(properties), self._core.clock.now()),
        )
        set_tags(self._store, arn, request.get("tags", []))
        await self._finish()
        return {"thingTypeName": name, "thingTypeArn": arn, "thingTypeId": identifier}

    async def describe_thing_type(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        row = self._type(request["thingTypeName"])
        return {**self._summary(row), "thingTypeId": row["id"]}

    async def list_thing_types(self, caller: Caller, request: Members) -> Members:
        """All types, or the one with a name."""
        name = request.get("thingTypeName")
        rows, token = select_page(
            self._store,
            "SELECT * FROM iot_thing_type WHERE (? IS NULL OR name = ?)",
            (name, name),
            "name",
            request.get("nextToken"),
            request.get("maxResults", 25),
        )
        return present(thingTypes=[self._summary(row) for row in rows], nextToken=token)

    async def update_thing_type(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException."""
        row = self._type(request["thingTypeName"])
        _check_searchable(request.get("thingTypeProperties", {}))
        properties = {**json.loads(row["properties"]), **request.get("thingTypeProperties", {})}
        self._store.execute(
            "UPDATE iot_thing_type SET properties = ? WHERE name = ?", (json.dumps(properties), row["name"])
        )
        await self._finish()
        return {}

    async def deprecate_thing_type(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        row = self._type(request["thingTypeName"])
        deprecated = None if request.get("undoDeprecate", False) else row["deprecated"] or self._core.clock.now()
        self._store.execute("UPDATE iot_thing_type SET deprecated = ? WHERE name = ?", (deprecated, row["name"]))
        await self._finish()
        return {}

    async def delete_thing_type(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException until it has been deprecated for five minutes."""
        row = self._type(request["thingTypeName"])
        name = row["name"]
        if row["deprecated"] is None:
            raise invalid(f"Can not delete thing type {name}. Please deprecate the thing type first")
        if self._core.clock.now() < row["deprecated"] + _DEPRECATION_SECONDS:
            raise invalid(
                f"Can not delete thing type {name}. Please wait for 5 minutes after deprecation and then retry"
            )
        if self._store.query_one("SELECT 1 FROM iot_thing WHERE type = ?", (name,)):
            raise invalid(f"Can not delete thing type {name}. It is still in use by one or more things")
        self._store.execute("DELETE FROM iot_thing_type WHERE name = ?", (name,))
        set_tags(self._store, self._core.arn("thingtype", name), None)
        await self._finish()
        return {}

    def _summary(self, row: Row) -> dict[str, Any]:
        metadata = present(
            deprecated=row["deprecated"] is not None, deprecationDate=row["deprecated"], creationDate=row["created"]
        )
        return {
            "thingTypeName": row["name"],
            "thingTypeArn": self._core.arn("thingtype", row["name"]),
            "thingTypeProperties": json.loads(row["properties"]),
            "thingTypeMetadata": metadata,
        }

    def _type(self, name: str) -> Row:
        row = self._store.query_one("SELECT * FROM iot_thing_type WHERE name = ?", (name,))
        if row is None:
            raise not_found(f"Thing type {name} does not exist")
        return row


def _check_searchable(properties: Members) -> None:
    count = len(properties.get("searchableAttributes", []))
    if count > _MOST_SEARCHABLE:
        raise invalid(f"A thing type can have {_MOST_SEARCHABLE} searchable attributes at most; there are {count}.")
