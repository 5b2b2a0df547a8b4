"""The AWS services that stepbridge is not about (S3, SQS, IAM, …): moto, in this process, behind the same port.

moto takes over a second to import and is synchronous, so it is imported at the first request that needs it and runs
on a few threads of its own.
"""

import asyncio
import functools
import gc
import io
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote_to_bytes

from stepbridge.api.http import HttpRequest, HttpResponse
from stepbridge.api.moto_corrections import correct
from stepbridge.api.moto_journal import (
    KeptRequest,
    MotoJournal,
    give_each_request_its_own_numbers,
    name_uploads_by_seed,
    numbers_of,
    service_changed_by,
)
from stepbridge.api.queue_arrivals import tell_of_arrivals
from stepbridge.api.schedule_changes import EventListener, tell_of_events, tell_of_rules, tell_of_schedules
from stepbridge.api.waiting_threads import WaitingThreads

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# ReceiveMessage may wait for 20 seconds, and waits on its thread.  Threads are made when they are needed.
_WSGI_THREADS = 64
_KEEP_SECONDS = 5.0


class MotoBackend:
    """Answers HTTP requests as moto's server mode does.

    `iam_revision` grows with each change that is made to IAM.
    """

    def __init__(self, account: str) -> None:
        self._account = account
        self._waiting = WaitingThreads()
        self._threads = ThreadPoolExecutor(_WSGI_THREADS, thread_name_prefix="moto", initializer=self._waiting.take)
        self._application: Callable[..., Any] = _not_loaded
        self._loading = threading.Lock()
        self.iam_revision = 0
        self._journal: MotoJournal | None = None
        self._kept: list[KeptRequest] = []
        self._changing = threading.Lock()
        self._on_queue_message: Callable[[str, float], object] | None = None
        self._on_schedule_change: Callable[[], object] | None = None
        self._on_event: EventListener | None = None
        self._events: Any = None  # moto's backend for EventBridge, once it is there
        self._loop: asyncio.AbstractEventLoop | None = None

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request, off the event loop."""
        return await self.on_thread(self.handle_blocking, request)

    async def on_thread(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Do `work`, which calls :meth:`handle_blocking`, on a thread of moto's."""
        call = functools.partial(work, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def handle_blocking(self, request: HttpRequest) -> HttpResponse:
        """Answer one request on this thread, which is not the event loop's."""
        self._load()
        service = service_changed_by(request)
        if service is None:
            return self._carry_out(request)
        with self._changing:  # one after the other, as they will be after a restart
            kept = KeptRequest(secrets.randbits(32), request)
            answer = self._carry_out_seeded(kept)
            if answer.status < 300:
                if service == "iam":
                    self.iam_revision += 1
                self._keep(kept)
        return answer

    def _carry_out_seeded(self, kept: KeptRequest) -> HttpResponse:
        with numbers_of(kept):
            return self._carry_out(kept.request)

    def _carry_out(self, request: HttpRequest) -> HttpResponse:
        started: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            started["status"] = int(status.split(" ", 1)[0])
            started["headers"] = headers

        try:
            chunks = self._application(_wsgi_environ(request), start_response)
            try:
                body = b"".join(chunks)
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
        except Exception:  # what moto does not offer or does not expect
            name = request.headers.get("x-amz-target", request.path)
            logger.exception("moto failed to answer %s %s", request.method, name)
            return HttpResponse(
                500, {"content-type": "text/plain"}, b"moto failed to answer; stepbridge's log tells why"
            )
        dropped = ("connection", "transfer-encoding", "content-length")
        headers = {name.lower(): value for name, value in started["headers"] if name.lower() not in dropped}
        if request.method == "HEAD":
            headers["content-length"] = dict(started["headers"]).get("Content-Length", "0")
        status: int = started["status"]
        if 400 < status < 500 and "x-amz-target" in request.headers:
            # The JSON protocol has one status for all that clients do wrong, where moto takes the one of REST:
            # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors
            status = 400
        return HttpResponse(status, headers, body)

    def remember(self, journal: MotoJournal) -> None:
        """Begin with what `journal` has, and keep in it what changes."""
        self._loop = asyncio.get_running_loop()
        self._journal = journal
        self._kept = journal.requests()
        self.iam_revision = sum(service_changed_by(kept.request) == "iam" for kept in self._kept)

    def _keep(self, kept: KeptRequest) -> None:
        if self._journal is not None and self._loop is not None and not self._loop.is_closed():
            keeping = asyncio.run_coroutine_threadsafe(self._journal.keep(kept), self._loop)
            try:
                keeping.result(_KEEP_SECONDS)
            except (TimeoutError, CancelledError):  # stepbridge is stopping
                keeping.cancel()

    def tell_queue_messages(self, listener: Callable[[str, float], object]) -> None:
        """Call `listener` on this event loop for each message that comes into a queue of SQS from now on.

        It gets the ARN of the queue and in how many seconds the message can be received.
        """
        self._loop = asyncio.get_running_loop()
        self._on_queue_message = listener

    def tell_schedule_changes(self, listener: Callable[[], object]) -> None:
        """Call `listener` on this event loop for each change to EventBridge's rules and schedules from now on."""
        self._loop = asyncio.get_running_loop()
        self._on_schedule_change = listener

    def tell_events(self, listener: EventListener) -> None:
        """Call `listener` on this event loop for each rule of EventBridge that matches an event from now on.

        It gets the ARN of the rule, those of its targets that moto does not send to, and the event.
        """
        self._loop = asyncio.get_running_loop()
        self._on_event = listener

    def has_event_rules(self, region: str) -> bool:
        """Whether the default bus of EventBridge may have rules with patterns; cheap, and does not load moto."""
        if self._application is _not_loaded:
            return any(service_changed_by(kept.request) == "events" for kept in self._kept)
        if self._events is None:
            if "moto.events.models" not in sys.modules:
                return False
            self._events = sys.modules["moto.events.models"].events_backends[self._account][region]
        bus = self._events.event_buses.get("default")
        return bus is not None and any(rule.event_pattern.dump() for rule in list(bus.rules.values()))

    def close(self) -> None:
        """Stop the threads."""
        self._waiting.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _message_arrived(self, queue_arn: str, delay: float) -> None:
        if self._loop is not None and self._on_queue_message is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_queue_message, queue_arn, delay)

    def _schedule_changed(self) -> None:
        if self._loop is not None and self._on_schedule_change is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_schedule_change)

    def _event_matched(self, rule_arn: str, targets: list[dict[str, Any]], event: dict[str, Any]) -> None:
        if self._loop is not None and self._on_event is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_event, rule_arn, targets, event)

    def _load(self) -> None:
        with self._loading:
            if self._application is not _not_loaded:
                return
            os.environ["MOTO_ACCOUNT_ID"] = self._account  # read once, at moto's import
            os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"  # AWSLambdaBasicExecutionRole and the like
            from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

            give_each_request_its_own_numbers()

            def create_application(service: Any) -> Any:
                correct(service, self._account)
                if service == "s3":
                    name_uploads_by_seed()
                elif service == "sqs":
                    tell_of_arrivals(self._message_arrived)
                    WaitingThreads.make_closable()
                elif service == "events":
                    tell_of_rules(self._schedule_changed)
                    tell_of_events(self._event_matched)
                elif service == "scheduler":
                    tell_of_schedules(self._schedule_changed)
                return create_backend_app(service)

            self._application = DomainDispatcherApplication(create_application)
            for kept in self._kept:
                self._carry_out_seeded(kept)
            self._kept.clear()
            gc.freeze()  # moto doubles what the garbage collector would look through, for a tenth of a second each time


def _not_loaded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    raise RuntimeError("moto is not loaded")


def _wsgi_environ(request: HttpRequest) -> dict[str, Any]:
    host, _, port = request.headers.get("host", "127.0.0.1").partition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        # WSGI wants the path percent-decoded, as Latin-1 text (PEP 3333); moto reads the raw one too.
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "RAW_URI": f"{request.path}?{request.query}" if request.query else request.path,
        "QUERY_STRING": request.query,
        "SERVER_NAME": host,
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        if name not in ("content-type", "content-length"):
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ
