"""State machines that several tests use."""

from typing import Any

PASS = {"StartAt": "Only", "States": {"Only": {"Type": "Pass", "Result": {"done": True}, "End": True}}}


def callback(**fields: Any) -> dict[str, Any]:
    """The dispatch-callback task, as it is deployed."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Parameters": {
            "FunctionName": "dispatch",
            "Payload": {"Input.$": "$", "TaskToken.$": "$$.Task.Token"},
        },
        "ResultPath": "$.lambdaOutput",
        "End": True,
        **fields,
    }
    return {"StartAt": "Dispatch", "States": {"Dispatch": task}}


def function(name: str, **fields: Any) -> dict[str, Any]:
    """A task whose resource is the ARN of a function."""
    resource = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    return {"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": resource, "End": True, **fields}}}


def wait(seconds: int) -> dict[str, Any]:
    """A state that waits."""
    return {"StartAt": "Pause", "States": {"Pause": {"Type": "Wait", "Seconds": seconds, "End": True}}}
