"""Work on several things at once that wait for each other."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping


async def in_order(
    after: Mapping[str, frozenset[str]], work: Callable[[str], Awaitable[bool]], *, stop_on_failure: bool
) -> list[str]:
    """Do `work` for each name once it is done for all names in `after[name]`, else at the same time.

    `work` answers whether it succeeded.  What comes after a failure is not begun; with `stop_on_failure` nothing more
    is begun at all.  Returns the names that failed, once nothing is under way any more.
    """
    waiting = dict(after)
    done: set[str] = set()
    failed: list[str] = []
    running: dict[asyncio.Task[bool], str] = {}
    try:
        while True:
            if not (failed and stop_on_failure):
                for name in [name for name, needed in waiting.items() if needed & after.keys() <= done]:
                    del waiting[name]
                    running[asyncio.ensure_future(_as_coroutine(work, name))] = name
            if not running:
                return failed
            finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                name = running.pop(task)
                if task.result():
                    done.add(name)
                else:
                    failed.append(name)
    finally:
        for task in running:
            task.cancel()


async def _as_coroutine(work: Callable[[str], Awaitable[bool]], name: str) -> bool:
    return await work(name)
