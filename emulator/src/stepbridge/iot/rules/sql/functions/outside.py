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
# How often these may stand in a statement (their sections of developerguide/iot-sql-functions.html).
MOST_CALLS = {"get_dynamodb": 1, "get_registry_data": 1, "decode": 2}
# Arguments that say what the function does, or in which role: variables are not taken for them
# (developerguide/iot-sql-set.html).
NO_VARIABLES = {
    "decode": (1,),
    "encode": (1,),
    "get_dynamodb": (-1,),
    "get_registry_data": (0, -1),
    "get_secret": (1, -1),
    "get_thing_shadow": (-1,),
    "transform": (0,),
}


def request(name: str) -> Callable[..., Value]:
    """The function called `name`: asks for what its arguments say."""

    def compute(frame: Frame, *arguments: Value) -> Value:
        return frame.evaluation.external(name, arguments)

    return compute
