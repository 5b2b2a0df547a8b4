"""Tags of state machines and activities."""

from collections.abc import Iterable, Mapping

from stepbridge.api.errors import AwsError
from stepbridge.store import Store

_MAXIMUM_TAGS = 50  # https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html, tagging limits


class Tags:
    """The tags of all resources, by ARN."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, arn: str) -> list[dict[str, str]]:
        """The tags of a resource, by key."""
        rows = self._store.query("SELECT key, value FROM stepfunctions_tags WHERE arn = ? ORDER BY key", (arn,))
        return [{"key": row["key"], "value": row["value"]} for row in rows]

    def add(self, arn: str, tags: Iterable[Mapping[str, str]]) -> None:
        """Add or change tags.  Raises AwsError TooManyTags."""
        new = {tag.get("key", ""): tag.get("value", "") for tag in tags}
        if len({tag["key"] for tag in self.of(arn)} | new.keys()) > _MAXIMUM_TAGS:
            raise AwsError("TooManyTags", f"Too Many Tags: '{arn}'", members={"resourceName": arn})
        self._store.execute_many(
            "INSERT OR REPLACE INTO stepfunctions_tags (arn, key, value) VALUES (?, ?, ?)",
            [(arn, key, value) for key, value in new.items()],
        )

    def remove(self, arn: str, keys: Iterable[str]) -> None:
        """Remove the tags with these keys; a key that is not there is no error."""
        self._store.execute_many(
            "DELETE FROM stepfunctions_tags WHERE arn = ? AND key = ?", [(arn, key) for key in keys]
        )
