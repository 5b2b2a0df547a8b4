"""TestState: one state by itself, with the real call of a Task or a mock of its result.

https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html
"""

import random
import uuid
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.stepfunctions import language
from stepbridge.stepfunctions.interpreter import Environment, ExecutionContext
from stepbridge.stepfunctions.interpreter.failures import Failure
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.interpreter.test_state import Outcome, StateTest
from stepbridge.stepfunctions.language import json_text, resources
from stepbridge.stepfunctions.language.definition import Map, Parallel, State, Task
from stepbridge.stepfunctions.language.parser import TESTED_STATE
from stepbridge.stepfunctions.service import arns
from stepbridge.stepfunctions.service.core import Core
from stepbridge.stepfunctions.service.integrations import TaskCall, TaskError, mock_results, parameters
from stepbridge.stepfunctions.service.integrations.call import not_inspected
from stepbridge.stepfunctions.service.integrations.sdk_metadata import to_json

_CONTEXT_FIELDS = ("Execution", "State", "StateMachine", "Task")
_LEVELS_WITH_DATA = ("DEBUG", "TRACE")


class StateTestOperations(Core):
    """The operation TestState."""

    async def test_state(self, caller: Caller, request: Members) -> Members:
        state = _find_state(request)
        mock, configuration = request.get("mock"), request.get("stateConfiguration", {})
        _check_request(request, state)
        region, account = self._settings.region, self._settings.account
        machine, name = str(uuid.uuid4()), str(uuid.uuid4())
        test = StateTest(
            state=state,
            execution=ExecutionContext(
                execution_arn=f"arn:aws:states:{region}:{account}:express:{machine}:{name}",
                name=name,
                role_arn=request.get("roleArn", ""),
                start_time=self._clock.now(),
                state_machine_arn=f"arn:aws:states:{region}:{account}:stateMachine:{machine}",
                state_machine_name=machine,
                region=region,
                account=account,
                express=True,
            ),
            input=_json("input", request.get("input", "{}")),
            environment=Environment(
                now=self._clock.now(),
                random=random.Random(),  # noqa: S311 - for States.MathRandom
                new_task_token=lambda task: self._sealer.task_token(0, task),
                parameter_problems=parameters.problems,
            ),
            variables=_variables(request),
            context_override=_context(request),
            retries=configuration.get("retrierRetryCount", 0),
        )
        outcome = test.begin(configuration.get("mapItemReaderData"))
        if outcome is None and mock is not None:
            outcome = _with_mock(test, mock, configuration)
        elif outcome is None:
            outcome = await self._with_call(test, state, request)
        return _answer(outcome, request.get("inspectionLevel", "INFO"))

    async def _with_call(self, test: StateTest, state: State, request: Members) -> Outcome:
        if not isinstance(state, Task):
            raise AwsError("ValidationException", f"State type '{state.type}' needs a mock")
        integration = self._integrations.find(state.resource)
        if integration is None:
            return test.fail(Failure("States.Runtime", f"stepbridge cannot emulate {state.resource.arn}"))
        call = TaskCall(
            resource=state.resource,
            parameters=test.parameters,
            execution=0,
            execution_arn=test.execution.execution_arn,
            task=0,
            state_name=state.name,
            time=self._clock.now(),
            authorize=self._integrations.authorizer(request.get("roleArn"), test.execution.execution_arn),
            inspect=test.inspection.__setitem__ if request.get("inspectionLevel") == "TRACE" else not_inspected,
            reveal_secrets=request.get("revealSecrets", False),
        )
        try:
            return test.succeed(await integration(call))
        except TaskError as error:
            return test.fail(Failure(error.error, error.cause))


def _find_state(request: Members) -> State:
    """The state to test.  Raises AwsError InvalidDefinition or ValidationException."""
    name = request.get("stateName")
    try:
        if name is None:
            return language.parse_state(request["definition"], parameters.problems).states[TESTED_STATE]
        states = language.parse(request["definition"], check_parameters=parameters.problems).states
    except language.InvalidDefinition as error:
        raise AwsError("InvalidDefinition", error.message) from None
    if name not in states:
        raise AwsError("ValidationException", "State not found in definition")
    return states[name]


def _check_request(request: Members, state: State) -> None:
    """Raise AwsError unless what is asked for goes with the state and with each other."""
    if "roleArn" in request:
        arns.check_role(request["roleArn"])
    mock, configuration = request.get("mock"), request.get("stateConfiguration", {})
    if mock is None:
        for name in ("context" if "context" in request else None, *configuration):
            if name is not None:
                field = name[0].upper() + name[1:]
                raise _refused(f"TestState does not support {field} when a mock is not specified.")
        if isinstance(state, Map | Parallel):
            raise AwsError(
                "InvalidDefinition",
                "TestState API does not support Map or Parallel states. "
                "Supported state types include: [Task, Wait, Pass, Succeed, Fail, Choice]",
            )
        if isinstance(state, Task) and not _is_request_response(state.resource):
            raise AwsError(
                "InvalidDefinition",
                "TestState API supports activities and the .sync and .waitForTaskToken patterns only when a mock is "
                "specified",
            )
        if isinstance(state, Task) and "roleArn" not in request:
            raise _refused("RoleArn must be specified when testing a Task state")
        return
    if not isinstance(state, Task | Map | Parallel):
        raise _refused(f"State type '{state.type}' is not supported when a mock is specified")
    if request.get("revealSecrets"):
        raise _refused("TestState does not support RevealSecrets when a mock is specified.")
    if ("result" in mock) == ("errorOutput" in mock):
        raise _refused("A test mock should have only one of the following fields: [result, errorOutput].")
    if "result" not in mock:
        return
    result = _mocked(mock)
    mode = mock.get("fieldValidationMode", "STRICT")
    if isinstance(state, Map | Parallel) and mode != "NONE":
        writes = isinstance(state, Map) and state.result_writer is not None and state.result_writer.resource is not None
        if writes and not isinstance(result, dict):
            raise _refused("Mocked result must be a JSON object.")
        if not writes and not isinstance(result, list):
            raise _refused("Mocked result must be an array.")
    if isinstance(state, Task) and isinstance(state.resource, resources.Integration) and mode != "NONE":
        problem = mock_results.problem(state.resource, result, strict=mode == "STRICT")
        if problem is not None:
            raise _refused(f"Mock result schema validation error: {problem}")


def _is_request_response(resource: resources.Resource) -> bool:
    """Whether a Task's result is the answer to its call: TestState does not wait for anything else.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_TestState.html
    """
    if isinstance(resource, resources.Integration):
        return resource.pattern is None
    return isinstance(resource, resources.LambdaFunction)


def _variables(request: Members) -> dict[str, Json]:
    variables = _json("variables", request.get("variables", "{}"))
    if not isinstance(variables, dict):
        raise _refused("Invalid variables provided: they must be a JSON object")
    return variables


def _context(request: Members) -> Json:
    """The context object that the test gives, or None."""
    if "context" not in request:
        return None
    context = _json("context", request["context"])
    if not isinstance(context, dict):
        raise _refused("Invalid Context object provided: it must be a JSON object")
    for name in context:
        if name == "Map":
            raise _refused(
                "Invalid Context object provided: 'Map' field is not supported when mocking a Context object"
            )
        if name not in _CONTEXT_FIELDS:
            raise _refused(f"Invalid Context object provided: Field '{name}' is not allowed")
        if not isinstance(context[name], dict):
            raise _refused(f"Invalid Context object provided: Field '{name}' must be an object")
    return context


def _with_mock(test: StateTest, mock: Members, configuration: Members) -> Outcome:
    failed = configuration.get("mapIterationFailureCount")
    if failed is not None and test.item_count is not None and failed > test.item_count:
        raise _refused(f"MapIterationFailureCount is {failed}, but the Map has {test.item_count} items")
    if "errorOutput" in mock:
        error = mock["errorOutput"]
        return test.fail(Failure(error.get("error"), error.get("cause")))
    return test.succeed(_mocked(mock), failed)


def _mocked(mock: Members) -> Json:
    try:
        return json_text.parse(mock["result"])
    except json_text.JsonError:
        raise _refused("Mocked result must be valid JSON") from None


def _answer(outcome: Outcome, level: str) -> Members:
    return {
        "status": outcome.status,
        "output": to_json(outcome.output) if outcome.has_output else None,
        "error": outcome.error,
        "cause": outcome.cause,
        "nextState": outcome.next_state,
        "inspectionData": outcome.inspection if level in _LEVELS_WITH_DATA else None,
    }


def _json(name: str, text: str) -> Any:
    try:
        return json_text.parse(text)
    except json_text.JsonError as error:
        if name == "input":
            message = f"Invalid State Machine Execution Input: '{error}'"
            raise AwsError("InvalidExecutionInput", message) from None
        raise _refused(f"Invalid JSON in {name}: {error}") from None


def _refused(message: str) -> AwsError:
    return AwsError("ValidationException", message)
