"""Change sets: what an update or a creation would do, to be looked at before it is done."""

import json

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.cloudformation.changes import changes, differs
from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.service.answers import change_members, parameters, public
from stepbridge.cloudformation.service.core import Core
from stepbridge.cloudformation.service.requests import require_capabilities
from stepbridge.cloudformation.sources import template_text, validation_error

_NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


class ChangeSetOperations(Core):
    """The operations on change sets."""

    async def create_change_set(self, caller: Caller, request: Members) -> Members:
        name, set_name = request["StackName"], request["ChangeSetName"]
        creates = request.get("ChangeSetType", "UPDATE") == "CREATE"
        if request.get("ChangeSetType") == "IMPORT":
            raise validation_error("Change sets of type IMPORT are not supported by stepbridge")
        stack = self._records.stack(name)
        if creates:
            if stack is not None and stack["StackStatus"] != "REVIEW_IN_PROGRESS":
                raise validation_error(
                    f"Stack [{stack['StackName']}] already exists and cannot be created again with the changeSet "
                    f"[{set_name}]."
                )
        else:
            stack = self._updatable(name)
        if stack is not None and self._records.change_set(stack["StackId"], set_name):
            raise AwsError("AlreadyExistsException", f"ChangeSet [{set_name}] already exists", status=400)
        new = stack is None
        stack = stack or self._new_stack(name)
        change_set = self._new_change_set(stack, request)
        try:
            text = await template_text(self._calls, request, stack.get("template"))
            blueprint = await self._requests.blueprint(stack, {**request, "template": text}, None if creates else stack)
            require_capabilities(blueprint, request, macros=False)
        except TemplateError as error:  # a failed transform, the rest is refused at once
            change_set |= {"Status": "FAILED", "StatusReason": error.message, "ExecutionStatus": "UNAVAILABLE"}
        else:
            existing = self._records.existing(stack["StackId"])
            change_set["template"] = text
            change_set["processed"] = json.dumps(blueprint.processed.body)
            change_set["Parameters"] = parameters(blueprint)
            change_set["Changes"] = [change_members(each) for each in changes(existing, blueprint)]
            if not creates and not differs(stack, existing, blueprint):
                change_set |= {"Status": "FAILED", "StatusReason": _NO_CHANGES, "ExecutionStatus": "UNAVAILABLE"}
        if new:
            self._runner.enter(stack, "REVIEW_IN_PROGRESS")
        self._records.save_change_set(change_set)
        await self._records.committed()
        return {"Id": change_set["ChangeSetId"], "StackId": stack["StackId"]}

    async def describe_change_set(self, caller: Caller, request: Members) -> Members:
        return public("DescribeChangeSetOutput", self._change_set(request))

    async def execute_change_set(self, caller: Caller, request: Members) -> Members:
        change_set = self._change_set(request)
        if change_set["ExecutionStatus"] != "AVAILABLE":
            raise AwsError(
                "InvalidChangeSetStatus",
                f"ChangeSet [{change_set['ChangeSetId']}] cannot be executed in its current status of "
                f"[{change_set['Status']}]",
                status=400,
            )
        stack = self._stack(change_set["StackId"])
        creates = stack["StackStatus"] == "REVIEW_IN_PROGRESS"
        if not creates:
            self._updatable(change_set["StackId"])
        given = change_set["request"]
        blueprint = await self._requests.blueprint(stack, {**given, "template": change_set["template"]}, stack)
        self._records.delete_change_sets(
            each["ChangeSetId"]
            for each in self._records.change_sets(stack["StackId"])
            if each["ChangeSetId"] != change_set["ChangeSetId"]
        )
        self._records.save_change_set({**change_set, "ExecutionStatus": "EXECUTE_COMPLETE"})
        stack["ChangeSetId"] = change_set["ChangeSetId"]
        rolls_back = not request.get("DisableRollback", False)
        if creates:
            stack["DisableRollback"] = not rolls_back
            on_failure = given.get("OnStackFailure", "ROLLBACK") if rolls_back else "DO_NOTHING"
            await self._runner.create(stack, blueprint, given, on_failure)
        else:
            await self._runner.update(stack, blueprint, given, roll_back=rolls_back)
        return {}

    async def delete_change_set(self, caller: Caller, request: Members) -> Members:
        change_set = self._change_set(request)
        self._records.delete_change_sets([change_set["ChangeSetId"]])
        await self._records.committed()
        return {}

    async def list_change_sets(self, caller: Caller, request: Members) -> Members:
        stack = self._stack(request["StackName"], "Stack [{}] does not exist")
        found = self._records.change_sets(stack["StackId"])
        return {"Summaries": [public("ChangeSetSummary", each) for each in found]}

    def _new_change_set(self, stack: Members, request: Members) -> Members:
        kept = ("Parameters", "Tags", "Capabilities", "OnStackFailure")
        return {
            "ChangeSetId": self._new_arn(f"changeSet/{request['ChangeSetName']}"),
            "ChangeSetName": request["ChangeSetName"],
            "StackId": stack["StackId"],
            "StackName": stack["StackName"],
            "Description": request.get("Description"),
            "CreationTime": self._clock.now(),
            "Status": "CREATE_COMPLETE",
            "ExecutionStatus": "AVAILABLE",
            "Capabilities": request.get("Capabilities", []),
            "Tags": request.get("Tags", []),
            "NotificationARNs": [],
            "RollbackConfiguration": {},
            "IncludeNestedStacks": False,
            "Changes": [],
            "request": {name: request[name] for name in kept if name in request},
        }
