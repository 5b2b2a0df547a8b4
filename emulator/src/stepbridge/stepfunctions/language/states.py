"""Reads each kind of state: which fields it takes, and what they mean."""

from collections.abc import Callable, Mapping
from typing import Any

from stepbridge.stepfunctions.language import jsonata_expression, resources, timestamps
from stepbridge.stepfunctions.language.checker import Fields
from stepbridge.stepfunctions.language.choice_rules import parse_choice
from stepbridge.stepfunctions.language.definition import (
    ROOT,
    Catcher,
    Fail,
    Flow,
    ItemBatcher,
    ItemReader,
    Map,
    Parallel,
    Pass,
    ResultWriter,
    Retrier,
    State,
    Succeed,
    Task,
    Wait,
)

FlowParser = Callable[[Fields], Flow]

_COMMON = ("Type", "QueryLanguage")
_DATA = ("InputPath", "OutputPath", "Output", "Assign")
_TRANSITION = ("Next", "End")
_RESULT = ("ResultPath", "ResultSelector")
_ERRORS = ("Retry", "Catch")

# Which fields each type of state takes, as ValidateStateMachineDefinition accepts them.
FIELDS: dict[str, tuple[str, ...]] = {
    "Task": (
        *_COMMON, *_DATA, *_TRANSITION, *_RESULT, *_ERRORS, "Parameters", "Arguments", "Resource", "Credentials",
        "TimeoutSeconds", "TimeoutSecondsPath", "HeartbeatSeconds", "HeartbeatSecondsPath",
    ),
    "Wait": (*_COMMON, *_DATA, *_TRANSITION, "Seconds", "Timestamp", "SecondsPath", "TimestampPath"),
    "Pass": (*_COMMON, *_DATA, *_TRANSITION, "Result", "ResultPath", "Parameters"),
    "Succeed": (*_COMMON, "InputPath", "OutputPath", "Output"),
    "Fail": (*_COMMON, "Error", "Cause", "ErrorPath", "CausePath"),
    "Choice": (*_COMMON, *_DATA, "Choices", "Default"),
    "Parallel": (*_COMMON, *_DATA, *_TRANSITION, *_RESULT, *_ERRORS, "Parameters", "Arguments", "Branches"),
    "Map": (
        *_COMMON, *_DATA, *_TRANSITION, *_RESULT, *_ERRORS, "Parameters", "ItemProcessor", "Iterator", "ItemsPath",
        "Items", "ItemSelector", "ItemReader", "ItemBatcher", "ResultWriter", "MaxConcurrency", "MaxConcurrencyPath",
        "ToleratedFailurePercentage", "ToleratedFailurePercentagePath", "ToleratedFailureCount",
        "ToleratedFailureCountPath", "Label",
    ),
}  # fmt: skip

_MAXIMUM_SECONDS = 99_999_999
_MAXIMUM_VARIABLE_NAME = 80
_MAXIMUM_LABEL = 40
_ALL = "States.ALL"


def _common(fields: Fields, name: str) -> dict[str, Any]:
    common: dict[str, Any] = {
        "name": name,
        "language": fields.language,
        "input_path": fields.path("InputPath", ROOT),
        "output_path": fields.path("OutputPath", ROOT),
        "assign": _assign(fields),
        "output": fields.template("Output") if fields.is_jsonata else None,
    }
    if fields.has("Next"):
        common["next"] = fields.text("Next")
    return common


def _assign(fields: Fields) -> Any:
    names = fields.members.get("Assign")
    if isinstance(names, Mapping):
        for name in names:
            variable = name.removesuffix(".$") if not fields.is_jsonata else name
            if not variable.isidentifier() or len(variable) > _MAXIMUM_VARIABLE_NAME:
                problem = f"Invalid variable name '{variable}': the variable name contains invalid characters."
                fields.error(problem, "Assign", "INVALID_VARIABLE_NAME")
            elif variable == "states":
                fields.error("Cannot assign to reserved variable '$states'.", "Assign", "RESERVED_VARIABLE_NAME")
    return fields.object_template("Assign")


def _transition(fields: Fields) -> None:
    """A state either goes on or ends."""
    if fields.has("End") and not isinstance(fields.members["End"], bool):
        fields.error("Expected value of type Boolean", "End")
    ends = fields.members.get("End") is True
    if fields.has("Next") and ends:
        fields.error("There should only be one of the following fields: [Next, End]")
    elif not fields.has("Next") and not ends:
        fields.error("This object should have only one of the following fields: [Next, End]")


def _error_names(fields: Fields, *, is_last: bool) -> tuple[str, ...]:
    fields.require("ErrorEquals")
    names = fields.texts("ErrorEquals")
    if _ALL in names and (len(names) > 1 or not is_last):
        fields.error(f"{_ALL} must appear alone and at end of list", "ErrorEquals")
    return names


def _retriers(fields: Fields) -> tuple[Retrier, ...]:
    entries = fields.objects("Retry", may_be_empty=True)
    retriers = []
    for index, entry in enumerate(entries):
        entry.allow(
            ("ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy")
        )
        retriers.append(
            Retrier(
                errors=_error_names(entry, is_last=index == len(entries) - 1),
                interval_seconds=entry.integer("IntervalSeconds", 1, 0, _MAXIMUM_SECONDS),
                max_attempts=entry.integer("MaxAttempts", 3, 0, _MAXIMUM_SECONDS),
                backoff_rate=entry.decimal("BackoffRate", 2.0, 1.0),
                max_delay_seconds=entry.integer("MaxDelaySeconds", None, 1, 31_622_400),
                full_jitter=entry.choice("JitterStrategy", ("NONE", "FULL"), "NONE") == "FULL",
            )
        )
    return tuple(retriers)


def _catchers(fields: Fields) -> tuple[Catcher, ...]:
    entries = fields.objects("Catch", may_be_empty=True)
    catchers = []
    for index, entry in enumerate(entries):
        entry.allow(("ErrorEquals", "Next", "ResultPath", "Assign", "Output"))
        entry.require("Next")
        catchers.append(
            Catcher(
                errors=_error_names(entry, is_last=index == len(entries) - 1),
                next=entry.text("Next"),
                result_path=entry.result_path(),
                assign=_assign(entry),
                output=entry.template("Output") if entry.is_jsonata else None,
            )
        )
    return tuple(catchers)


def _retryable(fields: Fields) -> dict[str, Any]:
    return {
        "arguments": fields.template("Arguments" if fields.is_jsonata else "Parameters"),
        "result_selector": None if fields.is_jsonata else fields.object_template("ResultSelector"),
        "result_path": fields.result_path(),
        "retry": _retriers(fields),
        "catch": _catchers(fields),
    }


# --- One function per type --------------------------------------------------------------------------------------------


def _task(fields: Fields, name: str, parse_flow: FlowParser) -> State:
    _transition(fields)
    fields.require("Resource")
    resource: resources.Resource = resources.LambdaFunction("")
    if fields.has("Resource"):
        try:
            resource = resources.parse(fields.text("Resource"))
        except resources.ResourceError as problem:
            fields.error(str(problem), "Resource")
    timeout = fields.number("TimeoutSeconds", 1, _MAXIMUM_SECONDS)
    heartbeat = fields.number("HeartbeatSeconds", 1, _MAXIMUM_SECONDS)
    if isinstance(heartbeat, int) and heartbeat >= (timeout if isinstance(timeout, int) else _MAXIMUM_SECONDS):
        fields.error("HeartbeatSeconds must be smaller than TimeoutSeconds", "HeartbeatSeconds")
    if fields.has("Credentials"):
        if isinstance(resource, resources.Activity):
            fields.error("The field 'Credentials' is not supported for activities", "Credentials")
        _check_credentials(fields)
    return Task(
        **_common(fields, name),
        **_retryable(fields),
        resource=resource,
        timeout=timeout,
        heartbeat=heartbeat,
        credentials=fields.object_template("Credentials"),
    )


def _check_credentials(fields: Fields) -> None:
    credentials = fields.members["Credentials"]
    if not isinstance(credentials, Mapping):
        return
    given = [name if fields.is_jsonata else name.removesuffix(".$") for name in credentials]
    if "RoleArn" not in given:
        fields.error("The field 'RoleArn' is required but was missing", "Credentials")
    for name in given:
        if name != "RoleArn":
            fields.error(f'The field "{name}" is not supported by Step Functions', "Credentials")


def _wait(fields: Fields, name: str, parse_flow: FlowParser) -> State:
    _transition(fields)
    if fields.is_jsonata:
        fields.exactly_one("Seconds", "Timestamp")
    else:
        fields.exactly_one("SecondsPath", "Seconds", "TimestampPath", "Timestamp")
    seconds = fields.reference_path("SecondsPath", context=True) or None
    timestamp: Any = fields.reference_path("TimestampPath", context=True)
    if fields.has("Seconds"):
        if fields.is_jsonata and isinstance(fields.members["Seconds"], str):
            seconds = fields.number("Seconds", 0)  # type: ignore[assignment]
        else:
            seconds = fields.integer("Seconds", None, 0, _MAXIMUM_SECONDS)
    if fields.has("Timestamp"):
        timestamp = fields.expression("Timestamp")
        if timestamp is None and not jsonata_expression.is_expression(fields.members["Timestamp"]):
            timestamp = fields.text("Timestamp")
            if timestamps.parse(timestamp) is None:
                fields.error("String does not match RFC3339 timestamp", "Timestamp")
    return Wait(**_common(fields, name), seconds=seconds, timestamp=timestamp)


def _pass(fields: Fields, name: str, parse_flow: FlowParser) -> State:
    _transition(fields)
    return Pass(
        **_common(fields, name),
        result=fields.members.get("Result"),
        has_result=fields.has("Result"),
        arguments=None if fields.is_jsonata else fields.template("Parameters"),
        result_path=fields.result_path(),
    )


def _succeed(fields: Fields, name: str, parse_flow: FlowParser) -> State:
    return Succeed(**_common(fields, name))


def _fail(fields: Fields, name: str, parse_flow: FlowParser) -> State:
    fields.at_most_one("Error", "ErrorPath")
    fields.at_most_one("Cause", "CausePath")
    values: dict[str, Any] = {}
    for field in ("Error", "Cause"):
        value: Any = fields.path_or_call(f"{field}Path")
        if fields.has(field):
            value = fields.expression(field) or fields.text(field)
        values[field.lower()] = value
    return Fail(name=name, language=fields.language, **values)


def _choice(fields: Fields, name: str, parse_flow: FlowParser) -> State:
    return parse_choice(fields, _common(fields, name), _assign)


def _parallel(fields: Fields, name: str, parse_flow: FlowParser) -> State:
    _transition(fields)
    fields.require("Branches")
    branches = fields.objects("Branches")
    return Parallel(
        **_common(fields, name), **_retryable(fields), branches=tuple(parse_flow(branch) for branch in branches)
    )


def _map(fields: Fields, name: str, parse_flow: FlowParser) -> State:
    _transition(fields)
    fields.exactly_one("ItemProcessor", "Iterator")
    processor = fields.object("ItemProcessor" if fields.has("ItemProcessor") else "Iterator")
    config = processor.object("ProcessorConfig")
    config.allow(("Mode", "ExecutionType"))
    distributed = config.choice("Mode", ("INLINE", "DISTRIBUTED"), "INLINE") == "DISTRIBUTED"
    if distributed:
        config.require("ExecutionType")
        config.choice("ExecutionType", ("STANDARD", "EXPRESS"), "STANDARD")
    else:
        if config.has("ExecutionType"):
            config.error("Field 'ExecutionType' is not supported")
        for field in ("ItemReader", "ItemBatcher", "ResultWriter", "Label"):
            if fields.has(field):
                fields.error(f"Field '{field}' is not supported")
    fields.at_most_one("ItemSelector", "Parameters")
    _check_label(fields)
    items = None
    if fields.is_jsonata and fields.has("Items"):
        if not isinstance(fields.members["Items"], list) and not jsonata_expression.is_expression(
            fields.members["Items"]
        ):
            fields.error("Value must be an array or a JSONata expression that evaluates to an array", "Items")
        else:
            items = fields.template("Items")
    retryable = _retryable(fields)
    parameters = retryable.pop("arguments")
    return Map(
        **_common(fields, name),
        **retryable,
        processor=parse_flow(processor) if processor.members else Flow("", {}),
        distributed=distributed,
        execution_type=str(config.members.get("ExecutionType", "STANDARD")) if distributed else None,
        items_path=fields.reference_path("ItemsPath", context=True),
        items=items,
        item_selector=fields.object_template("ItemSelector") or parameters,
        max_concurrency=fields.number("MaxConcurrency", 0),
        tolerated_failure_count=fields.number("ToleratedFailureCount", 0),
        tolerated_failure_percentage=fields.number("ToleratedFailurePercentage", 0.0, 100.0, whole=False),
        item_reader=_item_reader(fields),
        item_batcher=_item_batcher(fields),
        result_writer=_result_writer(fields),
        label=str(fields.members["Label"]) if fields.has("Label") else None,
    )


_LABEL_FORBIDS = set(" \t\n\r?*<>{}[]:;,\\|^~$#%&`\"'/") - {"'"}


def _check_label(fields: Fields) -> None:
    if not fields.has("Label"):
        return
    label = fields.text("Label")
    if not isinstance(fields.members["Label"], str):
        return
    if not label:
        fields.error("Value cannot be empty", "Label")
    elif len(label) > _MAXIMUM_LABEL:
        problem = f"Invalid Label name: {label} exceeds the {_MAXIMUM_LABEL}-character limit allowed by the service"
        fields.error(problem, "Label", "INVALID_LABEL_NAME")
    elif set(label) & _LABEL_FORBIDS or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in label):
        fields.error("Label contains invalid characters", "Label", "INVALID_LABEL_NAME")


_READER_CONFIG = (
    "InputType", "Transformation", "CSVHeaderLocation", "CSVHeaders", "CSVDelimiter", "MaxItems", "MaxItemsPath",
    "ManifestType", "ItemsPointer",
)  # fmt: skip


def _item_reader(fields: Fields) -> ItemReader | None:
    if not fields.has("ItemReader"):
        return None
    reader = fields.object("ItemReader")
    reader.allow(("Resource", "Parameters", "Arguments", "ReaderConfig"))
    reader.require("Resource")
    resource = reader.text("Resource")
    if resource and not resource.endswith((":states:::s3:getObject", ":states:::s3:listObjectsV2")):
        reader.error("The field 'Resource' does not match any of the allowed values", "Resource")
    config = reader.object("ReaderConfig")
    config.allow(_READER_CONFIG)
    manifest = config.choice("ManifestType", ("S3_INVENTORY", "ATHENA_DATA"), "ATHENA_DATA")
    if manifest == "S3_INVENTORY":  # it says itself what its files are
        if config.has("InputType"):
            config.error("Field 'InputType' is not supported")
    elif resource.endswith("getObject"):
        config.require("InputType")
    input_type = config.choice("InputType", ("CSV", "JSON", "JSONL", "PARQUET", "MANIFEST"), "JSON")
    if config.has("InputType") and manifest != "S3_INVENTORY":
        if input_type == "CSV" and not config.has("CSVHeaderLocation"):
            config.error("The field 'CSVHeaderLocation' is required")
        if input_type == "JSON" and config.has("CSVHeaderLocation"):
            config.error("Field 'CSVHeaderLocation' is not supported")
    config.choice("CSVDelimiter", ("COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB"), "COMMA")
    flattens = config.choice("Transformation", ("NONE", "LOAD_AND_FLATTEN"), "NONE") != "NONE"
    if flattens:
        config.require("InputType")
        if resource.endswith("getObject"):
            config.error("Field 'Transformation' is not supported")
    if config.has("CSVHeaders"):
        config.texts("CSVHeaders")
    if config.has("ItemsPointer") and not config.text("ItemsPointer").startswith("/"):
        config.error("Value is not a JSON Pointer", "ItemsPointer")
    if config.choice("CSVHeaderLocation", ("FIRST_ROW", "GIVEN"), "FIRST_ROW") == "GIVEN":
        config.require("CSVHeaders")
    if input_type == "PARQUET":
        config.error(
            "Reading Parquet files is not supported by the emulator; use CSV, JSON, JSONL or MANIFEST", "InputType"
        )
    return ItemReader(
        resource=resource,
        arguments=reader.template("Arguments" if fields.is_jsonata else "Parameters"),
        config={name: value for name, value in config.members.items() if not name.startswith("MaxItems")},
        max_items=config.number("MaxItems", 0, 100_000_000),
    )


def _item_batcher(fields: Fields) -> ItemBatcher | None:
    if not fields.has("ItemBatcher"):
        return None
    batcher = fields.object("ItemBatcher")
    names = ("MaxItemsPerBatch", "MaxInputBytesPerBatch")
    limits = (*names, *(f"{name}Path" for name in names))
    batcher.allow(("BatchInput", *limits))
    if not any(batcher.has(name) for name in limits):
        batcher.error(f"This object should have at least one of the following fields: [{', '.join(limits)}]")
    return ItemBatcher(
        batch_input=batcher.object_template("BatchInput"),
        max_items=batcher.number("MaxItemsPerBatch", 0),
        max_bytes=batcher.number("MaxInputBytesPerBatch", 0, 262_144),
    )


def _result_writer(fields: Fields) -> ResultWriter | None:
    if not fields.has("ResultWriter"):
        return None
    writer = fields.object("ResultWriter")
    writer.allow(("Resource", "Parameters", "Arguments", "WriterConfig"))
    config = writer.object("WriterConfig")
    config.allow(("Transformation", "OutputType"))
    if writer.has("WriterConfig"):
        config.require("Transformation", "OutputType")
        config.choice("Transformation", ("NONE", "COMPACT", "FLATTEN"), "NONE")
        config.choice("OutputType", ("JSON", "JSONL"), "JSON")
    # "Required field combinations": WriterConfig, Resource and Parameters, or all three.
    arguments = "Arguments" if fields.is_jsonata else "Parameters"
    if not writer.members:
        fields.error("Value cannot be empty", "ResultWriter")
    elif not writer.has("WriterConfig") or writer.has("Resource") or writer.has(arguments):
        writer.require("Resource", arguments)
    resource = writer.text("Resource") if writer.has("Resource") else None
    if resource is not None and not resource.endswith(":states:::s3:putObject"):
        writer.error("The field 'Resource' does not match any of the allowed values", "Resource")
    return ResultWriter(
        resource=resource,
        arguments=writer.template(arguments),
        config=dict(config.members),
    )


PARSERS: dict[str, Callable[[Fields, str, FlowParser], State]] = {
    "Task": _task,
    "Wait": _wait,
    "Pass": _pass,
    "Succeed": _succeed,
    "Fail": _fail,
    "Choice": _choice,
    "Parallel": _parallel,
    "Map": _map,
}
