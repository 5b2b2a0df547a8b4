"""Distributed Maps: from what a reader read to the inputs of the children."""

import gzip
import json
import random
from typing import Any

import pytest
from tests.unit.stepfunctions.replay import execute

from stepbridge.stepfunctions.interpreter import map_runs
from stepbridge.stepfunctions.interpreter.messages import StartMapRun
from stepbridge.stepfunctions.language.definition import Map
from stepbridge.stepfunctions.language.evaluation import EvaluationError

GIVEN = {"InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["a", "b"]}
FIRST_ROW = {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}


@pytest.mark.parametrize(
    ("config", "content", "items"),
    [
        ({"InputType": "JSON"}, "[1, 2, 3]", [1, 2, 3]),
        ({"InputType": "JSON", "MaxItems": 2}, "[1, 2, 3]", [1, 2]),
        ({"InputType": "JSON", "MaxItems": 0}, "[1, 2, 3]", [1, 2, 3]),
        ({"InputType": "JSON", "ItemsPointer": "/a/b"}, '{"a": {"b": [1]}}', [1]),
        ({"InputType": "JSONL"}, '{"a": 1}\n\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        (FIRST_ROW, "a,b\n1,2\n3\n", [{"a": "1", "b": "2"}, {"a": "3", "b": ""}]),
        (GIVEN, "1,2,3\n", [{"a": "1", "b": "2"}]),
        ({**GIVEN, "CSVDelimiter": "PIPE"}, "1|2\n", [{"a": "1", "b": "2"}]),
        (GIVEN, '1\\,0,\\"2\\"\n', [{"a": "1,0", "b": '"2"'}]),
    ],
)
def test_items_of_a_file(config: dict[str, Any], content: str, items: list[Any]) -> None:
    assert map_runs.read_items(config, content.encode()) == items


def test_a_compressed_file() -> None:
    assert map_runs.read_items({"InputType": "JSONL"}, gzip.compress(b"1\n2\n")) == [1, 2]


@pytest.mark.parametrize("content", [b"\x1f\x8bnothing", b"\x28\xb5\x2f\xfd"])
def test_a_file_that_cannot_be_decompressed(content: bytes) -> None:
    with pytest.raises(EvaluationError) as failed:
        map_runs.read_items({"InputType": "JSON"}, content)
    assert failed.value.error == "States.ItemReaderFailed"


@pytest.mark.parametrize(
    ("config", "content"), [({"InputType": "JSON"}, "{"), ({"InputType": "JSON"}, "1"), (FIRST_ROW, "")]
)
def test_a_file_without_items(config: dict[str, Any], content: str) -> None:
    with pytest.raises(EvaluationError) as failed:
        map_runs.read_items(config, content.encode())
    assert failed.value.error == "States.ItemReaderFailed"


def planned(**fields: Any) -> tuple[Map, dict[str, Any]]:
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "I",
        "States": {"I": {"Type": "Pass", "End": True}},
    }
    state = {"Type": "Map", "ItemProcessor": processor, "ItemsPath": "$.items", "End": True, **fields}
    state = {name: value for name, value in state.items() if value is not None}
    execution = execute({"StartAt": "S", "States": {"S": state}}, {"items": [1, 2, 3], "x": "y", "n": 2})
    (command,) = [command for command in execution.commands if isinstance(command, StartMapRun)]
    definition = execution.definition.states["S"]
    assert isinstance(definition, Map)
    plan: dict[str, Any] = json.loads(json.dumps(command.plan))
    return definition, plan


def inputs(**fields: Any) -> list[Any]:
    definition, plan = planned(**fields)
    items = [map_runs.Item(item) for item in plan["Items"]]
    return map_runs.child_inputs(definition, plan, items, random.Random(0).random)


def test_an_item_is_a_childs_input() -> None:
    assert inputs() == [1, 2, 3]


@pytest.mark.parametrize(
    "fields",
    [
        {"ItemsPath": "$"},
        {"QueryLanguage": "JSONata", "Items": "{% $states.input %}", "ItemsPath": None},
        {"QueryLanguage": "JSONata", "ItemsPath": None},
    ],
)
def test_the_members_of_an_object_are_items(fields: dict[str, Any]) -> None:
    assert planned(**fields)[1]["Items"] == [
        {"Key": "items", "Value": [1, 2, 3]},
        {"Key": "x", "Value": "y"},
        {"Key": "n", "Value": 2},
    ]


def test_the_item_selector() -> None:
    selector = {"i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value", "s.$": "$$.Map.Item.Source", "x.$": "$.x"}
    assert inputs(ItemSelector=selector)[1] == {"i": 1, "v": 2, "s": "STATE_DATA", "x": "y"}


def test_batches() -> None:
    assert inputs(ItemBatcher={"MaxItemsPerBatchPath": "$.n", "BatchInput": {"x.$": "$.x"}}) == [
        {"BatchInput": {"x": "y"}, "Items": [1, 2]},
        {"BatchInput": {"x": "y"}, "Items": [3]},
    ]
    assert inputs(ItemBatcher={"MaxInputBytesPerBatch": 4}) == [{"Items": [1, 2]}, {"Items": [3]}]


@pytest.mark.parametrize(
    ("fields", "failed", "exceeds"),
    [
        ({}, 0, False),
        ({}, 1, True),
        ({"ToleratedFailureCount": 2}, 2, False),
        ({"ToleratedFailureCount": 2}, 3, True),
        ({"ToleratedFailurePercentage": 50}, 5, False),
        ({"ToleratedFailurePercentage": 50}, 6, True),
        ({"ToleratedFailurePercentage": 100}, 10, False),
    ],
)
def test_tolerance(fields: dict[str, Any], failed: int, exceeds: bool) -> None:
    assert map_runs.exceeds_tolerance(planned(**fields)[1], 10, failed) is exceeds


def test_the_reader_and_writer_are_evaluated() -> None:
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON", "MaxItemsPath": "$.n"},
        "Parameters": {"Bucket": "b", "Key.$": "$.x"},
    }
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b", "Prefix.$": "$.x"}}
    plan = planned(ItemReader=reader, ResultWriter=writer)[1]
    assert plan["Items"] is None
    assert plan["ItemReader"] == {
        "Resource": "arn:aws:states:::s3:getObject",
        "Parameters": {"Bucket": "b", "Key": "y"},
        "ReaderConfig": {"InputType": "JSON", "MaxItems": 2},
    }
    assert plan["ResultWriter"]["Parameters"] == {"Bucket": "b", "Prefix": "y"}
