"""One timer for all connections."""

import weakref

from stepbridge.clock import ManualClock
from stepbridge.iot.broker.wheel import TimerWheel
from stepbridge.iot.broker.wills import DelayedWills


class Item:
    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.fallen = 0

    def fall_due(self) -> None:
        self.fallen += 1


def test_each_falls_due_once_and_not_before_its_time() -> None:
    clock = ManualClock(1000.0)
    wheel = TimerWheel(clock)
    early, late, active = Item(1010.5), Item(1200.0), Item(1010.0)
    for item in (late, early, active):
        wheel.watch(item)
    clock.advance(9)
    active.deadline = 1100.0
    clock.advance(1.4)
    assert (early.fallen, late.fallen, active.fallen) == (0, 0, 0)
    clock.advance(1)
    assert (early.fallen, late.fallen, active.fallen) == (1, 0, 0)
    clock.advance(90)
    assert (early.fallen, late.fallen, active.fallen) == (1, 0, 1)
    clock.advance(1000)
    assert (early.fallen, late.fallen, active.fallen) == (1, 1, 1)
    assert clock.next_timer() is None


def test_who_has_no_deadline_any_more_is_forgotten() -> None:
    clock = ManualClock(1000.0)
    wheel = TimerWheel(clock)
    item = Item(1010.0)
    wheel.watch(item)
    item.deadline = None
    clock.advance(100)
    assert item.fallen == 0
    assert clock.next_timer() is None


def test_who_is_forgotten_is_kept_no_longer_and_never_falls_due() -> None:
    clock = ManualClock(1000.0)
    wheel = TimerWheel(clock)
    gone, other = Item(1010.0), Item(1010.0)
    wheel.watch(gone)
    gone.deadline = 1005.0
    wheel.watch(gone)  # anew, for another second
    wheel.watch(other)
    left = weakref.ref(gone)
    wheel.forget(gone)
    wheel.forget(gone)
    del gone
    assert left() is None
    clock.advance(100)
    assert other.fallen == 1
    assert clock.next_timer() is None


def test_who_is_forgotten_while_others_fall_due_does_not() -> None:
    clock = ManualClock(1000.0)
    wheel = TimerWheel(clock)

    class Forgetful(Item):
        def fall_due(self) -> None:
            super().fall_due()
            for item in items:
                wheel.forget(item)

    items = [Forgetful(1010.0) for _ in range(3)]
    for item in items:
        wheel.watch(item)
    clock.advance(100)
    assert sum(item.fallen for item in items) == 1


def test_will_is_published_after_its_delay_unless_the_session_goes_on() -> None:
    clock = ManualClock(1000.0)
    wills = DelayedWills(clock)
    published: list[str] = []
    wills.delay("a", 10, lambda: published.append("a"))
    wills.delay("b", 10, lambda: published.append("b"))
    wills.settle("b", resumed=True)
    clock.advance(9)
    assert published == []
    clock.advance(1)
    assert published == ["a"]
