"""The `onprem-worker` command."""

import logging
import os
import signal
import socket
import sys
import threading
import time

from onprem_worker.configuration import Configuration, ConfigurationError
from onprem_worker.jobs import do_job
from onprem_worker.worker import Worker

# timeout(1), shells and supervisors signal a process and then its group: that is one signal, come twice.
SAME_SIGNAL_SECONDS = 1.0


def main() -> None:
    """Work until SIGTERM or SIGINT; another one, later, ends the worker at once."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        worker = Worker(Configuration.from_environment(os.environ), do_job)
    except ConfigurationError as error:
        sys.exit(str(error))

    threading.Thread(target=_stop_when_told, args=(worker, _signals()), daemon=True).start()
    sys.exit(worker.run())


def _signals() -> socket.socket:
    """A socket that gives a byte for each signal to stop.

    A handler of Python's runs when the main thread next wakes, and that waits for a job: a signal that comes just
    before it begins to wait would be obeyed at the next job.  The byte comes at once.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    told = 0.0

    def end_at_the_second(number: int, _frame: object) -> None:
        nonlocal told
        if not told:
            told = time.monotonic()
        elif time.monotonic() - told > SAME_SIGNAL_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end_at_the_second)
    signal.signal(signal.SIGINT, end_at_the_second)
    return receiver


def _stop_when_told(worker: Worker, signals: socket.socket) -> None:
    while signals.recv(1):
        worker.stop()


if __name__ == "__main__":
    main()
