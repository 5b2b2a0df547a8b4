"""What the embedded core keeps in SQLite: persistent sessions, their subscriptions and messages, retained messages.

A message is stored once, however many sessions wait for it; it goes when the last of them has it.
"""

import base64
import json
from collections import Counter

from stepbridge.iot.message import Message, MessageProperties
from stepbridge.iot.mqtt.packets import Subscription
from stepbridge.store import Row, Store

SCHEMA = (
    """
    CREATE TABLE broker_session (
        client_id TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        expiry INTEGER NOT NULL,
        expires_at REAL  -- NULL while it is connected
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE broker_subscription (
        client_id TEXT NOT NULL,
        topic_filter TEXT NOT NULL,
        qos INTEGER NOT NULL,
        no_local INTEGER NOT NULL,
        retain_as_published INTEGER NOT NULL,
        PRIMARY KEY (client_id, topic_filter)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE broker_message (
        id INTEGER PRIMARY KEY,
        topic TEXT NOT NULL,
        payload BLOB NOT NULL,
        qos INTEGER NOT NULL,
        time REAL NOT NULL,
        client_id TEXT,
        trace_id TEXT,
        properties TEXT
    ) STRICT;
    CREATE TABLE broker_queue (
        client_id TEXT NOT NULL,
        message_id INTEGER NOT NULL,
        retain INTEGER NOT NULL,
        PRIMARY KEY (client_id, message_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE broker_retained (
        topic TEXT PRIMARY KEY,
        payload BLOB NOT NULL,
        qos INTEGER NOT NULL,
        time REAL NOT NULL,
        client_id TEXT,
        trace_id TEXT,
        properties TEXT
    ) STRICT, WITHOUT ROWID;
    """,
)
_NO_PROPERTIES = MessageProperties()


def _properties_text(properties: MessageProperties) -> str | None:
    if properties == _NO_PROPERTIES:
        return None
    members = {name: getattr(properties, name) for name in MessageProperties.__dataclass_fields__}
    if properties.correlation_data is not None:
        members["correlation_data"] = base64.b64encode(properties.correlation_data).decode()
    return json.dumps({name: value for name, value in members.items() if value is not None})


def _properties_of(text: str | None) -> MessageProperties:
    if text is None:
        return _NO_PROPERTIES
    members = json.loads(text)
    if "correlation_data" in members:
        members["correlation_data"] = base64.b64decode(members["correlation_data"])
    members["user_properties"] = tuple((name, value) for name, value in members.get("user_properties", ()))
    return MessageProperties(**members)


def _columns(message: Message) -> tuple[str, bytes, int, float, str | None, str | None, str | None]:
    properties = _properties_text(message.properties)
    return (
        message.topic, message.payload, message.qos, message.time, message.client_id, message.trace_id, properties
    )  # fmt: skip


def _message(row: Row) -> Message:
    return Message(
        topic=row["topic"],
        payload=row["payload"],
        qos=row["qos"],
        retain=False,
        time=row["time"],
        client_id=row["client_id"],
        trace_id=row["trace_id"],
        properties=_properties_of(row["properties"]),
    )


class SessionStore:
    """The tables of sessions and their messages."""

    def __init__(self, store: Store) -> None:
        store.migrate("broker", SCHEMA)
        self._store = store
        row = store.query_one("SELECT max(id) FROM broker_message")
        self._last_id: int = (row[0] if row else None) or 0
        rows = store.query("SELECT message_id, count(*) FROM broker_queue GROUP BY message_id")
        self._waiting: Counter[int] = Counter({row[0]: row[1] for row in rows})

    # Sessions

    def sessions(self) -> list[Row]:
        return self._store.query("SELECT client_id, version, expiry, expires_at FROM broker_session")

    def save_session(self, client_id: str, version: int, expiry: int, expires_at: float | None) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO broker_session VALUES (?, ?, ?, ?)", (client_id, version, expiry, expires_at)
        )

    def delete_session(self, client_id: str) -> None:
        """The session, its subscriptions, and its messages."""
        self._store.execute("DELETE FROM broker_session WHERE client_id = ?", (client_id,))
        self._store.execute("DELETE FROM broker_subscription WHERE client_id = ?", (client_id,))
        for row in self._store.query("SELECT message_id FROM broker_queue WHERE client_id = ?", (client_id,)):
            self._release(row[0])
        self._store.execute("DELETE FROM broker_queue WHERE client_id = ?", (client_id,))

    def subscriptions(self) -> list[tuple[str, Subscription]]:
        return [
            (row[0], Subscription(row[1], row[2], bool(row[3]), bool(row[4])))
            for row in self._store.query(
                "SELECT client_id, topic_filter, qos, no_local, retain_as_published FROM broker_subscription"
            )
        ]

    def save_subscription(self, client_id: str, subscription: Subscription) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO broker_subscription VALUES (?, ?, ?, ?, ?)",
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
            "DELETE FROM broker_subscription WHERE client_id = ? AND topic_filter = ?", (client_id, topic_filter)
        )

    # Messages

    def save_message(self, message: Message) -> int:
        """The id under which the message waits; ids rise in the order of arrival."""
        self._last_id += 1
        self._store.execute(
            "INSERT INTO broker_message VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (self._last_id, *_columns(message))
        )
        return self._last_id

    def enqueue(self, client_id: str, message_id: int, retain: bool) -> None:
        self._waiting[message_id] += 1
        self._store.execute("INSERT INTO broker_queue VALUES (?, ?, ?)", (client_id, message_id, int(retain)))

    def dequeue(self, client_id: str, message_id: int) -> None:
        sql = "DELETE FROM broker_queue WHERE client_id = ? AND message_id = ?"
        if self._store.execute(sql, (client_id, message_id)):
            self._release(message_id)

    def _release(self, message_id: int) -> None:
        self._waiting[message_id] -= 1
        if not self._waiting[message_id]:
            del self._waiting[message_id]
            self._store.execute("DELETE FROM broker_message WHERE id = ?", (message_id,))

    def queued(self, client_id: str, after: int, limit: int) -> list[tuple[int, Message, bool]]:
        """Messages that wait for a session, in order, from the one after `after`: id, message, retain flag."""
        rows = self._store.query(
            "SELECT m.*, q.retain FROM broker_queue q JOIN broker_message m ON m.id = q.message_id"
            " WHERE q.client_id = ? AND q.message_id > ? ORDER BY q.message_id LIMIT ?",
            (client_id, after, limit),
        )
        return [(row["id"], _message(row), bool(row["retain"])) for row in rows]

    # Retained messages

    def retain(self, message: Message) -> None:
        """Keep as the retained message of its topic; an empty payload removes it (MQTT-3.3.1-6)."""
        if message.payload:
            self._store.execute(
                "INSERT OR REPLACE INTO broker_retained VALUES (?, ?, ?, ?, ?, ?, ?)", _columns(message)
            )
        else:
            self._store.execute("DELETE FROM broker_retained WHERE topic = ?", (message.topic,))

    def retained(self, topic: str) -> Message | None:
        row = self._store.query_one("SELECT * FROM broker_retained WHERE topic = ?", (topic,))
        return None if row is None else _message(row)

    def retained_messages(self) -> list[Message]:
        return [_message(row) for row in self._store.query("SELECT * FROM broker_retained ORDER BY topic")]
