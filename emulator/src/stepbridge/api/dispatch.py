"""From an operation's name to the method that carries it out."""

from collections.abc import Awaitable, Callable

from botocore import xform_name
from botocore.model import OperationModel

from stepbridge.api.errors import AwsError
from stepbridge.api.models import service_model
from stepbridge.api.service import Caller, Members, Service
from stepbridge.api.validation import validate

Operation = Callable[[Caller, Members], Awaitable[Members | None]]
Forward = Callable[[str, Members], Awaitable[Members]]


class Dispatcher:
    """The emulator's own services.

    Several service objects may share a service name (AWS IoT's API is large); each operation is then on one of them.
    """

    def __init__(self) -> None:
        self._services: dict[str, list[Service]] = {}
        self._operations: dict[tuple[str, str], Operation | None] = {}
        self._forwarded: dict[str, Forward] = {}

    def register(self, *services: Service) -> None:
        """Offer the operations of `services`."""
        for service in services:
            self._services.setdefault(service.service_name, []).append(service)

    def forward(self, service_name: str, forward: Forward) -> None:
        """Let `forward`, called with an operation's name and its members, carry out all operations of a service."""
        self._forwarded[service_name] = forward

    def offers(self, service_name: str) -> bool:
        """Whether the service is the emulator's own, or forwarded."""
        return service_name in self._services or service_name in self._forwarded

    def offers_operation(self, service_name: str, operation: str) -> bool:
        """Whether one of the emulator's own services has the operation, or it is forwarded."""
        return service_name in self._forwarded or self._method(service_name, operation) is not None

    async def call(self, operation: OperationModel, caller: Caller, members: Members) -> Members:
        """Validate `members` and carry out the operation.  Raises AwsError."""
        service_name: str = operation.service_model.service_name
        if (forward := self._forwarded.get(service_name)) is not None:
            return await forward(operation.name, members)
        method = self._method(service_name, operation.name)
        if method is None:
            raise AwsError(
                "NotImplementedException",
                f"stepbridge does not offer {operation.name} of {service_model(service_name).metadata['serviceId']}.",
                status=501,
            )
        validate(service_name, operation.input_shape, members)
        return await method(caller, members) or {}

    def _method(self, service_name: str, operation: str) -> Operation | None:
        key = (service_name, operation)
        if key not in self._operations:
            name = xform_name(operation)
            found = (getattr(service, name, None) for service in self._services[service_name])
            self._operations[key] = next((method for method in found if method is not None), None)
        return self._operations[key]
