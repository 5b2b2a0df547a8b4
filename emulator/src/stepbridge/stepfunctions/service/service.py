"""AWS Step Functions' API."""

from stepbridge.stepfunctions.service.activity_operations import ActivityOperations
from stepbridge.stepfunctions.service.callback_operations import CallbackOperations
from stepbridge.stepfunctions.service.children import ChildExecutions
from stepbridge.stepfunctions.service.express_operations import ExpressOperations
from stepbridge.stepfunctions.service.machine_operations import MachineOperations
from stepbridge.stepfunctions.service.map_runs import MapRuns
from stepbridge.stepfunctions.service.redrive_operations import RedriveOperations
from stepbridge.stepfunctions.service.state_test_operations import StateTestOperations
from stepbridge.stepfunctions.service.status_events import StatusEvents
from stepbridge.stepfunctions.service.version_operations import VersionOperations


class StepFunctionsService(
    MachineOperations,
    VersionOperations,
    ChildExecutions,
    StatusEvents,
    ExpressOperations,
    MapRuns,
    RedriveOperations,
    CallbackOperations,
    ActivityOperations,
    StateTestOperations,
):
    """The state machines and executions of one emulator."""

    async def start(self) -> None:
        """Go on with the executions that an emulator on the same database left when it stopped or was killed."""
        self._runner.open()
        await self._store.committed()

    async def stop(self) -> None:
        """Rest.  Executions stay as they are in the database."""
        await self._runner.close()
        await self.close_status_events()
