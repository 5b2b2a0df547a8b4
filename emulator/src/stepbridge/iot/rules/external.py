"""Answers to the functions of IoT SQL that ask other services."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.authorization import (
    IAM_RESOURCE,
    Context,
    MalformedPolicyError,
    Principal,
    Request,
    evaluate,
    parse_policy,
)
from stepbridge.clock import Clock
from stepbridge.iot.rules.actions import IOT, RuleServices
from stepbridge.iot.rules.protobuf import Descriptors, ProtobufError
from stepbridge.iot.rules.roles import Roles
from stepbridge.iot.rules.sql import UNDEFINED, VERSION_2015, ExternalCall, Failed, Value
from stepbridge.iot.rules.sql.values import json_text, parse_json, to_text
from stepbridge.settings import Settings

# developerguide/iot-sql-functions.html#iot-func-aws-lambda
_LAMBDA_SECONDS = 2.0
# developerguide/iot-sql-functions.html#iot-sql-function-get-secret: values are cached for up to 15 minutes.
_SECRET_SECONDS = 900.0
# developerguide/binary-payloads.html#binary-payloads-protobuf
_MAX_DESCRIPTORS = 32 * 1024
_MAX_MESSAGE = 128 * 1024


class _Refused(Exception):  # noqa: N818 - the answer becomes Failed
    """An external call that cannot be carried out."""


class ExternalFunctions:
    """Carries out external calls of statements and templates."""

    def __init__(self, settings: Settings, clock: Clock, services: RuleServices, roles: Roles) -> None:
        self._settings = settings
        self._clock = clock
        self._services = services
        self._roles = roles
        self._secrets: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        self._functions: dict[str, Callable[..., Awaitable[Any]]] = {
            "aws_lambda": self._aws_lambda,
            "get_dynamodb": self._get_dynamodb,
            "get_thing_shadow": self._get_thing_shadow,
            "get_registry_data": self._get_registry_data,
            "get_secret": self._get_secret,
            "decode": self._decode,
        }

    async def answer(self, call: ExternalCall, rule_arn: str, version: str) -> Value | Failed:
        """What `call` gives, in the values of a SQL version; Failed with the reason if it does not."""
        try:
            text = await self._functions[call.function](rule_arn, *call.arguments)
        except AwsError as error:
            return Failed(f"{call.function}: {error.message} ({error.code})")
        except _Refused as error:
            return Failed(f"{call.function}: {error}")
        if text is None:
            return UNDEFINED
        value = parse_json(text, version)
        return Failed(f"{call.function}: the answer is not JSON") if value is UNDEFINED else value

    async def _aws_lambda(self, rule_arn: str, function: Value, payload: Value) -> bytes:
        invocation = self._services.functions.invoke_as_service(
            _text(function, "the function"),
            json_text(payload).encode(errors="replace"),
            principal=IOT,
            source_arn=rule_arn,
            source_account=self._settings.account,
            invocation_type="RequestResponse",
        )
        task = asyncio.ensure_future(invocation)
        timer = self._clock.call_at(self._clock.now() + _LAMBDA_SECONDS, task.cancel)
        try:
            result = await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            raise _Refused(f"the function did not answer within {_LAMBDA_SECONDS * 1000:.0f} ms") from None
        finally:
            timer.cancel()
        if result.function_error is not None:
            raise _Refused(f"the function failed: {result.payload[:500].decode(errors='replace')}")
        answer: bytes = result.payload
        return answer

    async def _get_dynamodb(self, rule_arn: str, table: Value, *arguments: Value) -> str | None:
        *pairs, role = arguments
        if len(pairs) not in (2, 4):
            raise _Refused("a table, one or two pairs of key and value, and a role are needed")
        name = _text(table, "the table")
        await self._require(role, rule_arn, "dynamodb:GetItem", self._arn("dynamodb", f"table/{name}"))
        key = {_text(pairs[index], "a key"): _key_value(pairs[index + 1]) for index in range(0, len(pairs), 2)}
        answer = await self._services.calls.call("dynamodb", "GetItem", TableName=name, Key=key)
        return _item_text(answer["Item"]) if answer.get("Item") else None

    async def _get_thing_shadow(self, rule_arn: str, thing: Value, *arguments: Value) -> bytes:
        *shadow, role = arguments
        name = _text(thing, "the thing")
        members = {"thingName": name} | ({"shadowName": _text(shadow[0], "the shadow")} if shadow else {})
        resource = self._arn("iot", "/".join(["thing", *members.values()]))
        await self._require(role, rule_arn, "iot:GetThingShadow", resource)
        answer = await self._services.calls.call("iot-data", "GetThingShadow", **members)
        payload = answer["payload"]
        return payload if isinstance(payload, bytes) else payload.read()

    async def _get_registry_data(self, rule_arn: str, api: Value, thing: Value, role: Value) -> str:
        if api not in ("DescribeThing", "ListThingGroupsForThing"):
            raise _Refused(f"{to_text(api)} is not one of DescribeThing, ListThingGroupsForThing")
        name = _text(thing, "the thing")
        await self._require(role, rule_arn, f"iot:{api}", self._arn("iot", f"thing/{name}"))
        return json.dumps(await self._services.calls.call("iot", str(api), thingName=name), default=str)

    async def _get_secret(self, rule_arn: str, secret: Value, kind: Value, *arguments: Value) -> str:
        *keys, role = arguments
        name = _text(secret, "the secret")
        if kind not in ("SecretString", "SecretBinary"):
            raise _Refused(f"the secret type {to_text(kind)} is not SecretString or SecretBinary")
        value = await self._secret_value(name, str(role))
        # What policies name is the whole ARN, with the six characters at its end.
        for action in ("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"):
            await self._require(role, rule_arn, action, value["ARN"])
        if kind not in value:
            raise _Refused(f"the secret has no {kind}")
        content = value[str(kind)]
        if isinstance(content, bytes):
            if keys:
                raise _Refused("a SecretBinary has no keys")
            return json.dumps(base64.b64encode(content).decode())
        parsed = parse_json(content, VERSION_2015)
        if not keys:
            return content if isinstance(parsed, dict) else json.dumps(content)
        if not isinstance(parsed, dict) or to_text(keys[0]) not in parsed:
            raise _Refused(f"the secret is not a JSON object with the key {to_text(keys[0])}")
        return json_text(parsed[_text(keys[0], "the key")])

    async def _secret_value(self, name: str, role: str) -> dict[str, Any]:
        known = self._secrets.get((name, role))
        if known is None or known[0] < self._clock.now():
            value = await self._services.calls.call("secretsmanager", "GetSecretValue", SecretId=name)
            known = self._secrets[name, role] = (self._clock.now() + _SECRET_SECONDS, value)
        return known[1]

    async def _decode(
        self, rule_arn: str, data: Value, scheme: Value, bucket: Value, key: Value, file: Value, message_type: Value
    ) -> str:
        name, path = _text(bucket, "the bucket"), _text(key, "the object key")
        try:
            encoded = base64.b64decode(_text(data, "the message"), validate=True)
        except ValueError as error:  # binascii.Error, or characters beyond ASCII
            raise _Refused("the message is not base64") from error
        if len(encoded) > _MAX_MESSAGE:
            raise _Refused(f"the message is longer than {_MAX_MESSAGE} bytes")
        await self._require_bucket_policy(rule_arn, name, path)
        descriptors = (await self._services.calls.call("s3", "GetObject", Bucket=name, Key=path))["Body"]
        if len(descriptors) > _MAX_DESCRIPTORS:
            raise _Refused(f"the descriptor file is longer than {_MAX_DESCRIPTORS} bytes")
        try:
            message = Descriptors(descriptors).decode(_text(file, "the file"), _text(message_type, "the type"), encoded)
        except (ProtobufError, UnicodeDecodeError) as error:
            raise _Refused(str(error)) from error
        return json.dumps(message)

    async def _require_bucket_policy(self, rule_arn: str, bucket: str, key: str) -> None:
        """There is no role: the bucket itself must let AWS IoT read."""
        try:
            document = (await self._services.calls.call("s3", "GetBucketPolicy", Bucket=bucket))["Policy"]
            policies = [parse_policy("bucket policy", document, IAM_RESOURCE)]
        except (AwsError, MalformedPolicyError):
            policies = []
        context = Context({"aws:SourceArn": (rule_arn,), "aws:SourceAccount": (self._settings.account,)})
        request = Request("s3:GetObject", f"arn:aws:s3:::{bucket}/{key}", context, Principal("Service", IOT))
        if not evaluate(policies, request).allowed:
            raise _Refused(f"no bucket policy of {bucket} allows {IOT} s3:GetObject on {key}")

    async def _require(self, role: Value, rule_arn: str, action: str, resource: str) -> None:
        await self._roles.require(_text(role, "the role"), rule_arn, action, resource)

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self._settings.region}:{self._settings.account}:{resource}"


def _text(value: Value, what: str) -> str:
    if not isinstance(value, str):
        raise _Refused(f"{what} is not a String but {json_text(value)}")
    return value


def _key_value(value: Value) -> dict[str, str]:
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        raise _Refused(f"a key value is a String or a number, not {json_text(value)}")
    return {"N": json_text(value)}


def _item_text(item: dict[str, Any]) -> str:
    return f"{{{','.join(f'{json.dumps(name)}:{_attribute_text(value)}' for name, value in item.items())}}}"


def _attribute_text(value: dict[str, Any]) -> str:
    """A DynamoDB attribute value as JSON."""
    [(kind, content)] = value.items()
    if kind == "N":
        return str(content)
    if kind == "M":
        return _item_text(content)
    if kind == "L":
        return f"[{','.join(map(_attribute_text, content))}]"
    if kind == "NS":
        return f"[{','.join(map(str, content))}]"
    return "null" if kind == "NULL" else json.dumps(content, default=lambda data: data.decode(errors="replace"))
