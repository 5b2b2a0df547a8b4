"""Event source mappings: queues of SQS whose messages invoke functions.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.clock import Clock
from stepbridge.functions.aws_calls import RoleCalls, function_session
from stepbridge.functions.filters import FilterError, parse_filters
from stepbridge.functions.invoker import Functions
from stepbridge.functions.names import FunctionName
from stepbridge.functions.pagination import page
from stepbridge.functions.queues import QueuePoller, queue_url
from stepbridge.functions.refusals import conflict, invalid, not_found
from stepbridge.functions.registry import FunctionRegistry
from stepbridge.iam import RoleSession
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

_SCHEMA = [
    """
    CREATE TABLE lambda_event_sources (
        uuid TEXT PRIMARY KEY,
        mapping TEXT NOT NULL
    ) STRICT
    """
]
_SETTINGS = (
    "BatchSize", "FilterCriteria", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", "ScalingConfig"
)  # fmt: skip
# Of other sources than queues, or not offered.
_REFUSED = (
    "AmazonManagedKafkaEventSourceConfig",
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "DocumentDBEventSourceConfig",
    "KMSKeyArn",
    "LoggingConfig",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "MetricsConfig",
    "ParallelizationFactor",
    "ProvisionedPollerConfig",
    "Queues",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
    "StartingPosition",
    "StartingPositionTimestamp",
    "Topics",
    "TumblingWindowInSeconds",
)
_MAX_BATCH, _MAX_FIFO_BATCH = 10_000, 10

Mapping = dict[str, Any]


class EventSources:
    """The mappings there are, and a poller for each that is enabled."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, trace: Trace, functions: Functions) -> None:
        store.migrate("lambda-event-sources", _SCHEMA)
        self._settings = settings
        self._store = store
        self._clock = clock
        self._trace = trace
        self._functions = functions
        self._pollers: dict[str, QueuePoller] = {}

    def start(self) -> None:
        """Go on with the mappings that were there before."""
        for mapping in self.all():
            self.run(mapping)

    async def stop(self) -> None:
        """Stop polling; batches in hand are given up, and their messages come again."""
        pollers, self._pollers = list(self._pollers.values()), {}
        for poller in pollers:
            await poller.stop()

    def queue_has_messages(self, queue_arn: str, delay: float) -> None:
        """A queue has a message to be received after `delay` seconds."""
        for poller in self._pollers.values():
            if poller.queue_arn == queue_arn:
                poller.wake_after(delay)

    def all(self) -> Iterator[Mapping]:
        rows = self._store.query("SELECT mapping FROM lambda_event_sources ORDER BY rowid")
        return (json.loads(row[0]) for row in rows)

    def find(self, identity: str) -> Mapping:
        """Raises ResourceNotFoundException."""
        row = self._store.query_one("SELECT mapping FROM lambda_event_sources WHERE uuid = ?", (identity,))
        if row is None:
            raise not_found()
        mapping: Mapping = json.loads(row[0])
        return mapping

    def put(self, mapping: Mapping) -> None:
        self._store.execute(
            "INSERT INTO lambda_event_sources VALUES (?, ?)"
            " ON CONFLICT (uuid) DO UPDATE SET mapping = excluded.mapping",
            (mapping["UUID"], json.dumps(mapping)),
        )

    async def delete(self, identity: str) -> None:
        self._store.execute("DELETE FROM lambda_event_sources WHERE uuid = ?", (identity,))
        await self.halt(identity)

    async def halt(self, identity: str) -> None:
        """Stop the poller of a mapping, if it has one."""
        poller = self._pollers.pop(identity, None)
        if poller is not None:
            await poller.stop()

    def run(self, mapping: Mapping) -> None:
        """Start the poller of a mapping, if it is enabled."""
        if mapping["State"] != "Enabled":
            return
        poller = QueuePoller(mapping, self._functions, self._clock, self._trace, self._settings)
        self._pollers[mapping["UUID"]] = poller
        poller.start()


class EventSourceOperations:
    """The part of the Lambda API that is about event sources; a part of :class:`~service.LambdaService`."""

    functions: Functions
    _sources: EventSources
    _registry: FunctionRegistry
    _settings: Settings
    _store: Store
    _clock: Clock

    async def create_event_source_mapping(self, caller: Caller, request: Members) -> Members:
        source = request.get("EventSourceArn", "")
        if ":sqs:" not in source:
            kind = source.split(":")[2] if source.count(":") > 4 else "this kind"
            raise invalid(f"Event sources of {kind} are not supported by stepbridge: those of sqs are.")
        name = self.functions.name(request["FunctionName"])
        self._registry.resolve(name)
        for other in self._sources.all():
            if other["EventSourceArn"] == source and other["FunctionArn"] == name.arn:
                raise conflict(
                    f'An event source mapping with SQS arn (" {source} ") and function (" {name.name} ") already '
                    f"exists. Please update or delete the existing mapping with UUID {other['UUID']}"
                )
        identity = str(uuid.uuid4())
        mapping: Mapping = {
            "UUID": identity,
            "BatchSize": 10,
            "MaximumBatchingWindowInSeconds": 0,
            "EventSourceArn": source,
            "EventSourceMappingArn": self._arn(identity),
            "FunctionArn": name.arn,
            "LastModified": self._clock.now(),
            "State": "Enabled" if request.get("Enabled", True) else "Disabled",
            "StateTransitionReason": "USER_INITIATED",
        }
        if "Tags" in request:
            mapping["Tags"] = request["Tags"]
        _apply(mapping, request)
        await self._check(mapping, name)
        self._sources.put(mapping)
        await self._store.committed()
        self._sources.run(mapping)
        return {**_shown(mapping), "State": "Creating"}

    async def get_event_source_mapping(self, caller: Caller, request: Members) -> Members:
        return _shown(self._sources.find(request["UUID"]))

    async def list_event_source_mappings(self, caller: Caller, request: Members) -> Members:
        found = list(self._sources.all())
        if "EventSourceArn" in request:
            found = [mapping for mapping in found if mapping["EventSourceArn"] == request["EventSourceArn"]]
        if "FunctionName" in request:
            arn = self.functions.name(request["FunctionName"]).arn
            found = [mapping for mapping in found if mapping["FunctionArn"] == arn]
        return page("EventSourceMappings", [_shown(mapping) for mapping in found], request)

    async def update_event_source_mapping(self, caller: Caller, request: Members) -> Members:
        mapping = self._sources.find(request["UUID"])
        name = self.functions.name(request.get("FunctionName") or mapping["FunctionArn"])
        mapping["FunctionArn"] = name.arn
        mapping["LastModified"] = self._clock.now()
        if "Enabled" in request:
            mapping["State"] = "Enabled" if request["Enabled"] else "Disabled"
        _apply(mapping, request)
        await self._check(mapping, name)
        self._sources.put(mapping)
        await self._store.committed()
        await self._sources.halt(mapping["UUID"])
        self._sources.run(mapping)
        return {**_shown(mapping), "State": "Updating"}

    async def delete_event_source_mapping(self, caller: Caller, request: Members) -> Members:
        mapping = self._sources.find(request["UUID"])
        await self._sources.delete(mapping["UUID"])
        await self._store.committed()
        return {**_shown(mapping), "State": "Deleting"}

    async def _check(self, mapping: Mapping, name: FunctionName) -> None:
        """Raises InvalidParameterValueException unless the function can be given what the queue has."""
        function = self._registry.resolve(name)
        session = function_session(function["Role"], function["FunctionArn"])
        url = queue_url(mapping["EventSourceArn"])
        attributes = await self._ask(
            self.functions.role_calls, session, "GetQueueAttributes", QueueUrl=url, AttributeNames=["VisibilityTimeout"]
        )
        for operation, members in (
            ("ReceiveMessage", {"QueueUrl": url}),
            ("DeleteMessage", {"QueueUrl": url, "ReceiptHandle": ""}),
        ):
            await self._allowed(self.functions.role_calls, session, operation, members)
        visibility = int(attributes["Attributes"]["VisibilityTimeout"])
        if visibility < function["Timeout"]:
            raise invalid(
                f"Queue visibility timeout: {visibility} seconds is less than Function timeout: "
                f"{function['Timeout']} seconds"
            )

    async def _ask(self, calls: RoleCalls, session: RoleSession, operation: str, **members: Any) -> dict[str, Any]:
        await self._allowed(calls, session, operation, members)
        try:
            return await calls.call(session, "sqs", operation, **members)
        except AwsError as error:
            raise invalid(
                f"Error occurred while ReceiveMessage. SQS Error Code: {error.code}. SQS Error Message: {error.message}"
            ) from error

    async def _allowed(self, calls: RoleCalls, session: RoleSession, operation: str, members: Members) -> None:
        try:
            await calls.require(session, "sqs", operation, members)
        except AwsError as error:
            raise invalid(
                f"The provided execution role does not have permissions to call {operation} on SQS"
            ) from error

    def _arn(self, identity: str) -> str:
        return f"arn:aws:lambda:{self._settings.region}:{self._settings.account}:event-source-mapping:{identity}"


def _apply(mapping: Mapping, request: Members) -> None:
    """Change a mapping to what `request` gives; raises InvalidParameterValueException."""
    for member in _REFUSED:
        if request.get(member):
            raise invalid(f"{member} is not supported by stepbridge for event sources of sqs.")
    for member in _SETTINGS:
        if member in request:
            mapping[member] = request[member]
    if not mapping.get("FilterCriteria", {}).get("Filters"):  # an update takes filters away with none
        mapping.pop("FilterCriteria", None)
    try:
        parse_filters(mapping.get("FilterCriteria", {}))
    except FilterError as error:
        raise invalid(str(error)) from None
    fifo = mapping["EventSourceArn"].endswith(".fifo")
    size, window = mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]
    if fifo and size > _MAX_FIFO_BATCH:
        raise invalid(f"Batch size should be at most {_MAX_FIFO_BATCH} for FIFO queues.")
    if fifo and window:
        raise invalid("Batching window is not supported for FIFO queues.")
    if not 1 <= size <= _MAX_BATCH:
        raise invalid(f"BatchSize must be between 1 and {_MAX_BATCH}.")
    if size > _MAX_FIFO_BATCH and not window:
        raise invalid("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")


def _shown(mapping: Mapping) -> Members:
    return {name: value for name, value in mapping.items() if name != "Tags"}
