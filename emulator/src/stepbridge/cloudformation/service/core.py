"""What the families of operations share: the parts that they work on, and how a stack is found or begun."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Members, Service
from stepbridge.clock import Clock
from stepbridge.cloudformation.records import Records
from stepbridge.cloudformation.resources.base import AwsCalls, Means
from stepbridge.cloudformation.responses import Responses
from stepbridge.cloudformation.service.requests import Requests
from stepbridge.cloudformation.service.runner import OperationRunner
from stepbridge.cloudformation.sources import validation_error
from stepbridge.settings import Settings
from stepbridge.store.database import Store
from stepbridge.trace import Trace

_UPDATABLE = frozenset({
    "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE", "CREATE_FAILED",
    "UPDATE_FAILED",
})  # fmt: skip


class Core(Service):
    """The parts that the operations work on.

    `endpoint` gives the emulator's URL, where `responses` of custom resources are sent.
    """

    service_name: ClassVar[str] = "cloudformation"

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
        self._clock = clock
        self._calls = calls
        self.responses = Responses(endpoint)
        self._records = Records(store, clock)
        self._requests = Requests(settings, self._records, calls)
        means = Means(calls, clock, self.responses)
        self._runner = OperationRunner(settings, self._records, self._requests, means, trace)

    def _stack(self, name: str, missing: str = "Stack with id {} does not exist") -> Members:
        stack = self._records.stack(name)
        if stack is None:
            raise validation_error(missing.format(name))
        return stack

    def _updatable(self, name: str) -> Members:
        """The stack, if it may be updated.  Raises AwsError ValidationError."""
        stack = self._records.stack(name)
        if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
            raise validation_error(f"Stack [{name}] does not exist")
        if stack["StackStatus"] not in _UPDATABLE:
            raise validation_error(
                f"Stack:{stack['StackId']} is in {stack['StackStatus']} state and can not be updated."
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
        return {
            "StackId": self._new_arn(f"stack/{name}"),
            "StackName": name,
            "CreationTime": self._clock.now(),
            "DisableRollback": False,
            "EnableTerminationProtection": False,
            "RollbackConfiguration": {},
            "NotificationARNs": [],
            "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
            "Tags": [],
        }

    def _new_arn(self, resource: str) -> str:
        return f"arn:aws:cloudformation:{self._settings.region}:{self._settings.account}:{resource}/{uuid.uuid4()}"
