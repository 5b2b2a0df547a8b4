"""One emulator: its parts, how they know each other, and in which order they start and stop."""

import asyncio
import logging
import socket
import ssl
from contextlib import AsyncExitStack
from typing import Any, Protocol

from stepbridge.api.app import Api
from stepbridge.api.calls import AwsCalls
from stepbridge.api.dispatch import Dispatcher
from stepbridge.api.forwarding import StepFunctionsForwarder
from stepbridge.api.moto_backend import MotoBackend
from stepbridge.api.moto_journal import MotoJournal
from stepbridge.api.server import HttpServer, listen
from stepbridge.clock import Clock, SystemClock
from stepbridge.cloudformation.service import CloudFormationService
from stepbridge.functions.service import LambdaService
from stepbridge.functions.url_invocations import UrlInvocations
from stepbridge.iam import Permissions
from stepbridge.iam.connections import ConnectedCallers
from stepbridge.iot.broker import Broker
from stepbridge.iot.broker.cores import message_core
from stepbridge.iot.certificates import GatewayAuthority
from stepbridge.iot.data import IotDataService
from stepbridge.iot.device_api import DeviceApi
from stepbridge.iot.message import Message
from stepbridge.iot.registry import Registry
from stepbridge.iot.rules.actions.base import RuleServices
from stepbridge.iot.rules.engine import RulesEngine
from stepbridge.iot.rules.service import TopicRuleService
from stepbridge.iot.shadows import Shadows, ShadowService
from stepbridge.schedules import Schedules
from stepbridge.settings import Settings
from stepbridge.stepfunctions.local import PORT as STEP_FUNCTIONS_LOCAL_PORT
from stepbridge.stepfunctions.local import LocalOptions
from stepbridge.stepfunctions.service import StepFunctionsService
from stepbridge.stepfunctions.service.integrations import LambdaInvoker, Mocks, RemoteFunctions, TaskIntegrations
from stepbridge.store import Store
from stepbridge.trace import Trace

# How long requests in hand may take when the emulator stops, in seconds, and those that have been in hand all the time
# that what they may wait for had to finish.
_REQUESTS_SECONDS = 2
_LATE_REQUESTS_SECONDS = 1

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 what to dial when the emulator listens on all


class _Part(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class _Draining(Protocol):
    async def drain(self) -> None: ...


class Emulator:
    """An emulator with `settings`, on the time of `clock` (real time by default).

    Everything is built here and started by :meth:`start`, so that whoever reads this file knows what there is.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.trace = Trace(self.clock)
        self._exit = AsyncExitStack()
        self._http_port = 0
        self._local_port = 0
        self._mqtt_port = 0

    @property
    def url(self) -> str:
        """Where clients reach the AWS APIs."""
        return self._url(self._http_port)

    def _url(self, port: int) -> str:
        host = _ANY_ADDRESS.get(self.settings.host, self.settings.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def hostname(self) -> str:
        """The name that devices are told."""
        return self.settings.hostnames[0] if self.settings.hostnames else "localhost"

    @property
    def endpoints(self) -> dict[str, Any]:
        """Where everything is, as `--ready-file` gets it."""
        return {
            "http": self.url,
            **({"step_functions_local": self._url(self._local_port)} if self._local_port else {}),
            "mqtt_host": self.hostname,
            "mqtt_port": self._mqtt_port,
            "root_ca": str(self.authority.root.path),
            "region": self.settings.region,
            "account": self.settings.account,
        }

    async def start(self) -> None:
        """Return when all endpoints are ready.

        Raises OSError if an address cannot be listened on, RuntimeError if the data directory is of a newer version,
        or of another account or region.
        A port that is taken is replaced by a free one; `endpoints` tells which.
        """
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise

    async def stop(self) -> None:
        """Finish what is in hand, for some seconds, and close everything; what was acknowledged is in the database.

        All that waits for something here has its own limit, and they add up to less than seven seconds: `docker stop`
        kills what takes ten.
        """
        await self._exit.aclose()

    async def _start(self) -> None:
        settings, clock, trace = self.settings, self.clock, self.trace
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log_to_file()
        store = Store(None if settings.memory else settings.data_dir / "stepbridge.sqlite", fsync=settings.fsync)
        self._exit.callback(store.close)
        await self._own(store)
        dispatcher = Dispatcher()
        moto = MotoBackend(settings.account)
        self._exit.callback(moto.close)
        calls = AwsCalls(settings, dispatcher, moto, lambda: self.url)

        permissions = Permissions(settings, clock, trace, calls, lambda: moto.iam_revision, lambda token: issuer(token))
        lambda_service = LambdaService(settings, store, clock, trace, lambda: self.url, calls, permissions)
        moto.remember(MotoJournal(store))
        moto.tell_queue_messages(lambda_service.queue_has_messages)
        self.authority = GatewayAuthority(settings.data_dir / "ca", settings.hostnames)
        registry = Registry(
            settings, store, clock, trace, self.authority.devices, lambda: f"{self.hostname}:{self._mqtt_port}"
        )
        broker = Broker(
            settings,
            store,
            clock,
            trace,
            registry.access,
            message_core(settings, store, clock, trace),
            self._server_context(),
            more_ports=(443,) if settings.port_443 else (),
        )
        registry.access.judge_signed(ConnectedCallers(permissions, lambda_service.functions.session_of))
        broker.trust(self.authority.devices.pem())
        registry.access.on_trust(broker.trust)
        registry.on_event(
            lambda topic, payload: broker.publish(Message(topic, payload, qos=0, retain=False, time=clock.now()))
        )
        rules = RulesEngine(
            settings, store, clock, trace, RuleServices(lambda_service.functions, broker, calls, lambda: self.url)
        )
        stacks = CloudFormationService(settings, store, clock, trace, calls, lambda: self.url)
        shadows = Shadows(store, clock, trace, broker.accept)
        broker.listen(rules.accept)
        broker.listen(shadows.take)
        dispatcher.register(
            lambda_service,
            *registry.services,
            TopicRuleService(settings, store, rules),
            IotDataService(broker, clock),
            ShadowService(shadows, clock),
            stacks,
        )
        states: list[StepFunctionsService] = []
        if settings.step_functions_endpoint is None:
            integrations = TaskIntegrations(lambda_service.functions, calls, permissions)
            if (local := settings.step_functions_local) is not None:
                integrations = self._local_integrations(local, store, dispatcher, moto, lambda_service.functions)
            states.append(StepFunctionsService(settings, store, clock, trace, integrations))
            dispatcher.register(*states)
        else:
            forwarder = StepFunctionsForwarder(settings, store, clock, trace, settings.step_functions_endpoint)
            self._exit.callback(forwarder.close)
            dispatcher.forward("stepfunctions", forwarder.call)

        schedules = Schedules(settings, store, clock, trace, calls, lambda_service.functions, permissions)
        moto.tell_schedule_changes(schedules.changed)
        moto.tell_events(schedules.take)

        def issuer(token: str) -> str | None:
            return states[0].issuer(token) if states else None  # what runs elsewhere gives tokens of its own

        api = Api(
            settings,
            store,
            trace,
            dispatcher,
            moto,
            lambda: self.endpoints,
            permissions,
            lambda_service.functions.session_of,
            stacks.responses.take,
            lambda_service.functions.settle_logs,
            lambda_service.functions.code.archive,
            UrlInvocations(
                settings,
                clock,
                trace,
                lambda_service.functions,
                lambda_service.urls,
                permissions,
                lambda_service.functions.session_of,
            ),
        )
        broker.serve_http(DeviceApi(settings, store, trace, registry.access, dispatcher, api.handle).answer)
        listener = self._listen("HTTP", settings.http_port)
        self._http_port = listener.getsockname()[1]
        # In the order of who needs whom; the HTTP port last, so that it answers only when all the rest does.
        parts: list[_Part] = [lambda_service, rules, broker, *states, stacks, schedules]
        for part in parts:
            self._exit.push_async_callback(part.stop)
            await part.start()
        self._mqtt_port = broker.ports[0]
        listeners = [listener]
        if settings.step_functions_local is not None:
            listeners.append(self._listen("Step Functions Local's", STEP_FUNCTIONS_LOCAL_PORT))
            self._local_port = listeners[-1].getsockname()[1]
        server = HttpServer(api.application, *listeners)
        await server.start()
        self._exit.push_async_callback(self._finish, server, api, lambda_service, rules, schedules)

    async def _finish(self, server: HttpServer, api: Api, *parts: _Draining) -> None:
        """Finish what is in hand: what `parts` do while all that they call still answers, and then requests.

        A request that is still in hand when a part has run out of time waits for something that does not come.
        """
        began = SystemClock().now()
        await asyncio.gather(*(part.drain() for part in parts))
        api.close()
        late = SystemClock().now() - began > _REQUESTS_SECONDS
        await server.stop(_LATE_REQUESTS_SECONDS if late else _REQUESTS_SECONDS)

    async def _own(self, store: Store) -> None:
        """Take the database for this account and region: what is in it has ARNs of those, and would not be found."""
        wanted = (self.settings.account, self.settings.region)
        store.migrate("owner", ["CREATE TABLE owner (account TEXT NOT NULL, region TEXT NOT NULL) STRICT"])
        row = store.query_one("SELECT account, region FROM owner")
        if row is None:
            store.execute("INSERT INTO owner VALUES (?, ?)", wanted)
            await store.committed()
        elif tuple(row) != wanted:
            account, region = row
            raise RuntimeError(
                f"the data directory {self.settings.data_dir} is that of account {account} in {region}, not of "
                f"{wanted[0]} in {wanted[1]}: start with --account {account} --region {region}, or another --data-dir"
            )

    def _local_integrations(
        self, local: LocalOptions, store: Store, dispatcher: Dispatcher, moto: MotoBackend, functions: LambdaInvoker
    ) -> TaskIntegrations:
        """What tasks call where this stands in for Step Functions Local, which knows of no roles."""
        calls = AwsCalls(self.settings, dispatcher, moto, lambda: self.url, elsewhere=local.endpoints)
        invoker = RemoteFunctions(calls) if "lambda" in local.endpoints else functions
        return TaskIntegrations(invoker, calls, mocks=Mocks(store, local.mocks), wait_time_scale=local.wait_time_scale)

    def _server_context(self) -> ssl.SSLContext:
        certificate, key = self.authority.server_ssl_files()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    def _listen(self, what: str, port: int) -> socket.socket:
        listener, as_asked = listen(self.settings.host, port)
        if not as_asked:
            taken_for = listener.getsockname()[1]
            self.trace.emit("stepbridge", "port-taken", f"{what} port {port} is taken: using {taken_for} instead")
        return listener

    def _log_to_file(self) -> None:
        """Tracebacks of our own mistakes, and the HTTP server's words, go to a file, not to the user's terminal."""
        handler = logging.FileHandler(self.settings.data_dir / "stepbridge.log", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        for name in ("stepbridge", "uvicorn"):
            logger = logging.getLogger(name)
            logger.addHandler(handler)
            logger.propagate = False
            self._exit.callback(logger.removeHandler, handler)
        self._exit.callback(handler.close)
