"""A worker as a process of its own."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stepbridge.cli.processes import Process

# The worker of on-prem-worker/, and what it logs once it has subscribed.
WORKER = (sys.executable, "-m", "onprem_worker")
READY = "Waiting for jobs"
_START_SECONDS = 30.0


@contextlib.contextmanager
def running_worker(
    variables: Mapping[str, str], log: Path, command: Sequence[str] = WORKER, ready: str = READY
) -> Iterator[None]:
    """Run a worker with `variables` in its environment while the context lasts; its output goes to the file `log`.

    The context begins when the output has the text `ready`: a message that is published before a worker's first
    subscription is nobody's, on AWS too.  Raises CommandError if the worker ends, or is silent, instead.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    with Process("worker", list(command), environment, log) as worker:
        worker.await_condition(lambda: ready in log.read_text(errors="replace"), _START_SECONDS)
        yield
