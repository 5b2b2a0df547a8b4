"""What there is: stacks, their resources, what they went through, and what they take from each other."""

import json

from stepbridge.api.service import Caller, Members
from stepbridge.cloudformation.service.answers import public
from stepbridge.cloudformation.service.core import Core
from stepbridge.cloudformation.sources import validation_error

_PAGE = 100  # events


class InspectionOperations(Core):
    """The operations that only look at stacks."""

    async def describe_stacks(self, caller: Caller, request: Members) -> Members:
        name = request.get("StackName")
        if name is None:
            return {"Stacks": [public("Stack", stack) for stack in self._records.stacks()]}
        return {"Stacks": [public("Stack", self._stack(name))]}

    async def list_stacks(self, caller: Caller, request: Members) -> Members:
        wanted = request.get("StackStatusFilter")
        return {
            "StackSummaries": [
                {**public("StackSummary", stack), "TemplateDescription": stack.get("Description")}
                for stack in self._records.stacks(deleted=True)
                if not wanted or stack["StackStatus"] in wanted
            ]
        }

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
        return {"StackResourceDetail": public("StackResourceDetail", _with_metadata(resource))}

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
                {**public("StackResource", each), "Timestamp": each["LastUpdatedTimestamp"]}
                for each in self._records.resources(stack["StackId"])
                if wanted in {None, each["LogicalResourceId"]}
            ]
        }

    async def list_stack_resources(self, caller: Caller, request: Members) -> Members:
        stack = self._stack(request["StackName"])
        resources = self._records.resources(stack["StackId"])
        return {"StackResourceSummaries": [public("StackResourceSummary", each) for each in resources]}

    async def list_exports(self, caller: Caller, request: Members) -> Members:
        return {"Exports": self._records.exports()}

    async def list_imports(self, caller: Caller, request: Members) -> Members:
        name = request["ExportName"]
        importing = self._records.importing(name)
        if not importing:
            raise validation_error(f"Export '{name}' is not imported by any stack.")
        return {"Imports": importing}


def _with_metadata(resource: Members) -> Members:
    metadata = (resource.get("made") or {}).get("metadata")
    return {**resource, **({"Metadata": json.dumps(metadata)} if metadata is not None else {})}
