"""Static thing groups, which may be nested.

https://docs.aws.amazon.com/iot/latest/developerguide/thing-groups.html
"""

import json
import uuid
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.iot.registry.core import (
    RegistryService,
    already_exists,
    invalid,
    not_found,
    present,
    select_page,
    slice_page,
)
from stepbridge.iot.registry.tags import set_tags
from stepbridge.store.database import Row

# AWS IoT Core quotas: depth of a hierarchy, direct children, groups of a thing
_DEEPEST = 7
_MOST_CHILDREN = 100
_MOST_GROUPS_OF_A_THING = 10

_DESCENDANTS = """
WITH RECURSIVE down (name) AS (
    SELECT name FROM iot_thing_group WHERE name = ?
    UNION ALL SELECT g.name FROM iot_thing_group AS g JOIN down ON g.parent = down.name
) SELECT name FROM down
"""


class ThingGroupService(RegistryService):
    """CreateThingGroup … UpdateThingGroupsForThing."""

    async def create_thing_group(self, caller: Caller, request: Members) -> Members:
        """Creating the same group again gives the same answer.

        Raises ResourceAlreadyExistsException, ResourceNotFoundException for its parent, InvalidRequestException.
        """
        name, parent = request["thingGroupName"], request.get("parentGroupName")
        properties = request.get("thingGroupProperties", {})
        description = properties.get("thingGroupDescription")
        attributes = properties.get("attributePayload", {}).get("attributes", {})
        arn = self._core.arn("thinggroup", name)
        existing = self._store.query_one("SELECT * FROM iot_thing_group WHERE name = ?", (name,))
        if existing is not None:
            same = (existing["parent"], existing["description"]) == (parent, description)
            if not same or json.loads(existing["attributes"]) != attributes:
                message = f"Thing Group {name} already exists in current account with different properties"
                raise already_exists(message, existing["id"], arn)
            return {"thingGroupName": name, "thingGroupArn": arn, "thingGroupId": existing["id"]}
        if parent is not None:
            self._check_parent(parent)
        identifier = str(uuid.uuid4())
        self._store.execute(
            "INSERT INTO iot_thing_group VALUES (?, ?, ?, ?, ?, 1, ?)",
            (name, identifier, parent, description, json.dumps(attributes), self._core.clock.now()),
        )
        set_tags(self._store, arn, request.get("tags", []))
        await self._finish()
        return {"thingGroupName": name, "thingGroupArn": arn, "thingGroupId": identifier}

    async def describe_thing_group(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        row = self._group(request["thingGroupName"])
        ancestors = self._core.group_and_ancestors(row["name"])[1:]
        metadata: dict[str, Any] = {"creationDate": row["created"]}
        if ancestors:
            metadata["parentGroupName"] = row["parent"]
            metadata["rootToParentThingGroups"] = [self._named(name) for name in reversed(ancestors)]
        properties = present(
            thingGroupDescription=row["description"],
            attributePayload={"attributes": json.loads(row["attributes"])},
        )
        return {
            "thingGroupName": row["name"],
            "thingGroupId": row["id"],
            "thingGroupArn": self._core.arn("thinggroup", row["name"]),
            "version": row["version"],
            "thingGroupProperties": properties,
            "thingGroupMetadata": metadata,
        }

    async def update_thing_group(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, VersionConflictException."""
        row = self._group(request["thingGroupName"])
        self._check_version(row, request)
        properties = request["thingGroupProperties"]
        attributes: dict[str, str] = json.loads(row["attributes"])
        payload = properties.get("attributePayload")
        if payload is not None:
            given = payload.get("attributes", {})
            attributes = {**attributes, **given} if payload.get("merge", False) else given
            attributes = {name: value for name, value in attributes.items() if value != ""}
        self._store.execute(
            "UPDATE iot_thing_group SET description = ?, attributes = ?, version = version + 1 WHERE name = ?",
            (properties.get("thingGroupDescription", row["description"]), json.dumps(attributes), row["name"]),
        )
        await self._finish()
        return {"version": row["version"] + 1}

    async def delete_thing_group(self, caller: Caller, request: Members) -> Members:
        """Deleting a group that is not there does nothing; policies attached to one that is go with it.

        Raises VersionConflictException, InvalidRequestException while it has children.
        """
        name = request["thingGroupName"]
        row = self._store.query_one("SELECT * FROM iot_thing_group WHERE name = ?", (name,))
        if row is None:
            return {}
        self._check_version(row, request)
        if self._store.query_one("SELECT 1 FROM iot_thing_group WHERE parent = ?", (name,)):
            raise invalid(f"Cannot delete thing group : {name} when there are still child groups attached to it")
        arn = self._core.arn("thinggroup", name)
        self._store.execute("DELETE FROM iot_policy_target WHERE target = ?", (arn,))
        self._store.execute("DELETE FROM iot_thing_group_member WHERE thing_group = ?", (name,))
        self._store.execute("DELETE FROM iot_thing_group WHERE name = ?", (name,))
        set_tags(self._store, arn, None)
        await self._finish()
        return {}

    async def list_thing_groups(self, caller: Caller, request: Members) -> Members:
        """All groups, or the children of one (with `recursive`, everything below it).

        Raises ResourceNotFoundException for the parent.
        """
        parent, prefix = request.get("parentGroup"), request.get("namePrefixFilter", "")
        if parent is not None:
            self._group(parent)
            if request.get("recursive", False):
                rows = self._store.query(_DESCENDANTS, (parent,))
            else:
                rows = self._store.query("SELECT name FROM iot_thing_group WHERE parent = ?", (parent,))
        elif request.get("recursive", True):
            rows = self._store.query("SELECT name FROM iot_thing_group")
        else:
            rows = self._store.query("SELECT name FROM iot_thing_group WHERE parent IS NULL")
        names = sorted(row["name"] for row in rows if row["name"] != parent and row["name"].startswith(prefix))
        page, token = slice_page(names, request.get("nextToken"), request.get("maxResults", 25))
        return present(thingGroups=[self._named(name) for name in page], nextToken=token)

    async def add_thing_to_thing_group(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException."""
        thing, group = self._member(request)
        self._check_addition(thing, group, self._groups_of(thing))
        self._add(thing, group)
        await self._finish()
        return {}

    async def remove_thing_from_thing_group(self, caller: Caller, request: Members) -> Members:
        """Removing what is not in it does nothing.  Raises ResourceNotFoundException, InvalidRequestException."""
        thing, group = self._member(request)
        self._remove(thing, group)
        await self._finish()
        return {}

    async def update_thing_groups_for_thing(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException."""
        thing = self._thing(request.get("thingName"))
        removed = [self._group(name)["name"] for name in request.get("thingGroupsToRemove", [])]
        added = [self._group(name)["name"] for name in request.get("thingGroupsToAdd", [])]
        groups = self._groups_of(thing) - set(removed)
        for group in added:  # all is checked before anything is written
            self._check_addition(thing, group, groups)
            groups.add(group)
        for group in removed:
            self._remove(thing, group)
        for group in added:
            self._add(thing, group)
        await self._finish()
        return {}

    async def list_thing_groups_for_thing(self, caller: Caller, request: Members) -> Members:
        """The groups that a thing is directly in.  Raises ResourceNotFoundException."""
        thing = self._thing(request["thingName"])
        rows, token = select_page(
            self._store,
            "SELECT thing_group FROM iot_thing_group_member WHERE thing = ?",
            (thing,),
            "thing_group",
            request.get("nextToken"),
            request.get("maxResults", 25),
        )
        return present(thingGroups=[self._named(row["thing_group"]) for row in rows], nextToken=token)

    async def list_things_in_thing_group(self, caller: Caller, request: Members) -> Members:
        """The things of a group, with `recursive` also those of the groups below.  Raises ResourceNotFoundException."""
        name = self._group(request["thingGroupName"])["name"]
        groups = [name]
        if request.get("recursive", False):
            groups = [row["name"] for row in self._store.query(_DESCENDANTS, (name,))]
        marks = ", ".join("?" * len(groups))
        rows, token = select_page(
            self._store,
            f"SELECT DISTINCT thing FROM iot_thing_group_member WHERE thing_group IN ({marks})",  # noqa: S608
            groups,
            "thing",
            request.get("nextToken"),
            request.get("maxResults", 25),
        )
        return present(things=[row["thing"] for row in rows], nextToken=token)

    def _groups_of(self, thing: str) -> set[str]:
        rows = self._store.query("SELECT thing_group FROM iot_thing_group_member WHERE thing = ?", (thing,))
        return {row["thing_group"] for row in rows}

    def _check_addition(self, thing: str, group: str, groups: set[str]) -> None:
        """Whether a thing that is in `groups` may be in `group` too."""
        if group in groups:
            return
        if len(groups) >= _MOST_GROUPS_OF_A_THING:
            raise invalid(f"Thing {thing} is already in the maximum number of thing groups ({_MOST_GROUPS_OF_A_THING})")
        # "You can't add a thing to more than one group in the same hierarchy."
        root = self._core.group_and_ancestors(group)[-1]
        for other in groups:
            if self._core.group_and_ancestors(other)[-1] == root:
                raise invalid(f"Thing {thing} is already in thing group {other} of the same hierarchy as {group}")

    def _add(self, thing: str, group: str) -> None:
        self._store.execute("INSERT OR IGNORE INTO iot_thing_group_member VALUES (?, ?)", (thing, group))

    def _remove(self, thing: str, group: str) -> None:
        self._store.execute("DELETE FROM iot_thing_group_member WHERE thing = ? AND thing_group = ?", (thing, group))

    def _member(self, request: Members) -> tuple[str, str]:
        """The thing and the group of a request that gives either by name or by ARN."""
        group = self._named_or_arn(request, "thingGroupName", "thingGroupArn", "thinggroup")
        thing = self._named_or_arn(request, "thingName", "thingArn", "thing")
        return self._thing(thing), str(self._group(group)["name"])

    def _named_or_arn(self, request: Members, name: str, arn: str, kind: str) -> str:
        if (arn_value := request.get(arn)) is None:
            if (value := request.get(name)) is None:
                raise invalid(f"Both {name} and {arn} cannot be null")
            return str(value)
        from_arn = self._core.name_in_arn(kind, arn_value)
        if from_arn is None:
            raise invalid(f"Invalid {arn}: {arn_value}")
        if request.get(name) not in (None, from_arn):
            raise invalid(f"{name} and {arn} do not name the same resource")
        return from_arn

    def _check_parent(self, parent: str) -> None:
        self._group(parent)
        if len(self._core.group_and_ancestors(parent)) >= _DEEPEST:
            raise invalid(f"The thing group hierarchy below {parent} would be deeper than {_DEEPEST} levels")
        children = self._store.query("SELECT 1 FROM iot_thing_group WHERE parent = ?", (parent,))
        if len(children) >= _MOST_CHILDREN:
            raise AwsError("InvalidRequestException", f"Thing group {parent} already has {_MOST_CHILDREN} child groups")

    def _check_version(self, row: Row, request: Members) -> None:
        expected = request.get("expectedVersion")
        if expected is not None and expected != row["version"]:
            raise AwsError(
                "VersionConflictException",
                f"The version for thing group {row['name']} does not match the expected version.",
            )

    def _thing(self, name: str | None) -> str:
        if name is None:
            raise invalid("thingName cannot be null")
        if self._store.query_one("SELECT 1 FROM iot_thing WHERE name = ?", (name,)) is None:
            raise not_found(f"Thing {name} does not exist")
        return name

    def _group(self, name: str) -> Row:
        row = self._store.query_one("SELECT * FROM iot_thing_group WHERE name = ?", (name,))
        if row is None:
            raise not_found(f"Thing group {name} does not exist")
        return row

    def _named(self, name: str) -> dict[str, str]:
        return {"groupName": name, "groupArn": self._core.arn("thinggroup", name)}
