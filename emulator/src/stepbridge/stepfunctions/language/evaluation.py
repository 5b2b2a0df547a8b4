"""What expressions are evaluated against, and how an evaluation fails."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stepbridge.stepfunctions.language.values import Json

RUNTIME = "States.Runtime"
INTRINSIC_FAILURE = "States.IntrinsicFailure"
QUERY_EVALUATION_ERROR = "States.QueryEvaluationError"


class EvaluationError(Exception):
    """An expression could not be evaluated.

    `error` is the error name of the failed state, `cause` the sentence without the "An error occurred while executing
    the state" that goes before it, `location` the field (JSONata), None where AWS tells none.
    """

    def __init__(self, cause: str, error: str = RUNTIME, location: str | None = None) -> None:
        super().__init__(cause)
        self.error = error
        self.cause = cause
        self.location = location


@dataclass(slots=True)
class Scope:
    """The values that expressions may refer to.

    `input` is `$`; `context` makes the context object `$$`; `variables` are the workflow's variables in sight;
    `states` is JSONata's `$states` without its context; `random` gives chance, `now` is the time in seconds since the
    epoch.
    """

    input: Json
    context: Callable[[], Json]
    variables: Mapping[str, Json]
    random: Callable[[], float]
    states: dict[str, Json] = field(default_factory=dict)
    now: float = 0.0
