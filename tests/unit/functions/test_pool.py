"""Which environment runs an invocation, with environments that are not processes."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from stepbridge.clock import ManualClock
from stepbridge.functions.environment import Environment, EnvironmentPlan, InitError
from stepbridge.functions.pool import IDLE_SECONDS, EnvironmentPool

PLAN = EnvironmentPlan(
    "f",
    "$LATEST",
    "arn",
    "python3.12",
    "app.handler",
    "role",
    3,
    128,
    Path("/code"),
    ("/code",),
    (),
    "/aws/lambda/f",
    "1",
    {},
)
OTHER = replace(PLAN, function="g", revision="2")
Tell = Callable[[Environment], object]


class FakeEnvironment:
    """Starts at once, unless told to fail; becomes idle when the test says so."""

    failure: InitError | None = None
    initialised: asyncio.Event | None = None

    def __init__(self, plan: EnvironmentPlan, on_idle: Tell, on_end: Tell, clock: ManualClock) -> None:
        self.plan = plan
        self.ended = False
        self.finishing = False
        self.idle_since = clock.now()
        self._clock = clock
        self._on_idle = on_idle
        self._on_end = on_end

    async def start(self) -> None:
        await asyncio.sleep(0)
        if self.initialised is not None:
            await self.initialised.wait()
        if self.failure is not None:
            self.end()
            raise self.failure

    def done(self) -> None:
        self.idle_since = self._clock.now()
        self._on_idle(cast(Environment, self))

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self._on_end(cast(Environment, self))


class Pool:
    """A pool of fake environments."""

    def __init__(self, bound: int) -> None:
        self.clock = ManualClock()
        self.made: list[FakeEnvironment] = []
        self.failure: InitError | None = None
        self.slow: dict[EnvironmentPlan, asyncio.Event] = {}
        self.pool = EnvironmentPool(self.create, self.clock, bound=bound)

    def create(self, plan: EnvironmentPlan, on_idle: Tell, on_end: Tell) -> Environment:
        made = FakeEnvironment(plan, on_idle, on_end, self.clock)
        made.failure = self.failure
        made.initialised = self.slow.get(plan)
        self.made.append(made)
        return cast(Environment, made)

    async def acquire(self, plan: EnvironmentPlan = PLAN) -> FakeEnvironment:
        return cast(FakeEnvironment, await self.pool.acquire(plan))

    def ask(self, plan: EnvironmentPlan = PLAN) -> asyncio.Task[FakeEnvironment]:
        return asyncio.ensure_future(self.acquire(plan))


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario()

    asyncio.run(run())


def test_an_idle_environment_is_used_again() -> None:
    async def scenario() -> None:
        pool = Pool(5)
        first = await pool.acquire()
        first.done()
        assert await pool.acquire() is first
        assert await pool.acquire() is not first

    play(scenario)


def test_beyond_the_bound_invocations_wait_in_order() -> None:
    async def scenario() -> None:
        pool = Pool(2)
        running = [await pool.acquire(), await pool.acquire()]
        waiting = [pool.ask() for _ in range(3)]
        await settle()
        assert len(pool.made) == 2
        for position, task in enumerate(waiting):
            running[0].done()
            await settle()
            assert task.done()
            assert [later.done() for later in waiting[position + 1 :]] == [False] * (2 - position)
        assert len(pool.made) == 2

    play(scenario)


def test_a_function_without_an_environment_gets_one_beyond_the_bound() -> None:
    """Or functions that wait for another one would keep it from running."""

    async def scenario() -> None:
        pool = Pool(1)
        await pool.acquire(PLAN)
        other = await asyncio.wait_for(pool.acquire(OTHER), 1)
        assert other.plan is OTHER
        assert not any(environment.ended for environment in pool.made)

    play(scenario)


def test_an_idle_environment_of_another_function_makes_room() -> None:
    async def scenario() -> None:
        pool = Pool(2)
        older, newer = await pool.acquire(PLAN), await pool.acquire(PLAN)
        older.done()
        pool.clock.advance(1)
        newer.done()
        await pool.acquire(OTHER)
        assert older.ended
        assert not newer.ended
        assert len(pool.pool) == 2

    play(scenario)


def test_an_environment_about_to_be_idle_is_waited_for() -> None:
    async def scenario() -> None:
        pool = Pool(5)
        first = await pool.acquire()
        first.finishing = True
        task = pool.ask()
        await settle()
        assert len(pool.made) == 1
        first.finishing = False
        first.done()
        assert await task is first

    play(scenario)


def test_a_failed_start_fails_one_invocation() -> None:
    async def scenario() -> None:
        pool = Pool(5)
        pool.failure = InitError("Runtime.ExitError", "no")
        with pytest.raises(InitError):
            await pool.acquire()
        pool.failure = None
        await pool.acquire()
        assert len(pool.pool) == 1

    play(scenario)


def test_an_environment_that_ends_is_replaced_for_who_waits() -> None:
    async def scenario() -> None:
        pool = Pool(1)
        first = await pool.acquire()
        task = pool.ask()
        await settle()
        assert not task.done()
        first.end()
        assert await asyncio.wait_for(task, 10) is not first

    play(scenario)


def test_who_gives_up_waiting_takes_nothing() -> None:
    async def scenario() -> None:
        pool = Pool(1)
        first = await pool.acquire()
        given_up, waiting = pool.ask(), pool.ask()
        await settle()
        given_up.cancel()
        first.done()
        assert await asyncio.wait_for(waiting, 10) is first

    play(scenario)


def test_retired_environments_end_when_idle() -> None:
    async def scenario() -> None:
        pool = Pool(5)
        busy, idle = await pool.acquire(), await pool.acquire()
        idle.done()
        pool.pool.retire("f")
        assert idle.ended
        assert not busy.ended
        busy.done()
        assert busy.ended
        assert len(pool.pool) == 0

    play(scenario)


def test_idle_environments_end_after_a_while() -> None:
    async def scenario() -> None:
        pool = Pool(5)
        first, second = await pool.acquire(), await pool.acquire()
        first.done()
        pool.clock.advance(IDLE_SECONDS - 1)
        second.done()
        pool.clock.advance(1)
        assert (first.ended, second.ended) == (True, False)
        pool.clock.advance(IDLE_SECONDS)
        assert second.ended

    play(scenario)


KEPT = PLAN.as_provisioned


def test_provisioned_environments_are_there_before_anybody_asks_and_stay() -> None:
    async def scenario() -> None:
        pool = Pool(5)
        assert not pool.pool.has_free(KEPT)
        pool.pool.keep(KEPT, 2)
        await settle()
        assert pool.pool.kept(KEPT).ready == 2
        assert pool.pool.has_free(KEPT)
        assert [await pool.acquire(KEPT), await pool.acquire(KEPT)] == [pool.made[1], pool.made[0]]
        assert not pool.pool.has_free(KEPT)
        pool.made[0].finishing = True
        assert pool.pool.has_free(KEPT)
        waiting = pool.ask(KEPT)
        await settle()
        assert not pool.pool.has_free(KEPT)
        pool.made[0].finishing = False
        pool.made[0].done()
        assert await waiting is pool.made[0]
        for environment in pool.made:
            environment.done()
        assert len(pool.made) == 2
        pool.clock.advance(2 * IDLE_SECONDS)
        assert pool.pool.kept(KEPT).ready == 2

    play(scenario)


def test_provisioned_environments_make_no_room_for_others_but_others_do_for_them() -> None:
    async def scenario() -> None:
        pool = Pool(2)
        on_demand = await pool.acquire(OTHER)
        on_demand.done()
        pool.pool.keep(KEPT, 2)
        await settle()
        assert on_demand.ended
        assert pool.pool.kept(KEPT).ready == 2
        beyond = await pool.acquire(OTHER)
        assert not any(environment.ended for environment in pool.made if environment.plan.provisioned)
        beyond.end()
        assert len(pool.pool) == 2

    play(scenario)


def test_provisioned_environments_that_take_long_keep_no_invocation_waiting() -> None:
    async def scenario() -> None:
        at_once = os.cpu_count() or 1
        pool = Pool(3 * at_once + 2)
        pool.slow[KEPT] = asyncio.Event()
        pool.pool.keep(KEPT, at_once + 1)
        await settle()
        assert len(pool.made) == at_once
        await asyncio.wait_for(asyncio.gather(pool.acquire(), pool.acquire()), 10)
        pool.slow[KEPT].set()
        await settle()
        assert pool.pool.kept(KEPT).ready == at_once + 1

    play(scenario)


def test_a_provisioned_environment_that_breaks_is_replaced() -> None:
    async def scenario() -> None:
        pool = Pool(5)
        pool.pool.keep(KEPT, 1)
        await settle()
        first = await pool.acquire(KEPT)
        first.end()
        assert pool.pool.kept(KEPT).ready == 0
        await settle()
        assert pool.pool.kept(KEPT).ready == 1
        assert await pool.acquire(KEPT) is not first

    play(scenario)


def test_provisioned_environments_that_are_no_longer_wanted_end_when_idle() -> None:
    async def scenario() -> None:
        pool = Pool(5)
        pool.pool.keep(KEPT, 3)
        await settle()
        busy = await pool.acquire(KEPT)
        pool.pool.keep(KEPT, 1)
        assert [environment.ended for environment in pool.made] == [True, True, False]
        pool.pool.keep(KEPT, 0)
        assert not busy.ended
        busy.done()
        assert busy.ended
        assert len(pool.pool) == 0

    play(scenario)


def test_a_provisioned_environment_that_cannot_start_is_not_tried_again_and_again() -> None:
    async def scenario() -> None:
        pool = Pool(300)
        pool.failure = InitError("Runtime.ExitError", "no")
        pool.pool.keep(KEPT, 200)
        await settle()
        tried = len(pool.made)
        assert tried <= (os.cpu_count() or 1)  # so many start at once
        assert (pool.pool.kept(KEPT).ready, pool.pool.kept(KEPT).failed) == (0, True)
        pool.failure = None
        (await pool.acquire(OTHER)).done()
        await settle()
        assert len(pool.made) == tried + 1
        pool.pool.keep(KEPT, 4)
        await settle()
        assert (pool.pool.kept(KEPT).ready, pool.pool.kept(KEPT).failed) == (4, False)

    play(scenario)
