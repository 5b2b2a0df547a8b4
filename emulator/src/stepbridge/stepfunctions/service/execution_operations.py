"""Executions: start, look, stop."""

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.stepfunctions.interpreter import ExecutionContext
from stepbridge.stepfunctions.interpreter.messages import ExecutionStopped
from stepbridge.stepfunctions.language import json_text
from stepbridge.stepfunctions.service import arns
from stepbridge.stepfunctions.service.core import MAXIMUM_PAYLOAD_BYTES, Core
from stepbridge.stepfunctions.service.machines import Machine, does_not_exist
from stepbridge.store import Row


@dataclass(frozen=True, slots=True)
class Parent:
    """The task that waits for the end of an execution: the row id of its execution, its id, and its pattern."""

    execution: int
    task: int
    pattern: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """What a StartExecution starts: the revision of a machine, and the version and alias it was reached by."""

    machine: Machine
    revision: int
    version: int | None
    alias: str | None

    @property
    def version_arn(self) -> str | None:
        return f"{self.machine.arn}:{self.version}" if self.version is not None else None


class ExecutionOperations(Core):
    """The operations on executions."""

    async def start_execution(self, caller: Caller, request: Members) -> Members:
        name = request.get("name") or str(uuid.uuid4())
        text, trace_header = request.get("input", "{}"), request.get("traceHeader")
        arn, started = self._start(request["stateMachineArn"], name, text, trace_header)
        await self._store.committed()
        return {"executionArn": arn, "startDate": started}

    async def describe_execution(self, caller: Caller, request: Members) -> Members:
        return self._describe(request["executionArn"], included=request.get("includedData") != "METADATA_ONLY")

    async def list_executions(self, caller: Caller, request: Members) -> Members:
        status, size = request.get("statusFilter"), self._page_size(request)
        if ("stateMachineArn" in request) == ("mapRunArn" in request):
            message = "Must specify exactly one of stateMachineArn and mapRunArn"
            raise arns.not_valid(message, "MISSING_REQUIRED_PARAMETER")
        if "stateMachineArn" in request and "redriveFilter" in request:
            raise AwsError("ValidationException", "redriveFilter is supported only with mapRunArn")
        if "mapRunArn" in request:
            asked_for = arns.parse(request["mapRunArn"], "mapRun").text
            if self._store.query_one("SELECT 1 FROM map_runs WHERE arn = ?", (asked_for,)) is None:
                raise AwsError(
                    "ResourceNotFound", f"Resource not found: '{asked_for}'", members={"resourceName": asked_for}
                )
            whose = "map_run = ?"
            values: list[str | int] = [asked_for]
        else:
            asked_for = request["stateMachineArn"]
            reference = arns.parse_machine(asked_for)
            if self._machines.get(reference.machine, asked_for).type == "EXPRESS":
                raise type_not_supported()
            whose, values = "machine = ?", [reference.machine]
            if reference.version is not None:
                whose, values = "machine = ? AND version = ?", [reference.machine, reference.version]
            if reference.alias is not None:
                whose, values = "machine = ? AND alias = ?", [reference.machine, reference.alias]
        filters = {"REDRIVEN": " AND redrive_count > 0", "NOT_REDRIVEN": " AND redrive_count = 0"}
        whose += filters.get(request.get("redriveFilter", ""), "")
        listing = f"ListExecutions {asked_for} {status} {request.get('redriveFilter')}"
        start = self._page_start(listing, request)
        rows = self._store.query(
            "SELECT *, (SELECT items FROM map_run_children c WHERE c.execution = e.arn) AS items"  # noqa: S608 - no input
            f" FROM executions e WHERE {whose} AND id < ? AND (? IS NULL OR status = ?)"
            " ORDER BY id DESC LIMIT ?",
            (*values, start[0] if start else 1 << 62, status, status, size + 1),
        )
        return {
            "executions": [{**_summary(row), "itemCount": row["items"]} for row in rows[:size]],
            "nextToken": self._page_end(listing, rows, size, "id"),
        }

    async def stop_execution(self, caller: Caller, request: Members) -> Members:
        row = self._execution(request["executionArn"])
        if row["status"] == "RUNNING":
            self._runner.deliver(row["id"], ExecutionStopped(request.get("error"), request.get("cause")))
            await self._store.committed()
            row = self._execution(request["executionArn"])
        return {"stopDate": row["stopped"]}

    async def get_execution_history(self, caller: Caller, request: Members) -> Members:
        arn, reverse = request["executionArn"], bool(request.get("reverseOrder", False))
        row = self._execution(arn)
        listing = f"GetExecutionHistory {arn} {reverse}"
        start = self._page_start(listing, request)
        events, following = self._history.page(
            row["id"],
            start=int(start[0]) if start else None,
            limit=self._page_size(request),
            reverse=reverse,
            include_data=request.get("includeExecutionData", True),
        )
        token = self._sealer.page_token(listing, [following]) if following is not None else None
        return {"events": events, "nextToken": token}

    async def describe_state_machine_for_execution(self, caller: Caller, request: Members) -> Members:
        row = self._execution(request["executionArn"])
        revision = self._machines.revision(row["revision"])
        included = request.get("includedData") != "METADATA_ONLY"
        answer = {
            "stateMachineArn": row["machine"],
            "name": arns.machine_name(row["machine"]),
            "updateDate": revision.updated,
            **self._revision_members(revision, included),
        }
        if row["map_run"] is not None:  # the state machine of a child is the Map's ItemProcessor
            answer |= {"mapRunArn": row["map_run"], "label": row["machine"].rsplit("/", 1)[1]}
            if included:
                answer["definition"] = json.dumps(self._machines.processor(revision, row["map_state"]))
        return answer

    def _execution(self, arn: str) -> Row:
        """The row of an execution.  Raises AwsError InvalidArn or ExecutionDoesNotExist."""
        parsed = arns.parse(arn, "execution")
        row = self._store.query_one("SELECT * FROM executions WHERE arn = ?", (parsed.text,))
        if row is None:
            raise AwsError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return row

    def _split_test_case(self, arn: str) -> tuple[str, str]:
        """The ARN and the test case in `stateMachineArn#TestCase`, which Step Functions Local takes."""
        if self._integrations.mocks is None:
            return arn, ""
        machine_arn, _, test_case = arn.partition("#")
        return machine_arn, test_case

    def _target(self, arn: str) -> Target:
        """What the state machine ARN `arn`, qualified or not, starts."""
        reference = arns.parse_machine(arn)
        machine = self._machines.get(reference.machine, arn)
        if machine.status == "DELETING":
            raise AwsError("StateMachineDeleting", f"State Machine Deleting: '{arn}'")
        version = reference.version
        if reference.alias is not None:
            version = self._versions.route(reference.alias, random.random())  # noqa: S311 - a share of the traffic
        if reference.alias is None and version is None:
            return Target(machine, machine.revision, None, None)
        revision = self._versions.revision(machine.arn, version) if version is not None else None
        if revision is None:
            raise does_not_exist(arn)
        return Target(machine, revision, version, reference.alias)

    def _describe(self, arn: str, *, included: bool = True) -> Members:
        """What DescribeExecution tells, with input and output if they are to be `included`."""
        row = self._execution(arn)
        return {
            **_summary(row),
            "input": row["input"] if included else None,
            "inputDetails": {"included": included},
            "output": row["output"] if included else None,
            "outputDetails": {"included": included} if row["output"] is not None else None,
            "error": row["error"],
            "cause": row["cause"],
            "traceHeader": row["trace_header"],
            **self._redrives.describe(row),
        }

    def _start(
        self,
        machine_arn: str,
        name: str,
        text: str,
        trace_header: str | None,
        *,
        parent: Parent | None = None,
        waiting: Callable[[str], object] = lambda arn: None,
    ) -> tuple[str, float]:
        """Start an execution, or find it running; its ARN and the time of its start.  Raises AwsError.

        `waiting` hears of the ARN before the execution begins, which may also be its end.
        """
        machine_arn, test_case = self._split_test_case(machine_arn)
        target = self._target(machine_arn)
        arns.check_name(name)
        _check_input(text)
        mocks = self._integrations.mocks if test_case else None
        if mocks is not None:
            mocks.check(target.machine.name, test_case, self._machines.definition(target.revision).states)
        express = target.machine.type == "EXPRESS"
        if express and parent is not None:
            raise type_not_supported()  # the end of an Express execution is told to nobody
        arn = arns.express_arn(target.machine.arn, name) if express else arns.execution_arn(target.machine.arn, name)
        existing = self._store.query_one("SELECT status, input, started FROM executions WHERE arn = ?", (arn,))
        if existing is not None:
            # StartExecution is idempotent as long as the execution runs and the input is the same.
            if existing["status"] != "RUNNING" or existing["input"] != text:
                raise AwsError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
            return arn, existing["started"]
        waiting(arn)
        now = self._clock.now()
        number = self._store.insert(
            "INSERT INTO executions"
            " (arn, machine, name, revision, version, alias, status, input, trace_header, express,"
            " parent, parent_task, parent_pattern, started)"
            " VALUES (?, ?, ?, ?, ?, ?, 'RUNNING', ?, ?, ?, ?, ?, ?, ?)",
            (
                arn,
                target.machine.arn,
                name,
                target.revision,
                target.version,
                target.alias,
                text,
                trace_header,
                express,
                parent.execution if parent else None,
                parent.task if parent else None,
                parent.pattern if parent else None,
                now,
            ),
        )
        if mocks is not None:
            mocks.begin(number, target.machine.name, test_case)
        context = ExecutionContext(
            execution_arn=arn,
            name=name,
            role_arn=self._machines.role(target.revision),
            start_time=now,
            state_machine_arn=target.machine.arn,
            state_machine_name=target.machine.name,
            region=self._settings.region,
            account=self._settings.account,
            state_machine_version_arn=target.version_arn,
            state_machine_alias_arn=target.alias,
            express=express,
        )
        self._runner.start(number, target.revision, context, text, is_child=parent is not None)
        return arn, now


def type_not_supported() -> AwsError:
    return AwsError("StateMachineTypeNotSupported", "This operation is not supported by this type of state machine")


def _check_input(text: str) -> None:
    reason = None
    if not text.strip():
        reason = "Invalid execution input."
    elif len(text.encode()) > MAXIMUM_PAYLOAD_BYTES:
        reason = f"Input exceeds the maximum size of {MAXIMUM_PAYLOAD_BYTES} bytes."
    else:
        try:
            json_text.parse(text)
        except json_text.JsonError as error:
            reason = str(error)
    if reason is not None:
        raise AwsError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{reason}'")


def _summary(row: Row) -> Members:
    """What ListExecutions and DescribeExecution both tell of an execution."""
    return {
        "executionArn": row["arn"],
        "stateMachineArn": row["machine"],
        "stateMachineVersionArn": f"{row['machine']}:{row['version']}" if row["version"] is not None else None,
        "stateMachineAliasArn": row["alias"],
        "name": row["name"],
        "status": row["status"],
        "startDate": row["started"],
        "stopDate": row["stopped"],
        "redriveCount": row["redrive_count"],
        "redriveDate": row["redriven"],
        "mapRunArn": row["map_run"],
    }
