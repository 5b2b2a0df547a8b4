"""The tree of a state machine: what a definition means, ready to be run.

https://states-language.net/spec.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stepbridge.stepfunctions.language.conditions import Condition
from stepbridge.stepfunctions.language.intrinsics import Call
from stepbridge.stepfunctions.language.jsonata_expression import Expression
from stepbridge.stepfunctions.language.jsonpath import Path
from stepbridge.stepfunctions.language.resources import Resource
from stepbridge.stepfunctions.language.templates import Template
from stepbridge.stepfunctions.language.values import Json

ROOT = Path("$", "$", ())
JSONPATH = "JSONPath"
JSONATA = "JSONata"

# A number that is written in the definition, found at a path, or computed.
Number = int | float | Path | Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What all states have.

    `input_path` and `output_path` are None for null, which stands for an empty object; `next` is None if the state
    ends its branch.
    """

    name: str
    language: str = JSONPATH
    next: str | None = None
    input_path: Path | None = ROOT
    output_path: Path | None = ROOT
    assign: Template | None = None
    output: Template | None = None

    @property
    def is_jsonata(self) -> bool:
        return self.language == JSONATA

    @property
    def type(self) -> str:
        """The state's Type."""
        return type(self).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrier:
    errors: tuple[str, ...]
    interval_seconds: int = 1
    max_attempts: int = 3
    backoff_rate: float = 2.0
    max_delay_seconds: int | None = None
    full_jitter: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Catcher:
    errors: tuple[str, ...]
    next: str
    result_path: Path | None = ROOT
    assign: Template | None = None
    output: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryableState(State):
    """Task, Parallel and Map: states that call or contain something that can fail."""

    arguments: Template | None = None  # Parameters or Arguments
    result_selector: Template | None = None
    result_path: Path | None = ROOT  # None for null: the result is discarded
    retry: tuple[Retrier, ...] = ()
    catch: tuple[Catcher, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(RetryableState):
    resource: Resource
    timeout: Number | None = None
    heartbeat: Number | None = None
    credentials: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass(State):
    result: Json = None
    has_result: bool = False
    arguments: Template | None = None  # Parameters
    result_path: Path | None = ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(State):
    """Exactly one of the two is there.  A timestamp is text in the definition, a path, or an expression."""

    seconds: Number | None = None
    timestamp: str | Path | Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeed(State):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(State):
    error: str | Path | Call | Expression | None = None
    cause: str | Path | Call | Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceRule:
    condition: Condition | Expression | bool
    next: str
    assign: Template | None = None
    output: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(State):
    rules: tuple[ChoiceRule, ...]
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """States and where to begin: a state machine, a branch of a Parallel, the processor of a Map."""

    start_at: str
    states: Mapping[str, State]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel(RetryableState):
    branches: tuple[Flow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemReader:
    """`config` has the constant fields of ReaderConfig, `max_items` the one that may be computed."""

    resource: str
    arguments: Template | None = None
    config: Mapping[str, Json] = field(default_factory=dict)
    max_items: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemBatcher:
    batch_input: Template | None = None
    max_items: Number | None = None
    max_bytes: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultWriter:
    resource: str | None = None
    arguments: Template | None = None
    config: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Map(RetryableState):
    """`execution_type` is STANDARD or EXPRESS for a distributed Map."""

    processor: Flow
    distributed: bool = False
    execution_type: str | None = None
    items_path: Path | None = None
    items: Template | None = None
    item_selector: Template | None = None  # ItemSelector, or Parameters of old
    max_concurrency: Number | None = None
    tolerated_failure_count: Number | None = None
    tolerated_failure_percentage: Number | None = None
    item_reader: ItemReader | None = None
    item_batcher: ItemBatcher | None = None
    result_writer: ResultWriter | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """A whole state machine.  `states` has every state of it by name, at whatever depth: names are unique."""

    flow: Flow
    states: Mapping[str, State]
    timeout_seconds: int | None = None
    variable_references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def tasks(self) -> Iterator[Task]:
        """Every Task state, at whatever depth."""
        for state in self.states.values():
            if isinstance(state, Task):
                yield state
