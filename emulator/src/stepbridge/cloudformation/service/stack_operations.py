"""Stacks: create, update, delete and roll back."""

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.cloudformation.changes import differs
from stepbridge.cloudformation.service.core import Core
from stepbridge.cloudformation.service.requests import require_capabilities
from stepbridge.cloudformation.sources import validation_error


class StackOperations(Core):
    """The operations that change a stack."""

    async def create_stack(self, caller: Caller, request: Members) -> Members:
        name = request["StackName"]
        if self._records.stack(name):
            raise AwsError("AlreadyExistsException", f"Stack [{name}] already exists", status=400)
        if "OnFailure" in request and "DisableRollback" in request:
            raise validation_error("Either DisableRollback or OnFailure can be specified, not both.")
        stack = self._new_stack(name)
        blueprint = await self._requests.blueprint(stack, request, None)
        require_capabilities(blueprint, request, macros=True)
        stack["EnableTerminationProtection"] = request.get("EnableTerminationProtection", False)
        on_failure = request.get("OnFailure", "DO_NOTHING" if request.get("DisableRollback") else "ROLLBACK")
        stack["DisableRollback"] = on_failure == "DO_NOTHING"
        await self._runner.create(stack, blueprint, request, on_failure)
        return {"StackId": stack["StackId"]}

    async def update_stack(self, caller: Caller, request: Members) -> Members:
        stack = self._updatable(request["StackName"])
        blueprint = await self._requests.blueprint(stack, request, stack)
        require_capabilities(blueprint, request, macros=True)
        if not differs(stack, self._records.existing(stack["StackId"]), blueprint):
            raise validation_error("No updates are to be performed.")
        await self._runner.update(stack, blueprint, request, roll_back=not request.get("DisableRollback", False))
        return {"StackId": stack["StackId"]}

    async def delete_stack(self, caller: Caller, request: Members) -> Members:
        stack = self._records.stack(request["StackName"])
        if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
            return {}
        name = stack["StackName"]
        if stack.get("EnableTerminationProtection"):
            raise validation_error(f"Stack [{name}] cannot be deleted while TerminationProtection is enabled")
        if stack["StackStatus"].endswith("_IN_PROGRESS") and stack["StackStatus"] != "REVIEW_IN_PROGRESS":
            if stack["StackStatus"] == "DELETE_IN_PROGRESS":
                return {}
            raise validation_error(
                f"Stack [{stack['StackId']}] cannot be deleted while in status {stack['StackStatus']}"
            )
        for export in [output["ExportName"] for output in stack.get("Outputs", []) if "ExportName" in output]:
            if importing := self._records.importing(export):
                raise validation_error(f"Export {export} cannot be deleted as it is in use by {importing[0]}")
        retained = request.get("RetainResources", [])
        if retained and stack["StackStatus"] != "DELETE_FAILED":
            raise validation_error(
                f"Invalid operation on stack [{stack['StackId']}]. Resources can only be retained when the stack is in "
                "the DELETE_FAILED state."
            )
        self._records.delete_change_sets(each["ChangeSetId"] for each in self._records.change_sets(stack["StackId"]))
        await self._runner.begin(stack, "DELETE_IN_PROGRESS", lambda run: run.delete(retained), retained=retained)
        return {}

    async def continue_update_rollback(self, caller: Caller, request: Members) -> Members:
        stack = self._in_state(request["StackName"], "UPDATE_ROLLBACK_FAILED")
        skipped = request.get("ResourcesToSkip", [])
        await self._runner.begin(
            stack,
            "UPDATE_ROLLBACK_IN_PROGRESS",
            lambda run: run.roll_back_update(stack["previous"], skipped),
            skipped=skipped,
        )
        return {}

    async def rollback_stack(self, caller: Caller, request: Members) -> Members:
        stack = self._in_state(request["StackName"], "CREATE_FAILED", "UPDATE_FAILED")
        if stack["StackStatus"] == "CREATE_FAILED":
            await self._runner.begin(stack, "ROLLBACK_IN_PROGRESS", lambda run: run.roll_back_creation())
        else:
            await self._runner.begin(
                stack, "UPDATE_ROLLBACK_IN_PROGRESS", lambda run: run.roll_back_update(stack["previous"])
            )
        return {"StackId": stack["StackId"]}

    async def update_termination_protection(self, caller: Caller, request: Members) -> Members:
        stack = self._stack(request["StackName"])
        stack["EnableTerminationProtection"] = request["EnableTerminationProtection"]
        self._records.save_stack(stack)
        await self._records.committed()
        return {"StackId": stack["StackId"]}

    def _in_state(self, name: str, *states: str) -> Members:
        stack = self._stack(name)
        if stack["StackStatus"] not in states:
            raise validation_error(
                f"Stack:{stack['StackId']} is in {stack['StackStatus']} state and can not be rolled back."
            )
        return stack
