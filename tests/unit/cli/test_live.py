"""Which hops `stepbridge up` shows when there are many."""

import io
import queue

from stepbridge.cli.display import Display
from stepbridge.cli.live import LINES_PER_SECOND, Selection, shown_live
from stepbridge.clock import ManualClock
from stepbridge.trace import Hop, Trace


def drained(lines: "queue.SimpleQueue[Hop | str | None]") -> list[Hop | str | None]:
    return [lines.get_nowait() for _ in range(lines.qsize())]


def test_a_flood_of_one_kind_is_summed_up_and_hides_no_other() -> None:
    clock = ManualClock()
    trace = Trace(clock)
    lines: queue.SimpleQueue[Hop | str | None] = queue.SimpleQueue()
    trace.listen(Selection(clock, lines))
    for number in range(5000):
        trace.emit("iot", "publish", f"message {number}")
    trace.emit("iot", "connect-refused", "a stranger")
    shown = drained(lines)
    assert [each.text for each in shown if isinstance(each, Hop)] == [
        *(f"message {number}" for number in range(LINES_PER_SECOND)),
        "a stranger",
    ]
    clock.advance(1)
    (summary,) = drained(lines)
    assert isinstance(summary, str)
    assert summary.split() == ["iot", f"{5000 - LINES_PER_SECOND:,}", "more", "'publish'", "in", "this", "second"]
    trace.emit("iot", "publish", "the next second")
    clock.advance(1)
    (shown_again,) = drained(lines)
    assert isinstance(shown_again, Hop)
    assert clock.next_timer() is None


def test_what_is_chosen_is_written() -> None:
    clock = ManualClock()
    trace = Trace(clock)
    stream = io.StringIO()
    with shown_live(Display(stream), trace, clock):
        for _ in range(LINES_PER_SECOND + 1):
            trace.emit("iot", "publish", "a message")
        clock.advance(1)
    trace.emit("iot", "publish", "too late")
    written = stream.getvalue().splitlines()
    assert len(written) == LINES_PER_SECOND + 1
    assert written[-1].endswith("1 more 'publish' in this second")
    # In the columns of the hops above.
    assert written[-1].index("iot") == written[0].index("iot")
    assert written[-1].index("1 more") == written[0].index("a message")
