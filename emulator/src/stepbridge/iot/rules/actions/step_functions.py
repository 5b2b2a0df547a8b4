"""stepFunctions: starts an execution with the output as its input (developerguide/stepfunctions-rule-action.html)."""

import uuid
from collections.abc import Mapping

from stepbridge.iot.rules.actions.base import Action, Delivery, Members, TemplateCompiler


class StepFunctionsAction(Action):
    """The execution's name is the prefix, if there is one, and a UUID."""

    name = "stepFunctions"
    service = "AWSStepFunctions"
    failure = "Failed to start Step Functions execution"
    target_member = "stateMachineName"
    target_label = "State machine name"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__(members, compile_template)
        self._prefix = self.optional_template("executionNamePrefix")

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises AwsError, StateMachineDoesNotExist and others."""
        arn = delivery.arn("states", f"stateMachine:{await delivery.text(self.target)}")
        prefix = "" if self._prefix is None else await delivery.text(self._prefix)
        await self.authorize(delivery, "states:StartExecution", arn)
        await delivery.services.calls.call(
            "stepfunctions",
            "StartExecution",
            stateMachineArn=arn,
            name=f"{prefix}{uuid.uuid4()}",
            input=delivery.payload_text(),
        )
        return {"StateMachineArn": arn}
