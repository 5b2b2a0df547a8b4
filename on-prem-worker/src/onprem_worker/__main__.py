"""The `onprem-worker` command."""

import logging
import os
import signal
import sys
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

    told = 0.0

    def stop(number: int, _frame: object) -> None:
        nonlocal told
        if not told:
            told = time.monotonic()
            worker.stop()
        elif time.monotonic() - told > SAME_SIGNAL_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    sys.exit(worker.run())


if __name__ == "__main__":
    main()
