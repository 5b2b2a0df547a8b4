"""Dynamic references: `{{resolve:ssm:name}}` and `{{resolve:secretsmanager:id:SecretString:key}}` in properties.

They are looked up when a resource is created or updated; what is recorded and shown is the reference.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.errors import ResourceError
from stepbridge.cloudformation.resources.base import AwsCalls

_REFERENCE = re.compile(r"\{\{resolve:([^:}]+):([^}]+)\}\}")
_SECRET = re.compile(
    r"(?P<id>arn:[^:]+:secretsmanager:[^:]+:\d+:secret:[^:]+|[^:]+)"
    r"(?::SecretString(?::(?P<key>[^:]*))?(?::(?P<stage>[^:]*))?(?::(?P<version>[^:]*))?)?$"
)


def secure_strings(type_name: str, value: Any, path: str = "Properties") -> Iterator[str]:
    """Where in its properties a resource refers to a secure string, which none of the supported types may."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from secure_strings(type_name, member, f"{path}/{name}")
    elif isinstance(value, list):
        for member in value:
            yield from secure_strings(type_name, member, path)
    elif isinstance(value, str) and any(match[1] == "ssm-secure" for match in _REFERENCE.finditer(value)):
        yield f"{type_name}/{path}"


async def looked_up(calls: AwsCalls, value: Any) -> Any:
    """`value` with its dynamic references replaced by what they stand for.  Raises ResourceError."""
    if isinstance(value, dict):
        return {name: await looked_up(calls, member) for name, member in value.items()}
    if isinstance(value, list):
        return [await looked_up(calls, member) for member in value]
    if not isinstance(value, str) or "{{resolve:" not in value:
        return value
    parts, end = [], 0
    for match in _REFERENCE.finditer(value):
        parts += [value[end : match.start()], await _value(calls, match[1], match[2])]
        end = match.end()
    return "".join([*parts, value[end:]])


async def _value(calls: AwsCalls, service: str, reference: str) -> str:
    try:
        if service == "ssm":
            found: str = (await calls.call("ssm", "GetParameter", Name=reference))["Parameter"]["Value"]
            return found
        if service == "secretsmanager":
            return await _secret(calls, reference)
    except AwsError as error:
        raise ResourceError(f"Could not resolve {{{{resolve:{service}:{reference}}}}}: {error.message}") from None
    raise ResourceError(f"Dynamic references to {service} are not supported by stepbridge: {reference}")


async def _secret(calls: AwsCalls, reference: str) -> str:
    match = _SECRET.match(reference)
    if match is None:
        raise ResourceError(f"Incorrect format is used in the following SecretsManager reference: {reference}")
    wanted = {"VersionStage": match["stage"], "VersionId": match["version"]}
    versioned = {name: value for name, value in wanted.items() if value}
    text: str = (await calls.call("secretsmanager", "GetSecretValue", SecretId=match["id"], **versioned))[
        "SecretString"
    ]
    if not match["key"]:
        return text
    try:
        return str(json.loads(text)[match["key"]])
    except (ValueError, KeyError, TypeError):
        raise ResourceError(f"Could not find a value associated with JSONKey in SecretString: {match['key']}") from None
