"""Tags of thing types, groups, policies, certificates and whatever else of the API can be tagged.

https://docs.aws.amazon.com/iot/latest/apireference/API_TagResource.html
"""

from collections.abc import Sequence
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.iot.registry.core import RegistryService, invalid, not_found
from stepbridge.store.database import Store

_MOST_TAGS = 50
# What can be tagged of what is kept here: the kind in its ARN, and the query that finds it by its name.
_TAGGABLE = {
    "thinggroup": "SELECT 1 FROM iot_thing_group WHERE name = ?",
    "thingtype": "SELECT 1 FROM iot_thing_type WHERE name = ?",
    "policy": "SELECT 1 FROM iot_policy WHERE name = ?",
    "cacert": "SELECT 1 FROM iot_authority WHERE id = ?",
    "domainconfiguration": "SELECT 1 FROM iot_domain WHERE name = ?",
}


class TagService(RegistryService):
    """TagResource, UntagResource, ListTagsForResource.

    Topic rules are tagged here too, by their ARN; whether one is there is not this part's to know.
    """

    async def tag_resource(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException, LimitExceededException."""
        arn = self._taggable(request["resourceArn"])
        names = {row["name"] for row in self._store.query("SELECT name FROM iot_tag WHERE arn = ?", (arn,))}
        if len(names | {tag["Key"] for tag in request["tags"]}) > _MOST_TAGS:
            raise AwsError("LimitExceededException", f"A resource can have {_MOST_TAGS} tags at most.")
        set_tags(self._store, arn, request["tags"])
        await self._store.committed()
        return {}

    async def untag_resource(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException."""
        arn = self._taggable(request["resourceArn"])
        self._store.execute_many(
            "DELETE FROM iot_tag WHERE arn = ? AND name = ?", [(arn, k) for k in request["tagKeys"]]
        )
        await self._store.committed()
        return {}

    async def list_tags_for_resource(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException."""
        arn = self._taggable(request["resourceArn"])
        rows = self._store.query("SELECT name, value FROM iot_tag WHERE arn = ? ORDER BY name", (arn,))
        return {"tags": [{"Key": row["name"], "Value": row["value"]} for row in rows]}

    def _taggable(self, arn: str) -> str:
        if self._core.name_in_arn("rule", arn) is not None:
            return arn
        for kind, query in _TAGGABLE.items():
            name = self._core.name_in_arn(kind, arn)
            if name is not None:
                # The ARN of a domain configuration has a random part after the name.
                if self._store.query_one(query, (name.partition("/")[0],)) is None:
                    raise not_found(f"Resource not found (arn={arn})")
                return arn
        raise invalid(f"Invalid resource ARN, or a kind of resource that cannot be tagged: {arn}")


def set_tags(store: Store, arn: str, tags: Sequence[dict[str, Any]] | None) -> None:
    """Add or overwrite tags of a resource; None removes all, for one that is deleted."""
    if tags is None:
        store.execute("DELETE FROM iot_tag WHERE arn = ?", (arn,))
        return
    store.execute_many(
        "INSERT OR REPLACE INTO iot_tag VALUES (?, ?, ?)", [(arn, tag["Key"], tag.get("Value", "")) for tag in tags]
    )
