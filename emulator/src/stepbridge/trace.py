"""What happened, hop by hop.

Each part of the emulator tells the trace what it did or refused, in one line a person can read and as fields a
program can.  `stepbridge up` prints the lines as they come, `stepbridge run` follows one execution by them, tests
assert on them.  Task tokens and keys never enter the trace whole: see :func:`abbreviate`.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stepbridge.clock import Clock


@dataclass(frozen=True, slots=True)
class Hop:
    """One thing that happened.

    `source` is the part that tells it (`stepfunctions`, `lambda`, `iot`, `rules`, `cloudformation`, `api`), `event`
    a stable name for it (`publish`, `publish-refused`, …), `text` the line for a person, `fields` the facts.
    """

    time: float
    source: str
    event: str
    text: str
    fields: Mapping[str, object] = field(default_factory=dict)


class Trace:
    """Hands each hop to whoever listens, and keeps the last `keep` of them."""

    def __init__(self, clock: Clock, keep: int = 1000) -> None:
        self._clock = clock
        self._listeners: list[Callable[[Hop], object]] = []
        self.recent: deque[Hop] = deque(maxlen=keep)

    def emit(self, source: str, event: str, text: str, **fields: object) -> None:
        """Record a hop."""
        hop = Hop(self._clock.now(), source, event, text, fields)
        self.recent.append(hop)
        for listener in self._listeners:
            listener(hop)

    def listen(self, listener: Callable[[Hop], object]) -> Callable[[], None]:
        """Call `listener` with each hop from now on; the answer stops that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


def abbreviate(secret: str) -> str:
    """The end of a task token or key: enough to tell two apart, too little to use."""
    return f"…{secret[-6:]}" if len(secret) > 12 else "…"
