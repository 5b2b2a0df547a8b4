"""Distributed Maps: from the Map state and what its ItemReader read to the inputs of the child executions.

The interpreter makes the *plan* of a map run, a JSON object that goes with StartMapRun:

    Items                       the items, or null if a reader has to read them
    ItemReader                  {Resource, Parameters, ReaderConfig}, evaluated, or null
    ResultWriter                {Resource, Parameters, WriterConfig}, evaluated, or null
    MaxConcurrency              0 for as many as there are
    ToleratedFailureCount, ToleratedFailurePercentage    or null
    ExecutionType               STANDARD or EXPRESS: what the children are
    MaxItemsPerBatch, MaxInputBytesPerBatch, BatchInput  or null
    Scope                       what the ItemSelector is evaluated against

The shell reads the items where it must (`read_items` makes them of the bytes of a file), then `child_inputs` makes the
children's inputs, and `exceeds_tolerance` tells when too many of them have failed.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from stepbridge.stepfunctions.interpreter.data_flow import number, out_of_range
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.language.definition import ItemReader, Map, ResultWriter
from stepbridge.stepfunctions.language.evaluation import EvaluationError, Scope
from stepbridge.stepfunctions.language.values import to_text

ITEM_READER_FAILED = "States.ItemReaderFailed"
EXCEEDED = "States.ExceedToleratedFailureThreshold"
EXCEEDED_CAUSE = "The specified tolerated failure threshold was exceeded"

_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # what such files begin with


class Item(NamedTuple):
    """An item and where it comes from: what the context object has as `Map.Item.Source`.

    https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
    """

    value: Json
    source: str = "STATE_DATA"

    @classmethod
    def all(cls, values: list[Json], bucket: str, key: str | None = None) -> list["Item"]:
        """The items that an object of S3 has, or that are themselves the objects of a bucket."""
        source = f"S3://{bucket}" if key is None else f"S3://{bucket}/{key}"
        return [cls(value, source) for value in values]


def make_plan(
    definition: Map,
    scope: Scope,
    items: list[Json] | None,
    concurrency: int,
    tolerance: tuple[int | None, float | None],
) -> dict[str, Json]:
    """The plan of a map run.  Raises EvaluationError."""
    batcher = definition.item_batcher
    plan: dict[str, Json] = {
        "Items": items,
        "ItemReader": _reader(definition.item_reader, scope),
        "ResultWriter": _writer(definition.result_writer, scope),
        "MaxConcurrency": concurrency,
        "ToleratedFailureCount": tolerance[0],
        "ToleratedFailurePercentage": tolerance[1],
        "ExecutionType": definition.execution_type,
        "MaxItemsPerBatch": None,
        "MaxInputBytesPerBatch": None,
        "BatchInput": None,
        "Scope": {
            "input": scope.input,
            "context": scope.context(),
            "variables": dict(scope.variables),
            "states": scope.states,
            "now": scope.now,
        },
    }
    if batcher is not None:
        plan["MaxItemsPerBatch"] = number("MaxItemsPerBatch", batcher.max_items, scope)
        plan["MaxInputBytesPerBatch"] = number("MaxInputBytesPerBatch", batcher.max_bytes, scope)
        plan["BatchInput"] = batcher.batch_input.evaluate(scope) if batcher.batch_input is not None else None
    return plan


def _reader(reader: ItemReader | None, scope: Scope) -> Json:
    if reader is None:
        return None
    config = dict(reader.config)
    limit = number("MaxItems", reader.max_items, scope)
    if limit is not None:
        if limit < 0:
            raise out_of_range("MaxItems must not be negative.", reader.max_items)
        config["MaxItems"] = limit
    parameters = reader.arguments.evaluate(scope) if reader.arguments is not None else {}
    return {"Resource": reader.resource, "Parameters": parameters, "ReaderConfig": config}


def _writer(writer: ResultWriter | None, scope: Scope) -> Json:
    if writer is None:
        return None
    parameters = writer.arguments.evaluate(scope) if writer.arguments is not None else {}
    return {"Resource": writer.resource, "Parameters": parameters, "WriterConfig": dict(writer.config)}


def read_items(config: dict[str, Json], content: bytes) -> list[Json]:
    """The items in a file that an ItemReader read, by its ReaderConfig.

    Raises EvaluationError (States.ItemReaderFailed).  A limit of 0 is none.
    """
    kind = config.get("InputType", "JSON")
    text = decompressed(content).decode("utf-8-sig", "replace")
    items = _csv_items(config, text) if kind == "CSV" else _json_items(config, text, lines=kind == "JSONL")
    return items[: config["MaxItems"]] if config.get("MaxItems") else items


def decompressed(content: bytes) -> bytes:
    """A file as it was before it was compressed.  Raises EvaluationError."""
    if content.startswith(_ZSTANDARD):
        raise EvaluationError("The emulator reads no files compressed with Zstandard.", ITEM_READER_FAILED)
    try:
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except (OSError, EOFError) as error:
        raise EvaluationError(f"The file cannot be decompressed: {error}", ITEM_READER_FAILED) from None


def _json_items(config: dict[str, Json], text: str, *, lines: bool) -> list[Json]:
    try:
        if lines:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        value = json.loads(text)
    except ValueError:
        raise EvaluationError("The file is not valid JSON.", ITEM_READER_FAILED) from None
    pointer = config.get("ItemsPointer")
    if isinstance(pointer, str):
        value = _at_pointer(value, pointer)
    if isinstance(value, dict):
        return pairs(value)
    if not isinstance(value, list):
        raise EvaluationError("Attempting to map over non-iterable node.", ITEM_READER_FAILED)
    return value


def pairs(members: dict[str, Json]) -> list[Json]:
    """The items that a distributed Map makes of an object."""
    return [{"Key": name, "Value": value} for name, value in members.items()]


def _at_pointer(value: Json, pointer: str) -> Json:
    """The value at an RFC 6901 JSON pointer."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise EvaluationError(f"ItemsPointer {pointer} does not exist in the file.", ITEM_READER_FAILED)
    return value


_DELIMITERS = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}


def csv_rows(config: dict[str, Json], text: str) -> list[list[str]]:
    """The rows of a CSV file that are not empty; a backslash keeps a quote, a delimiter or a backslash as it is."""
    delimiter = _DELIMITERS.get(str(config.get("CSVDelimiter", "COMMA")), ",")
    return [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, escapechar="\\") if row]


def _csv_items(config: dict[str, Json], text: str) -> list[Json]:
    rows = csv_rows(config, text)
    if config.get("CSVHeaderLocation") == "GIVEN":
        headers = [str(header) for header in config.get("CSVHeaders") or []]
    else:
        if not rows:
            raise EvaluationError("The file has no header row.", ITEM_READER_FAILED)
        headers, rows = rows[0], rows[1:]
    # Fields beyond the headers are dropped, missing ones are empty.
    return [dict(zip(headers, [*row, *[""] * len(headers)], strict=False)) for row in rows]


def child_inputs(definition: Map, plan: dict[str, Json], items: list[Item], random: Callable[[], float]) -> list[Json]:
    """The inputs of the children that the items make: ItemSelector, then ItemBatcher.  Raises EvaluationError."""
    selected = [_select(definition, plan, index, item, random) for index, item in enumerate(items)]
    if definition.item_batcher is None:
        return selected
    return [
        _batch(plan, batch) for batch in _batches(selected, plan["MaxItemsPerBatch"], plan["MaxInputBytesPerBatch"])
    ]


def _select(definition: Map, plan: dict[str, Json], index: int, item: Item, random: Callable[[], float]) -> Json:
    if definition.item_selector is None:
        return item.value
    saved = plan["Scope"]
    told = {"Index": index, "Value": item.value, "Source": item.source}
    context = {**saved["context"], "Map": {"Item": told}}
    scope = Scope(saved["input"], lambda: context, saved["variables"], random, saved["states"], saved["now"])
    return definition.item_selector.evaluate(scope)


def _batches(items: list[Json], most: int | None, most_bytes: int | None) -> Iterator[list[Json]]:
    batch: list[Json] = []
    size = 0
    for item in items:
        item_size = len(to_text(item).encode()) + 1
        if batch and ((most and len(batch) >= most) or (most_bytes and size + item_size > most_bytes)):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item_size
    if batch:
        yield batch


def _batch(plan: dict[str, Json], items: list[Json]) -> Json:
    batch: dict[str, Any] = {} if plan["BatchInput"] is None else {"BatchInput": plan["BatchInput"]}
    return {**batch, "Items": items}


def exceeds_tolerance(plan: dict[str, Json], total: int, failed: int) -> bool:
    """Have more children (or items) failed than the plan tolerates?"""
    count, percentage = plan["ToleratedFailureCount"], plan["ToleratedFailurePercentage"]
    if count is None and percentage is None:
        return failed > 0
    over_count = count is not None and failed > count
    over_percentage = percentage is not None and total > 0 and failed * 100 > percentage * total
    return over_count or over_percentage
