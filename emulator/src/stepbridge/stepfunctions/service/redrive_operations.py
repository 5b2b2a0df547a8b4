"""RedriveExecution: an unsuccessful execution goes on where it stopped."""

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.stepfunctions.interpreter.messages import ExecutionRedriven
from stepbridge.stepfunctions.service import arns
from stepbridge.stepfunctions.service.execution_operations import ExecutionOperations

# "idempotent responses for the last 10 client tokens … valid for up to 15 minutes": API_RedriveExecution
_TOKENS_KEPT = 10
_TOKEN_SECONDS = 15 * 60


class RedriveOperations(ExecutionOperations):
    """The operation RedriveExecution."""

    async def redrive_execution(self, caller: Caller, request: Members) -> Members:
        row, token = self._execution(request["executionArn"]), request.get("clientToken")
        if row["map_run"] is not None:
            message = "Labeled Execution ARNs are not supported for this API"
            raise arns.not_valid(message, "API_DOES_NOT_SUPPORT_LABELED_ARNS")
        earlier = self._store.query_one(
            "SELECT redriven FROM redrives WHERE execution = ? AND token = ? AND redriven > ?",
            (row["id"], token, self._clock.now() - _TOKEN_SECONDS),
        )
        if earlier is not None:
            return {"redriveDate": earlier["redriven"]}
        reason = self._redrives.obstacle(row)
        if reason is not None:
            raise AwsError("ExecutionNotRedrivable", reason)
        redriven = self._redrives.reopen(row["id"])
        self._keep_token(row["id"], token, redriven)
        self._runner.tell_status(row["id"])
        self._runner.deliver(row["id"], ExecutionRedriven())
        await self._store.committed()
        return {"redriveDate": redriven}

    def _keep_token(self, execution: int, token: str | None, redriven: float) -> None:
        if token is None:
            return
        self._store.execute("INSERT OR REPLACE INTO redrives VALUES (?, ?, ?)", (execution, token, redriven))
        self._store.execute(
            "DELETE FROM redrives WHERE execution = ? AND token NOT IN"
            " (SELECT token FROM redrives WHERE execution = ? ORDER BY redriven DESC LIMIT ?)",
            (execution, execution, _TOKENS_KEPT),
        )
