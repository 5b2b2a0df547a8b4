"""The hops of a running emulator on the terminal of `stepbridge up`, without holding it up.

Drawing a line takes many times longer than what it tells of.  So a thread of its own draws, some lines at a time as
each change of threads costs too, and of each kind of hop only the first ones of a second are drawn; a line then says
how many more there were.  A flood of one kind hides no other.
"""

import contextlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stepbridge.clock import Clock
from stepbridge.trace import Hop, Trace

if TYPE_CHECKING:
    from stepbridge.cli.display import Display

LINES_PER_SECOND = 20  # of each kind of hop
_PAUSE = 0.05  # seconds in which lines gather: shorter than anybody notices
# A terminal that stands still (Ctrl-S) must not make the emulator grow without bound.
_MAX_LINES_WAITING = 10_000


@contextlib.contextmanager
def shown_live(display: "Display", trace: Trace, clock: Clock) -> Iterator[None]:
    """Show the hops of `trace` while the context lasts."""
    lines: queue.SimpleQueue[Hop | str | None] = queue.SimpleQueue()

    def write() -> None:
        with contextlib.suppress(OSError):  # a terminal that has gone away
            while (line := lines.get()) is not None:
                if isinstance(line, Hop):
                    display.hop(line)
                else:
                    display.line(line, style="bright_black")
                if lines.empty():
                    time.sleep(_PAUSE)  # and nobody has to wake this thread for what comes meanwhile

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    stop_listening = trace.listen(Selection(clock, lines))
    try:
        yield
    finally:
        stop_listening()
        lines.put(None)
        writer.join(timeout=1)


class Selection:
    """Chooses the hops that are shown and puts them into `lines`."""

    def __init__(self, clock: Clock, lines: "queue.SimpleQueue[Hop | str | None]") -> None:
        self._clock = clock
        self._lines = lines
        self._counts: Counter[tuple[str, str]] = Counter()  # of this second, by source and event

    def __call__(self, hop: Hop) -> None:
        """Take note of a hop."""
        if not self._counts:
            self._clock.call_at(hop.time + 1, self._sum_up)
        kind = (hop.source, hop.event)
        count = self._counts[kind] = self._counts[kind] + 1
        if count <= LINES_PER_SECOND:
            self._put(hop)

    def _sum_up(self) -> None:
        for (source, event), count in self._counts.items():
            if count > LINES_PER_SECOND:
                self._put(f"{'':14}{source:<16}{count - LINES_PER_SECOND:,} more '{event}' in this second")
        self._counts.clear()

    def _put(self, line: Hop | str) -> None:
        if self._lines.qsize() < _MAX_LINES_WAITING:
            self._lines.put(line)
