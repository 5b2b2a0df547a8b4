"""What the trace tells of an execution: a hop per state entered, task submitted, callback and end."""

from collections.abc import Sequence

from stepbridge.stepfunctions.interpreter.messages import HistoryEvent
from stepbridge.trace import Trace

_ENDS = {
    "ExecutionSucceeded": ("SUCCEEDED", "succeeded"),
    "ExecutionFailed": ("FAILED", "failed"),
    "ExecutionAborted": ("ABORTED", "was stopped"),
    "ExecutionTimedOut": ("TIMED_OUT", "timed out"),
}
_TASKS = {
    "TaskScheduled": ("task-scheduled", "calls"),
    "TaskSubmitted": ("task-submitted", "has called, and waits for the end of"),
    "TaskSucceeded": ("task-succeeded", "is done with"),
    "TaskFailed": ("task-failed", "failed in"),
    "TaskTimedOut": ("task-timed-out", "waited too long for"),
}


def tell(trace: Trace, execution_arn: str, events: Sequence[HistoryEvent]) -> None:
    """Tell `trace` of what one step of an execution added to its history."""
    name = execution_arn.rsplit(":", 1)[1]
    for event in events:
        details = event.details
        if event.type.endswith("StateEntered"):
            state = details["name"]
            _emit(trace, "state-entered", f"{name} entered {state}", execution_arn, event, state=state)
        elif event.type in _TASKS:
            hop, verb = _TASKS[event.type]
            call = f"{details['resourceType']}:{details['resource']}"
            reason = _reason(details)
            _emit(trace, hop, f"{name} {verb} {call}{reason}", execution_arn, event, resource=call)
        elif event.type.startswith("LambdaFunction") and (error := details.get("error")):
            text = f"{name} failed in its function{_reason(details)}"
            _emit(trace, "task-failed", text, execution_arn, event, error=error)
        elif event.type in _ENDS:
            status, verb = _ENDS[event.type]
            _emit(trace, "execution-ended", f"{name} {verb}{_reason(details)}", execution_arn, event, status=status)


def _reason(details: dict[str, object]) -> str:
    error, cause = details.get("error"), details.get("cause")
    if not error and not cause:
        return ""
    return f": {error or 'no error name'}" + (f" ({cause})" if cause else "")


def _emit(trace: Trace, hop: str, text: str, execution_arn: str, event: HistoryEvent, **fields: object) -> None:
    trace.emit("stepfunctions", hop, text, execution=execution_arn, event_id=event.id, **fields)
