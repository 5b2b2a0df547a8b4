"""What was changed in moto's IAM: roles and policies are there again after a restart, though moto keeps nothing.

Functions, state machines and rules are; without their roles nothing of what they do could be checked, and rules could
do nothing.
"""

import json

from stepbridge.api.http import HttpRequest
from stepbridge.store import Store

_SCHEMA = [
    """
    CREATE TABLE iam_changes (
        id INTEGER PRIMARY KEY,
        headers TEXT NOT NULL,
        query TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT
    """
]
# Those by which moto knows the service and reads the form.
_HEADERS = ("host", "content-type", "authorization")


class IamJournal:
    """The requests that changed IAM, in order, in the database."""

    def __init__(self, store: Store) -> None:
        store.migrate("iam", _SCHEMA)
        self._store = store

    def requests(self) -> list[HttpRequest]:
        """All that were kept."""
        rows = self._store.query("SELECT headers, query, body FROM iam_changes ORDER BY id")
        return [HttpRequest("POST", "/", row["query"], json.loads(row["headers"]), row["body"]) for row in rows]

    async def keep(self, request: HttpRequest) -> None:
        """Keep a request that has been carried out; returns when it is in the database."""
        headers = {name: request.headers[name] for name in _HEADERS if name in request.headers}
        self._store.execute(
            "INSERT INTO iam_changes (headers, query, body) VALUES (?, ?, ?)",
            (json.dumps(headers), request.query, request.body),
        )
        await self._store.committed()
