"""AWS::CloudFormation::CustomResource and Custom::*: resources that a Lambda function of the user's provides.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref.html
"""

import asyncio
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.errors import ProviderError, ResourceError
from stepbridge.cloudformation.parameters import as_text
from stepbridge.cloudformation.resources.base import Made, Properties, Property, ResourceType
from stepbridge.cloudformation.resources.shapes import KNOWN_AFTER_APPLY

_LAMBDA_ARN = re.compile(r"arn:aws[\w-]*:lambda:[^:]+:\d+:function:.+")
_CUSTOM = re.compile(r"Custom::[\w@-]{1,60}")
_MAX_RESPONSE = 4096
_LONGEST_WAIT = 3600


def is_custom(type_name: str) -> bool:
    """Whether resources of this type are provided by a function of the user's."""
    return type_name == CustomResource.type_name or _CUSTOM.fullmatch(type_name) is not None


class CustomResource(ResourceType):
    """What a provider makes when it is sent a request; its answer says what there is now.

    The provider may answer an update with another physical id: then there is a new resource, and the old one is to be
    deleted.
    """

    type_name = "AWS::CloudFormation::CustomResource"
    service = "lambda"
    properties: ClassVar[Mapping[str, Property]] = {}

    @classmethod
    def has_attribute(cls, name: str) -> bool:
        return True  # only the provider knows

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        token = properties.get("ServiceToken")
        if token is None:
            yield "#: required key [ServiceToken] not found"
        elif not isinstance(token, str):
            yield "#/ServiceToken: expected type: String"
        elif token != KNOWN_AFTER_APPLY and not _LAMBDA_ARN.fullmatch(token):
            yield f"#/ServiceToken: {token} is not the ARN of a Lambda function, which is what stepbridge supports"
        timeout = as_text(properties.get("ServiceTimeout", _LONGEST_WAIT))
        if timeout != KNOWN_AFTER_APPLY and not (timeout.isdigit() and 1 <= int(timeout) <= _LONGEST_WAIT):
            yield f"#/ServiceTimeout: {timeout} is not a number of seconds from 1 to {_LONGEST_WAIT}"

    async def create(self, properties: Properties) -> Made:
        return await self._request("Create", self.generated_name(255), properties, {})

    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        if old["ServiceToken"] != new["ServiceToken"]:
            raise ResourceError("Modifying service token is not allowed.")
        before = {"PhysicalResourceId": made.physical_id, "OldResourceProperties": _as_strings(old)}
        return await self._request("Update", made.physical_id, new, before)

    async def delete(self, made: Made, properties: Properties) -> None:
        await self._request("Delete", made.physical_id, properties, {"PhysicalResourceId": made.physical_id})

    async def _request(self, kind: str, physical_id: str, properties: Properties, members: Properties) -> Made:
        """Send a request to the provider and wait for its answer.

        Raises ResourceError; of a Create, ProviderError with the id of what there may be nevertheless.
        """
        request_id = str(uuid.uuid4())
        with self.responses.expected() as (url, answer):
            event = {
                "RequestType": kind,
                "ServiceToken": properties["ServiceToken"],
                "ResponseURL": url,
                "StackId": self.stack.stack_id,
                "RequestId": request_id,
                "LogicalResourceId": self.logical_id,
                "ResourceType": self.declared_type,
                "ResourceProperties": _as_strings(properties),
                **members,
            }
            try:
                await self.call(
                    "Invoke",
                    FunctionName=properties["ServiceToken"],
                    InvocationType="Event",
                    Payload=json.dumps(event).encode(),
                )
            except AwsError as error:
                raise ResourceError(f"Lambda function for the custom resource: {error.message}") from None
            seconds = int(as_text(properties.get("ServiceTimeout", _LONGEST_WAIT)))
            patience = asyncio.ensure_future(self.clock.sleep(seconds))
            either: set[asyncio.Future[Any]] = {answer, patience}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                patience.cancel()
        if not answer.done():
            raise _failure(
                kind,
                physical_id,
                "CloudFormation did not receive a response from your Custom Resource. Please check your logs for "
                f"requestId [{request_id}]. If you are using the Python cfn-response module, you may need to update "
                "your Lambda function code so that CloudFormation can attach the updated version.",
            )
        return self._read(kind, physical_id, request_id, answer.result())

    def _read(self, kind: str, physical_id: str, request_id: str, body: bytes) -> Made:
        if len(body) > _MAX_RESPONSE:
            raise _failure(kind, physical_id, "Response object is too long.")
        try:
            response = json.loads(body)
        except ValueError:
            response = None
        if not isinstance(response, dict):
            raise _failure(kind, physical_id, "Invalid response object: it is not a JSON object")
        status = response.get("Status")
        if status not in {"SUCCESS", "FAILED"}:
            raise _failure(kind, physical_id, "Invalid response object: Status must be either SUCCESS or FAILED")
        own = {
            "StackId": self.stack.stack_id, "RequestId": request_id, "LogicalResourceId": self.logical_id,
        }  # fmt: skip
        for name, value in own.items():
            if response.get(name) != value:
                raise _failure(kind, physical_id, f"Invalid response object: Value of property {name} must be {value}")
        answered = response.get("PhysicalResourceId")
        if status == "FAILED":
            raise _failure(
                kind,
                answered if isinstance(answered, str) and answered else physical_id,
                "Received response status [FAILED] from custom resource. Message returned: "
                f"{response.get('Reason', '')} (RequestId: {request_id})",
            )
        if kind != "Delete" and (not isinstance(answered, str) or not 1 <= len(answered) <= 1024):
            raise _failure(kind, physical_id, "Invalid PhysicalResourceId")
        data = response.get("Data") or {}
        if not isinstance(data, dict):
            raise _failure(kind, physical_id, "Invalid response object: Data must be an object")
        return Made(answered or physical_id, data, secret=as_text(response.get("NoEcho", False)) == "true")


def _failure(kind: str, physical_id: str, message: str) -> ResourceError:
    return ProviderError(message, physical_id) if kind == "Create" else ResourceError(message)


def _as_strings(value: Any) -> Any:
    """A property as providers get it: numbers and booleans are text."""
    if isinstance(value, Mapping):
        return {name: _as_strings(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_strings(member) for member in value]
    return as_text(value)


TYPES = (CustomResource,)
