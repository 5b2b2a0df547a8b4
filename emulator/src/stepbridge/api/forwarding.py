"""Step Functions somewhere else: the calls that reach the emulator are passed on to another endpoint.

So AWS Step Functions Local, or another stepbridge, can run the executions, while clients, functions, rules and stacks
go on calling the emulator.  Nothing is checked on the way: what the other one takes and refuses is its business.
"""

import asyncio
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from stepbridge.api.errors import AwsError
from stepbridge.api.models import service_model
from stepbridge.api.service import Members
from stepbridge.clock import Clock
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace, abbreviate

if TYPE_CHECKING:
    from urllib3 import PoolManager

# How long a call waits for an endpoint that is not there, since one that is being restarted comes back.
_PATIENCE_SECONDS = 20.0
_BETWEEN_ATTEMPTS_SECONDS = 0.25
_CONNECT_SECONDS = 2.0
# GetActivityTask is held for a minute: https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetActivityTask.html
_ANSWER_SECONDS = 70.0
_THREADS = 16

_SCHEMA = ["CREATE TABLE forwarding_machines (arn TEXT PRIMARY KEY, request TEXT NOT NULL) STRICT, WITHOUT ROWID"]
_GONE = "StateMachineDoesNotExist"


class StepFunctionsForwarder:
    """Carries out Step Functions' operations at `endpoint`, a URL.

    Step Functions Local keeps nothing over a restart.  The state machines that were created through here are
    remembered, and created again when the endpoint says that it does not have them; executions are not.
    """

    def __init__(self, settings: Settings, store: Store, clock: Clock, trace: Trace, endpoint: str) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._trace = trace
        self._endpoint = endpoint.rstrip("/") + "/"
        self._prefix = service_model("stepfunctions").metadata["targetPrefix"]
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="step-functions")
        store.migrate("forwarding", _SCHEMA)

    async def call(self, operation: str, members: Members) -> Members:
        """The answer to `operation`.  Raises AwsError: what the endpoint refuses, or 503 if it does not answer."""
        try:
            answer = await self._send(operation, members)
            if operation == "ListStateMachines" and await self._restore(self._forgotten(members, answer)):
                answer = await self._send(operation, members)
        except AwsError as error:
            if error.code != _GONE or not await self._restore(self._remembered(members)):
                raise
            answer = await self._send(operation, members)
        self._remember(operation, members, answer)
        self._tell(operation, members, answer)
        return answer

    def close(self) -> None:
        """Call no more; what is under way is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _send(self, operation: str, members: Members) -> Members:
        from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

        body = json.dumps(members).encode()
        end = self._clock.now() + _PATIENCE_SECONDS
        while True:
            try:
                loop = asyncio.get_running_loop()
                status, content = await loop.run_in_executor(self._threads, self._post, operation, body)
            except (NewConnectionError, ConnectTimeoutError) as error:  # it has not got the request
                if self._clock.now() > end:
                    raise self._unavailable(error) from None
                await self._clock.sleep(_BETWEEN_ATTEMPTS_SECONDS)
            except HTTPError as error:  # it may have: whether to ask again is for the caller to say
                raise self._unavailable(error) from None
            else:
                return self._read(status, content)

    def _post(self, operation: str, body: bytes) -> tuple[int, bytes]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"{self._prefix}.{operation}"}
        request = AWSRequest("POST", self._endpoint, headers=headers, data=body)
        SigV4Auth(Credentials("stepbridge", "stepbridge"), "states", self._settings.region).add_auth(request)
        answer = self._connections.request("POST", self._endpoint, body=body, headers=dict(request.headers))
        return answer.status, answer.data

    @cached_property
    def _connections(self) -> "PoolManager":
        from urllib3 import PoolManager, Timeout

        return PoolManager(
            maxsize=_THREADS, retries=False, timeout=Timeout(connect=_CONNECT_SECONDS, read=_ANSWER_SECONDS)
        )

    def _read(self, status: int, content: bytes) -> Members:
        try:
            answer = json.loads(content or b"{}")
        except ValueError as error:
            raise self._unavailable(error) from None
        if not isinstance(answer, dict):
            raise self._unavailable(ValueError("its answer is not a JSON object"))
        if status < 300:
            return answer
        code = str(answer.pop("__type", "InternalFailure")).rpartition("#")[2]
        message = str(answer.pop("message", answer.pop("Message", "")))
        raise AwsError(code, message, status=status, members=answer)

    def _unavailable(self, error: Exception) -> AwsError:
        self._trace.emit("api", "step-functions-unavailable", f"{self._endpoint} does not answer: {error}")
        return AwsError("ServiceUnavailable", f"Step Functions at {self._endpoint} does not answer.", status=503)

    def _remember(self, operation: str, members: Members, answer: Members) -> None:
        if operation == "CreateStateMachine":
            self._write(answer["stateMachineArn"], members)
        elif operation == "UpdateStateMachine":
            for arn, request in self._remembered(members):
                self._write(arn, request | {name: members[name] for name in members if name != "stateMachineArn"})
        elif operation == "DeleteStateMachine":
            self._store.execute("DELETE FROM forwarding_machines WHERE arn = ?", (members["stateMachineArn"],))

    def _write(self, arn: str, request: Members) -> None:
        self._store.execute("INSERT OR REPLACE INTO forwarding_machines VALUES (?, ?)", (arn, json.dumps(request)))

    def _remembered(self, members: Members) -> list[tuple[str, Members]]:
        """The state machine that a request is about, by its ARN, and how it was created."""
        arn = members.get("stateMachineArn")
        rows = self._store.query("SELECT arn, request FROM forwarding_machines WHERE arn = ?", (arn,))
        return [(row["arn"], json.loads(row["request"])) for row in rows]

    def _forgotten(self, members: Members, answer: Members) -> list[tuple[str, Members]]:
        """What is missing from a whole list of state machines."""
        if "nextToken" in members or answer.get("nextToken"):
            return []
        listed = {machine["stateMachineArn"] for machine in answer["stateMachines"]}
        rows = self._store.query("SELECT arn, request FROM forwarding_machines")
        return [(row["arn"], json.loads(row["request"])) for row in rows if row["arn"] not in listed]

    async def _restore(self, machines: Iterable[tuple[str, Members]]) -> bool:
        """Create state machines again; whether there were any."""
        restored = False
        for arn, request in machines:
            self._trace.emit(
                "stepfunctions", "machine-restored", f"{self._endpoint} has forgotten {arn}: it is created again"
            )
            await self._send("CreateStateMachine", request)
            restored = True
        return restored

    def _tell(self, operation: str, members: Members, answer: Members) -> None:
        """The hops that would otherwise not be seen, for the executions run in another process."""
        if operation == "StartExecution":
            arn = answer["executionArn"]
            name = arn.rpartition(":")[2]
            self._trace.emit("stepfunctions", "started", f"{name} starts at {self._endpoint}", execution=arn)
        elif operation.startswith("SendTask"):
            token = abbreviate(members["taskToken"])
            text = f"{operation} for the task {token} is passed on to {self._endpoint}"
            self._trace.emit("stepfunctions", "callback", text, token=token)
