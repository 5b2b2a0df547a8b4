"""What GetExecutionHistory shows: written a step at a time, read a page at a time."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from stepbridge.api.service import Members
from stepbridge.stepfunctions.interpreter.messages import HistoryEvent
from stepbridge.stepfunctions.language.values import to_text
from stepbridge.store import Store

# The members that are left out of the events with includeExecutionData=false.
EXECUTION_DATA = ("input", "output", "parameters", "inputDetails", "outputDetails", "assignedVariables")

_ROWS = 8  # read at a time: each may have a megabyte


class History:
    """The histories of all executions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def append(self, execution: int, events: Sequence[HistoryEvent]) -> None:
        """Write the events of one step."""
        if not events:
            return
        text = to_text([_member(event) for event in events])
        self._store.execute(
            "INSERT INTO history (execution, first, events) VALUES (?, ?, ?)", (execution, events[0].id, text)
        )

    def page(
        self, execution: int, *, start: int | None, limit: int, reverse: bool, include_data: bool
    ) -> tuple[list[Members], int | None]:
        """Up to `limit` events from event id `start` on, and the id to go on at.

        With `start` None the page is the first one: the oldest events, or with `reverse` the newest.
        """
        events: list[Members] = []
        for event in self._newest_first(execution, start) if reverse else self._oldest_first(execution, start or 1):
            if len(events) == limit:
                return events, event["id"]
            events.append(event if include_data else _without_data(event))
        return events, None

    def last_event(self, execution: int) -> Members | None:
        """The newest event, or None if there is none."""
        return next(self._newest_first(execution, None), None)

    def _oldest_first(self, execution: int, start: int) -> Iterator[Members]:
        # The row that `start` is in is the last one that begins at or before it.
        rows = self._store.query(
            "SELECT first, events FROM history WHERE execution = ? AND first >="
            " (SELECT max(first) FROM history WHERE execution = ? AND first <= ?) ORDER BY first LIMIT ?",
            (execution, execution, start, _ROWS),
        )
        while rows:
            for row in rows:
                yield from (event for event in json.loads(row["events"]) if event["id"] >= start)
            if len(rows) < _ROWS:
                return
            rows = self._store.query(
                "SELECT first, events FROM history WHERE execution = ? AND first > ? ORDER BY first LIMIT ?",
                (execution, rows[-1]["first"], _ROWS),
            )

    def _newest_first(self, execution: int, start: int | None) -> Iterator[Members]:
        last = start if start is not None else 1 << 62
        while True:
            row = self._store.query_one(
                "SELECT first, events FROM history WHERE execution = ? AND first <= ? ORDER BY first DESC LIMIT 1",
                (execution, last),
            )
            if row is None:
                return
            yield from (event for event in reversed(json.loads(row["events"])) if event["id"] <= last)
            last = row["first"] - 1


def _member(event: HistoryEvent) -> dict[str, Any]:
    member = {
        "timestamp": event.time,
        "type": event.type,
        "id": event.id,
        "previousEventId": event.previous_event_id,
    }
    return member if event.details_member is None else {**member, event.details_member: event.details}


def _without_data(event: Members) -> Members:
    return {
        name: {key: value for key, value in details.items() if key not in EXECUTION_DATA}
        if isinstance(details, dict)
        else details
        for name, details in event.items()
    }
