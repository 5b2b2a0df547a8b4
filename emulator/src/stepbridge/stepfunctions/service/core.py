"""What the operations of the service share."""

from typing import ClassVar

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Members, Service
from stepbridge.clock import Clock
from stepbridge.settings import Settings
from stepbridge.stepfunctions.service.activities import Activities
from stepbridge.stepfunctions.service.history import History
from stepbridge.stepfunctions.service.integrations import TaskIntegrations
from stepbridge.stepfunctions.service.integrations.http_task import HttpTask
from stepbridge.stepfunctions.service.machines import Machines, Revision
from stepbridge.stepfunctions.service.redrives import Redrives
from stepbridge.stepfunctions.service.runner import ExecutionRunner
from stepbridge.stepfunctions.service.schema import MIGRATIONS
from stepbridge.stepfunctions.service.tags import Tags
from stepbridge.stepfunctions.service.tokens import Sealer
from stepbridge.stepfunctions.service.versions import Versions
from stepbridge.store import Row, Store
from stepbridge.trace import Trace

OWNED_KEY = {"type": "AWS_OWNED_KEY"}  # the encryptionConfiguration of what was created without one
MAXIMUM_PAYLOAD_BYTES = 262_144  # input and output: https://docs.aws.amazon.com/step-functions/latest/dg/limits.html
_DEFAULT_PAGE = 100


def check_encryption(configuration: Members) -> Members:
    """The encryptionConfiguration itself.  Raises AwsError InvalidEncryptionConfiguration."""
    owned = configuration["type"] == OWNED_KEY["type"]
    problem = None
    if not owned and not configuration.get("kmsKeyId"):
        problem = f"kmsKeyId must be specified for the encryption type {configuration['type']}."
    elif owned and configuration.keys() & {"kmsKeyId", "kmsDataKeyReusePeriodSeconds"}:
        problem = f"kmsKeyId and kmsDataKeyReusePeriodSeconds are not for the encryption type {configuration['type']}."
    if problem is not None:
        raise AwsError("InvalidEncryptionConfiguration", f"Invalid Encryption Configuration: {problem}")
    return configuration


class Core(Service):
    """The parts that the operations work on."""

    service_name: ClassVar[str] = "stepfunctions"

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, trace: Trace, integrations: TaskIntegrations
    ) -> None:
        store.migrate("stepfunctions", MIGRATIONS)
        self._settings = settings
        self._store = store
        self._clock = clock
        self._trace = trace
        self._integrations = integrations
        if integrations.calls is not None:
            integrations.add("http:invoke", HttpTask(integrations.calls, clock, settings.region))
        self._sealer = Sealer(store)
        self._tags = Tags(store)
        self._machines = Machines(store)
        self._versions = Versions(store)
        self._history = History(store)
        self._redrives = Redrives(store, clock, self._machines, self._history)
        self._activities = Activities(store, clock)
        self._runner = ExecutionRunner(
            store, clock, trace, self._machines, self._history, self._activities, self._sealer, integrations
        )

    def _revision_members(self, revision: Revision, included: bool) -> Members:
        """What DescribeStateMachine and DescribeStateMachineForExecution both tell; `included`: with the definition."""
        return {
            "definition": revision.definition if included else None,
            "roleArn": revision.role,
            "loggingConfiguration": revision.logging,
            "tracingConfiguration": revision.tracing,
            "encryptionConfiguration": revision.encryption,
            "revisionId": revision.revision_id,
            "variableReferences": self._machines.variable_references(revision.id) if included else None,
        }

    def _page_size(self, request: Members) -> int:
        """How many results to give: maxResults, where 0 and absent mean the default."""
        return int(request.get("maxResults") or _DEFAULT_PAGE)

    def _page_start(self, listing: str, request: Members) -> list[str | int | float] | None:
        """The position in the request's nextToken, or None for the first page.  Raises AwsError InvalidToken."""
        token = request.get("nextToken")
        return None if token is None else self._sealer.open_page_token(listing, token)

    def _page_end(self, listing: str, rows: list[Row], size: int, *columns: str) -> str | None:
        """The nextToken after a page of `size` if `rows`, of which one more was asked for, go on."""
        if len(rows) <= size:
            return None
        return self._sealer.page_token(listing, [rows[size - 1][column] for column in columns])
