"""The operations under way: how one begins, and how it goes on after a restart.

An operation is a task of its own, and what it has done is recorded step by step.  The status of its stack says which
one it is; together with what was asked of it (`asked`), the template and parameters that the stack is on its way to,
and what an update would come back to (`previous`), that is all it takes to begin it again in another process.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Members
from stepbridge.cloudformation.blueprint import Blueprint
from stepbridge.cloudformation.operations import STACK_TYPE, Operation
from stepbridge.cloudformation.parameters import as_text
from stepbridge.cloudformation.records import Records
from stepbridge.cloudformation.resources.base import Means
from stepbridge.cloudformation.service.answers import parameters
from stepbridge.cloudformation.service.requests import Requests
from stepbridge.settings import Settings
from stepbridge.trace import Trace

# An operation is given this many seconds before its request is answered.  The waiters of AWS's clients ask once, and
# if it is not over by then they ask again only after 15 (creation) or 30 seconds (deletion).
_PATIENCE = 2.0

Work = Callable[[Operation], Coroutine[Any, Any, None]]


class OperationRunner:
    """Runs the operations on stacks, at most one for each stack at a time: who begins one looks at the status first."""

    def __init__(self, settings: Settings, records: Records, requests: Requests, means: Means, trace: Trace) -> None:
        self._settings = settings
        self._records = records
        self._requests = requests
        self._means = means
        self._trace = trace
        self._running: set[asyncio.Task[None]] = set()

    # Beginning

    async def create(self, stack: Members, blueprint: Blueprint, request: Members, on_failure: str) -> None:
        """Begin to create a stack.  `on_failure` is ROLLBACK, DELETE or DO_NOTHING."""
        _set_target(stack, blueprint, request)
        await self.begin(
            stack, "CREATE_IN_PROGRESS", lambda run: run.create(blueprint, on_failure), on_failure=on_failure
        )

    async def update(self, stack: Members, blueprint: Blueprint, request: Members, *, roll_back: bool) -> None:
        """Begin to update a stack; `roll_back` is what to do if it fails."""
        # What a rollback comes back to is the last state that was complete.
        before = stack["previous"] if stack["StackStatus"] == "UPDATE_FAILED" else stack
        previous = {name: value for name, value in before.items() if name != "previous"}
        stack["previous"] = previous
        _set_target(stack, blueprint, request)
        stack["LastUpdatedTime"] = self._means.clock.now()
        await self.begin(
            stack,
            "UPDATE_IN_PROGRESS",
            lambda run: run.update(blueprint, previous, roll_back=roll_back),
            roll_back=roll_back,
        )

    async def begin(self, stack: Members, status: str, work: Work, **asked: Any) -> None:
        """Begin an operation by the status that its stack has meanwhile.

        `asked` is what `work` knows and a restart must not forget: `on_failure` of a creation, `roll_back` of an
        update, `retained` of a deletion, `skipped` of a rollback.  Returns when it is recorded, so that it will be
        carried out, and is over or has been given some time for that.
        """
        stack["asked"] = asked
        self.enter(stack, status)
        operation = self._run(stack, work)
        await self._records.committed()
        patience = asyncio.ensure_future(self._means.clock.sleep(_PATIENCE))
        await asyncio.wait({operation, patience}, return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()

    def enter(self, stack: Members, status: str) -> None:
        """Give a stack the status that a user's request leads to, and tell."""
        stack["StackStatus"] = status
        stack.pop("StackStatusReason", None)
        self._records.save_stack(stack)
        self._records.add_event(
            stack, LogicalResourceId=stack["StackName"], PhysicalResourceId=stack["StackId"], ResourceType=STACK_TYPE,
            ResourceStatus=status, ResourceStatusReason="User Initiated",
        )  # fmt: skip
        self._trace.emit(
            "cloudformation", "stack", f"{status} {stack['StackName']}", stack=stack["StackName"], status=status
        )

    # Stopping and going on

    async def stop(self) -> None:
        """Stop the operations under way; :meth:`take_up` goes on with them."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def settled(self) -> None:
        """Return when no operation is under way."""
        while self._running:
            await asyncio.wait(self._running)

    async def take_up(self) -> None:
        """Go on with the operations that were under way when the emulator was stopped or killed."""
        for stack in self._records.stacks():
            status = stack["StackStatus"]
            if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
                continue
            try:
                self._run(stack, await self._work(stack, status))
            except AwsError as error:  # e.g. what the template imports is gone
                self._operation(stack).abandon(error.message)

    async def _work(self, stack: Members, status: str) -> Work:
        """What a stack in this status is about.  Raises AwsError."""
        asked = stack.get("asked", {})
        if status.startswith("DELETE"):
            return lambda run: run.delete(asked.get("retained", []))
        if status.startswith("ROLLBACK"):
            return lambda run: run.roll_back_creation()
        if status.startswith("UPDATE_ROLLBACK"):
            return lambda run: run.roll_back_update(stack["previous"], asked.get("skipped", []))
        blueprint = await self._requests.again(stack)
        if status.startswith("CREATE"):
            return lambda run: run.create(blueprint, asked.get("on_failure", "ROLLBACK"))
        return lambda run: run.update(blueprint, stack["previous"], roll_back=asked.get("roll_back", True))

    def _operation(self, stack: Members) -> Operation:
        settings = self._settings
        return Operation(stack, settings.account, settings.region, self._records, self._means, self._trace)

    def _run(self, stack: Members, work: Work) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work(self._operation(stack)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


def _set_target(stack: Members, blueprint: Blueprint, request: Members) -> None:
    """Record what a stack is on its way to."""
    stack["parameters"] = dict(blueprint.parameters)
    stack["Parameters"] = parameters(blueprint)
    stack["Capabilities"] = request.get("Capabilities", [])
    stack["Tags"] = [{"Key": key, "Value": value} for key, value in blueprint.tags.items()]
    stack["template"] = blueprint.original.text
    stack["processed"] = json.dumps(blueprint.processed.body)
    description = blueprint.processed.body.get("Description")
    if description is not None:
        stack["Description"] = as_text(description)
    else:
        stack.pop("Description", None)
