"""The timers of all executions: rows, and one timer of the clock for the earliest of them.

The index of the table is the priority queue, so a waiting execution costs no memory and a restart nothing at all.
"""

import math
from collections.abc import Callable

from stepbridge.clock import Clock, Timer
from stepbridge.store import Store

_BURST = 200  # timers fired in one turn of the event loop, so that a hundred thousand due at once do not block it


class Timers:
    """Calls `fired(execution, timer)` for each timer when it is due, in order of their times."""

    def __init__(self, store: Store, clock: Clock, fired: Callable[[int, int], object]) -> None:
        self._store = store
        self._clock = clock
        self._fired = fired
        self._alarm: Timer | None = None
        self._alarm_at = math.inf
        self._open = False

    def open(self) -> None:
        """Begin to fire; those that came due while the emulator was not running first."""
        self._open = True
        self._arm()

    def close(self) -> None:
        """Fire no more."""
        self._open = False
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = None, math.inf

    def add(self, execution: int, timer: int, at: float) -> None:
        """Fire `timer` of `execution` at `at`, seconds since the epoch."""
        self._store.execute("INSERT INTO timers (execution, timer, at) VALUES (?, ?, ?)", (execution, timer, at))
        if self._open and at < self._alarm_at:
            self._set_alarm(at)

    def cancel(self, execution: int, timer: int) -> None:
        """Forget a timer.  If it was the earliest the alarm rings in vain, cheaper than finding the next one now."""
        self._store.execute("DELETE FROM timers WHERE execution = ? AND timer = ?", (execution, timer))

    def cancel_all(self, execution: int) -> None:
        """Forget all timers of an execution."""
        self._store.execute("DELETE FROM timers WHERE execution = ?", (execution,))

    def _arm(self) -> None:
        row = self._store.query_one("SELECT min(at) AS earliest FROM timers")
        if row is not None and row["earliest"] is not None:
            self._set_alarm(row["earliest"])

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._clock.call_at(at, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        due = self._store.query(
            "SELECT execution, timer FROM timers WHERE at <= ? ORDER BY at, execution, timer LIMIT ?",
            (self._clock.now(), _BURST),
        )
        for row in due:
            execution, timer = row["execution"], row["timer"]
            # One that fired before it in this burst may have cancelled it.
            if self._store.execute("DELETE FROM timers WHERE execution = ? AND timer = ?", (execution, timer)):
                self._fired(execution, timer)
        if self._open:
            self._arm()
