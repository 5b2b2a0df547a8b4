"""/tmp is each execution environment's own."""

import asyncio
import json
import socket
import sys
import tempfile
from pathlib import Path

import pytest
from tests.integration.functions.harness import Lambda

from stepbridge.functions.interpreters import find_interpreter
from stepbridge.functions.launcher import Launcher

CODE = """
import os, shutil, tempfile, time

def handler(event, context):
    if event == "clear":
        for name in os.listdir("/tmp"):
            shutil.rmtree(os.path.join("/tmp", name), ignore_errors=True)
            if os.path.isfile(os.path.join("/tmp", name)):
                os.unlink(os.path.join("/tmp", name))
    elif event == "where":
        return [tempfile.gettempdir(), os.environ["HOME"], os.environ.get("TMPDIR")]
    else:
        with open("/tmp/of-a-handler", "a") as file:
            file.write(event)
        time.sleep(0.5 if event == "slow" else 0)
        with open("/tmp/of-a-handler") as file:
            return file.read()
"""
ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")


@ONLY_LINUX
def test_environments_share_no_files(tmp_path: Path) -> None:
    async def scenario() -> None:
        emulator = Lambda(tmp_path)
        await emulator.create("f", CODE)
        both = await asyncio.gather(emulator.invoke("f", "slow"), emulator.invoke("f", "slow"))
        assert list(both) == ["slow", "slow"]
        assert await emulator.invoke("f", "again") == "slowagain", "a warm environment finds its files again"
        assert await emulator.invoke("f", "where") == ["/tmp", "/tmp", None]
        assert not [hop for hop in emulator.trace.recent if hop.event == "shared-tmp"]
        await emulator.service.stop()

    asyncio.run(scenario())
    assert not Path("/tmp/of-a-handler").exists()


@ONLY_LINUX
def test_a_handler_that_clears_tmp_clears_its_own(tmp_path: Path) -> None:
    """Even where the emulator has its data, and the functions' code, in /tmp."""

    async def scenario(folder: Path) -> None:
        emulator = Lambda(folder)
        await emulator.create("f", CODE, Timeout=60)
        await emulator.invoke("f", "clear")
        emulator.functions.changed("f")  # the next one is a new environment
        assert await emulator.invoke("f", "new") == "new"
        await emulator.service.stop()

    with tempfile.NamedTemporaryFile(dir="/tmp") as of_the_user, tempfile.TemporaryDirectory(dir="/tmp") as folder:
        asyncio.run(scenario(Path(folder)))
        assert Path(of_the_user.name).exists()
        assert sorted(path.name for path in (Path(folder) / "functions").iterdir()) == ["code", "runtimes", "tmp"]


@ONLY_LINUX
def test_a_variable_of_the_function_wins(tmp_path: Path) -> None:
    async def scenario() -> None:
        emulator = Lambda(tmp_path)
        await emulator.create("f", CODE, Environment={"Variables": {"TMPDIR": "/dev/shm", "HOME": "/"}})
        assert await emulator.invoke("f", "where") == ["/dev/shm", "/", "/dev/shm"]
        await emulator.service.stop()

    asyncio.run(scenario())


def test_it_is_told_where_the_system_gives_none(tmp_path: Path) -> None:
    told: list[str] = []
    launcher = Launcher(find_interpreter("python3.11"), tmp_path, lambda: told.append("shared"))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for own_tmp in (True, False):
            theirs.send(json.dumps({"own_tmp": own_tmp}).encode() + b"\n")
            launcher._receive(ours)
    assert told == ["shared"]
