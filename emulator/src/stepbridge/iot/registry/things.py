"""Things.

https://docs.aws.amazon.com/iot/latest/developerguide/thing-registry.html
"""

import json
import uuid
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.iot.registry.core import RegistryService, already_exists, invalid, not_found, present, select_page
from stepbridge.store.database import Row, Value

# "Maximum number of thing attributes for a thing without / with a thing type" (AWS IoT Core quotas)
_MOST_ATTRIBUTES = 3
_MOST_ATTRIBUTES_WITH_TYPE = 50


class ThingService(RegistryService):
    """CreateThing, DescribeThing, UpdateThing, DeleteThing, ListThings."""

    async def create_thing(self, caller: Caller, request: Members) -> Members:
        """Creating the same thing again gives the same answer.

        Raises ResourceAlreadyExistsException if it is there with another type or other attributes,
        ResourceNotFoundException for its type, InvalidRequestException.
        """
        name, type_name = request["thingName"], request.get("thingTypeName")
        if request.get("billingGroupName") is not None:
            raise invalid("Billing groups are not emulated: create the thing without billingGroupName.")
        attributes = _without_empty(request.get("attributePayload", {}).get("attributes", {}))
        arn = self._core.arn("thing", name)
        existing = self._store.query_one("SELECT * FROM iot_thing WHERE name = ?", (name,))
        if existing is not None:
            if existing["type"] != type_name or json.loads(existing["attributes"]) != attributes:
                message = f"Thing {name} already exists in account with different attributes"
                raise already_exists(message, existing["id"], arn)
            return {"thingName": name, "thingArn": arn, "thingId": existing["id"]}
        if type_name is not None:
            self._usable_type(type_name, "Can not create new thing with deprecated thing type:")
        _check_attributes(attributes, type_name)
        identifier = str(uuid.uuid4())
        self._store.execute(
            "INSERT INTO iot_thing VALUES (?, ?, ?, ?, 1, ?)",
            (name, identifier, type_name, json.dumps(attributes), self._core.clock.now()),
        )
        await self._finish()
        return {"thingName": name, "thingArn": arn, "thingId": identifier}

    async def describe_thing(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        row = self._thing(request["thingName"])
        return present(
            defaultClientId=row["name"],
            thingName=row["name"],
            thingId=row["id"],
            thingArn=self._core.arn("thing", row["name"]),
            thingTypeName=row["type"],
            attributes=json.loads(row["attributes"]),
            version=row["version"],
        )

    async def update_thing(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, VersionConflictException, InvalidRequestException."""
        row = self._thing(request["thingName"])
        self._check_version(row, request)
        type_name: str | None = row["type"]
        if request.get("removeThingType", False):
            if request.get("thingTypeName") is not None:
                raise invalid("thingTypeName and removeThingType cannot be used together.")
            type_name = None
        elif (wanted := request.get("thingTypeName")) is not None:
            self._usable_type(wanted, "Can not update a thing to use deprecated thing type:")
            type_name = wanted
        attributes: dict[str, str] = json.loads(row["attributes"])
        payload = request.get("attributePayload")
        if payload is not None:
            # "merge: … If false, the attributes are replaced.  To remove an attribute, call UpdateThing with an empty
            # attribute value."
            given = payload.get("attributes", {})
            attributes = _without_empty({**attributes, **given} if payload.get("merge", False) else given)
        _check_attributes(attributes, type_name)
        self._store.execute(
            "UPDATE iot_thing SET type = ?, attributes = ?, version = version + 1 WHERE name = ?",
            (type_name, json.dumps(attributes), row["name"]),
        )
        await self._finish()
        return {}

    async def delete_thing(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, VersionConflictException, InvalidRequestException while it is attached."""
        row = self._thing(request["thingName"])
        self._check_version(row, request)
        if self._store.query_one("SELECT 1 FROM iot_thing_principal WHERE thing = ?", (row["name"],)):
            raise invalid(f"Cannot delete. Thing {row['name']} is still attached to one or more principals")
        self._store.execute("DELETE FROM iot_thing WHERE name = ?", (row["name"],))
        await self._finish()
        return {}

    async def list_things(self, caller: Caller, request: Members) -> Members:
        """All things, or those with a type or an attribute."""
        where, parameters = "1", list[Value]()
        if (type_name := request.get("thingTypeName")) is not None:
            where += " AND type = ?"
            parameters.append(type_name)
        if (attribute := request.get("attributeName")) is not None:
            where += " AND EXISTS (SELECT 1 FROM json_each(iot_thing.attributes) AS a WHERE a.key = ?"
            parameters.append(attribute)
            if (value := request.get("attributeValue")) is not None:
                if request.get("usePrefixAttributeValue", False):
                    where += " AND substr(a.value, 1, length(?)) = ?"
                    parameters += [value, value]
                else:
                    where += " AND a.value = ?"
                    parameters.append(value)
            where += ")"
        elif request.get("attributeValue") is not None:
            raise invalid("attributeValue needs attributeName.")
        rows, token = select_page(
            self._store,
            f"SELECT * FROM iot_thing WHERE {where}",  # noqa: S608 - only text of this function
            parameters,
            "name",
            request.get("nextToken"),
            request.get("maxResults", 25),
        )
        return present(things=[self._summary(row) for row in rows], nextToken=token)

    def _summary(self, row: Row) -> dict[str, Any]:
        return present(
            thingName=row["name"],
            thingTypeName=row["type"],
            thingArn=self._core.arn("thing", row["name"]),
            attributes=json.loads(row["attributes"]),
            version=row["version"],
        )

    def _thing(self, name: str) -> Row:
        row = self._store.query_one("SELECT * FROM iot_thing WHERE name = ?", (name,))
        if row is None:
            raise not_found(f"Thing {name} does not exist")
        return row

    def _check_version(self, row: Row, request: Members) -> None:
        expected = request.get("expectedVersion")
        if expected is not None and expected != row["version"]:
            raise AwsError(
                "VersionConflictException",
                f"The version for thing {row['name']} does not match the expected version.",
            )

    def _usable_type(self, name: str, deprecated_message: str) -> None:
        row = self._store.query_one("SELECT deprecated FROM iot_thing_type WHERE name = ?", (name,))
        if row is None:
            raise not_found(f"Thing type {name} does not exist")
        if row["deprecated"] is not None:
            raise invalid(f"{deprecated_message}{name}")


def _without_empty(attributes: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if value != ""}


def _check_attributes(attributes: dict[str, str], type_name: str | None) -> None:
    most = _MOST_ATTRIBUTES if type_name is None else _MOST_ATTRIBUTES_WITH_TYPE
    if len(attributes) > most:
        kind = "without a thing type" if type_name is None else "with a thing type"
        raise invalid(f"A thing {kind} can have {most} attributes at most; there are {len(attributes)}.")
