"""Threads of moto's on which clients wait for messages, so that they can be ended."""

import threading


class WaitingThreads:
    """The threads on which ReceiveMessage waits for messages, for up to 20 seconds: a process does not end before them.

    `take` is to be called on each.
    """

    _of = threading.local()

    def __init__(self) -> None:
        self._closed = False

    def take(self) -> None:
        """This thread is one of them."""
        self._of.threads = self

    def close(self) -> None:
        """Let them end: moto looks about it once a second."""
        self._closed = True

    @classmethod
    def make_closable(cls) -> None:
        """Make moto's SQS end the threads that wait once they are closed."""
        from moto.sqs.models import Queue

        wait = Queue.wait_for_messages

        def wait_for_messages(queue: Queue, timeout: int) -> None:
            wait(queue, timeout)
            threads = getattr(cls._of, "threads", None)
            if threads is not None and threads._closed:
                raise SystemExit  # of the thread: nobody is left to be told that there are no messages

        Queue.wait_for_messages = wait_for_messages  # type: ignore[method-assign, assignment]
