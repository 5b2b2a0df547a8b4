"""kill -9 of the emulator: no process stays behind, and no accepted invocation is lost."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.functions.harness import Lambda
from tests.integration.functions.test_invoking import alive, until

# Accepts an asynchronous invocation that hangs when it is run for the first time, and says which processes run it.
EMULATOR = """
import asyncio, sys
from pathlib import Path
from tests.integration.functions.harness import Lambda

CODE = '''
import json, os, subprocess, sys, time
def handler(event, context):
    if os.path.exists(event):
        print("again")
        return
    open(event, "w").close()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    print(json.dumps([os.getppid(), os.getpid(), child.pid]))
    time.sleep(3600)
'''

async def main():
    emulator = Lambda(Path(sys.argv[1]), on_disk=True)
    emulator.trace.listen(lambda hop: hop.event == "log" and print(hop.text.partition(": ")[2], flush=True))
    await emulator.create("f", CODE, Timeout=900)
    await emulator.call("invoke", FunctionName="f", InvocationType="Event", Payload=sys.argv[2].encode())
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture
def shared() -> Iterator[str]:
    """A folder that handlers find too: /tmp is each environment's own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield folder


def test_kill_9(tmp_path: Path, shared: str) -> None:
    root = Path(__file__).parents[3]
    ran = Path(shared) / "ran"
    command = [sys.executable, "-c", EMULATOR, str(tmp_path), json.dumps(str(ran))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as emulator:
        assert emulator.stdout is not None
        processes = json.loads(emulator.stdout.readline())
        assert alive(processes) == processes
        os.kill(emulator.pid, signal.SIGKILL)

    async def afterwards() -> None:
        await until(lambda: not alive(processes))
        again = Lambda(tmp_path, on_disk=True)
        await again.service.start()
        await until(lambda: any(hop.text == "f: again" for hop in again.trace.recent))
        await again.service.stop()
        again.store.close()

    asyncio.run(afterwards())
