"""What the gateway knows of sessions on Mosquitto after a restart: whose they are, how long they last, their filters.

Mosquitto knows the filters too, but does not tell them.  The gateway needs them for AWS's limits and to choose which
of several matching subscriptions a message comes by.
"""

from stepbridge.iot.mqtt.packets import Subscription
from stepbridge.store import Row, Store

SCHEMA = (
    """
    CREATE TABLE mosquitto_session (
        client_id TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        expiry INTEGER NOT NULL,
        expires_at REAL  -- NULL while it is connected
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE mosquitto_subscription (
        client_id TEXT NOT NULL,
        topic_filter TEXT NOT NULL,
        qos INTEGER NOT NULL,
        no_local INTEGER NOT NULL,
        retain_as_published INTEGER NOT NULL,
        PRIMARY KEY (client_id, topic_filter)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE mosquitto_share (
        id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the subscription identifier
        topic_filter TEXT NOT NULL UNIQUE
    ) STRICT;
    """,
)


class SessionRecords:
    """The tables."""

    def __init__(self, store: Store) -> None:
        store.migrate("mosquitto", SCHEMA)
        self._store = store

    def sessions(self) -> list[Row]:
        return self._store.query("SELECT client_id, version, expiry, expires_at FROM mosquitto_session")

    def save_session(self, client_id: str, version: int, expiry: int, expires_at: float | None) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO mosquitto_session VALUES (?, ?, ?, ?)", (client_id, version, expiry, expires_at)
        )

    def delete_session(self, client_id: str) -> None:
        self._store.execute("DELETE FROM mosquitto_session WHERE client_id = ?", (client_id,))
        self._store.execute("DELETE FROM mosquitto_subscription WHERE client_id = ?", (client_id,))

    def subscriptions(self) -> list[tuple[str, Subscription]]:
        return [
            (row[0], Subscription(row[1], row[2], bool(row[3]), bool(row[4])))
            for row in self._store.query(
                "SELECT client_id, topic_filter, qos, no_local, retain_as_published FROM mosquitto_subscription"
            )
        ]

    def save_subscription(self, client_id: str, subscription: Subscription) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO mosquitto_subscription VALUES (?, ?, ?, ?, ?)",
            (
                client_id,
                subscription.topic_filter,
                subscription.qos,
                int(subscription.no_local),
                int(subscription.retain_as_published),
            ),
        )

    def delete_subscription(self, client_id: str, topic_filter: str) -> None:
        self._store.execute(
            "DELETE FROM mosquitto_subscription WHERE client_id = ? AND topic_filter = ?", (client_id, topic_filter)
        )

    def shares(self) -> list[tuple[int, str]]:
        """Identifier and filter, without `$share/…`, of each shared subscription."""
        return [(row[0], row[1]) for row in self._store.query("SELECT id, topic_filter FROM mosquitto_share")]

    def share_id(self, topic_filter: str) -> int:
        """The identifier of a shared subscription; a new one if it has none."""
        self._store.execute("INSERT OR IGNORE INTO mosquitto_share (topic_filter) VALUES (?)", (topic_filter,))
        row = self._store.query_one("SELECT id FROM mosquitto_share WHERE topic_filter = ?", (topic_filter,))
        assert row is not None  # noqa: S101 - just written
        return int(row[0])

    def delete_share(self, topic_filter: str) -> None:
        self._store.execute("DELETE FROM mosquitto_share WHERE topic_filter = ?", (topic_filter,))
