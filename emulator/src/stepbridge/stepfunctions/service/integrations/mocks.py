"""Tasks that are answered by the mock configuration of Step Functions Local instead of by a service.

https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local-test-sm-exec.html
"""

from collections.abc import Iterable

from stepbridge.api.errors import AwsError
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.local.mock_configuration import MockConfiguration, Responses, find
from stepbridge.stepfunctions.service.integrations.call import TaskCall, TaskError
from stepbridge.store import Store

_MIGRATIONS = [
    """
    CREATE TABLE mocked_executions (
        execution INTEGER PRIMARY KEY,
        machine TEXT NOT NULL,
        test_case TEXT NOT NULL
    ) STRICT;
    CREATE TABLE mocked_calls (
        execution INTEGER NOT NULL,
        state TEXT NOT NULL,
        calls INTEGER NOT NULL,
        PRIMARY KEY (execution, state)
    ) STRICT, WITHOUT ROWID;
    """,
    "DROP TABLE mocked_calls;",  # responses are chosen by the retries that an execution's state tells of
]


class Mocks:
    """Which executions run which test case.

    A state's responses are for its attempts: the first call is attempt 0, wherever in a loop or Map, its retries are
    1, 2, and so on.
    """

    def __init__(self, store: Store, configuration: MockConfiguration) -> None:
        store.migrate("step-functions-local", _MIGRATIONS)
        self._store = store
        self._configuration = configuration

    def check(self, machine: str, test_case: str, states: Iterable[str]) -> None:
        """Raise AwsError unless the state machine with the name `machine` has the test case, and its states."""
        cases = self._configuration.machines.get(machine, {})
        if test_case not in cases:
            known = f"it has {', '.join(cases)}" if cases else "it has none"
            raise _invalid(f"The mock configuration has no test case '{test_case}' for {machine}: {known}.")
        unknown = cases[test_case].keys() - set(states)
        if unknown:
            raise _invalid(f"Test case '{test_case}' mocks the state '{min(unknown)}', which {machine} has not.")

    def begin(self, execution: int, machine: str, test_case: str) -> None:
        """The execution with row id `execution` runs `test_case`."""
        self._store.execute("INSERT INTO mocked_executions VALUES (?, ?, ?)", (execution, machine, test_case))

    def answers(self, call: TaskCall) -> bool:
        """Whether the call is mocked."""
        return self._responses(call) is not None

    async def __call__(self, call: TaskCall) -> Json:
        responses = self._responses(call) or ()
        response = find(responses, call.retry)
        if response is None:
            cause = f"The mock configuration has no response to attempt {call.retry} of the state '{call.state_name}'"
            raise TaskError("States.Runtime", cause)
        if response.error is not None:
            raise TaskError(response.error, response.cause)
        return response.output

    def _responses(self, call: TaskCall) -> Responses | None:
        row = self._store.query_one(
            "SELECT machine, test_case FROM mocked_executions WHERE execution = ?", (call.execution,)
        )
        if row is None:
            return None
        return self._configuration.machines.get(row["machine"], {}).get(row["test_case"], {}).get(call.state_name)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message, status=400)
