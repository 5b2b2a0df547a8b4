"""EventBridge connections: what an HTTP Task is to send besides its own parameters, and how it proves who it is.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-target-connection.html
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from stepbridge.api.errors import AwsError
from stepbridge.api.models import operation_model
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.service.integrations.aws_calls import AwsCalls
from stepbridge.stepfunctions.service.integrations.call import TaskCall, TaskError
from stepbridge.stepfunctions.service.integrations.http_exchange import HttpError, Request, exchange

_ERROR = "Events.ConnectionResource"
_TOKEN_SECONDS = 3600.0  # of an OAuth token that does not say how long it holds


@dataclass(frozen=True, slots=True)
class Connection:
    """What a connection adds to a request: its headers, those of its authorization among them, query and body."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    query: dict[str, str] = field(default_factory=dict, repr=False)
    body: dict[str, str] = field(default_factory=dict, repr=False)


class Connections:
    """The connections of EventBridge.  OAuth tokens are kept until they run out."""

    def __init__(self, calls: AwsCalls) -> None:
        self._calls = calls
        self._tokens: dict[str, tuple[float, str]] = {}

    async def get(self, arn: str, call: TaskCall) -> Connection:
        """The connection with `arn`, for `call`.  Raises TaskError."""
        try:
            described = await self._calls.call("events", "DescribeConnection", Name=_name(arn))
            if described["ConnectionArn"] != arn:
                raise AwsError("ResourceNotFoundException", f"Connection '{arn}' does not exist.")
        except AwsError as error:
            raise TaskError(f"{_ERROR}.ResourceNotFound", error.message) from None
        if described["ConnectionState"] != "AUTHORIZED":
            cause = f"The connection {arn} is in the state {described['ConnectionState']}"
            raise TaskError(f"{_ERROR}.InvalidConnectionState", cause)
        secret = await self._secret(described["SecretArn"], call)
        invocation = secret.get("invocation_http_parameters", {})
        authorization = await self._authorization(arn, described["AuthorizationType"], secret, call.time)
        return Connection(
            headers={**_parameters(invocation, "header"), **authorization},
            query=_parameters(invocation, "query_string"),
            body=_parameters(invocation, "body"),
        )

    def forget_token(self, arn: str) -> None:
        """The API did not take the token of the connection: ask for another one the next time."""
        self._tokens.pop(arn, None)

    async def _secret(self, arn: str, call: TaskCall) -> dict[str, Any]:
        try:
            for operation in ("DescribeSecret", "GetSecretValue"):  # what the role needs to be allowed on AWS
                await call.authorize(operation_model("secretsmanager", operation), {"SecretId": arn})
            answer = await self._calls.call("secretsmanager", "GetSecretValue", SecretId=arn)
        except AwsError as error:
            raise TaskError(f"{_ERROR}.AccessDenied", error.message) from None
        secret: dict[str, Any] = json.loads(answer["SecretString"])
        return secret

    async def _authorization(self, arn: str, kind: str, secret: dict[str, Any], now: float) -> dict[str, str]:
        if kind == "API_KEY":
            return {secret["api_key_name"]: secret["api_key_value"]}
        if kind == "BASIC":
            return {"Authorization": _basic(secret["username"], secret["password"])}
        until, token = self._tokens.get(arn, (0.0, ""))
        if until <= now:
            answer = await self._token(secret)
            token = str(answer["access_token"])
            self._tokens[arn] = now + float(answer.get("expires_in", _TOKEN_SECONDS)), token
        return {"Authorization": f"Bearer {token}"}

    async def _token(self, secret: dict[str, Any]) -> dict[str, Any]:
        """The token endpoint's answer: https://datatracker.ietf.org/doc/html/rfc6749#section-4.4"""
        client = secret["client_parameters"]
        parameters = secret.get("o_auth_http_parameters") or secret.get("oauth_http_parameters") or {}
        url, query = secret["authorization_endpoint"], _parameters(parameters, "query_string")
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        request = Request(
            method=secret.get("http_method", "POST"),
            url=url,
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Authorization": _basic(client["client_id"], client["client_secret"]),
                **_parameters(parameters, "header"),
            },
            body=urlencode({"grant_type": "client_credentials", **_parameters(parameters, "body")}).encode(),
        )
        try:
            answer = await exchange(request)
            if answer.status >= 300:
                raise HttpError(f"it answered with the status {answer.status}")
            token: dict[str, Any] = json.loads(answer.body)
            if "access_token" not in token:
                raise HttpError("its answer has no access_token")
        except (HttpError, ValueError) as error:
            cause = f"The authorization endpoint of the connection gave no token: {error}"
            raise TaskError(f"{_ERROR}.InvalidConnectionState", cause) from None
        return token


def _name(arn: str) -> str:
    """The name in the ARN of a connection.  Raises AwsError."""
    parts = arn.split(":", 5)[-1].split("/")
    if len(parts) != 3 or parts[0] != "connection":
        raise AwsError("ValidationException", f"'{arn}' is not the ARN of a connection")
    return parts[1]


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _parameters(parameters: dict[str, Json], kind: str) -> dict[str, str]:
    return {entry["key"]: str(entry.get("value", "")) for entry in parameters.get(f"{kind}_parameters") or []}
