"""The bench that tests run scenarios on."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.integration.cloudformation.bench import ACCOUNT, Bench, Run

from stepbridge.store import Store


@pytest.fixture
def bench(tmp_path: Path) -> Run:
    """Runs a scenario on a new bench."""

    def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async def main() -> None:
            store = Store(None)
            try:
                one = Bench(store, tmp_path)
                for name in await one.queues():  # moto keeps its state as long as the process lives
                    await one.calls.call("sqs", "DeleteQueue", QueueUrl=f"http://127.0.0.1:1/{ACCOUNT}/{name}")
                await scenario(one)
                await one.service.stop()
            finally:
                store.close()

        asyncio.run(main())

    return run
