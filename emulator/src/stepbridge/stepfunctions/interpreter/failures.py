"""How a state fails, and which retrier or catcher takes a failure.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.language.definition import Catcher, Retrier
from stepbridge.stepfunctions.language.evaluation import RUNTIME

ALL = "States.ALL"
TASK_FAILED = "States.TaskFailed"
TIMEOUT = "States.Timeout"
HEARTBEAT_TIMEOUT = "States.HeartbeatTimeout"
DATA_LIMIT_EXCEEDED = "States.DataLimitExceeded"

_LONGEST_DELAY = 99_999_999.0  # seconds before a retry

# States.ALL takes neither.  A task whose result was too large is a failed task, though, and is taken: so recorded.
_NOT_ALL = {DATA_LIMIT_EXCEEDED, RUNTIME}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a state failed.  `heartbeat` tells a missed heartbeat from any other timeout, `of_task` a failed task."""

    error: str | None
    cause: str | None
    heartbeat: bool = False
    of_task: bool = False

    @property
    def fatal(self) -> bool:
        """Nothing retries or catches States.Runtime: the execution ends."""
        return self.error == RUNTIME and not self.of_task

    def output(self) -> Json:
        """The error output: what a catcher passes on."""
        return {"Error": self.error, "Cause": self.cause}

    def matches(self, names: Sequence[str]) -> bool:
        """Does an ErrorEquals of `names` take the failure?"""
        for name in names:
            if name == self.error:
                return True
            if name == ALL and (self.of_task or self.error not in _NOT_ALL):
                return True
            if name == TASK_FAILED and self.error not in (TIMEOUT, *_NOT_ALL):
                return True
            if name == HEARTBEAT_TIMEOUT and self.heartbeat:
                return True
        return False


def find_retrier(retriers: Sequence[Retrier], retries: Sequence[int], failure: Failure) -> int | None:
    """The index of the retrier that takes the failure, if it has an attempt left."""
    for index, retrier in enumerate(retriers):
        if failure.matches(retrier.errors):
            done = retries[index] if index < len(retries) else 0
            return index if done < retrier.max_attempts else None
    return None


def find_catcher(catchers: Sequence[Catcher], failure: Failure) -> int | None:
    """The index of the catcher that takes the failure."""
    return next((index for index, catcher in enumerate(catchers) if failure.matches(catcher.errors)), None)


def delay(retrier: Retrier, done: int, random: Random) -> float:
    """Seconds to wait before the retry that follows `done` retries."""
    try:
        seconds = retrier.interval_seconds * retrier.backoff_rate**done
    except OverflowError:
        seconds = _LONGEST_DELAY
    limit = _LONGEST_DELAY if retrier.max_delay_seconds is None else retrier.max_delay_seconds
    seconds = min(seconds, limit)
    return random.uniform(0.0, seconds) if retrier.full_jitter else seconds
