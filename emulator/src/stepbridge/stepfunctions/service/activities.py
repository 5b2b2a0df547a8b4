"""Activities: tasks that wait until a worker asks for one.

A task that nobody has taken is a row of `tasks` with its call still to be made; the rows of an activity are its
queue.  A worker that finds the queue empty waits for its next task without asking again.
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-activities.html
"""

import asyncio
from collections import defaultdict, deque

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock
from stepbridge.store import Row, Store

_LONG_POLL_SECONDS = 60
_MAXIMUM_POLLERS = 1000  # of one activity: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html


class Activities:
    """The activities of one emulator and the workers that wait for their tasks."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)

    def find(self, arn: str) -> Row | None:
        """The row of an activity, or None."""
        return self._store.query_one("SELECT * FROM activities WHERE arn = ?", (arn,))

    def exists(self, arn: str) -> bool:
        """Whether there is such an activity."""
        return self.find(arn) is not None

    def add(self, arn: str, name: str, encryption: str, now: float) -> None:
        """Make an activity."""
        self._store.execute(
            "INSERT INTO activities (arn, name, encryption, created) VALUES (?, ?, ?, ?)", (arn, name, encryption, now)
        )

    def delete(self, arn: str) -> None:
        """Remove an activity; workers that wait for its tasks are told."""
        self._store.execute("DELETE FROM activities WHERE arn = ?", (arn,))
        self._store.execute("DELETE FROM stepfunctions_tags WHERE arn = ?", (arn,))
        for worker in self._waiting.pop(arn, ()):
            _wake(worker)

    def offer(self, arn: str) -> None:
        """A task of the activity is there to be taken: wake one worker."""
        waiting = self._waiting.get(arn)
        while waiting:
            worker = waiting.popleft()
            if not worker.done():
                worker.set_result(None)
                return

    async def next_task(self, arn: str) -> Row | None:
        """The oldest task that nobody has taken (execution, task, call), waiting for one if need be.

        None if none came within the time that AWS holds a poll open.  The caller takes the task before it awaits
        anything.  Raises AwsError ActivityDoesNotExist, ActivityWorkerLimitExceeded.
        """
        deadline = self._clock.now() + _LONG_POLL_SECONDS
        while True:
            if not self.exists(arn):
                raise AwsError("ActivityDoesNotExist", f"Activity Does Not Exist: '{arn}'")
            row = self._store.query_one(
                "SELECT execution, task, call FROM tasks WHERE activity = ? AND call IS NOT NULL ORDER BY id LIMIT 1",
                (arn,),
            )
            if row is not None or self._clock.now() >= deadline:
                return row
            await self._wait(arn, deadline)

    async def _wait(self, arn: str, deadline: float) -> None:
        waiting = self._waiting[arn]
        if len(waiting) >= _MAXIMUM_POLLERS:
            raise AwsError("ActivityWorkerLimitExceeded", f"Activity Worker Limit Exceeded: '{arn}'")
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(woken)
        timer = self._clock.call_at(deadline, lambda: _wake(woken))
        try:
            await woken
        except asyncio.CancelledError:
            if not woken.cancelled():  # this worker went away just as a task came: it is another one's
                self.offer(arn)
            raise
        finally:
            timer.cancel()
            if woken in waiting:
                waiting.remove(woken)


def _wake(worker: asyncio.Future[None]) -> None:
    if not worker.done():
        worker.set_result(None)
