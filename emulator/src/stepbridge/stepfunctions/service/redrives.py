"""Which executions can be redriven, and what redriving one changes of its row.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

from stepbridge.api.service import Members
from stepbridge.clock import Clock
from stepbridge.stepfunctions.service.history import History
from stepbridge.stepfunctions.service.machines import Machines
from stepbridge.store import Row, Store

_DAY = 24 * 60 * 60.0
_REDRIVABLE_DAYS = 14  # from the end of the execution
_MAXIMUM_DAYS_OPEN = 365  # of an execution, from its start
_MAXIMUM_EVENTS = 24_999  # room is needed for ExecutionRedriven and one event more


class Redrives:
    """Redrives of the executions of one emulator."""

    def __init__(self, store: Store, clock: Clock, machines: Machines, history: History) -> None:
        self._store = store
        self._clock = clock
        self._machines = machines
        self._history = history

    def describe(self, row: Row) -> Members:
        """The redriveStatus of an execution and its reason, as DescribeExecution tells them."""
        reason = self.obstacle(row)
        if reason is not None:
            return {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": reason}
        by_map_run = row["map_run"] is not None
        return {"redriveStatus": "REDRIVABLE_BY_MAP_RUN" if by_map_run else "REDRIVABLE", "redriveStatusReason": None}

    def obstacle(self, row: Row) -> str | None:
        """Why an execution cannot be redriven, in AWS's words; None if it can."""
        now = self._clock.now()
        if row["status"] not in ("FAILED", "ABORTED", "TIMED_OUT"):
            return f"Execution is {row['status']} and cannot be redriven"
        machine = self._machines.find(row["machine"].split("/", 1)[0])
        if machine is None or machine.status == "DELETING":
            return "State machine is in DELETING status"
        if self._store.query_one("SELECT 1 FROM execution_states WHERE execution = ?", (row["id"],)) is None:
            # It ended under a stepbridge that kept nothing of it, or by a fault of stepbridge itself.
            return "Execution was started before the launch of RedriveExecution"
        last = self._history.last_event(row["id"])
        if last is not None and last["id"] >= _MAXIMUM_EVENTS:
            return "Execution history event limit exceeded"
        if now >= row["started"] + _MAXIMUM_DAYS_OPEN * _DAY:
            return "Execution has exceeded the max execution time"
        if now >= row["stopped"] + _REDRIVABLE_DAYS * _DAY:
            return "Execution redrivable period exceeded"
        return None

    def reopen(self, execution: int) -> float:
        """Let an execution run again; the time of the redrive, in seconds since the epoch."""
        now = self._clock.now()
        self._store.execute(
            "UPDATE executions SET status = 'RUNNING', output = NULL, error = NULL, cause = NULL, stopped = NULL,"
            " redrive_count = redrive_count + 1, redriven = ? WHERE id = ?",
            (now, execution),
        )
        return now
