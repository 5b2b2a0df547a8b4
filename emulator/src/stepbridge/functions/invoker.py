"""Invoking functions, from inside the emulator as from its API.

A stop of the emulator is never the outcome of an invocation.  First those in hand get time to finish, while all that
functions call still answers, and no other begins; then the environments end, before anything else does.  Whatever is
not done by then does not return at all: executions, events and messages of queues have it again after the next start,
and clients of the API are told that Lambda is unavailable, after which they try again by themselves.
"""

import asyncio
import base64
import json
import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock, SystemClock
from stepbridge.functions.aws_calls import AwsCalls, Permissions, RoleCalls
from stepbridge.functions.code import CodeStore
from stepbridge.functions.concurrency import Concurrency
from stepbridge.functions.environment import InitError, Invocation, Outcome
from stepbridge.functions.environment_builder import EnvironmentBuilder
from stepbridge.functions.events import AsynchronousInvocations, Event
from stepbridge.functions.logs import LogShipper
from stepbridge.functions.names import LATEST, FunctionName, parse_function_name
from stepbridge.functions.permissions import ServiceCall, why_refused
from stepbridge.functions.pool import DEFAULT_BOUND, EnvironmentPool
from stepbridge.functions.provisioned import ProvisionedConcurrency
from stepbridge.functions.registry import Configuration, FunctionRegistry
from stepbridge.functions.response_streams import ResponseStream
from stepbridge.iam.sessions import RoleSession
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_PAYLOAD = 6_291_456  # bytes, synchronous
MAX_EVENT = 1_048_576  # bytes, asynchronous

# How long invocations in hand may take when the emulator stops: with what comes after, less than the ten seconds that
# `docker stop` waits.
_DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """What Invoke answers: `payload` is the handler's answer or its error, `function_error` is then `Unhandled`.

    `error_type` is what the runtime called that error, if it told of it.
    """

    status_code: int
    payload: bytes
    function_error: str | None
    executed_version: str
    log_tail: bytes | None
    request_id: str
    error_type: str | None = None


class Functions:
    """The functions of one emulator, to be invoked.

    `endpoint` gives the URL of the emulator's HTTP port, which functions get as AWS_ENDPOINT_URL; `bound` is the
    number of execution environments there are at most.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        trace: Trace,
        endpoint: Callable[[], str],
        calls: AwsCalls,
        permissions: Permissions,
        *,
        bound: int = DEFAULT_BOUND,
    ) -> None:
        self.registry = FunctionRegistry(store)
        self.code = CodeStore(settings.data_dir / "functions" / "code")
        self._settings = settings
        self._clock = clock
        self._trace = trace
        self._endpoint = endpoint
        self.role_calls = RoleCalls(calls, permissions)
        self._logs = LogShipper(self.role_calls, clock, trace)
        self._builder = EnvironmentBuilder(settings, clock, trace, endpoint, self.code, self._logs)
        self._pool = EnvironmentPool(self._builder.create, clock, bound=bound)
        self.provisioned = ProvisionedConcurrency(store, self.registry, self._pool, self.name, self._builder.plan)
        self.concurrency = Concurrency(self.registry, self.provisioned)
        self._draining = False
        self._drained = asyncio.Event()
        self._events = AsynchronousInvocations(store, clock, trace, self.role_calls, self._run_event, self.registry)

    async def start(self) -> None:
        """Have the provisioned environments, and go on with the asynchronous invocations that were accepted before."""
        self._builder.start()
        for configuration in self.registry.all_latest():
            self.warm_up(configuration["Runtime"])
        self.provisioned.start()
        self._events.start()

    async def drain(self) -> None:
        """Let the invocations in hand finish, for a while, and begin no more; then end every environment.

        The time is real, also where the emulator's stands still.
        """
        self._draining = True
        await self._logs.stop()
        if self.concurrency.running:
            clock = SystemClock()
            over = clock.call_at(clock.now() + _DRAIN_SECONDS, self._drained.set)
            await self._drained.wait()
            over.cancel()
        self._pool.close()

    async def stop(self) -> None:
        """End every execution environment.  Asynchronous invocations not done are done after the next start."""
        await self._events.stop()
        self._pool.close()
        self._builder.close()
        await self._logs.stop()

    # Invoking

    def name(self, text: str, qualifier: str | None = None) -> FunctionName:
        """The function that `text` and `qualifier` name.  Raises what `names.parse_function_name` does."""
        return parse_function_name(
            text, account=self._settings.account, region=self._settings.region, qualifier=qualifier
        )

    async def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        invocation_type: str = "RequestResponse",
        client_context: str | None = None,
        log_tail: bool = False,
        request_id: str | None = None,
        stream: ResponseStream | None = None,
    ) -> InvocationResult:
        """Invoke `function` (name or ARN) with `payload`, JSON text (empty: `{}`).

        `invocation_type` is RequestResponse, Event or DryRun; `client_context` is base64, as in the API; `request_id`
        is the id of the invocation where the payload already tells it; `stream` takes the answer of a handler that
        streams it, and the result has none then.  What the handler raises is in the result.  Raises AwsError:
        ResourceNotFoundException, TooManyRequestsException, RequestTooLargeException, InvalidRequestContentException.
        """
        name = self.name(function, qualifier)
        configuration = self._routed(name)
        version = configuration["Version"]
        payload = _check_payload(payload, MAX_EVENT if invocation_type == "Event" else MAX_PAYLOAD)
        context = _client_context(client_context)
        request_id = request_id or str(uuid.uuid4())
        if invocation_type == "DryRun":
            return InvocationResult(204, b"", None, version, None, request_id)
        if invocation_type == "Event":
            await self._events.accept(Event(request_id, name.name, name.qualifier, payload, context))
            return InvocationResult(202, b"", None, version, None, request_id)
        outcome = await self._run(name, configuration, Invocation(request_id, payload, name.arn, context, stream))
        tail = outcome.log_tail if log_tail else None
        return InvocationResult(200, outcome.payload, outcome.error, version, tail, request_id, outcome.error_type)

    async def invoke_as_service(
        self,
        function_arn: str,
        payload: bytes,
        *,
        principal: str,
        source_arn: str,
        source_account: str,
        invocation_type: str = "Event",
    ) -> InvocationResult:
        """Invoke as the service `principal` (`iot.amazonaws.com`) does for the resource `source_arn`.

        Raises AccessDeniedException unless the function's resource policy allows that, and what :meth:`invoke` raises.
        """
        name = self.name(function_arn)
        self.registry.resolve(name)
        statements = list(self.registry.statements(name.name, name.qualifier or "").values())
        refusal = why_refused(statements, ServiceCall(principal, source_arn, source_account), name.arn)
        if refusal is not None:
            self._trace.emit(
                "lambda",
                "invoke-refused",
                f"{principal} may not invoke {name.name} for {source_arn}: {refusal}",
                function=name.name,
                principal=principal,
                source_arn=source_arn,
            )
            raise AwsError(
                "AccessDeniedException",
                f"User: {principal} is not authorized to perform: lambda:InvokeFunction on resource: {name.arn} "
                "because no resource-based policy allows the lambda:InvokeFunction action",
                status=403,
            )
        return await self.invoke(function_arn, payload, invocation_type=invocation_type)

    def session_of(self, access_key: str) -> RoleSession | None:
        """The function, in its role, whose environment was given `access_key`."""
        return self._builder.session_of(access_key)

    async def settle_logs(self) -> None:
        """Return when what functions have written until now is in their logs."""
        await self._logs.flush()

    def location(self, sha256: str) -> str:
        """The URL of a kept package's zip file."""
        return f"{self._endpoint()}/_stepbridge/packages/{self.code.name(sha256)}.zip"

    def changed(self, function: str) -> None:
        """The code or configuration of $LATEST changed: invocations from now on get environments that have it."""
        self._pool.retire(function, LATEST)

    def deleted(self, function: str, version: str | None = None) -> None:
        """A version, or all of them, is gone."""
        if version is None:
            self.provisioned.function_deleted(function)
        else:
            self.provisioned.delete(function, version)
        self._pool.retire(function, version)

    def warm_up(self, runtime: str) -> None:
        """A function with this runtime is there: prepare to start environments for it."""
        self._builder.warm_up(runtime)

    def _routed(self, name: FunctionName) -> Configuration:
        """The version that an invocation of `name` goes to; an alias may share them out between two."""
        configuration = self.registry.resolve(name)
        if name.qualifier is None or name.qualifier == configuration["Version"]:
            return configuration
        alias = self.registry.alias(name, name.qualifier) or {}
        weights: dict[str, float] = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        for version, weight in weights.items():
            if random.random() < weight:  # noqa: S311 - to share out, not to keep a secret
                return self.registry.version(name, version)
        return configuration

    async def _run(self, name: FunctionName, configuration: Configuration, invocation: Invocation) -> Outcome:
        if self._draining:
            await asyncio.get_running_loop().create_future()  # until its caller is stopped too
        function = self.registry.function(name)
        provisioned = self.provisioned.free(configuration)
        limit = self.concurrency.on_demand(function) if provisioned is None else self.concurrency.on_provisioned()
        with self._counted(limit):
            self._trace.emit(
                "lambda",
                "invoke",
                f"{name.name} invoked",
                function=name.name,
                version=configuration["Version"],
                request_id=invocation.request_id,
            )
            began = self._clock.now()
            try:
                environment = await self._pool.acquire(provisioned or self._builder.plan(configuration))
                outcome = await environment.run(invocation)
            except InitError as error:
                outcome = error.outcome(invocation.request_id)
            self._tell_end(name, invocation, outcome, self._clock.now() - began)
        return outcome

    async def _run_event(self, event: Event) -> Outcome:
        name = FunctionName(self._settings.account, self._settings.region, event.function, event.qualifier)
        configuration = self._routed(name)
        invocation = Invocation(event.request_id, event.payload, name.arn, event.client_context)
        return await self._run(name, configuration, invocation)

    @contextmanager
    def _counted(self, limit: AbstractContextManager[None]) -> Iterator[None]:
        try:
            with limit:
                yield
        finally:
            if self._draining and not self.concurrency.running:
                self._drained.set()

    def _tell_end(self, name: FunctionName, invocation: Invocation, outcome: Outcome, seconds: float) -> None:
        milliseconds = round(seconds * 1000, 2)
        text = f"{name.name} returned after {milliseconds:.1f} ms"
        fields: dict[str, object] = {}
        if outcome.error is not None:
            error = _error_of(outcome.payload)
            text = f"{name.name} failed after {milliseconds:.1f} ms: {error}"
            fields["error"] = error
        self._trace.emit(
            "lambda",
            "invoke-failed" if outcome.error else "invoke-succeeded",
            text,
            function=name.name,
            request_id=invocation.request_id,
            duration_ms=milliseconds,
            **fields,
        )


def _check_payload(payload: bytes, limit: int) -> bytes:
    if len(payload) > limit:
        raise AwsError(
            "RequestTooLargeException",
            f"{len(payload)} byte payload is too large for the "
            f"{'Event' if limit == MAX_EVENT else 'RequestResponse'} invocation type (limit {limit} bytes)",
            status=413,
            members={"Type": "User"},
        )
    if not payload:
        return b"{}"
    try:
        json.loads(payload)
    except ValueError as error:
        raise AwsError(
            "InvalidRequestContentException",
            f"Could not parse request body into json: {error}",
            status=400,
            members={"Type": "User"},
        ) from error
    return payload


def _client_context(text: str | None) -> str | None:
    """The JSON text in a ClientContext, on one line."""
    if text is None:
        return None
    try:
        return json.dumps(json.loads(base64.b64decode(text, validate=True)))
    except ValueError as error:
        raise AwsError(
            "InvalidRequestContentException",
            f"Could not parse client context: {error}",
            status=400,
            members={"Type": "User"},
        ) from error


def _error_of(payload: bytes) -> str:
    try:
        document = json.loads(payload)
        return f"{document['errorType']}: {document['errorMessage']}"
    except (ValueError, TypeError, KeyError):
        return payload[:200].decode("utf-8", "replace")
