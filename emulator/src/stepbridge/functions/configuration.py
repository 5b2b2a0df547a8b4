"""From what CreateFunction and UpdateFunctionConfiguration ask for to a function's configuration, or AWS's refusal.

https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html
"""

import hashlib
import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.functions.code import CodePackage
from stepbridge.functions.names import LATEST, FunctionName
from stepbridge.functions.node import RUNTIME, find_node
from stepbridge.functions.refusals import invalid, validation_error
from stepbridge.functions.registry import Configuration

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_TIMEOUT = 900  # seconds
MAX_MEMORY = 10_240  # MB
MAX_ENVIRONMENT = 4096  # bytes

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html (Reserved environment variables)
_RESERVED_VARIABLES = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SECRET_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)
_PYTHON = re.compile(r"python3\.(\d+)")
_OLDEST_PYTHON = 8  # of those that functions can still be created with

# Members copied as they are; AWS gives those that are set.
_COPIED = ("Role", "Handler", "Runtime", "KMSKeyArn", "DeadLetterConfig")
_REFUSED = (
    "AcceleratorConfig",
    "CapacityProviderConfig",
    "DurableConfig",
    "FileSystemConfigs",
    "ImageConfig",
    "PublishTo",
    "RuntimeConfig",
    "TenancyConfig",
)


def new_configuration(name: FunctionName, request: dict[str, Any], package: CodePackage, now: float) -> Configuration:
    """The configuration of $LATEST of a new function; raises InvalidParameterValueException."""
    if request.get("PackageType", "Zip") != "Zip":
        raise not_offered("Functions from container images (PackageType Image) are")
    if not request.get("Runtime") or not request.get("Handler"):
        raise invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    configuration: Configuration = {
        "FunctionName": name.name,
        "FunctionArn": name.unqualified_arn,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Version": LATEST,
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": request.get("Architectures", ["x86_64"]),
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name.name}"},
    }
    apply_settings(configuration, request)
    apply_code(configuration, package)
    touch(configuration, now)
    return configuration


def apply_settings(configuration: Configuration, request: dict[str, Any]) -> None:
    """Change `configuration` to what `request` gives; raises InvalidParameterValueException and changes nothing."""
    _check(request)
    for member in _COPIED:
        if member in request:
            configuration[member] = request[member]
    if not configuration.get("KMSKeyArn"):  # an update takes the key away with none
        configuration.pop("KMSKeyArn", None)
    for member in ("Description", "Timeout", "MemorySize", "EphemeralStorage", "TracingConfig"):
        if member in request:
            configuration[member] = request[member]
    if "Environment" in request:
        variables = request["Environment"].get("Variables", {})
        if variables:
            configuration["Environment"] = {"Variables": variables}
        else:
            configuration.pop("Environment", None)
    if "VpcConfig" in request:
        vpc = request["VpcConfig"]
        configuration["VpcConfig"] = {
            "SubnetIds": vpc.get("SubnetIds", []),
            "SecurityGroupIds": vpc.get("SecurityGroupIds", []),
            "VpcId": "",
            "Ipv6AllowedForDualStack": vpc.get("Ipv6AllowedForDualStack", False),
        }
    if "LoggingConfig" in request:
        configuration["LoggingConfig"] = {**configuration["LoggingConfig"], **request["LoggingConfig"]}
        for level in ("ApplicationLogLevel", "SystemLogLevel"):
            if configuration["LoggingConfig"]["LogFormat"] == "JSON":
                configuration["LoggingConfig"].setdefault(level, "INFO")
            else:
                configuration["LoggingConfig"].pop(level, None)
    runtime = configuration["Runtime"]
    # On AWS the identity of the runtime's build; here of the runtime, so that it is stable.
    identity = hashlib.sha256(runtime.encode()).hexdigest()
    region = configuration["FunctionArn"].split(":")[3]
    configuration["RuntimeVersionConfig"] = {"RuntimeVersionArn": f"arn:aws:lambda:{region}::runtime:{identity}"}


def apply_code(configuration: Configuration, package: CodePackage, source_key: str | None = None) -> None:
    """Change the code; `source_key` is the ARN of the KMS key that it is to be encrypted with, which shows only."""
    configuration["CodeSha256"] = package.sha256
    configuration["CodeSize"] = package.size
    configuration.pop("SourceKMSKeyArn", None)
    if source_key is not None:
        configuration["SourceKMSKeyArn"] = source_key


def touch(configuration: Configuration, now: float) -> None:
    """A new revision, changed `now`."""
    configuration["RevisionId"] = str(uuid.uuid4())
    configuration["LastModified"] = last_modified(now)


def last_modified(now: float) -> str:
    """A time, in seconds since the epoch, as Lambda writes it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def qualified(configuration: Configuration, qualifier: str | None) -> Configuration:
    """`configuration` as it is given to who asked for `qualifier`: the ARN has it."""
    if not qualifier:
        return configuration
    arn = ":".join(configuration["FunctionArn"].split(":")[:7])
    return {**configuration, "FunctionArn": f"{arn}:{qualifier}"}


def _check(request: dict[str, Any]) -> None:
    for member in _REFUSED:
        if request.get(member):
            raise not_offered(f"{member} {'are' if member.endswith('s') else 'is'}")
    if request.get("SnapStart", {}).get("ApplyOn", "None") != "None":
        raise not_offered("SnapStart is")
    if (runtime := request.get("Runtime")) is not None:
        _check_runtime(runtime)
    _check_limit(request, "Timeout", MAX_TIMEOUT)
    _check_limit(request, "MemorySize", MAX_MEMORY)
    _check_variables(request.get("Environment", {}).get("Variables", {}))


def _check_runtime(runtime: str) -> None:
    if RUNTIME.fullmatch(runtime):
        node = find_node()
        if isinstance(node, str):
            raise not_offered(f"The runtime {runtime} is", f"It could be, but {node}.")
        return
    match = _PYTHON.fullmatch(runtime)
    if match is None and not runtime.startswith("python"):
        raise not_offered(f"The runtime {runtime} is", "Functions run on python3.8 and later, and on Node.js.")
    if match is None or int(match[1]) < _OLDEST_PYTHON:
        raise invalid(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda "
            "functions. We recommend you use a supported runtime while creating or updating functions."
        )


def _check_limit(request: dict[str, Any], member: str, limit: int) -> None:
    value = request.get(member)
    if value is not None and value > limit:
        name = member[0].lower() + member[1:]
        raise validation_error(value, name, f"Member must have value less than or equal to {limit}")


def _check_variables(variables: dict[str, str]) -> None:
    reserved = [name for name in variables if name in _RESERVED_VARIABLES]
    if reserved:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used in "
            f"this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > MAX_ENVIRONMENT:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}"
        )


def not_offered(what: str, hint: str = "") -> AwsError:
    return invalid(f"{what} not supported by stepbridge. {hint}".rstrip())
