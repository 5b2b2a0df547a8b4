"""`states:startExecution`: executions that are started by a task, and waited for by it in the pattern `.sync`.

https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html
"""

import json
import uuid
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.models import operation_model
from stepbridge.api.validation import validate
from stepbridge.stepfunctions.interpreter.messages import ExecutionStopped, Json
from stepbridge.stepfunctions.language.resources import SYNC, SYNC_2, Integration
from stepbridge.stepfunctions.service.execution_operations import ExecutionOperations, Parent
from stepbridge.stepfunctions.service.integrations import TaskCall
from stepbridge.stepfunctions.service.integrations.aws_calls import refused
from stepbridge.stepfunctions.service.integrations.members import OPTIMIZED, to_members, to_output
from stepbridge.stepfunctions.service.integrations.sdk_metadata import http_metadata, new_request_id, to_json
from stepbridge.stepfunctions.service.runner import Finished


class ChildExecutions(ExecutionOperations):
    """Starts executions for tasks, tells the tasks of their ends, and stops them when nobody waits any more."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._integrations.add("states:startExecution", self._start_child)
        self._runner.listeners.append(self._tell_parent)
        self._runner.listeners.append(self._stop_children)
        self._runner.cancelled.append(self._stop_child)

    async def _start_child(self, call: TaskCall) -> Json:
        parameters = call.parameters
        text = parameters.get("Input")
        if not isinstance(text, str):
            text = to_json({} if text is None else text)
        pattern = call.resource.pattern if isinstance(call.resource, Integration) else None
        parent = Parent(call.execution, call.task, pattern) if pattern in (SYNC, SYNC_2) else None
        name = parameters.get("Name") or str(uuid.uuid4())
        operation = operation_model("stepfunctions", "StartExecution")
        try:
            validate("stepfunctions", operation.input_shape, to_members(operation.input_shape, parameters, OPTIMIZED))
            await call.authorize(operation, {"stateMachineArn": parameters["StateMachineArn"]})
            arn, started = self._start(
                parameters["StateMachineArn"], name, text, parameters.get("TraceHeader"), parent=parent
            )
        except AwsError as error:
            raise refused("StepFunctions", "AWSStepFunctions", operation, error) from None
        output = {"ExecutionArn": arn, "StartDate": round(started * 1000)}
        headers = {"Content-Type": "application/x-amz-json-1.0", "Content-Length": str(len(to_json(output)))}
        return {**output, **http_metadata(call.time, headers, new_request_id())}

    def _tell_parent(self, finished: Finished) -> None:
        if not finished.is_child:
            return
        row = self._store.query_one(
            "SELECT parent, parent_task, parent_pattern FROM executions WHERE id = ?", (finished.execution,)
        )
        if row is None or row["parent"] is None:
            return
        shape = operation_model("stepfunctions", "DescribeExecution").output_shape
        members = {
            name: value for name, value in self._describe(finished.arn).items() if not name.startswith("redrive")
        }
        description: dict[str, Json] = to_output(shape, members, OPTIMIZED)
        if finished.outcome.status != "SUCCEEDED":
            answer: dict[str, Json] = {"error": "States.TaskFailed", "cause": to_json(description)}
        else:
            if row["parent_pattern"] == SYNC_2:
                description["Input"] = json.loads(description["Input"])
                description["Output"] = json.loads(description["Output"])
            answer = {"output": description}
        self._runner.complete(row["parent"], row["parent_task"], answer)

    def _stop_children(self, finished: Finished) -> None:
        if finished.outcome.status == "SUCCEEDED":  # with all that it waited for
            return
        for row in self._store.query(
            "SELECT id FROM executions WHERE parent = ? AND status = 'RUNNING'", (finished.execution,)
        ):
            self._runner.deliver(row["id"], ExecutionStopped(None, None))

    def _stop_child(self, execution: int, task: int) -> None:
        for row in self._store.query(
            "SELECT id FROM executions WHERE parent = ? AND parent_task = ? AND status = 'RUNNING'", (execution, task)
        ):
            self._runner.deliver(row["id"], ExecutionStopped(None, None))
