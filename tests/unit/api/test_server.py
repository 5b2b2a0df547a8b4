"""The HTTP server, and in which order it and what it serves stop."""

import asyncio
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from stepbridge import emulator
from stepbridge.api.server import HttpServer, listen
from stepbridge.clock import ManualClock
from stepbridge.emulator import Emulator
from stepbridge.functions import invoker
from stepbridge.settings import Settings

DOCKER_STOP = 10  # seconds, after which it kills


def test_who_waits_for_ever_is_answered_before_the_rest_stops() -> None:
    order: list[str] = []
    waits = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            waits.set()
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            order.append("answered")

    async def scenario() -> None:
        listener, _ = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        server = HttpServer(application, listener)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await waits.wait()
        await server.stop(0)
        order.append("stopped")
        assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        writer.close()

    asyncio.run(scenario())
    assert order == ["answered", "stopped"]


@pytest.mark.parametrize(("drained_after", "left"), [(0.0, 2), (invoker._DRAIN_SECONDS, 1)])
def test_requests_get_less_time_when_what_they_may_wait_for_has_had_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, drained_after: float, left: int
) -> None:
    clock = ManualClock()
    monkeypatch.setattr(emulator, "SystemClock", lambda: clock)
    order: list[object] = []

    class Part:
        async def drain(self) -> None:
            clock.advance(drained_after)
            order.append("drained")

    class Stopping:
        def close(self) -> None:
            order.append("streams closed")

        async def stop(self, seconds: int) -> None:
            order.append(seconds)

    stopping: object = Stopping()
    asyncio.run(Emulator(Settings(tmp_path))._finish(stopping, stopping, Part()))  # type: ignore[arg-type]
    assert order == ["drained", "streams closed", left]
    assert drained_after + left + 2 < DOCKER_STOP, "two seconds for all that has no limit, as it waits for nobody"
