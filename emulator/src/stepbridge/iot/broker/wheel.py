"""One timer for many connections: each is looked at in the second in which it may be due."""

from collections.abc import Hashable
from typing import Protocol

from stepbridge.clock import Clock, Timer


class Perishable(Hashable, Protocol):
    """What falls due."""

    @property
    def deadline(self) -> float | None:
        """When, in seconds since the epoch; None if never again.  It may move on at any time without notice."""
        ...

    def fall_due(self) -> None:
        """The deadline has passed."""
        ...


class TimerWheel:
    """Buckets of one second.  A connection that was active moves to its new bucket only when its old one is due."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[int, set[Perishable]] = {}
        self._second_of: dict[Perishable, int] = {}  # the bucket that each is in
        self._timer: Timer | None = None
        self._timer_second = 0

    def watch(self, item: Perishable) -> None:
        """Call `item.fall_due()` once its deadline has passed."""
        deadline = item.deadline
        if deadline is None:
            return
        self.forget(item)
        second = self._second_of[item] = int(deadline) + 1
        self._buckets.setdefault(second, set()).add(item)
        self._wake_at(second)

    def forget(self, item: Perishable) -> None:
        """Keep nothing of `item`, which may have been watched.

        Its deadline may be half an hour away, and who connects and goes must not leave that much behind.
        """
        second = self._second_of.pop(item, None)
        if second is not None and (bucket := self._buckets.get(second)) is not None:
            bucket.discard(item)
            if not bucket:
                del self._buckets[second]

    def stop(self) -> None:
        self._buckets.clear()
        self._second_of.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake_at(self, second: int) -> None:
        if self._timer is not None:
            if self._timer_second <= second:
                return
            self._timer.cancel()
        self._timer_second = second
        self._timer = self._clock.call_at(second, self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = self._clock.now()
        for second in sorted(each for each in self._buckets if each <= now):
            for item in self._buckets.pop(second, ()):
                if self._second_of.pop(item, None) is None:
                    continue  # forgotten when another fell due
                deadline = item.deadline
                if deadline is not None and deadline <= now:
                    item.fall_due()
                else:
                    self.watch(item)
        if self._buckets:
            self._wake_at(min(self._buckets))
