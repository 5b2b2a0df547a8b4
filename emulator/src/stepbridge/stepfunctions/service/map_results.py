"""What a map run tells of its children: in the Map state's output, and in the files that a ResultWriter writes.

https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html
"""

import json
from typing import Any

from stepbridge.clock import iso_timestamp
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.service.integrations.sdk_metadata import to_json
from stepbridge.store import Row


def record(child: Row, redrive: dict[str, Any]) -> dict[str, Json]:
    """All that is told of a child; `redrive` is what DescribeExecution says of its redrives."""
    arn = child["execution"]
    told: dict[str, Json] = {
        "Input": child["input"],
        "InputDetails": {"Included": True},
        "Status": child["status"],
    }
    if child["status"] == "PENDING":
        return told
    told |= {
        "ExecutionArn": arn,
        "OutputDetails": {"Included": True},
        "RedriveCount": redrive.get("redriveCount") or 0,
        "RedriveStatus": redrive["redriveStatus"],
    }
    if redrive.get("redriveStatusReason") is not None:
        told["RedriveStatusReason"] = redrive["redriveStatusReason"]
    if child["output"] is not None:
        told["Output"] = child["output"]
    for name in ("error", "cause"):
        if child[name] is not None:
            told[name.capitalize()] = child[name]
    if arn is not None:
        parts = arn.split(":")
        told |= {"Name": parts[7], "StateMachineArn": ":".join([*parts[:5], "stateMachine", parts[6]])}
    for name, column in (("StartDate", "started"), ("StopDate", "stopped")):
        if child[column] is not None:
            told[name] = iso_timestamp(child[column])
    return dict(sorted(told.items()))


def transform(records: list[dict[str, Json]], transformation: str) -> list[Json]:
    """The results by a WriterConfig's Transformation; children that failed are told of as they are."""
    results: list[Json] = []
    for entry in records:
        if transformation == "NONE" or entry["Status"] != "SUCCEEDED":
            results.append(entry)
            continue
        output = json.loads(entry["Output"])
        if transformation == "FLATTEN" and isinstance(output, list):
            results += output
        else:
            results.append(output)
    return results


def written(results: list[Json], output_type: str) -> str:
    """The results as text: a JSON array, or JSON Lines."""
    return "".join(f"{to_json(result)}\n" for result in results) if output_type == "JSONL" else to_json(results)
