"""Wills that wait for their Will Delay Interval (MQTT 5.0 section 3.1.3.2.2)."""

from collections.abc import Callable

from stepbridge.clock import Clock, Timer


class DelayedWills:
    """At most one per client id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, tuple[Timer, Callable[[], object]]] = {}

    def delay(self, client_id: str, seconds: int, publish: Callable[[], object]) -> None:
        """Call `publish` in `seconds`, unless the client takes its session up before that."""
        timer = self._clock.call_at(self._clock.now() + seconds, lambda: self.settle(client_id, resumed=False))
        self._waiting[client_id] = (timer, publish)

    def settle(self, client_id: str, *, resumed: bool) -> None:
        """The client is back, or the time is over: its will is dropped if the session goes on, else published."""
        waiting = self._waiting.pop(client_id, None)
        if waiting is not None:
            timer, publish = waiting
            timer.cancel()
            if not resumed:
                publish()

    def stop(self) -> None:
        """Forget all."""
        for timer, _ in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
