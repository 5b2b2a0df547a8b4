"""Map runs: the child executions of a distributed Map.

A run is a row of `map_runs`, each of its children a row of `map_run_children`, from the time the items have been read.
A run that is over without success is FAILING or ABORTING until its children have stopped and what there is of results
has been written.
A child that runs is an execution like any other, of a definition that is the Map's ItemProcessor.
https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html
"""

import json
import random
import uuid
from contextlib import suppress
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.stepfunctions.interpreter import ExecutionContext
from stepbridge.stepfunctions.interpreter.map_runs import (
    EXCEEDED,
    EXCEEDED_CAUSE,
    Item,
    child_inputs,
    exceeds_tolerance,
)
from stepbridge.stepfunctions.interpreter.messages import (
    ExecutionRedriven,
    ExecutionStopped,
    Json,
    MapRunFinished,
    StartMapRun,
)
from stepbridge.stepfunctions.language.definition import Map
from stepbridge.stepfunctions.language.evaluation import EvaluationError
from stepbridge.stepfunctions.service import arns, map_results
from stepbridge.stepfunctions.service.execution_operations import ExecutionOperations
from stepbridge.stepfunctions.service.integrations import TaskError
from stepbridge.stepfunctions.service.integrations.map_storage import MapStorage
from stepbridge.stepfunctions.service.integrations.sdk_metadata import to_json
from stepbridge.stepfunctions.service.runner import Finished
from stepbridge.store import Row

_MAXIMUM_REDRIVES = 1_000  # https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html
_BURST = 50  # children started in one turn of the event loop
_WINDING_UP = {"FAILING": "FAILED", "ABORTING": "ABORTED"}
_MAXIMUM_CONCURRENCY = 10_000  # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html


class MapRuns(ExecutionOperations):
    """Runs the children of distributed Maps, and tells of them."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._runner.listeners.append(self._child_ended)
        self._runner.listeners.append(self._stop_runs_of)
        self._runner.map_runs = self

    # --- What the runner asks for ---------------------------------------------------------------------------------

    def add(self, execution: int, command: StartMapRun) -> None:
        """Keep a new map run; :meth:`go_on` begins it after the commit."""
        self._store.execute(
            "INSERT INTO map_runs (arn, execution, number, state_name, plan, status, max_concurrency,"
            " tolerated_count, tolerated_percentage, started) VALUES (?, ?, ?, ?, ?, 'READING', ?, ?, ?, ?)",
            (
                command.map_run_arn,
                execution,
                command.map_run_id,
                command.state_name,
                to_json(command.plan),
                command.plan["MaxConcurrency"],
                command.plan["ToleratedFailureCount"],
                command.plan["ToleratedFailurePercentage"],
                self._clock.now(),
            ),
        )

    def redrive(self, execution: int, number: int) -> None:
        """Run the unsuccessful children of a map run again, as its parent is redriven.

        Standard children are redriven, Express ones and those that were never started are started; items that could
        not be read are read again.  https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html
        """
        run = self._store.query("SELECT * FROM map_runs WHERE execution = ? AND number = ?", (execution, number))[0]
        children = self._store.query(
            "SELECT c.position, e.* FROM map_run_children c LEFT JOIN executions e ON e.arn = c.execution"
            " WHERE c.run = ? AND c.status IN ('FAILED', 'TIMED_OUT', 'ABORTED')",
            (run["id"],),
        )
        has_children = self._store.query_one("SELECT 1 FROM map_run_children WHERE run = ?", (run["id"],))
        self._store.execute(
            "UPDATE map_runs SET status = ?, stopped = NULL, redrive_count = redrive_count + 1, redriven = ?"
            " WHERE id = ?",
            ("RUNNING" if has_children else "READING", self._clock.now(), run["id"]),
        )
        for child in children:
            status = "PENDING"
            if child["id"] is not None and not child["express"]:
                if self._redrives.obstacle(child) is not None:
                    continue
                status = "PENDING_REDRIVE"
                self._store.execute("UPDATE executions SET status = ? WHERE id = ?", (status, child["id"]))
            self._store.execute(
                "UPDATE map_run_children SET status = ?, output = NULL, error = NULL, cause = NULL,"
                " execution = CASE WHEN ? = 'PENDING' THEN NULL ELSE execution END WHERE run = ? AND position = ?",
                (status, status, run["id"], child["position"]),
            )
        if run["redrive_count"] >= _MAXIMUM_REDRIVES:
            cause = f"The Map Run exceeded the maximum of {_MAXIMUM_REDRIVES} redrives."
            self._end(run["id"], "FAILED", error="States.Runtime", cause=cause)
        self._runner.go_on_after_commit(run["arn"])

    def cancel(self, execution: int, number: int) -> None:
        """The Map state is over: stop the children of its run."""
        for run in self._store.query(
            "SELECT * FROM map_runs WHERE execution = ? AND number = ? AND stopped IS NULL", (execution, number)
        ):
            self._wind_up(run["id"], "ABORTED")

    def unfinished(self) -> list[str]:
        """The ARNs of the map runs to go on with after a restart."""
        return [row["arn"] for row in self._store.query("SELECT arn FROM map_runs WHERE stopped IS NULL ORDER BY id")]

    async def go_on(self, arn: str) -> None:
        """Read the items of a run if that has not been done, and start children as long as there is room."""
        run = self._run(arn)
        if run is not None and run["status"] == "READING":
            await self._read(run)
        if run is not None and run["status"] in _WINDING_UP:
            await self._finish_winding_up(run)
        while (run := self._run(arn)) is not None and run["status"] == "RUNNING":
            room = (run["max_concurrency"] or _MAXIMUM_CONCURRENCY) - self._count(run["id"], "RUNNING")
            pending = self._store.query(
                "SELECT * FROM map_run_children WHERE run = ? AND status IN ('PENDING', 'PENDING_REDRIVE')"
                " ORDER BY position LIMIT ?",
                (run["id"], min(room, _BURST)),
            )
            if room <= 0 or not pending:
                await self._finish_if_done(run)
                return
            for child in pending:
                if child["status"] == "PENDING":
                    self._start_child_of(run, child)
                else:
                    self._redrive_child(child)
            await self._store.committed()

    def _run(self, arn: str) -> Row | None:
        return self._store.query_one("SELECT * FROM map_runs WHERE arn = ? AND stopped IS NULL", (arn,))

    def _count(self, run: int, status: str) -> int:
        count: int = self._store.query(
            "SELECT count(*) FROM map_run_children WHERE run = ? AND status = ?", (run, status)
        )[0][0]
        return count

    # --- The life of a run ----------------------------------------------------------------------------------------

    def _storage(self, run: Row, revision: int) -> MapStorage | None:
        return self._integrations.map_storage(self._machines.role(revision), run["arn"])

    async def _read(self, run: Row) -> None:
        plan = json.loads(run["plan"])
        parent = self._store.query("SELECT revision FROM executions WHERE id = ?", (run["execution"],))[0]
        state = self._machines.definition(parent["revision"]).states[run["state_name"]]
        try:
            items = [Item(value) for value in plan["Items"] or ()]
            if plan["Items"] is None:
                storage = self._storage(run, parent["revision"])
                if storage is None:
                    raise TaskError("States.ItemReaderFailed", "Amazon S3 cannot be reached.")
                items = await storage.read(plan["ItemReader"])
            if not isinstance(state, Map):
                raise TaskError("States.Runtime", f"{run['state_name']} is no Map state")
            inputs = child_inputs(state, plan, items, random.random)
        except EvaluationError as error:
            self._end(run["id"], "FAILED", error=error.error, cause=str(error))
            return
        except TaskError as error:
            self._end(run["id"], "FAILED", error=error.error, cause=error.cause)
            return
        now = self._run(run["arn"])
        if now is None or now["status"] != "READING":  # stopped, or read by another, while the items were being read
            return
        batched = state.item_batcher is not None
        self._store.execute_many(
            "INSERT INTO map_run_children (run, position, items, input, status) VALUES (?, ?, ?, ?, 'PENDING')",
            [
                (run["id"], position, len(value["Items"]) if batched else 1, to_json(value))
                for position, value in enumerate(inputs)
            ],
        )
        self._store.execute("UPDATE map_runs SET status = 'RUNNING' WHERE id = ?", (run["id"],))

    def _redrive_child(self, child: Row) -> None:
        self._store.execute(
            "UPDATE map_run_children SET status = 'RUNNING' WHERE run = ? AND position = ?",
            (child["run"], child["position"]),
        )
        row = self._store.query("SELECT id FROM executions WHERE arn = ?", (child["execution"],))[0]
        self._redrives.reopen(row["id"])
        self._runner.tell_status(row["id"])
        self._runner.deliver(row["id"], ExecutionRedriven())

    def _start_child_of(self, run: Row, child: Row) -> None:
        parent = self._store.query("SELECT * FROM executions WHERE id = ?", (run["execution"],))[0]
        label = run["arn"].split("/", 1)[1].rsplit(":", 1)[0]
        machine, name = f"{parent['machine']}/{label}", str(uuid.uuid4())
        express = json.loads(run["plan"])["ExecutionType"] == "EXPRESS"
        arn = arns.express_arn(machine, name) if express else arns.execution_arn(machine, name)
        now = self._clock.now()
        self._store.execute(
            "UPDATE map_run_children SET status = 'RUNNING', execution = ?, started = ? WHERE run = ? AND position = ?",
            (arn, now, run["id"], child["position"]),
        )
        number = self._store.insert(
            "INSERT INTO executions (arn, machine, name, revision, map_state, map_run, status, input, express, started)"
            " VALUES (?, ?, ?, ?, ?, ?, 'RUNNING', ?, ?, ?)",
            (
                arn,
                machine,
                name,
                parent["revision"],
                run["state_name"],
                run["arn"],
                child["input"],
                express,
                now,
            ),
        )
        context = ExecutionContext(
            execution_arn=arn,
            name=name,
            role_arn=self._machines.role(parent["revision"]),
            start_time=now,
            state_machine_arn=machine,
            state_machine_name=arns.machine_name(machine),
            region=self._settings.region,
            account=self._settings.account,
            express=express,
        )
        self._runner.start(
            number, parent["revision"], context, child["input"], map_state=run["state_name"], is_child=True
        )

    def _child_ended(self, finished: Finished) -> None:
        if not finished.is_child:
            return
        child = self._store.query_one(
            "SELECT c.run, c.position, r.arn FROM map_run_children c JOIN map_runs r ON r.id = c.run"
            " WHERE c.execution = ?",
            (finished.arn,),
        )
        if child is None:
            return
        outcome = finished.outcome
        self._store.execute(
            "UPDATE map_run_children SET status = ?, stopped = ?, output = ?, error = ?, cause = ?"
            " WHERE run = ? AND position = ?",
            (
                outcome.status,
                self._clock.now(),
                to_json(outcome.output) if outcome.status == "SUCCEEDED" else None,
                outcome.error,
                outcome.cause,
                child["run"],
                child["position"],
            ),
        )
        if outcome.status != "SUCCEEDED" and self._has_failed_too_often(child["run"]):
            self._wind_up(child["run"], "FAILED")
        self._runner.go_on_after_commit(child["arn"])

    def _has_failed_too_often(self, run: int) -> bool:
        totals = self._store.query(
            "SELECT sum(CASE WHEN c.status IN ('FAILED', 'TIMED_OUT', 'ABORTED') THEN c.items ELSE 0 END) AS failed,"
            " sum(c.items) AS total, r.tolerated_count, r.tolerated_percentage"
            " FROM map_run_children c JOIN map_runs r ON r.id = c.run WHERE c.run = ?",
            (run,),
        )[0]
        tolerance = {
            "ToleratedFailureCount": totals["tolerated_count"],
            "ToleratedFailurePercentage": totals["tolerated_percentage"],
        }
        return exceeds_tolerance(tolerance, totals["total"] or 0, totals["failed"] or 0)

    async def _finish_if_done(self, run: Row) -> None:
        if self._count(run["id"], "RUNNING"):
            return
        if self._has_failed_too_often(run["id"]):  # as it had before a redrive, with children that cannot be redriven
            self._wind_up(run["id"], "FAILED")
            return
        try:
            output = await self._results(run)
        except TaskError as error:
            self._end(run["id"], "FAILED", error=error.error, cause=error.cause)
            return
        if self._run(run["arn"]) is None:  # stopped while the results were being written
            return
        self._end(run["id"], "SUCCEEDED", output=output)

    def _wind_up(self, number: int, status: str) -> None:
        """End a run that has failed too often, or whose execution is over: FAILED or ABORTED."""
        run = self._store.query("SELECT * FROM map_runs WHERE id = ?", (number,))[0]
        if run["stopped"] is not None:
            return
        if run["status"] == "READING" or not _writes_results(run):
            self._end_as(number, status)
            return
        winding_up = next(name for name, ended in _WINDING_UP.items() if ended == status)
        if run["status"] in (winding_up, "ABORTING"):
            return
        self._store.execute("UPDATE map_runs SET status = ? WHERE id = ?", (winding_up, number))
        self._stop_run(run)
        self._runner.go_on_after_commit(run["arn"])

    async def _finish_winding_up(self, run: Row) -> None:
        if self._count(run["id"], "RUNNING"):
            return
        with suppress(TaskError):  # the run has failed anyway
            await self._results(run)
        now = self._run(run["arn"])
        if now is not None and now["status"] == run["status"]:  # neither ended by another nor redriven meanwhile
            self._end_as(run["id"], _WINDING_UP[run["status"]])

    def _end_as(self, number: int, status: str) -> None:
        exceeded = {"error": EXCEEDED, "cause": EXCEEDED_CAUSE} if status == "FAILED" else {}
        self._end(number, status, **exceeded)

    async def _results(self, run: Row) -> Json:
        """The output of the Map state: the results, or where they are written.  Raises TaskError."""
        children = self._store.query("SELECT * FROM map_run_children WHERE run = ? ORDER BY position", (run["id"],))
        records = [map_results.record(child, self._redrive_of(child)) for child in children]
        writer = json.loads(run["plan"])["ResultWriter"] or {"Resource": None, "WriterConfig": {}}
        config = writer["WriterConfig"]
        output_type = config.get("OutputType", "JSON")
        parent = self._store.query("SELECT revision FROM executions WHERE id = ?", (run["execution"],))[0]
        storage = self._storage(run, parent["revision"])
        if not writer["Resource"] or storage is None:
            results = map_results.transform(records, config.get("Transformation", "COMPACT"))
            return results if output_type == "JSON" else map_results.written(results, output_type)
        succeeded = [entry for entry in records if entry["Status"] == "SUCCEEDED"]
        results = map_results.transform(succeeded, config.get("Transformation", "NONE"))
        pending: list[Json] = [entry for entry in records if entry["Status"] == "PENDING"]
        failed: list[Json] = [entry for entry in records if entry["Status"] not in ("SUCCEEDED", "PENDING")]
        files = {
            status: map_results.written(entries, output_type)
            for status, entries in (("SUCCEEDED", results), ("FAILED", failed), ("PENDING", pending))
            if entries
        }
        folder: str = run["arn"].rsplit(":", 1)[1]
        if run["redrive_count"]:
            folder += f"/Redrive-{run['redrive_count']}"
        return await storage.write(writer, folder, run["arn"], files)

    def _redrive_of(self, child: Row) -> dict[str, Any]:
        row = self._store.query_one("SELECT * FROM executions WHERE arn = ?", (child["execution"],))
        if row is not None:
            return {"redriveCount": row["redrive_count"], **self._redrives.describe(row)}
        if child["status"] == "SUCCEEDED":  # an Express child, which is gone once it has ended
            reason = "Execution is SUCCEEDED and cannot be redriven"
            return {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": reason}
        return {"redriveStatus": "REDRIVABLE_BY_MAP_RUN"}

    def _end(
        self, number: int, status: str, *, output: Json = None, error: str | None = None, cause: str | None = None
    ) -> None:
        run = self._store.query("SELECT * FROM map_runs WHERE id = ?", (number,))[0]
        if run["stopped"] is not None:
            return
        self._store.execute(
            "UPDATE map_runs SET status = ?, stopped = ? WHERE id = ?", (status, self._clock.now(), number)
        )
        self._stop_run(run)
        if status != "ABORTED":
            self._runner.deliver(run["execution"], MapRunFinished(run["number"], output, error, cause))

    def _stop_run(self, run: Row) -> None:
        """Stop the children that run, and redrive none; those that were never started are pending for good."""
        self._store.execute(
            "UPDATE executions SET status = 'ABORTED' WHERE status = 'PENDING_REDRIVE' AND map_run = ?", (run["arn"],)
        )
        self._store.execute(
            "UPDATE map_run_children SET status = 'ABORTED' WHERE run = ? AND status = 'PENDING_REDRIVE'", (run["id"],)
        )
        for child in self._store.query(
            "SELECT e.id FROM map_run_children c JOIN executions e ON e.arn = c.execution"
            " WHERE c.run = ? AND c.status = 'RUNNING'",
            (run["id"],),
        ):
            self._runner.deliver(child["id"], ExecutionStopped(None, None))

    def _stop_runs_of(self, finished: Finished) -> None:
        if finished.outcome.status == "SUCCEEDED":  # with all that it waited for
            return
        for run in self._store.query(
            "SELECT id FROM map_runs WHERE execution = ? AND stopped IS NULL", (finished.execution,)
        ):
            self._wind_up(run["id"], "ABORTED")

    # --- Operations -----------------------------------------------------------------------------------------------

    async def describe_map_run(self, caller: Caller, request: Members) -> Members:
        run = self._map_run(request["mapRunArn"])
        items: dict[str, int] = {}
        executions: dict[str, int] = {}
        for row in self._store.query(
            "SELECT status, count(*) AS children, sum(items) AS items FROM map_run_children WHERE run = ?"
            " GROUP BY status",
            (run["id"],),
        ):
            executions[row["status"]], items[row["status"]] = row["children"], row["items"]
        written = run["stopped"] is not None and _writes_results(run)
        return {
            "mapRunArn": run["arn"],
            "executionArn": run["execution_arn"],
            "status": "RUNNING" if run["stopped"] is None else run["status"],
            "startDate": run["started"],
            "stopDate": run["stopped"],
            "maxConcurrency": run["max_concurrency"],
            "toleratedFailureCount": run["tolerated_count"] or 0,
            "toleratedFailurePercentage": run["tolerated_percentage"] or 0.0,
            "itemCounts": _counts(items, written),
            "executionCounts": _counts(executions, written, self._not_redrivable(run["id"])),
            "redriveCount": run["redrive_count"],
            "redriveDate": run["redriven"],
        }

    def _not_redrivable(self, run: int) -> int:
        """How many of the unsuccessful children cannot be redriven; Express ones always can, by a new start."""
        children = self._store.query(
            "SELECT e.* FROM map_run_children c JOIN executions e ON e.arn = c.execution"
            " WHERE c.run = ? AND c.status IN ('FAILED', 'TIMED_OUT', 'ABORTED')",
            (run,),
        )
        return sum(self._redrives.obstacle(child) is not None for child in children)

    async def list_map_runs(self, caller: Caller, request: Members) -> Members:
        execution, size = self._execution(request["executionArn"]), self._page_size(request)
        listing = f"ListMapRuns {execution['arn']}"
        start = self._page_start(listing, request)
        rows = self._store.query(
            "SELECT * FROM map_runs WHERE execution = ? AND id < ? ORDER BY id DESC LIMIT ?",
            (execution["id"], start[0] if start else 1 << 62, size + 1),
        )
        return {
            "mapRuns": [
                {
                    "executionArn": execution["arn"],
                    "mapRunArn": row["arn"],
                    "stateMachineArn": f"{execution['machine']}/{row['arn'].split('/', 1)[1].rsplit(':', 1)[0]}",
                    "startDate": row["started"],
                    "stopDate": row["stopped"],
                }
                for row in rows[:size]
            ],
            "nextToken": self._page_end(listing, rows, size, "id"),
        }

    async def update_map_run(self, caller: Caller, request: Members) -> Members:
        run = self._map_run(request["mapRunArn"])
        if run["stopped"] is not None:
            raise arns.not_valid("Map Run is not running and cannot be updated", "CANNOT_UPDATE_COMPLETED_MAP_RUN")
        self._store.execute(
            "UPDATE map_runs SET max_concurrency = ?, tolerated_count = ?, tolerated_percentage = ? WHERE id = ?",
            (
                request.get("maxConcurrency", run["max_concurrency"]),
                request.get("toleratedFailureCount", run["tolerated_count"]),
                request.get("toleratedFailurePercentage", run["tolerated_percentage"]),
                run["id"],
            ),
        )
        self._runner.go_on_after_commit(run["arn"])
        await self._store.committed()
        return {}

    def _map_run(self, arn: str) -> Row:
        """The row of a map run.  Raises AwsError InvalidArn or ResourceNotFound."""
        parsed = arns.parse(arn, "mapRun")
        row = self._store.query_one(
            "SELECT r.*, e.arn AS execution_arn FROM map_runs r JOIN executions e ON e.id = r.execution"
            " WHERE r.arn = ?",
            (parsed.text,),
        )
        if row is None:
            raise AwsError("ResourceNotFound", f"Resource not found: '{arn}'", members={"resourceName": arn})
        return row


def _writes_results(run: Row) -> bool:
    return bool((json.loads(run["plan"])["ResultWriter"] or {}).get("Resource"))


def _counts(by_status: dict[str, int], written: bool, not_redrivable: int = 0) -> dict[str, int]:
    return {
        "pending": by_status.get("PENDING", 0),
        "running": by_status.get("RUNNING", 0),
        "succeeded": by_status.get("SUCCEEDED", 0),
        "failed": by_status.get("FAILED", 0),
        "timedOut": by_status.get("TIMED_OUT", 0),
        "aborted": by_status.get("ABORTED", 0),
        "total": sum(by_status.values()),
        "resultsWritten": sum(by_status.values()) if written else 0,
        "failuresNotRedrivable": not_redrivable,
        "pendingRedrive": by_status.get("PENDING_REDRIVE", 0),
    }
