"""SendTaskSuccess, SendTaskFailure, SendTaskHeartbeat: what the holder of a task token can say."""

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.stepfunctions.language import json_text
from stepbridge.stepfunctions.service.core import MAXIMUM_PAYLOAD_BYTES, Core
from stepbridge.trace import abbreviate


class CallbackOperations(Core):
    """The operations on task tokens."""

    async def send_task_success(self, caller: Caller, request: Members) -> Members:
        text = request["output"]
        try:
            output = json_text.parse(text)
        except json_text.JsonError as error:
            raise AwsError("InvalidOutput", f"Invalid Output: '{error}'") from None
        if len(text.encode()) > MAXIMUM_PAYLOAD_BYTES:
            raise AwsError("InvalidOutput", f"Invalid Output: 'Output exceeds {MAXIMUM_PAYLOAD_BYTES} bytes.'")
        self._answer(request["taskToken"], {"output": output}, "success")
        await self._store.committed()
        return {}

    async def send_task_failure(self, caller: Caller, request: Members) -> Members:
        answer = {"error": request.get("error"), "cause": request.get("cause")}
        self._answer(request["taskToken"], answer, "failure")
        await self._store.committed()
        return {}

    async def send_task_heartbeat(self, caller: Caller, request: Members) -> Members:
        token = request["taskToken"]
        execution, task = self._task(token)
        if not self._runner.heartbeat(execution, task):
            raise self._task_over(execution)
        self._tell(token, execution, "heartbeat")
        await self._store.committed()
        return {}

    def issuer(self, token: str) -> str | None:
        """The ARN of the state machine or the activity that a token was issued for; None if it is no token.

        What holds the token must be allowed to answer that.
        """
        try:
            execution, task = self._sealer.open_task_token(token)
        except AwsError:
            return None
        row = self._store.query_one(
            "SELECT coalesce(t.activity, e.machine) AS issuer FROM executions e"
            " LEFT JOIN tasks t ON t.execution = e.id AND t.task = ? WHERE e.id = ?",
            (task, execution),
        )
        return row["issuer"] if row is not None else None

    def _answer(self, token: str, answer: Members, kind: str) -> None:
        execution, task = self._task(token)
        self._tell(token, execution, kind)
        if not self._runner.answer(execution, task, answer):
            raise self._task_over(execution)

    def _task(self, token: str) -> tuple[int, int]:
        """The execution and task that a token is for.  Raises AwsError InvalidToken."""
        try:
            return self._sealer.open_task_token(token)
        except AwsError:
            text = f"a task token was refused: {abbreviate(token)} was not issued here"
            self._trace.emit("stepfunctions", "callback-refused", text, token=abbreviate(token))
            raise

    def _task_over(self, execution: int) -> AwsError:
        if self._store.query_one("SELECT 1 FROM executions WHERE id = ?", (execution,)) is None:
            return AwsError("TaskDoesNotExist", "Task Does Not Exist: 'Provided task does not exist'")
        return AwsError("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")

    def _tell(self, token: str, execution: int, kind: str) -> None:
        row = self._store.query_one("SELECT arn, name FROM executions WHERE id = ?", (execution,))
        if row is not None:
            text = f"{row['name']} was told of {kind} with token {abbreviate(token)}"
            self._trace.emit(
                "stepfunctions", "callback", text, execution=row["arn"], kind=kind, token=abbreviate(token)
            )
