"""Function URLs: what the database has of them, and the part of the Lambda API that is about them.

https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html
"""

import json
import secrets
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stepbridge.api.service import Caller, Members
from stepbridge.clock import Clock, iso_timestamp
from stepbridge.functions.invoker import Functions
from stepbridge.functions.names import FunctionName
from stepbridge.functions.pagination import page
from stepbridge.functions.refusals import conflict, invalid, not_found
from stepbridge.functions.registry import FunctionRegistry
from stepbridge.store import Store

_SCHEMA = [
    """
    CREATE TABLE lambda_urls (
        url_id TEXT PRIMARY KEY,
        name TEXT NOT NULL REFERENCES lambda_functions ON DELETE CASCADE,
        qualifier TEXT NOT NULL,
        configuration TEXT NOT NULL,
        UNIQUE (name, qualifier)
    ) STRICT
    """
]

# Where the emulator's HTTP port has the URLs, each under its id.  On AWS the id is part of a host name, but a name
# under localhost is not found by every client (not by Python's on Debian), a path is.
PATH = "/_stepbridge/lambda-url/"

_ID = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class FunctionUrl:
    """A function URL: of the alias `qualifier` of a function, or of its $LATEST where that is empty.

    `configuration` has the members of the API's FunctionUrlConfig but for those that name the URL and the function.
    """

    url_id: str
    function: str
    qualifier: str
    configuration: dict[str, Any]


class FunctionUrlRegistry:
    """Reads and writes function URLs.  Durable after `store.committed()`; gone with their function."""

    def __init__(self, store: Store) -> None:
        store.migrate("lambda-urls", _SCHEMA)
        self._store = store

    def find(self, url_id: str) -> FunctionUrl | None:
        """The URL with that id."""
        return next(self._select("url_id = ?", url_id), None)

    def of(self, function: str, qualifier: str) -> FunctionUrl | None:
        """The URL of an alias, or of $LATEST where `qualifier` is empty."""
        return next(self._select("name = ? AND qualifier = ?", function, qualifier), None)

    def all_of(self, function: str) -> list[FunctionUrl]:
        return list(self._select("name = ?", function))

    def put(self, url: FunctionUrl) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO lambda_urls VALUES (?, ?, ?, ?)",
            (url.url_id, url.function, url.qualifier, json.dumps(url.configuration)),
        )

    def delete(self, function: str, qualifier: str) -> bool:
        """False if there is none."""
        return bool(
            self._store.execute("DELETE FROM lambda_urls WHERE name = ? AND qualifier = ?", (function, qualifier))
        )

    def _select(self, condition: str, *values: str) -> Iterator[FunctionUrl]:
        rows = self._store.query(f"SELECT * FROM lambda_urls WHERE {condition} ORDER BY qualifier", values)  # noqa: S608
        return (FunctionUrl(row[0], row[1], row[2], json.loads(row[3])) for row in rows)


class UrlOperations:
    """The operations on function URLs; a part of :class:`~service.LambdaService`."""

    functions: Functions
    urls: FunctionUrlRegistry
    _registry: FunctionRegistry
    _endpoint: Callable[[], str]
    _store: Store
    _clock: Clock

    async def create_function_url_config(self, caller: Caller, request: Members) -> Members:
        name = self._url_target(request)
        if self.urls.of(name.name, name.qualifier or "") is not None:
            raise conflict(
                f"Failed to create function url config for [functionArn = {name.arn}]. Error message:  "
                "FunctionUrlConfig exists for this Lambda function"
            )
        self._check_invoke_mode(name, request)
        now = iso_timestamp(self._clock.now())
        configuration = {
            "AuthType": request["AuthType"],
            "InvokeMode": request.get("InvokeMode", "BUFFERED"),
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        if request.get("Cors"):
            configuration["Cors"] = request["Cors"]
        url = FunctionUrl(
            "".join(secrets.choice(_ID) for _ in range(32)), name.name, name.qualifier or "", configuration
        )
        self.urls.put(url)
        await self._store.committed()
        answer = self._url_config(url)
        del answer["LastModifiedTime"]  # the one answer that has none
        return answer

    async def get_function_url_config(self, caller: Caller, request: Members) -> Members:
        return self._url_config(self._url(request))

    async def update_function_url_config(self, caller: Caller, request: Members) -> Members:
        url = self._url(request)
        self._check_invoke_mode(self.functions.name(url.function, url.qualifier or None), request)
        configuration = {**url.configuration, "LastModifiedTime": iso_timestamp(self._clock.now())}
        configuration.update({member: request[member] for member in ("AuthType", "InvokeMode") if member in request})
        if "Cors" in request:
            configuration.pop("Cors", None)
            if request["Cors"]:  # an empty one takes it away
                configuration["Cors"] = request["Cors"]
        changed = FunctionUrl(url.url_id, url.function, url.qualifier, configuration)
        self.urls.put(changed)
        await self._store.committed()
        return self._url_config(changed)

    async def delete_function_url_config(self, caller: Caller, request: Members) -> Members:
        url = self._url(request)
        self.urls.delete(url.function, url.qualifier)
        await self._store.committed()
        return {}

    async def list_function_url_configs(self, caller: Caller, request: Members) -> Members:
        name = self._url_target({"FunctionName": request["FunctionName"]})
        return page("FunctionUrlConfigs", [self._url_config(url) for url in self.urls.all_of(name.name)], request)

    def _url_target(self, request: Members) -> FunctionName:
        """The function or alias of a request; a version is no name that the model admits."""
        name = self.functions.name(request["FunctionName"], request.get("Qualifier"))
        known = self._registry.exists(name.name)
        if not known or (name.qualifier is not None and self._registry.alias(name, name.qualifier) is None):
            raise not_found("Function does not exist")
        return name

    def _url(self, request: Members) -> FunctionUrl:
        name = self.functions.name(request["FunctionName"], request.get("Qualifier"))
        url = self.urls.of(name.name, name.qualifier or "")
        if url is None:
            raise not_found()
        return url

    def _check_invoke_mode(self, name: FunctionName, request: Members) -> None:
        """Refuse what AWS lets pass although nothing is streamed: its runtime for Python cannot.

        https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html
        """
        runtime = self._registry.resolve(name)["Runtime"]
        if request.get("InvokeMode") == "RESPONSE_STREAM" and not runtime.startswith("nodejs"):
            raise invalid(
                f"InvokeMode RESPONSE_STREAM is not supported by stepbridge for functions with the runtime {runtime}, "
                "which streams no responses: those with nodejs do."
            )

    def _url_config(self, url: FunctionUrl) -> dict[str, Any]:
        name = self.functions.name(url.function, url.qualifier or None)
        return {
            "FunctionUrl": f"{self._endpoint()}{PATH}{url.url_id}/",
            "FunctionArn": name.arn,
            **url.configuration,
        }
