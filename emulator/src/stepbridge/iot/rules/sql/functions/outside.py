"""Functions whose answer comes from outside the rules engine."""

from collections.abc import Callable

from stepbridge.iot.rules.sql.evaluation import Frame
from stepbridge.iot.rules.sql.values import Value

# Fewest and most arguments.
EXTERNAL: dict[str, tuple[int, int]] = {
    "aws_lambda": (2, 2),
    "get_dynamodb": (4, 6),
    "get_thing_shadow": (2, 3),
    "get_registry_data": (3, 3),
    "get_secret": (3, 4),
}
# These may stand once in a statement (their sections of developerguide/iot-sql-functions.html).
ONCE = frozenset({"get_dynamodb", "get_registry_data"})


def request(name: str) -> Callable[..., Value]:
    """The function called `name`: asks for what its arguments say."""

    def compute(frame: Frame, *arguments: Value) -> Value:
        return frame.evaluation.external(name, arguments)

    return compute
