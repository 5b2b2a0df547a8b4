"""How Lambda calls the other services of the emulator, the way it calls AWS's on AWS."""

from typing import Any, Protocol


class AwsCalls(Protocol):
    """In-process calls to any AWS service the emulator offers."""

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        """Call `operation` (as botocore's model names it) of `service`; raises AwsError as the service does."""
        ...
