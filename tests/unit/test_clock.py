"""The clock that tests move by hand."""

import asyncio

from stepbridge.clock import ManualClock, http_date, iso_timestamp


def test_timers_are_called_in_the_order_of_their_times_and_see_their_own_time() -> None:
    clock = ManualClock(start=0)
    seen: list[tuple[str, float]] = []
    for name, when in (("late", 86_400.0), ("early", 1.0), ("also early", 1.0)):
        clock.call_at(when, lambda name=name: seen.append((name, clock.now())))  # type: ignore[misc]
    clock.advance(86_400)
    assert seen == [("early", 1.0), ("also early", 1.0), ("late", 86_400.0)]


def test_a_timer_set_by_a_timer_is_called_in_the_same_advance() -> None:
    clock = ManualClock(start=0)
    seen: list[float] = []
    clock.call_at(1, lambda: clock.call_at(2, lambda: seen.append(clock.now())))
    clock.advance(3)
    assert seen == [2]
    assert clock.now() == 3


def test_a_cancelled_timer_is_not_called() -> None:
    clock = ManualClock(start=0)
    seen: list[str] = []
    timer = clock.call_at(1, lambda: seen.append("called"))
    timer.cancel()
    assert clock.next_timer() is None
    clock.advance(2)
    assert seen == []


def test_sleep_returns_when_the_time_has_come() -> None:
    async def scenario() -> list[str]:
        clock = ManualClock()
        seen: list[str] = []

        async def sleeper() -> None:
            await clock.sleep(3600)
            seen.append("awake")

        task = asyncio.create_task(sleeper())
        await asyncio.sleep(0)
        clock.advance(3599)
        await asyncio.sleep(0)
        seen.append("still asleep")
        clock.advance(1)
        await task
        return seen

    assert asyncio.run(scenario()) == ["still asleep", "awake"]


def test_times_are_written_as_aws_writes_them() -> None:
    assert iso_timestamp(1_700_000_000.5) == "2023-11-14T22:13:20.500Z"
    assert http_date(1_700_000_000) == "Tue, 14 Nov 2023 22:13:20 GMT"
