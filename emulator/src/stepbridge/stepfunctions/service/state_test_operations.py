"""TestState: one state by itself, with the real call of a Task or a mock of its result.

https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html
"""

import random
import uuid
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

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
from stepbridge.stepfunctions.service.core import Core
from stepbridge.stepfunctions.service.integrations import TaskCall, TaskError, parameters
from stepbridge.stepfunctions.service.integrations.call import not_inspected
from stepbridge.stepfunctions.service.integrations.members import OPTIMIZED, SDK, Style
from stepbridge.stepfunctions.service.integrations.optimized import ACTIONS
from stepbridge.stepfunctions.service.integrations.sdk import find_operation
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
            variables=_json("variables", request.get("variables", "{}")),
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
    if not isinstance(state, Task) or not isinstance(state.resource, resources.Integration) or mode == "NONE":
        return
    operation = _operation(state.resource)
    if operation is not None:
        style = SDK if state.resource.service.startswith("aws-sdk:") else OPTIMIZED
        problem = _mismatch(operation.output_shape, result, style, required=mode == "STRICT")
        if problem is not None:
            raise _refused(f"Mock result schema validation error: {problem}")


def _operation(resource: resources.Integration) -> OperationModel | None:
    """The operation whose answer the mock of a Task's result stands for, where it is known."""
    if resource.pattern is not None:
        return None
    if resource.service.startswith("aws-sdk:"):
        return find_operation(resource.service.removeprefix("aws-sdk:"), resource.action)
    service = {"states": "sfn"}.get(resource.service, resource.service)
    known = f"{resource.service}:{resource.action}" in ACTIONS or resource.service in ("events", "states")
    return find_operation({"events": "eventbridge"}.get(service, service), resource.action) if known else None


def _mismatch(shape: Shape | None, value: Json, style: Style, *, required: bool, name: str = "result") -> str | None:
    """What in a mocked result is not as the service's model says, or None."""
    if shape is None:
        return None
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            return f"Field '{name}' must be an object"
        members = {style.name(member): inner for member, inner in shape.members.items()}
        if required:
            for member in map(style.name, shape.required_members):
                if member not in value:
                    return f"Required field '{member}' is missing"
        found = (
            _mismatch(members[key], item, style, required=required, name=key)
            for key, item in value.items()
            if key in members
        )
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            return f"Field '{name}' must be an array"
        found = (_mismatch(shape.member, item, style, required=required, name=name) for item in value)
    elif isinstance(shape, MapShape):
        if not isinstance(value, dict):
            return f"Field '{name}' must be an object"
        found = (_mismatch(shape.value, item, style, required=required, name=name) for item in value.values())
    else:
        return _scalar_mismatch(shape, value, name)
    return next((problem for problem in found if problem is not None), None)


def _scalar_mismatch(shape: Shape, value: Json, name: str) -> str | None:
    kind = shape.type_name
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ("integer", "long", "float", "double") and not is_number:
        return f"Field '{name}' must be a number"
    if kind == "boolean" and not isinstance(value, bool):
        return f"Field '{name}' must be a boolean"
    if kind == "string" and not isinstance(value, str):
        return f"Field '{name}' must be a string"
    if kind == "string" and getattr(shape, "enum", None) and value not in shape.enum:
        return f"Field '{name}' is not an expected value"
    return None


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
    if "errorOutput" in mock:
        error = mock["errorOutput"]
        return test.fail(Failure(error.get("error"), error.get("cause")))
    return test.succeed(_mocked(mock), configuration.get("mapIterationFailureCount"))


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
