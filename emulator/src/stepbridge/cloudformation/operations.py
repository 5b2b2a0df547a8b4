"""Carrying out a blueprint: creating, updating, deleting and rolling back the resources of a stack.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html and
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html for the statuses.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock
from stepbridge.cloudformation.blueprint import Blueprint, Declaration, find_type
from stepbridge.cloudformation.changes import Existing
from stepbridge.cloudformation.dynamic_references import looked_up
from stepbridge.cloudformation.errors import ResourceError, TemplateError
from stepbridge.cloudformation.records import Members, Records
from stepbridge.cloudformation.resources.base import AwsCalls, Made, ResourceType, Stack, is_not_found
from stepbridge.cloudformation.resources.shapes import json_text
from stepbridge.cloudformation.schedule import in_order
from stepbridge.trace import Trace

_log = logging.getLogger(__name__)

STACK_TYPE = "AWS::CloudFormation::Stack"


@dataclass(frozen=True, slots=True)
class _Done:
    """Something that an update did, and a rollback undoes: `before` became `after`; None is nothing."""

    before: Existing | None
    after: Existing | None


class Operation:
    """One operation on one stack.  Only one is under way for a stack at a time."""

    def __init__(
        self, stack: Members, account: str, region: str, records: Records, calls: AwsCalls, clock: Clock, trace: Trace
    ) -> None:
        self._stack = stack
        self._identity = Stack(stack["StackName"], stack["StackId"], account, region)
        self._records = records
        self._calls = calls
        self._clock = clock
        self._trace = trace
        self._existing = records.existing(stack["StackId"])
        self._done: list[_Done] = []
        self._leftovers: list[Existing] = []
        self._reasons: dict[str, str] = {}

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
            clean = await self._clean_up([*removed, *self._leftovers])
            self._status(
                "UPDATE_COMPLETE", None if clean else "Update successful. One or more resources could not be deleted."
            )
        elif not roll_back:
            self._status("UPDATE_FAILED", reason)
        else:
            self._status("UPDATE_ROLLBACK_IN_PROGRESS", reason)
            await self._roll_back(previous)

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
        except TemplateError as error:
            self._resource_status(declaration, f"{verb}_FAILED", before, reason=error.message)
            return False
        after = Existing(
            name, declaration.type_name, Made(""), properties, declaration.dependencies, declaration.deletion_policy,
            declaration.replacement_policy, declaration.metadata,
        )  # fmt: skip
        if before is None:
            return await self._create(declaration, after, "CREATE")
        if before.type_name == declaration.type_name and before.properties == properties:
            self._keep(replace(after, made=before.made), status=None)
            return True
        if before.type_name != declaration.type_name or find_type(declaration.type_name).needs_replacement(
            before.properties, properties
        ):
            return await self._replace(declaration, before, after)
        return await self._update(declaration, before, after)

    async def _create(self, declaration: Declaration, after: Existing, verb: str, note: str | None = None) -> bool:
        self._resource_status(declaration, f"{verb}_IN_PROGRESS", None, note, after.properties)
        problems = list(declaration.resource_type.check(after.properties))
        try:
            if problems:
                raise ResourceError(
                    f"Properties validation failed for resource {declaration.logical_id} with message:\n"
                    f"[{', '.join(problems)}]"
                )
            made = await self._carrier(after).create(await looked_up(self._calls, after.properties))
        except Exception as error:  # whatever a service does, the stack's operation ends and says why
            self._resource_status(declaration, f"{verb}_FAILED", None, _reason(error), after.properties)
            return False
        after = replace(after, made=made)
        before = self._existing.get(declaration.logical_id)
        self._done.append(_Done(before, after))
        self._resource_status(declaration, f"{verb}_IN_PROGRESS", after, "Resource creation Initiated")
        self._keep(after, f"{verb}_COMPLETE")
        return True

    async def _replace(self, declaration: Declaration, before: Existing, after: Existing) -> bool:
        note = "Requested update requires the creation of a new physical resource; hence creating one."
        fixed = _custom_name(declaration, before, after)
        if fixed is not None:
            self._resource_status(
                declaration, "UPDATE_FAILED", before,
                f"CloudFormation cannot update a stack when a custom-named resource requires replacing. "
                f"Rename {fixed} and update the stack again.",
            )  # fmt: skip
            return False
        if not await self._create(declaration, after, "UPDATE", note):
            return False
        self._leftovers.append(before)
        return True

    async def _update(self, declaration: Declaration, before: Existing, after: Existing) -> bool:
        self._resource_status(declaration, "UPDATE_IN_PROGRESS", before, None, after.properties)
        after = replace(after, made=before.made)
        self._done.append(_Done(before, after))  # a failed update may have done a part
        try:
            problems = list(declaration.resource_type.check(after.properties))
            if problems:
                raise ResourceError(
                    f"Properties validation failed for resource {declaration.logical_id} with message:\n"
                    f"[{', '.join(problems)}]"
                )
            old, new = [await looked_up(self._calls, each.properties) for each in (before, after)]
            made = await self._carrier(after).update(before.made, old, new)
        except Exception as error:
            self._resource_status(declaration, "UPDATE_FAILED", before, _reason(error), after.properties)
            return False
        self._keep(replace(after, made=made), "UPDATE_COMPLETE")
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
        self._stack["Outputs"] = outputs
        self._stack["imports"] = sorted(blueprint.imports())
        return None

    # Rolling back and deleting

    async def _roll_back(self, previous: Mapping[str, Any]) -> None:
        failed = []
        discarded = []
        for done in reversed(self._done):
            before, after = done.before, done.after
            if before is None or after is None or before.made.physical_id != after.made.physical_id:
                if after is not None:
                    discarded.append(after)
                if before is not None:
                    self._keep(before, "UPDATE_COMPLETE")
                continue
            self._resource_status(before, "UPDATE_IN_PROGRESS", before)
            try:
                old, new = [await looked_up(self._calls, each.properties) for each in (after, before)]
                await self._carrier(before).update(after.made, old, new)
            except Exception as error:
                self._resource_status(before, "UPDATE_FAILED", before, _reason(error))
                failed.append(before.logical_id)
            else:
                self._keep(before, "UPDATE_COMPLETE")
        for name in (
            "Outputs",
            "Parameters",
            "Description",
            "Tags",
            "Capabilities",
            "template",
            "processed",
            "imports",
        ):
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

    def _carrier(self, existing: Existing) -> ResourceType:
        return find_type(existing.type_name)(self._identity, existing.logical_id, self._calls, self._clock)

    def _keep(self, existing: Existing, status: str | None) -> None:
        """Record a resource that is now so; with an event if there is a `status`."""
        self._existing[existing.logical_id] = existing
        if status is not None:
            self._resource_status(existing, status, existing)
            return
        record = self._records.resource(self._stack["StackId"], existing.logical_id)
        if record is not None:
            self._records.save_resource({**record, "made": _document(existing)})

    def _resource_status(
        self, resource: Declaration | Existing, status: str, existing: Existing | None, reason: str | None = None,
        properties: Mapping[str, Any] | None = None, *, saved: bool = True,
    ) -> None:  # fmt: skip
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
                    "made": _document(existing) if existing is not None and kept else None,
                }
            )
        shown = properties if properties is not None else (existing.properties if existing else {})
        self._event(resource.logical_id, physical_id, resource.type_name, status, reason, json_text(dict(shown)))

    def _status(self, status: str, reason: str | None = None) -> None:
        self._stack["StackStatus"] = status
        if reason is None:
            self._stack.pop("StackStatusReason", None)
        else:
            self._stack["StackStatusReason"] = reason
        self._records.save_stack(self._stack)
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


def _document(existing: Existing) -> Members:
    return {
        "physical_id": existing.made.physical_id,
        "attributes": dict(existing.made.attributes),
        "properties": dict(existing.properties),
        "dependencies": sorted(existing.dependencies),
        "deletion_policy": existing.deletion_policy,
        "replacement_policy": existing.replacement_policy,
        "metadata": existing.metadata,
    }


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
