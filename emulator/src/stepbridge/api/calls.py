"""Calls from one part of the emulator to an AWS service, the way any client would make them, without the wire.

The rules engine, Step Functions' integrations and CloudFormation use this; which services are the emulator's own and
which are moto's makes no difference to them.
"""

import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from stepbridge.api.dispatch import Dispatcher
from stepbridge.api.errors import QUERY_ERROR_CODE, AwsError, NoAnswerError
from stepbridge.api.http import HttpRequest
from stepbridge.api.models import has_operation, operation_model
from stepbridge.api.moto_backend import MotoBackend
from stepbridge.api.moto_offer import moto_offers
from stepbridge.api.service import Caller, Members
from stepbridge.settings import Settings

# A function may run for 15 minutes: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_ANSWER_SECONDS = 920


class AwsCalls:
    """Carries out operations of any AWS service, as the emulator's account in its region.

    `endpoint` is the emulator's URL; `elsewhere` has the URLs of services, by their names, that are not its own.
    """

    def __init__(
        self,
        settings: Settings,
        dispatcher: Dispatcher,
        moto: MotoBackend,
        endpoint: Callable[[], str],
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._dispatcher = dispatcher
        self._moto = moto
        self._elsewhere = elsewhere or {}
        self._clients: dict[str, Any] = {}
        self._creating = threading.Lock()
        self.caller = Caller(settings.account, settings.region)

    def offers(self, service: str, operation: str) -> bool:
        """Whether there is anything here that carries out `operation` of `service`."""
        if not has_operation(service, operation):
            return False
        if operation_model(service, operation).has_event_stream_output:
            return False  # who calls from here takes answers as a whole, as Step Functions does on AWS
        if service in self._elsewhere:
            return True
        if self._dispatcher.offers(service):
            return self._dispatcher.offers_operation(service, operation)
        return moto_offers(service, operation)

    def has_event_rules(self) -> bool:
        """Whether EventBridge may have a rule, so that an event on its default bus could reach somebody."""
        return "events" in self._elsewhere or self._moto.has_event_rules(self._settings.region)

    async def call(self, service: str, operation: str, **members: Any) -> Members:
        """The answer of `operation` (named as in botocore's model of `service`); streams are read to their end.

        Raises AwsError when the service refuses, or when there is no such operation, and its NoAnswerError when a
        service elsewhere gives no answer.
        """
        if not has_operation(service, operation):
            raise AwsError("UnknownOperationException", f"{service} has no operation {operation}", status=400)
        if service not in self._elsewhere and self._dispatcher.offers(service):
            return await self._dispatcher.call(operation_model(service, operation), self.caller, members)
        return await self._moto.on_thread(self._call_moto, service, operation, members)

    def _call_moto(self, service: str, operation: str, members: Mapping[str, Any]) -> Members:
        from botocore import xform_name
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
        from botocore.exceptions import ConnectionError as ConnectionFailure
        from botocore.parsers import ResponseParserError

        try:
            answer: Members = getattr(self._client(service), xform_name(operation))(**members)
            del answer["ResponseMetadata"]  # botocore's, not the service's
            return {name: item.read() if hasattr(item, "read") else item for name, item in answer.items()}
        except ClientError as error:
            refusal = error.response["Error"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            members = {name: refusal[name] for name in (QUERY_ERROR_CODE,) if name in refusal}
            raise AwsError(
                refusal.get("Code", "Unknown"), refusal.get("Message", ""), status=status, members=members
            ) from None
        except (ConnectionFailure, HTTPClientError, IncompleteReadError, ResponseParserError) as error:
            raise NoAnswerError(str(error)) from None
        except BotoCoreError as error:  # what botocore itself refuses, e.g. a missing parameter
            raise AwsError("ValidationException", str(error), status=400) from None

    @cached_property
    def _session(self) -> Any:
        import botocore.session

        session = botocore.session.Session()
        session.set_credentials("stepbridge", "stepbridge")
        return session

    def _client(self, service: str) -> Any:
        # Calls come on many threads, and botocore's sessions, other than its clients, are for one at a time:
        # https://boto3.amazonaws.com/v1/documentation/api/latest/guide/session.html#multithreading-or-multiprocessing-with-sessions
        with self._creating:
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
        return self._clients[service]

    def _new_client(self, service: str) -> Any:
        from botocore.config import Config

        client = self._session.create_client(
            service,
            region_name=self._settings.region,
            # The emulator's own is for the URLs in answers; it is never dialled, before-send answers.
            endpoint_url=self._elsewhere.get(service) or self._endpoint(),
            config=Config(
                retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=_ANSWER_SECONDS
            ),
        )
        if service not in self._elsewhere:
            client.meta.events.register("before-send", self._send)
        return client

    def _send(self, request: Any, **_: object) -> Any:
        """Answer botocore's prepared request from moto instead of from the network."""
        from botocore.awsrequest import AWSResponse

        url = urlsplit(request.url)
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        body = request.body.read() if hasattr(request.body, "read") else request.body or b""
        body = body.encode() if isinstance(body, str) else bytes(body)
        answer = self._moto.handle_blocking(
            HttpRequest(request.method, url.path, url.query, headers | {"host": url.netloc}, body)
        )
        answer.headers.setdefault("content-length", str(len(answer.body)))
        return AWSResponse(request.url, answer.status, answer.headers, _Body(answer.body))


class _Body:
    """What botocore reads an answer's body from: the part of urllib3's response that it uses."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, amt: int | None = None, decode_content: bool | None = None) -> Any:
        del amt, decode_content
        yield self._body

    def read(self, amt: int | None = None) -> bytes:
        size = len(self._body) if amt is None else amt
        chunk, self._body = self._body[:size], self._body[size:]
        return chunk
