"""Which execution environment runs an invocation.

Each running invocation has an environment to itself; a finished one is used again, the most recently used first, and
an idle one ends after a while.  There are never more than `bound` environments, however many invocations come: the
others wait, in order.  (AWS would go on to 1,000; a laptop would not.)  One exception keeps functions that wait for
other functions from blocking everything: a function that has no environment gets one, even beyond the bound.

Environments of provisioned concurrency are different: they are started when they are asked for, not when they are
needed, do not end for being idle or for making room, and one that breaks is replaced.  Nobody should wait for one: an
invocation that finds none free (:meth:`EnvironmentPool.has_free`) is to run on demand.  They count to the bound, of
which they may have a part only (`MAX_PROVISIONED`).
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from stepbridge.clock import Clock, Timer
from stepbridge.functions.environment import Environment, EnvironmentPlan, InitError

# The same on every machine, so that a template that can be deployed on one can be on all.
MAX_PROVISIONED = 10
DEFAULT_BOUND = 2 * (os.cpu_count() or 1) + MAX_PROVISIONED
IDLE_SECONDS = 300.0


@dataclass(eq=False, slots=True)
class _Group:
    """The environments of one plan, and the invocations that wait for one.

    `kept` is how many provisioned ones there are to be, `failed` whether the last that was started for that could not
    be: then no other is.
    """

    plan: EnvironmentPlan
    idle: list[Environment] = field(default_factory=list)
    busy: set[Environment] = field(default_factory=set)
    starting: int = 0
    waiting: deque[asyncio.Future[Environment]] = field(default_factory=deque)
    retired: bool = False
    kept: int = 0
    failed: bool = False

    @property
    def size(self) -> int:
        return len(self.idle) + len(self.busy) + self.starting

    @property
    def coming(self) -> int:
        """How many are about to be idle."""
        return sum(environment.finishing for environment in self.busy)


@dataclass(frozen=True, slots=True)
class Kept:
    """How it stands with the provisioned environments of one plan: `ready` are there, idle or busy."""

    ready: int
    failed: bool


EnvironmentFactory = Callable[
    [EnvironmentPlan, Callable[[Environment], object], Callable[[Environment], object]], Environment
]


class EnvironmentPool:
    """All environments of the emulator.

    `create` makes an environment for a plan, given what to call when it is idle and when it has ended.
    """

    def __init__(self, create: EnvironmentFactory, clock: Clock, *, bound: int = DEFAULT_BOUND) -> None:
        self._create = create
        self._clock = clock
        self._bound = bound
        self._starts_at_once = os.cpu_count() or 1  # starting is work for the processor: more at once are not faster
        self._groups: dict[EnvironmentPlan, _Group] = {}
        self._environments: set[Environment] = set()
        # By whether they are provisioned: what takes long to initialise must not keep invocations waiting.
        self._starts: dict[bool, set[asyncio.Task[None]]] = {False: set(), True: set()}
        self._reaper: Timer | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._environments)

    async def acquire(self, plan: EnvironmentPlan) -> Environment:
        """An idle environment, to run one invocation in.  Raises InitError if it cannot be started."""
        group = self._groups.get(plan)
        if group is None:
            group = self._groups[plan] = _Group(plan)
        if group.idle and not group.waiting:
            environment = group.idle.pop()  # the last used: what is idle for long can end
            group.busy.add(environment)
            return environment
        turn: asyncio.Future[Environment] = asyncio.get_running_loop().create_future()
        group.waiting.append(turn)
        self._grow()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._became_idle(turn.result())
            raise

    def has_free(self, plan: EnvironmentPlan) -> bool:
        """Whether an environment of `plan` is idle, or is about to be."""
        group = self._groups.get(plan)
        return group is not None and len(group.idle) + group.coming > len(group.waiting)

    def keep(self, plan: EnvironmentPlan, count: int) -> None:
        """From now on have `count` environments of the provisioned `plan`; also tries again what failed."""
        group = self._groups.setdefault(plan, _Group(plan))
        group.kept = count
        group.failed = False
        for environment in group.idle[: max(0, group.size - count)]:
            environment.end()
        self._forget_if_empty(group)
        self._grow()

    def kept(self, plan: EnvironmentPlan) -> Kept:
        """What has come of :meth:`keep`."""
        group = self._groups.get(plan)
        return Kept(group.size - group.starting, group.failed) if group else Kept(0, failed=False)

    def retire(self, function: str, version: str | None = None) -> None:
        """End the environments of a function whose code or configuration is no longer this, once they are idle."""
        for plan, group in list(self._groups.items()):
            if plan.function == function and version in (None, plan.version):
                group.retired = True
                group.kept = 0
                for environment in list(group.idle):
                    environment.end()
                self._forget_if_empty(group)

    def close(self) -> None:
        """End every environment; invocations that run or wait have no outcome, and do not return."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for environment in list(self._environments):
            environment.end()
        for task in [*self._starts[False], *self._starts[True]]:
            task.cancel()

    # Environments come and go

    def _grow(self) -> None:
        """Start what the waiting invocations need, and what is to be kept, as far as the bound allows."""
        if self._closed:
            return
        for group in list(self._groups.values()):
            starts = self._starts[group.plan.provisioned]
            while group.size < group.kept and not group.failed:
                if len(starts) >= self._starts_at_once or not self._make_room(group):
                    break
                self._start(group)
            coming = group.coming
            while len(group.waiting) > group.starting + coming:
                first = group.size == 0
                if not first and len(starts) >= self._starts_at_once:
                    break
                if not self._make_room(group) and not first:
                    break
                self._start(group)

    def _make_room(self, group: _Group) -> bool:
        """Whether `group` may have one more, at the price of another group's idle environment if need be."""
        if len(self._environments) < self._bound:
            return True
        others = [other for other in self._groups.values() if other is not group and not other.plan.provisioned]
        idle = [environment for other in others for environment in other.idle]
        if not idle:
            return False
        min(idle, key=lambda environment: environment.idle_since).end()
        return len(self._environments) < self._bound

    def _start(self, group: _Group) -> None:
        environment = self._create(group.plan, self._became_idle, self._ended)
        self._environments.add(environment)
        group.starting += 1
        task = asyncio.get_running_loop().create_task(self._finish_start(group, environment))
        starts = self._starts[group.plan.provisioned]
        starts.add(task)
        task.add_done_callback(starts.discard)

    async def _finish_start(self, group: _Group, environment: Environment) -> None:
        try:
            await environment.start()
        except InitError as error:
            group.starting -= 1
            group.failed = True
            if (turn := _next_turn(group)) is not None:
                turn.set_exception(error)
            self._forget_if_empty(group)
        else:
            group.starting -= 1
            group.busy.add(environment)
            self._became_idle(environment)
        # This task still counts as a start until it is done.
        asyncio.get_running_loop().call_soon(self._grow)

    def _became_idle(self, environment: Environment) -> None:
        group = self._groups.get(environment.plan)
        if group is None:
            return
        group.busy.discard(environment)
        if environment.ended:
            return
        turn = _next_turn(group)
        if turn is not None:
            group.busy.add(environment)
            turn.set_result(environment)
        elif group.retired or (group.plan.provisioned and group.size >= group.kept):
            environment.end()
        else:
            group.idle.append(environment)
            self._grow()
            self._schedule_reaper()

    def _ended(self, environment: Environment) -> None:
        self._environments.discard(environment)
        group = self._groups.get(environment.plan)
        if group is None:
            return
        group.busy.discard(environment)
        if environment in group.idle:
            group.idle.remove(environment)
        self._forget_if_empty(group)
        if not self._closed:
            asyncio.get_running_loop().call_soon(self._grow)

    def _forget_if_empty(self, group: _Group) -> None:
        if group.size == 0 and not group.waiting and not group.kept:
            self._groups.pop(group.plan, None)

    def _schedule_reaper(self) -> None:
        if self._reaper is None and not self._closed:
            self._reaper = self._clock.call_at(self._clock.now() + IDLE_SECONDS, self._reap)

    def _reap(self) -> None:
        self._reaper = None
        oldest = self._clock.now() - IDLE_SECONDS
        groups = [group for group in self._groups.values() if not group.plan.provisioned]
        for group in groups:
            for environment in list(group.idle):
                if environment.idle_since <= oldest:
                    environment.end()
        if any(group.idle for group in groups):
            self._schedule_reaper()


def _next_turn(group: _Group) -> "asyncio.Future[Environment] | None":
    while group.waiting:
        turn = group.waiting.popleft()
        if not turn.done():
            return turn
    return None
