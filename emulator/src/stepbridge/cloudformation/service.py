"""The API of CloudFormation."""

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from typing import Any

from botocore.model import StructureShape

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members, Service
from stepbridge.clock import Clock
from stepbridge.cloudformation.blueprint import Blueprint, make_blueprint
from stepbridge.cloudformation.changes import Change, changes
from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.operations import STACK_TYPE, Operation
from stepbridge.cloudformation.parameters import as_text
from stepbridge.cloudformation.records import Records
from stepbridge.cloudformation.resources.base import AwsCalls, Means, Stack
from stepbridge.cloudformation.resources.shapes import service_model
from stepbridge.cloudformation.responses import Responses
from stepbridge.cloudformation.serverless import SERVERLESS, load_translator
from stepbridge.cloudformation.sources import (
    given_parameters,
    looked_up_parameters,
    template_text,
    validation_error,
)
from stepbridge.cloudformation.template import Template, parse_template
from stepbridge.settings import Settings
from stepbridge.store.database import Store
from stepbridge.trace import Trace

_PAGE = 100
# What requests may ask for that nothing here would heed.
_REFUSED = (
    "ImportExistingResources", "NotificationARNs", "ResourceTypes", "ResourcesToImport", "RoleARN",
    "RollbackConfiguration", "StackPolicyBody", "StackPolicyDuringUpdateBody", "StackPolicyDuringUpdateURL",
    "StackPolicyURL", "TimeoutInMinutes",
)  # fmt: skip
# An operation is given this many seconds before its request is answered.  The waiters of AWS's clients ask once, and
# if it is not over by then they ask again only after 15 (creation) or 30 seconds (deletion).
_PATIENCE = 2.0
_UPDATABLE = frozenset({
    "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE", "CREATE_FAILED",
    "UPDATE_FAILED",
})  # fmt: skip
_NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


_Work = Callable[[Operation], Coroutine[Any, Any, None]]


class CloudFormationService(Service):
    """Stacks, change sets, and the operations on them, which run by themselves once they are accepted.

    `endpoint` gives the emulator's URL, where `responses` of custom resources are sent.
    """

    service_name = "cloudformation"

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        trace: Trace,
        calls: AwsCalls,
        endpoint: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._records = Records(store, clock)
        self._clock = clock
        self._trace = trace
        self._calls = calls
        self.responses = Responses(endpoint)
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take up the operations that were under way when the emulator was stopped."""
        for stack in self._records.stacks():
            status = stack["StackStatus"]
            if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
                continue
            try:
                await self._resume(stack, status)
            except AwsError as error:  # e.g. what the template imports is gone
                self._operation(stack).abandon(error.message)

    async def stop(self) -> None:
        """Stop the operations under way; :meth:`start` takes them up from what is recorded."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def settled(self) -> None:
        """Return when no operation is under way."""
        while self._running:
            await asyncio.wait(self._running)

    # Stacks

    async def create_stack(self, caller: Caller, request: Members) -> Members:
        name = request["StackName"]
        if self._records.stack(name):
            raise AwsError("AlreadyExistsException", f"Stack [{name}] already exists", status=400)
        if "OnFailure" in request and "DisableRollback" in request:
            raise validation_error("Either DisableRollback or OnFailure can be specified, not both.")
        stack = self._new_stack(name)
        blueprint = await self._blueprint(stack, request, None)
        self._require_capabilities(blueprint, request, macros=True)
        self._set_target(stack, blueprint, request)
        stack["EnableTerminationProtection"] = request.get("EnableTerminationProtection", False)
        on_failure = request.get("OnFailure", "DO_NOTHING" if request.get("DisableRollback") else "ROLLBACK")
        stack["DisableRollback"] = on_failure == "DO_NOTHING"
        await self._start(stack, "CREATE_IN_PROGRESS", lambda run: run.create(blueprint, on_failure))
        return {"StackId": stack["StackId"]}

    async def update_stack(self, caller: Caller, request: Members) -> Members:
        stack = self._updatable(request["StackName"])
        blueprint = await self._blueprint(stack, request, stack)
        self._require_capabilities(blueprint, request, macros=True)
        if not self._differs(stack, blueprint):
            raise validation_error("No updates are to be performed.")
        await self._start_update(stack, blueprint, request)
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
        for output in stack.get("Outputs", []):
            for other in self._records.stacks():
                if output.get("ExportName") in other.get("imports", []):
                    raise validation_error(
                        f"Export {output['ExportName']} cannot be deleted as it is in use by {other['StackName']}"
                    )
        retained = request.get("RetainResources", [])
        if retained and stack["StackStatus"] != "DELETE_FAILED":
            raise validation_error(
                f"Invalid operation on stack [{stack['StackId']}]. Resources can only be retained when the stack is in "
                "the DELETE_FAILED state."
            )
        self._records.delete_change_sets(each["ChangeSetId"] for each in self._records.change_sets(stack["StackId"]))
        await self._start(stack, "DELETE_IN_PROGRESS", lambda run: run.delete(retained))
        return {}

    async def continue_update_rollback(self, caller: Caller, request: Members) -> Members:
        stack = self._in_state(request["StackName"], "UPDATE_ROLLBACK_FAILED")
        skipped = request.get("ResourcesToSkip", [])
        await self._start(
            stack, "UPDATE_ROLLBACK_IN_PROGRESS", lambda run: run.roll_back_update(stack["previous"], skipped)
        )
        return {}

    async def rollback_stack(self, caller: Caller, request: Members) -> Members:
        stack = self._in_state(request["StackName"], "CREATE_FAILED", "UPDATE_FAILED")
        if stack["StackStatus"] == "CREATE_FAILED":
            await self._start(stack, "ROLLBACK_IN_PROGRESS", lambda run: run.roll_back_creation())
        else:
            await self._start(stack, "UPDATE_ROLLBACK_IN_PROGRESS", lambda run: run.roll_back_update(stack["previous"]))
        return {"StackId": stack["StackId"]}

    async def describe_stacks(self, caller: Caller, request: Members) -> Members:
        name = request.get("StackName")
        if name is None:
            return {"Stacks": [_public("Stack", stack) for stack in self._records.stacks()]}
        return {"Stacks": [_public("Stack", self._stack(name))]}

    async def list_stacks(self, caller: Caller, request: Members) -> Members:
        wanted = request.get("StackStatusFilter")
        return {
            "StackSummaries": [
                {**_public("StackSummary", stack), "TemplateDescription": stack.get("Description")}
                for stack in self._records.stacks(deleted=True)
                if not wanted or stack["StackStatus"] in wanted
            ]
        }

    async def update_termination_protection(self, caller: Caller, request: Members) -> Members:
        stack = self._stack(request["StackName"])
        stack["EnableTerminationProtection"] = request["EnableTerminationProtection"]
        self._records.save_stack(stack)
        await self._records.committed()
        return {"StackId": stack["StackId"]}

    # What a stack has and went through

    async def describe_stack_events(self, caller: Caller, request: Members) -> Members:
        name = request.get("StackName")
        stack = self._records.stack(name) if name else None
        if stack is None:
            raise validation_error(f"Stack [{name}] does not exist")
        before = int(request["NextToken"]) if request.get("NextToken", "").isdigit() else None
        events, more = self._records.events(stack["StackId"], before, _PAGE)
        return {"StackEvents": events, **({"NextToken": str(more)} if more else {})}

    async def describe_stack_resource(self, caller: Caller, request: Members) -> Members:
        stack = self._stack(request["StackName"], "Stack '{}' does not exist")
        resource = self._records.resource(stack["StackId"], request["LogicalResourceId"])
        if resource is None:
            raise validation_error(
                f"Resource {request['LogicalResourceId']} does not exist for stack {stack['StackName']}"
            )
        return {"StackResourceDetail": _public("StackResourceDetail", _with_metadata(resource))}

    async def describe_stack_resources(self, caller: Caller, request: Members) -> Members:
        if "StackName" in request:
            stack = self._stack(request["StackName"])
        elif "PhysicalResourceId" in request:
            found = self._records.resource_by_physical_id(request["PhysicalResourceId"])
            if found is None:
                raise validation_error(f"Stack for {request['PhysicalResourceId']} does not exist")
            stack = self._stack(found["StackId"])
        else:
            raise validation_error("Either StackName or PhysicalResourceId must be specified")
        wanted = request.get("LogicalResourceId")
        return {
            "StackResources": [
                {**_public("StackResource", each), "Timestamp": each["LastUpdatedTimestamp"]}
                for each in self._records.resources(stack["StackId"])
                if wanted in {None, each["LogicalResourceId"]}
            ]
        }

    async def list_stack_resources(self, caller: Caller, request: Members) -> Members:
        stack = self._stack(request["StackName"])
        resources = self._records.resources(stack["StackId"])
        return {"StackResourceSummaries": [_public("StackResourceSummary", each) for each in resources]}

    async def list_exports(self, caller: Caller, request: Members) -> Members:
        return {
            "Exports": [
                {"ExportingStackId": stack["StackId"], "Name": output["ExportName"], "Value": output["OutputValue"]}
                for stack in self._records.stacks()
                for output in stack.get("Outputs", [])
                if "ExportName" in output
            ]
        }

    async def list_imports(self, caller: Caller, request: Members) -> Members:
        name = request["ExportName"]
        importing = [stack["StackName"] for stack in self._records.stacks() if name in stack.get("imports", [])]
        if not importing:
            raise validation_error(f"Export '{name}' is not imported by any stack.")
        return {"Imports": importing}

    # Change sets

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
            blueprint = await self._blueprint(stack, {**request, "template": text}, None if creates else stack)
            self._require_capabilities(blueprint, request, macros=False)
        except TemplateError as error:  # a failed transform, the rest is refused at once
            change_set |= {"Status": "FAILED", "StatusReason": error.message, "ExecutionStatus": "UNAVAILABLE"}
        else:
            change_set["template"] = text
            change_set["processed"] = json.dumps(blueprint.processed.body)
            change_set["Parameters"] = _parameters(blueprint)
            change_set["Changes"] = [_change(each) for each in self._changes(stack, blueprint)]
            if not creates and not self._differs(stack, blueprint):
                change_set |= {"Status": "FAILED", "StatusReason": _NO_CHANGES, "ExecutionStatus": "UNAVAILABLE"}
        if new:
            stack["StackStatus"] = "REVIEW_IN_PROGRESS"
            self._records.save_stack(stack)
            self._stack_event(stack, "REVIEW_IN_PROGRESS", "User Initiated")
        self._records.save_change_set(change_set)
        await self._records.committed()
        return {"Id": change_set["ChangeSetId"], "StackId": stack["StackId"]}

    async def describe_change_set(self, caller: Caller, request: Members) -> Members:
        return _public_change_set(self._change_set(request))

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
        blueprint = await self._blueprint(stack, {**given, "template": change_set["template"]}, stack)
        self._records.delete_change_sets(
            each["ChangeSetId"]
            for each in self._records.change_sets(stack["StackId"])
            if each["ChangeSetId"] != change_set["ChangeSetId"]
        )
        self._records.save_change_set({**change_set, "ExecutionStatus": "EXECUTE_COMPLETE"})
        stack["ChangeSetId"] = change_set["ChangeSetId"]
        rolls_back = not request.get("DisableRollback", False)
        if creates:
            self._set_target(stack, blueprint, given)
            stack["DisableRollback"] = not rolls_back
            on_failure = given.get("OnStackFailure", "ROLLBACK") if rolls_back else "DO_NOTHING"
            await self._start(stack, "CREATE_IN_PROGRESS", lambda run: run.create(blueprint, on_failure))
        else:
            await self._start_update(stack, blueprint, {**given, "DisableRollback": not rolls_back})
        return {}

    async def delete_change_set(self, caller: Caller, request: Members) -> Members:
        change_set = self._change_set(request)
        self._records.delete_change_sets([change_set["ChangeSetId"]])
        await self._records.committed()
        return {}

    async def list_change_sets(self, caller: Caller, request: Members) -> Members:
        stack = self._stack(request["StackName"], "Stack [{}] does not exist")
        found = self._records.change_sets(stack["StackId"])
        return {"Summaries": [_public("ChangeSetSummary", each) for each in found]}

    # Templates

    async def get_template(self, caller: Caller, request: Members) -> Members:
        if "ChangeSetName" in request:
            source = self._change_set(request)
        elif "StackName" in request:
            source = self._stack(request["StackName"])
        else:
            raise validation_error("StackName is required")
        stage = request.get("TemplateStage", "Original")
        text = source.get("processed" if stage == "Processed" else "template")
        if text is None:
            raise validation_error(f"Template is not available for {source['StackName']}")
        return {"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]}

    async def get_template_summary(self, caller: Caller, request: Members) -> Members:
        previous = None
        if "StackName" in request:
            previous = self._stack(request["StackName"]).get("template")
            template = self._parse(previous or "")
        else:
            template = self._parse(await template_text(self._calls, request, None))
        summary = {
            "Parameters": [
                {
                    "ParameterKey": name,
                    "ParameterType": declaration.get("Type"),
                    "NoEcho": as_text(declaration.get("NoEcho", False)) == "true",
                    "ParameterConstraints": {
                        "AllowedValues": [as_text(value) for value in declaration.get("AllowedValues", [])]
                    },
                    **({"DefaultValue": as_text(declaration["Default"])} if "Default" in declaration else {}),
                    **({"Description": declaration["Description"]} if "Description" in declaration else {}),
                }
                for name, declaration in template.section("Parameters").items()
            ],
            "ResourceTypes": sorted(template.resource_types),
            "Version": template.body.get("AWSTemplateFormatVersion"),
            "Description": template.body.get("Description"),
            "DeclaredTransforms": template.transforms,
            "Metadata": json.dumps(template.body["Metadata"]) if "Metadata" in template.body else None,
            **_declared_capabilities(template),
        }
        return {name: value for name, value in summary.items() if value is not None}

    async def validate_template(self, caller: Caller, request: Members) -> Members:
        summary = await self.get_template_summary(caller, request)
        parameters = [
            {name: value for name, value in each.items() if name not in {"ParameterType", "ParameterConstraints"}}
            for each in summary["Parameters"]
        ]
        kept = ("Description", "DeclaredTransforms", "Capabilities", "CapabilitiesReason")
        return {"Parameters": parameters, **{name: summary[name] for name in kept if name in summary}}

    # Inside

    def _stack(self, name: str, missing: str = "Stack with id {} does not exist") -> Members:
        stack = self._records.stack(name)
        if stack is None:
            raise validation_error(missing.format(name))
        return stack

    def _updatable(self, name: str) -> Members:
        stack = self._records.stack(name)
        if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
            raise validation_error(f"Stack [{name}] does not exist")
        if stack["StackStatus"] not in _UPDATABLE:
            raise validation_error(
                f"Stack:{stack['StackId']} is in {stack['StackStatus']} state and can not be updated."
            )
        return stack

    def _in_state(self, name: str, *states: str) -> Members:
        stack = self._stack(name)
        if stack["StackStatus"] not in states:
            raise validation_error(
                f"Stack:{stack['StackId']} is in {stack['StackStatus']} state and can not be rolled back."
            )
        return stack

    def _change_set(self, request: Mapping[str, Any]) -> Members:
        name, stack_name = request["ChangeSetName"], request.get("StackName")
        if stack_name is None and not name.startswith("arn:"):
            raise validation_error("StackName must be specified if ChangeSetName is not specified as an ARN.")
        stack = self._records.stack(stack_name) if stack_name else None
        if stack_name and stack is None:
            raise validation_error(f"Stack [{stack_name}] does not exist")
        found = self._records.change_set(stack["StackId"] if stack else None, name)
        if found is None:
            raise AwsError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist", status=404)
        return found

    def _new_stack(self, name: str) -> Members:
        resource = f"stack/{name}/{uuid.uuid4()}"
        return {
            "StackId": f"arn:aws:cloudformation:{self._settings.region}:{self._settings.account}:{resource}",
            "StackName": name,
            "CreationTime": self._clock.now(),
            "DisableRollback": False,
            "EnableTerminationProtection": False,
            "RollbackConfiguration": {},
            "NotificationARNs": [],
            "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
            "Tags": [],
        }

    def _new_change_set(self, stack: Members, request: Members) -> Members:
        resource = f"changeSet/{request['ChangeSetName']}/{uuid.uuid4()}"
        kept = ("Parameters", "Tags", "Capabilities", "OnStackFailure")
        return {
            "ChangeSetId": f"arn:aws:cloudformation:{self._settings.region}:{self._settings.account}:{resource}",
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

    def _parse(self, text: str) -> Template:
        try:
            return parse_template(text)
        except TemplateError as error:
            raise validation_error(error.message) from None

    async def _blueprint(self, stack: Members, request: Members, previous: Members | None) -> Blueprint:
        """The blueprint that a request asks for.

        Raises AwsError for what CloudFormation refuses at once, TemplateError where its transform fails.
        """
        for member in _REFUSED:
            if request.get(member):
                raise validation_error(f"{member} is not supported by stepbridge.")
        before = previous or {}
        text = request.get("template") or await template_text(self._calls, request, before.get("template"))
        template = self._parse(text)
        if SERVERLESS in template.transforms:
            await asyncio.to_thread(load_translator)
        given = given_parameters(request, before.get("parameters", {}), template)
        looked_up = await looked_up_parameters(self._calls, template, given)
        tags: list[dict[str, str]] = request.get("Tags", before.get("Tags")) or []
        identity = Stack(stack["StackName"], stack["StackId"], self._settings.account, self._settings.region)
        exports = {each["Name"]: each["Value"] for each in (await self.list_exports(_INSIDE, {}))["Exports"]}
        try:
            return make_blueprint(
                template, given, identity, {tag["Key"]: tag["Value"] for tag in tags}, exports, looked_up
            )
        except TemplateError as error:
            if "ChangeSetName" in request and error.message.startswith("Transform "):
                raise
            raise validation_error(error.message) from None

    def _require_capabilities(self, blueprint: Blueprint, request: Members, *, macros: bool) -> None:
        needed = blueprint.capabilities()
        given = set(request.get("Capabilities", []))
        if "CAPABILITY_NAMED_IAM" in given:
            given.add("CAPABILITY_IAM")
        if macros and SERVERLESS in blueprint.original.transforms:
            needed = [*needed, "CAPABILITY_AUTO_EXPAND"]
        missing = [each for each in needed if each not in given]
        if missing:
            raise AwsError(
                "InsufficientCapabilitiesException", f"Requires capabilities : [{', '.join(missing)}]", status=400
            )

    def _changes(self, stack: Members, blueprint: Blueprint) -> list[Change]:
        return changes(self._records.existing(stack["StackId"]), blueprint)

    def _differs(self, stack: Members, blueprint: Blueprint) -> bool:
        if self._changes(stack, blueprint):
            return True
        existing = self._records.existing(stack["StackId"])
        try:
            outputs = blueprint.outputs(lambda name, attribute: existing[name].value(attribute))
        except TemplateError:
            return True
        if outputs != stack.get("Outputs", []):
            return True
        return dict(blueprint.tags) != {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}

    def _set_target(self, stack: Members, blueprint: Blueprint, request: Members) -> None:
        stack["parameters"] = dict(blueprint.parameters)
        stack["Parameters"] = _parameters(blueprint)
        stack["Capabilities"] = request.get("Capabilities", [])
        stack["Tags"] = [{"Key": key, "Value": value} for key, value in blueprint.tags.items()]
        stack["template"] = blueprint.original.text
        stack["processed"] = json.dumps(blueprint.processed.body)
        description = blueprint.processed.body.get("Description")
        if description is not None:
            stack["Description"] = as_text(description)
        else:
            stack.pop("Description", None)

    async def _start_update(self, stack: Members, blueprint: Blueprint, request: Members) -> None:
        # What a rollback comes back to is the last state that was complete.
        before = stack["previous"] if stack["StackStatus"] == "UPDATE_FAILED" else stack
        previous = {name: value for name, value in before.items() if name != "previous"}
        stack["previous"] = previous
        self._set_target(stack, blueprint, request)
        stack["LastUpdatedTime"] = self._clock.now()
        roll_back = not request.get("DisableRollback", False)
        await self._start(stack, "UPDATE_IN_PROGRESS", lambda run: run.update(blueprint, previous, roll_back=roll_back))

    async def _start(self, stack: Members, status: str, work: _Work) -> None:
        stack["StackStatus"] = status
        stack.pop("StackStatusReason", None)
        self._records.save_stack(stack)
        self._stack_event(stack, status, "User Initiated")
        operation = self._run(stack, work)
        await self._records.committed()
        patience = asyncio.ensure_future(self._clock.sleep(_PATIENCE))
        await asyncio.wait({operation, patience}, return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()

    async def _resume(self, stack: Members, status: str) -> None:
        if status.startswith("DELETE"):
            self._run(stack, lambda run: run.delete([]))
        elif status.startswith("ROLLBACK"):
            self._run(stack, lambda run: run.roll_back_creation())
        elif status.startswith("UPDATE_ROLLBACK"):
            self._run(stack, lambda run: run.roll_back_update(stack["previous"]))
        else:
            given = {"template": stack["template"], "Parameters": _texts(stack["parameters"])}
            blueprint = await self._blueprint(stack, given, stack)
            if status.startswith("CREATE"):
                on_failure = "DO_NOTHING" if stack["DisableRollback"] else "ROLLBACK"
                self._run(stack, lambda run: run.create(blueprint, on_failure))
            else:
                previous = stack["previous"]
                self._run(stack, lambda run: run.update(blueprint, previous, roll_back=True))

    def _operation(self, stack: Members) -> Operation:
        settings = self._settings
        means = Means(self._calls, self._clock, self.responses)
        return Operation(stack, settings.account, settings.region, self._records, means, self._trace)

    def _run(self, stack: Members, work: _Work) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work(self._operation(stack)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _stack_event(self, stack: Members, status: str, reason: str) -> None:
        self._records.add_event(
            stack, LogicalResourceId=stack["StackName"], PhysicalResourceId=stack["StackId"], ResourceType=STACK_TYPE,
            ResourceStatus=status, ResourceStatusReason=reason,
        )  # fmt: skip
        self._trace.emit(
            "cloudformation", "stack", f"{status} {stack['StackName']}", stack=stack["StackName"], status=status
        )


_INSIDE = Caller("", "")


def _texts(parameters: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]


@cache
def _structure(name: str) -> StructureShape:
    shape = service_model("cloudformation").shape_for(name)
    if not isinstance(shape, StructureShape):
        raise TypeError(f"{name} is not a structure of CloudFormation's model")
    return shape


def _public(shape: str, document: Mapping[str, Any]) -> Members:
    """The members of a document that the shape of the API has."""
    members = _structure(shape).members
    return {name: value for name, value in document.items() if name in members and value is not None}


def _public_change_set(change_set: Mapping[str, Any]) -> Members:
    return _public("DescribeChangeSetOutput", change_set)


def _with_metadata(resource: Members) -> Members:
    metadata = (resource.get("made") or {}).get("metadata")
    return {**resource, **({"Metadata": json.dumps(metadata)} if metadata is not None else {})}


def _parameters(blueprint: Blueprint) -> list[dict[str, str]]:
    declared = blueprint.original.section("Parameters")
    return [
        {
            "ParameterKey": name,
            "ParameterValue": "****" if as_text(declared[name].get("NoEcho", False)) == "true" else value,
        }
        for name, value in blueprint.parameters.items()
    ]


def _change(change: Change) -> Members:
    details = [
        {
            "Target": {
                "Attribute": "Properties",
                "Name": name,
                "RequiresRecreation": "Always" if recreates else "Never",
            },
            "Evaluation": "Static",
            "ChangeSource": "DirectModification",
        }
        for name, recreates in change.properties
    ]
    members = {
        "Action": change.action,
        "LogicalResourceId": change.logical_id,
        "PhysicalResourceId": change.physical_id,
        "ResourceType": change.type_name,
        "Replacement": change.replacement,
        "Scope": list(change.scope),
        "Details": details,
    }
    return {"Type": "Resource", "ResourceChange": {name: each for name, each in members.items() if each is not None}}


def _declared_capabilities(template: Template) -> Members:
    found = [each for each in template.resource_types if each.startswith("AWS::IAM::")]
    if not found:
        return {}
    reason = f"The following resource(s) require capabilities: [{', '.join(sorted(found))}]"
    return {"Capabilities": ["CAPABILITY_IAM"], "CapabilitiesReason": reason}
