"""/tmp is each execution environment's own."""

import asyncio
import json
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.integration.functions.harness import Lambda

from stepbridge.functions.interpreters import find_interpreter
from stepbridge.functions.launcher import Launcher

CODE = """
import os, shutil, socket, tempfile

def handler(event, context):
    if event == "clear":
        for name in os.listdir("/tmp"):
            shutil.rmtree(os.path.join("/tmp", name), ignore_errors=True)
            if os.path.isfile(os.path.join("/tmp", name)):
                os.unlink(os.path.join("/tmp", name))
    elif event == "where":
        return [tempfile.gettempdir(), os.environ["HOME"], os.environ.get("TMPDIR")]
    else:
        text, port = event
        with open("/tmp/of-a-handler", "a") as file:
            file.write(text)
        if port:
            socket.create_connection(("127.0.0.1", port)).recv(1)
        with open("/tmp/of-a-handler") as file:
            return file.read()
"""


def may_mount() -> bool:
    """Whether this system lets a process have mounts of its own: Linux does, containers often do not."""
    if shutil.which("unshare") is None:
        return False
    tried = [subprocess.run(["unshare", how, "true"], capture_output=True, check=False) for how in ("-m", "-rm")]
    return any(each.returncode == 0 for each in tried)


WITH_MOUNTS = pytest.mark.skipif(not may_mount(), reason="this system gives processes no mounts of their own")


@WITH_MOUNTS
def test_environments_share_no_files(tmp_path: Path) -> None:
    async def scenario() -> None:
        here: list[asyncio.StreamWriter] = []

        def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Let invocations go on when there are two, each in an environment of its own."""
            here.append(writer)
            if len(here) == 2:
                for each in here:
                    each.close()

        server = await asyncio.start_server(meet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        emulator = Lambda(tmp_path)
        await emulator.create("f", CODE, Timeout=60)
        both = await asyncio.gather(*(emulator.invoke("f", ["one", port]) for _ in range(2)))
        assert both == ["one", "one"]
        assert await emulator.invoke("f", ["again", None]) == "oneagain", "a warm environment finds its files again"
        assert await emulator.invoke("f", "where") == ["/tmp", "/tmp", None]
        assert not [hop for hop in emulator.trace.recent if hop.event == "shared-tmp"]
        await emulator.service.stop()
        server.close()

    asyncio.run(scenario())
    assert not Path("/tmp/of-a-handler").exists()


@WITH_MOUNTS
def test_a_handler_that_clears_tmp_clears_its_own(tmp_path: Path) -> None:
    """Even where the emulator has its data, and the functions' code, in /tmp."""

    async def scenario(folder: Path) -> None:
        emulator = Lambda(folder)
        await emulator.create("f", CODE, Timeout=60)
        await emulator.invoke("f", "clear")
        emulator.functions.changed("f")  # the next one is a new environment
        assert await emulator.invoke("f", ["new", None]) == "new"
        await emulator.service.stop()

    with tempfile.NamedTemporaryFile(dir="/tmp") as of_the_user, tempfile.TemporaryDirectory(dir="/tmp") as folder:
        asyncio.run(scenario(Path(folder)))
        assert Path(of_the_user.name).exists()
        assert sorted(path.name for path in (Path(folder) / "functions").iterdir()) == ["code", "runtimes", "tmp"]


@WITH_MOUNTS
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
