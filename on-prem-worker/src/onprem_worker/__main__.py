"""The `onprem-worker` command."""

import logging
import os
import signal
import sys

from onprem_worker.configuration import Configuration, ConfigurationError
from onprem_worker.jobs import do_job
from onprem_worker.worker import Worker


def main() -> None:
    """Work until SIGTERM or SIGINT; a second one ends the worker at once."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        worker = Worker(Configuration.from_environment(os.environ), do_job)
    except ConfigurationError as error:
        sys.exit(str(error))

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    sys.exit(worker.run())


if __name__ == "__main__":
    main()
