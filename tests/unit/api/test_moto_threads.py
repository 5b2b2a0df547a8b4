"""The threads that moto answers on."""

import asyncio
import threading
from pathlib import Path

import pytest
from moto.sqs.models import Queue

from stepbridge.api.calls import AwsCalls
from stepbridge.api.dispatch import Dispatcher
from stepbridge.api.moto_backend import MotoBackend
from stepbridge.settings import Settings

LONGEST = 20  # seconds that ReceiveMessage may wait


def test_who_waits_for_messages_does_not_keep_the_process_from_ending(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waiting: list[threading.Thread] = []
    begun = threading.Event()
    wait = Queue.wait_for_messages

    def wait_for_messages(queue: Queue, timeout: int) -> None:
        waiting.append(threading.current_thread())
        begun.set()
        wait(queue, timeout)

    monkeypatch.setattr(Queue, "wait_for_messages", wait_for_messages)

    async def scenario() -> None:
        settings = Settings(tmp_path)
        moto = MotoBackend(settings.account)
        calls = AwsCalls(settings, Dispatcher(), moto, lambda: "http://127.0.0.1:1")
        url = (await calls.call("sqs", "CreateQueue", QueueName="empty"))["QueueUrl"]
        call = asyncio.ensure_future(calls.call("sqs", "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=LONGEST))
        await asyncio.to_thread(begun.wait)
        moto.close()
        call.cancel()

    asyncio.run(scenario())
    waiting[0].join(LONGEST / 2)
    assert not waiting[0].is_alive()
