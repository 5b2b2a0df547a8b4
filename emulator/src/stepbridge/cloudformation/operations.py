"""Carrying out a blueprint: creating, updating, deleting and rolling back the resources of a stack.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html and
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html for the statuses.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.blueprint import Blueprint, Declaration, find_type
from stepbridge.cloudformation.changes import Existing
from stepbridge.cloudformation.dynamic_references import looked_up
from stepbridge.cloudformation.errors import ProviderError, ResourceError, TemplateError
from stepbridge.cloudformation.records import Done, Members, Records, existing_document
from stepbridge.cloudformation.resources.base import Made, Means, ResourceType, Stack, is_not_found
from stepbridge.cloudformation.resources.shapes import json_text
from stepbridge.cloudformation.schedule import in_order
from stepbridge.trace import Trace

_log = logging.getLogger(__name__)

STACK_TYPE = "AWS::CloudFormation::Stack"
_COMPLETE = frozenset({
    "CREATE_COMPLETE", "DELETE_COMPLETE", "ROLLBACK_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE",
})  # fmt: skip
# What a stack has of its template, and gets back when an update is rolled back.
_RESTORED = (
    "Capabilities", "Description", "Outputs", "Parameters", "Tags", "imports", "parameters", "processed", "template",
)  # fmt: skip


class Operation:
    """One operation on one stack.  Only one is under way for a stack at a time."""

    def __init__(self, stack: Members, account: str, region: str, records: Records, means: Means, trace: Trace) -> None:
        self._stack = stack
        self._identity = Stack(stack["StackName"], stack["StackId"], account, region)
        self._records = records
        self._means = means
        self._calls = means.calls
        self._clock = means.clock
        self._trace = trace
        self._existing = records.existing(stack["StackId"])
        self._done = records.done(stack["StackId"])
        self._failing = False

    async def create(self, blueprint: Blueprint, on_failure: str) -> None:
        """Create all resources.  `on_failure` is ROLLBACK, DELETE or DO_NOTHING."""
        failed = await self._apply(blueprint)
        reason = _failure("create", failed) if failed else self._set_outputs(blueprint)
        if reason is None:
            self._status("CREATE_COMPLETE")
        elif on_failure == "DO_NOTHING":
            self._status("CREATE_FAILED", reason)
        elif on_failure == "DELETE":
            self._status("DELETE_IN_PROGRESS", f"{reason} Delete requested by user.")
            await self._delete_all("DELETE_COMPLETE", "DELETE_FAILED", rollback=True)
        else:
            self._status("ROLLBACK_IN_PROGRESS", f"{reason} Rollback requested by user.")
            await self.roll_back_creation()

    async def update(self, blueprint: Blueprint, previous: Mapping[str, Any], *, roll_back: bool) -> None:
        """Make the stack what the blueprint says.  `previous` are the stack's members to come back to."""
        failed = await self._apply(blueprint)
        reason = _failure("update", failed) if failed else self._set_outputs(blueprint)
        if reason is None:
            self._status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            removed = [each for name, each in self._existing.items() if name not in blueprint.resources]
            clean = await self._clean_up([*removed, *self._replaced()])
            self._status(
                "UPDATE_COMPLETE", None if clean else "Update successful. One or more resources could not be deleted."
            )
        elif not roll_back:
            self._status("UPDATE_FAILED", reason)
        else:
            self._status("UPDATE_ROLLBACK_IN_PROGRESS", reason)
            await self.roll_back_update(previous)

    async def delete(self, retain: Iterable[str]) -> None:
        """Delete all resources but those to `retain`."""
        kept = set(retain)
        for name in kept & self._existing.keys():
            self._existing[name] = replace(self._existing[name], deletion_policy="Retain")
        await self._delete_all("DELETE_COMPLETE", "DELETE_FAILED", rollback=False)

    async def roll_back_creation(self) -> None:
        """Delete what there is of a stack whose creation failed."""
        await self._delete_all("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", rollback=True)

    def abandon(self, reason: str) -> None:
        """End an operation that cannot be taken up."""
        self._status(f"{self._stack['StackStatus'].removesuffix('_IN_PROGRESS')}_FAILED", reason)

    # Creating and updating

    async def _apply(self, blueprint: Blueprint) -> list[str]:
        async def make(name: str) -> bool:
            return await self._make(blueprint, blueprint.resources[name])

        after = {name: each.dependencies for name, each in blueprint.resources.items()}
        return await in_order(after, make, stop_on_failure=True)

    async def _make(self, blueprint: Blueprint, declaration: Declaration) -> bool:
        name = declaration.logical_id
        before = self._existing.get(name)
        verb = "CREATE" if before is None else "UPDATE"
        try:
            properties = blueprint.resolved(declaration, self._value)
            shown = blueprint.shown(declaration, self._shown_value)
        except TemplateError as error:
            return self._failed(declaration, f"{verb}_FAILED", before, error.message)
        after = Existing(
            name, declaration.type_name, Made(""), properties, declaration.dependencies, declaration.deletion_policy,
            declaration.replacement_policy, declaration.metadata, None if shown == properties else shown,
        )  # fmt: skip
        if before is None:
            return await self._create(declaration, after, "CREATE")
        if before.type_name == declaration.type_name and before.properties == properties:
            after = replace(after, made=before.made)
            record = self._records.resource(self._stack["StackId"], name)
            if record is not None and record["ResourceStatus"].endswith("_IN_PROGRESS"):
                # It was made before a restart, and is still to be waited for.
                return await self._stabilize(declaration, after, record["ResourceStatus"].removesuffix("_IN_PROGRESS"))
            self._keep(after, status=None)
            return True
        if before.type_name != declaration.type_name or find_type(declaration.type_name).needs_replacement(
            before.properties, properties
        ):
            return await self._replace(declaration, before, after)
        return await self._update(declaration, before, after)

    async def _create(self, declaration: Declaration, after: Existing, verb: str, note: str | None = None) -> bool:
        before = self._existing.get(declaration.logical_id)
        self._resource_status(declaration, f"{verb}_IN_PROGRESS", before, note, after)
        try:
            _check(declaration, after)
            made = await self._carrier(after).create(await looked_up(self._calls, after.properties))
        except ProviderError as error:
            after = replace(after, made=Made(error.physical_id))
            self._remember(Done(before, after, anew=True))
            if before is None:
                self._existing[after.logical_id] = after
            return self._failed(declaration, f"{verb}_FAILED", after if before is None else before, error.message)
        except Exception as error:  # whatever a service does, the stack's operation ends and says why
            return self._failed(declaration, f"{verb}_FAILED", before, _reason(error), after)
        after = replace(after, made=made)
        self._remember(Done(before, after, anew=True))
        self._resource_status(declaration, f"{verb}_IN_PROGRESS", after, "Resource creation Initiated")
        return await self._stabilize(declaration, after, verb)

    async def _stabilize(self, declaration: Declaration, after: Existing, verb: str) -> bool:
        """Wait for what has been made, and end the creation of it, or the update that it is a part of."""
        try:
            await self._carrier(after).stabilize(after.made, await looked_up(self._calls, after.properties))
        except Exception as error:
            self._existing[after.logical_id] = after
            return self._failed(declaration, f"{verb}_FAILED", after, _reason(error))
        if self._failing:  # what was under way when another failed is not wanted any more
            self._existing[after.logical_id] = after
            return self._failed(declaration, f"{verb}_FAILED", after, "Resource creation cancelled")
        self._keep(after, f"{verb}_COMPLETE")
        return True

    async def _replace(self, declaration: Declaration, before: Existing, after: Existing) -> bool:
        note = "Requested update requires the creation of a new physical resource; hence creating one."
        fixed = _custom_name(declaration, before, after)
        if fixed is not None:
            return self._failed(
                declaration, "UPDATE_FAILED", before,
                f"CloudFormation cannot update a stack when a custom-named resource requires replacing. "
                f"Rename {fixed} and update the stack again.",
            )  # fmt: skip
        return await self._create(declaration, after, "UPDATE", note)

    async def _update(self, declaration: Declaration, before: Existing, after: Existing) -> bool:
        after = replace(after, made=before.made)
        self._resource_status(declaration, "UPDATE_IN_PROGRESS", before, None, after)
        self._remember(Done(before, after, anew=False))  # at once: an update that fails may have done a part
        try:
            _check(declaration, after)
            old, new = [await looked_up(self._calls, each.properties) for each in (before, after)]
            made = await self._carrier(after).update(before.made, old, new)
        except Exception as error:
            return self._failed(declaration, "UPDATE_FAILED", before, _reason(error), after)
        after = replace(after, made=made)
        if made.physical_id != before.made.physical_id:  # the provider of a custom resource made another
            self._remember(Done(before, after, anew=False))
        if self._failing:
            self._existing[after.logical_id] = after
            return self._failed(declaration, "UPDATE_FAILED", after, "Resource update cancelled")
        self._keep(after, "UPDATE_COMPLETE")
        return True

    def _set_outputs(self, blueprint: Blueprint) -> str | None:
        """Set the stack's outputs; the reason why that fails, if it does."""
        try:
            outputs = blueprint.outputs(self._value)
            for output in outputs:
                for other in self._records.stacks():
                    exported = {each.get("ExportName") for each in other.get("Outputs", [])} - {None}
                    if other["StackId"] != self._stack["StackId"] and output.get("ExportName") in exported:
                        return (
                            f"Export with name {output['ExportName']} is already exported by stack "
                            f"{other['StackName']}."
                        )
        except TemplateError as error:
            return error.message
        if (reason := self._export_in_use(outputs)) is not None:
            return reason
        self._stack["Outputs"] = outputs
        self._stack["imports"] = sorted(blueprint.imports())
        return None

    def _export_in_use(self, outputs: list[dict[str, str]]) -> str | None:
        """Why `outputs` may not take the place of the stack's: others import what would go or change."""
        new = {output["ExportName"]: output["OutputValue"] for output in outputs if "ExportName" in output}
        for output in self._stack.get("Outputs", []):
            name = output.get("ExportName")
            users = [other["StackName"] for other in self._records.stacks() if name in other.get("imports", [])]
            if users and new.get(name) != output["OutputValue"]:
                done = "updated" if name in new else "deleted"
                return f"Export {name} cannot be {done} as it is in use by {' and '.join(users)}"
        return None

    # Rolling back and deleting

    async def roll_back_update(self, previous: Mapping[str, Any], skipped: Iterable[str] = ()) -> None:
        """Undo what was done since the stack was `previous`, but to those resources that are to be `skipped`."""
        failed: list[str] = []
        discarded: list[Existing] = []
        undone: list[Existing] = []
        for done in reversed(self._done):
            before, after = done.before, done.after
            if before is None:
                discarded.append(after)
                continue
            if before in undone:  # the same update, as it was begun and as it ended
                continue
            undone.append(before)
            if before.logical_id in skipped:
                self._keep(self._existing[before.logical_id], "UPDATE_COMPLETE")
                continue
            self._resource_status(before, "UPDATE_IN_PROGRESS", before)
            made = before.made
            if done.anew:
                discarded.append(after)
            else:
                try:
                    old, new = [await looked_up(self._calls, each.properties) for each in (after, before)]
                    made = await self._carrier(before).update(after.made, old, new)
                except Exception as error:
                    self._resource_status(before, "UPDATE_FAILED", before, _reason(error))
                    failed.append(before.logical_id)
                    continue
                if made.physical_id != after.made.physical_id:
                    discarded.append(after)
            self._keep(replace(before, made=made), "UPDATE_COMPLETE")
        for name in _RESTORED:
            if name in previous:
                self._stack[name] = previous[name]
            else:
                self._stack.pop(name, None)
        if failed:
            self._status("UPDATE_ROLLBACK_FAILED", _failure("update", failed))
            return
        self._status("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        await self._clean_up(discarded)
        self._status("UPDATE_ROLLBACK_COMPLETE")

    def _replaced(self) -> list[Existing]:
        """The resources in whose place there is another one now."""
        return [
            done.before
            for done in self._done
            if done.before is not None and done.before.made.physical_id != done.after.made.physical_id
        ]

    async def _delete_all(self, complete: str, incomplete: str, *, rollback: bool) -> None:
        dependents: dict[str, set[str]] = {name: set() for name in self._existing}
        for name, existing in self._existing.items():
            for needed in existing.dependencies & dependents.keys():
                dependents[needed].add(name)

        async def remove(name: str) -> bool:
            return await self._remove(self._existing[name], keeps_record=False, rollback=rollback)

        after = {name: frozenset(needed) for name, needed in dependents.items()}
        failed = await in_order(after, remove, stop_on_failure=False)
        if failed:
            self._status(incomplete, _failure("delete", failed))
            return
        self._stack.pop("Outputs", None)
        if complete == "DELETE_COMPLETE":
            self._stack["DeletionTime"] = self._clock.now()
        self._status(complete)

    async def _clean_up(self, unwanted: list[Existing]) -> bool:
        """Delete what an update or its rollback left over, dependents first; whether all of it went."""
        waiting, clean = list(unwanted), True
        while waiting:
            needed = set().union(*(each.dependencies for each in waiting))
            free = [each for each in waiting if each.logical_id not in needed] or waiting[:1]
            for existing in free:
                waiting.remove(existing)
                current = self._existing.get(existing.logical_id)
                replaced = current is not None and current.made.physical_id != existing.made.physical_id
                clean &= await self._remove(existing, keeps_record=replaced, rollback=False)
        return clean

    async def _remove(self, existing: Existing, *, keeps_record: bool, rollback: bool) -> bool:
        """Delete one resource; `keeps_record` where the logical id has another physical resource by now."""
        policy = existing.replacement_policy if keeps_record else existing.deletion_policy
        if policy == "Retain" or (policy == "RetainExceptOnCreate" and not rollback):
            self._resource_status(existing, "DELETE_SKIPPED", existing, saved=not keeps_record)
            self._existing.pop(existing.logical_id, None) if not keeps_record else None
            return True
        self._resource_status(existing, "DELETE_IN_PROGRESS", existing, saved=not keeps_record)
        try:
            await self._carrier(existing).delete(existing.made, existing.properties)
        except Exception as error:
            if not (isinstance(error, AwsError) and is_not_found(error)):
                self._resource_status(existing, "DELETE_FAILED", existing, _reason(error), saved=not keeps_record)
                return False
        if not keeps_record:
            self._existing.pop(existing.logical_id, None)
        self._resource_status(existing, "DELETE_COMPLETE", existing, saved=not keeps_record)
        return True

    # What is recorded

    def _value(self, name: str, attribute: str | None) -> Any:
        return self._existing[name].value(attribute)

    def _shown_value(self, name: str, attribute: str | None) -> Any:
        return self._existing[name].shown_value(attribute)

    def _carrier(self, existing: Existing) -> ResourceType:
        carrier = find_type(existing.type_name)
        return carrier(self._identity, existing.logical_id, existing.type_name, self._means)

    def _remember(self, done: Done) -> None:
        self._done.append(done)
        self._records.add_done(self._identity.stack_id, done)

    def _keep(self, existing: Existing, status: str | None) -> None:
        """Record a resource that is now so; with an event if there is a `status`."""
        self._existing[existing.logical_id] = existing
        if status is not None:
            self._resource_status(existing, status, existing)
            return
        record = self._records.resource(self._stack["StackId"], existing.logical_id)
        if record is not None:
            self._records.save_resource({**record, "made": existing_document(existing)})

    def _failed(
        self, declaration: Declaration, status: str, existing: Existing | None, reason: str,
        attempted: Existing | None = None,
    ) -> bool:  # fmt: skip
        self._failing = True
        self._resource_status(declaration, status, existing, reason, attempted)
        return False

    def _resource_status(
        self, resource: Declaration | Existing, status: str, existing: Existing | None, reason: str | None = None,
        attempted: Existing | None = None, *, saved: bool = True,
    ) -> None:  # fmt: skip
        """Record that `resource` is now `status`: there is `existing`, and `attempted` is what it should become."""
        physical_id = existing.made.physical_id if existing else ""
        if saved:
            kept = existing is not None and status not in {"DELETE_COMPLETE", "DELETE_SKIPPED"}
            self._records.save_resource(
                {
                    "StackId": self._stack["StackId"],
                    "StackName": self._stack["StackName"],
                    "LogicalResourceId": resource.logical_id,
                    "PhysicalResourceId": physical_id,
                    "ResourceType": resource.type_name,
                    "ResourceStatus": status,
                    "ResourceStatusReason": reason,
                    "LastUpdatedTimestamp": self._clock.now(),
                    "made": existing_document(existing) if existing is not None and kept else None,
                }
            )
        told = attempted or existing
        properties = (told.properties if told.shown is None else told.shown) if told else {}
        self._event(resource.logical_id, physical_id, resource.type_name, status, reason, json_text(dict(properties)))

    def _status(self, status: str, reason: str | None = None) -> None:
        self._stack["StackStatus"] = status
        if reason is None:
            self._stack.pop("StackStatusReason", None)
        else:
            self._stack["StackStatusReason"] = reason
        self._records.save_stack(self._stack)
        if status in _COMPLETE:
            self._records.forget_done(self._identity.stack_id)
        self._event(self._identity.name, self._identity.stack_id, STACK_TYPE, status, reason)

    def _event(
        self, logical_id: str, physical_id: str, type_name: str, status: str, reason: str | None,
        properties: str | None = None,
    ) -> None:  # fmt: skip
        self._records.add_event(
            self._stack, LogicalResourceId=logical_id, PhysicalResourceId=physical_id, ResourceType=type_name,
            ResourceStatus=status, ResourceStatusReason=reason, ResourceProperties=properties,
        )  # fmt: skip
        self._trace.emit(
            "cloudformation", "resource", f"{status} {type_name} {logical_id}" + (f": {reason}" if reason else ""),
            stack=self._identity.name, logical_id=logical_id, type=type_name, status=status,
        )  # fmt: skip


def _check(declaration: Declaration, wanted: Existing) -> None:
    """Raise ResourceError if the properties, now that all are known, are not what the type takes."""
    if problems := list(declaration.resource_type.check(wanted.properties)):
        raise ResourceError(
            f"Properties validation failed for resource {declaration.logical_id} with message:\n[{', '.join(problems)}]"
        )


def _failure(verb: str, names: list[str]) -> str:
    return f"The following resource(s) failed to {verb}: [{', '.join(names)}]."


def _custom_name(declaration: Declaration, before: Existing, after: Existing) -> str | None:
    """The name that a replacement would take a second time, if the template gives the resource a name of its own."""
    if before.type_name != after.type_name:
        return None
    for name, value in after.properties.items():
        declared = declaration.resource_type.properties.get(name)
        named = declared is not None and declared.replace and name.endswith("Name") and not declared.required
        if named and value == before.made.physical_id == before.properties.get(name):
            return str(value)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, ResourceError):
        return error.message
    if isinstance(error, AwsError):
        return f'Resource handler returned message: "{error.message}" (HandlerErrorCode: {_handler_code(error)})'
    _log.error("a resource handler failed", exc_info=error)
    return f'Resource handler returned message: "{type(error).__name__}: {error}" (HandlerErrorCode: InternalFailure)'


def _handler_code(error: AwsError) -> str:
    """The handler error code that stands for an error of a service.

    https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-test-contract-errors.html
    """
    code = error.code
    if is_not_found(error):
        return "NotFound"
    if "AlreadyExist" in code or "Conflict" in code or "EntityAlreadyExists" in code:
        return "AlreadyExists"
    if "AccessDenied" in code or "Unauthorized" in code:
        return "AccessDenied"
    if "Throttl" in code or "TooManyRequests" in code:
        return "Throttling"
    if "LimitExceeded" in code:
        return "ServiceLimitExceeded"
    return "InvalidRequest"
