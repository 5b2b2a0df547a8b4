"""What an evaluation knows: the message, the values found so far, and what the world beyond has answered.

Evaluation is pure.  Time, identity and chance are part of the input.  A function that needs something from outside (a
Lambda function, a shadow) finds its answer in the evaluation or stops it with a request; whoever drives the evaluation
gets the answer, adds it, and evaluates again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from stepbridge.iot.rules.sql.values import UNDEFINED, Value, json_text, parse_json

# developerguide/iot-sql-set.html: the limit of each variable's value, and of those of all together.
_MAX_VARIABLES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Mqtt5Properties:
    """The MQTT 5 properties of the message; `correlation_data` as base64."""

    content_type: str | None = None
    format_indicator: str | None = None
    response_topic: str | None = None
    correlation_data: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Input:
    """A message as statements see it.

    `timestamp` is in milliseconds since the epoch; `client_id` and `trace_id` are None unless the message came over
    MQTT; `seed` is where `rand()` and `newuuid()` get their values from.
    """

    topic: str
    payload: bytes
    timestamp: int
    account: str
    client_id: str | None = None
    principal: str | None = None
    source_ip: str | None = None
    trace_id: str | None = None
    properties: Mqtt5Properties = field(default_factory=Mqtt5Properties)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ExternalCall:
    """A request to the world beyond: the function's name and its arguments."""

    function: str
    arguments: tuple[Value, ...]

    @property
    def key(self) -> str:
        """What tells this request from others."""
        return f"{self.function}{json_text(list(self.arguments))}"


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer of an external call that failed, or the end of an evaluation that cannot go on."""

    message: str


class Stop(Exception):  # noqa: N818 - not an error: how a closure deep inside ends the evaluation
    """Ends an evaluation with `outcome`."""

    def __init__(self, outcome: ExternalCall | Failed) -> None:
        super().__init__(outcome)
        self.outcome = outcome


# An expression compiled: what it is worth in a frame.
Compiled = Callable[["Frame"], Value]


class Evaluation:
    """One message going through one rule: its statement, then the templates of its actions."""

    __slots__ = ("_random", "_random_label", "_size", "answers", "assignments", "input", "root", "values", "version")

    def __init__(self, message: Input, version: str, assignments: Mapping[str, Compiled]) -> None:
        self.input = message
        self.version = version
        self.root = parse_json(message.payload, version)
        self.assignments = assignments
        self.values: dict[str, Value] = {}
        self.answers: dict[str, Value | Failed] = {}
        self._size = 0
        self._random: Random | None = None
        self._random_label = ""

    def forget_variables(self) -> None:
        """Find the values of variables anew when they are next needed."""
        self.values.clear()
        self._size = 0

    def begin(self, label: str) -> "Frame":
        """Start evaluating what `label` stands for; the same label gets the same random values again."""
        self._random = None
        self._random_label = label
        return Frame(self, self.root)

    def answer(self, call: ExternalCall, result: Value | Failed) -> None:
        """What came of `call`."""
        self.answers[call.key] = result

    def variable(self, name: str) -> Value:
        """The value of `@name`, found when it is first needed."""
        if name not in self.values:
            value = self.assignments[name](Frame(self, self.root))
            size = len(json_text(value).encode(errors="replace"))
            if size > _MAX_VARIABLES:
                raise Stop(Failed(f"the value of @{name} is longer than {_MAX_VARIABLES} bytes"))
            if self._size + size > _MAX_VARIABLES:
                raise Stop(Failed(f"the values of the variables are longer than {_MAX_VARIABLES} bytes together"))
            self._size += size
            self.values[name] = value
        return self.values[name]

    def external(self, function: str, arguments: tuple[Value, ...]) -> Value:
        """The answer to an external call; stops the evaluation if there is none yet, or if it failed."""
        call = ExternalCall(function, arguments)
        if UNDEFINED in arguments:
            position = arguments.index(UNDEFINED) + 1
            raise Stop(Failed(f"{function}: argument {position} is Undefined"))
        answer = self.answers.get(call.key, call)
        if isinstance(answer, ExternalCall | Failed):
            raise Stop(answer)
        return answer

    def random(self) -> Random:
        """Where `rand()` and `newuuid()` get their values from."""
        if self._random is None:
            self._random = Random(f"{self.input.seed} {self._random_label}")  # noqa: S311 - chance, not secrecy
        return self._random


class Frame:
    """Where names are looked up: the payload, or the element that a nested query has come to."""

    __slots__ = ("evaluation", "value")

    def __init__(self, evaluation: Evaluation, value: Value) -> None:
        self.evaluation = evaluation
        self.value = value
