"""Word of each message that comes into a queue of moto's SQS, from wherever it comes (SNS, EventBridge, S3, a client).

Who waits for messages then need not ask for them again and again.
"""

from collections.abc import Callable
from typing import Any

# Called on whatever thread the message came, with the ARN of the queue and in how many seconds it can be received.
Listener = Callable[[str, float], object]


def tell_of_arrivals(listener: Listener) -> None:
    """Make moto's SQS call `listener` for each message."""
    from moto.core.utils import unix_time_millis
    from moto.sqs.models import Queue

    add = Queue.add_message

    def add_message(queue: Any, message: Any) -> None:
        add(queue, message)
        listener(queue.queue_arn, max((message.visible_at - unix_time_millis()) / 1000, 0.0))

    Queue.add_message = add_message  # type: ignore[method-assign, assignment]
