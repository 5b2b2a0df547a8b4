"""CloudFormation's API."""

from stepbridge.cloudformation.service.change_set_operations import ChangeSetOperations
from stepbridge.cloudformation.service.inspection_operations import InspectionOperations
from stepbridge.cloudformation.service.stack_operations import StackOperations
from stepbridge.cloudformation.service.template_operations import TemplateOperations


class CloudFormationService(StackOperations, InspectionOperations, ChangeSetOperations, TemplateOperations):
    """Stacks, change sets, and the operations on them, which run by themselves once they are accepted."""

    async def start(self) -> None:
        """Take up the operations that were under way when the emulator was stopped."""
        await self._runner.take_up()

    async def stop(self) -> None:
        """Stop the operations under way; :meth:`start` takes them up from what is recorded."""
        await self._runner.stop()

    async def settled(self) -> None:
        """Return when no operation is under way."""
        await self._runner.settled()
