"""Code signing: configurations that say by whom the code of a function must have been signed.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-codesigning.html

AWS Signer puts its signature into the package.  Whether it is genuine, not revoked, and of an allowed profile only AWS
can tell: code without a signature is dealt with as on AWS, code with one is refused where a signature is enforced,
because neither answer would be known to be true.
"""

import json
import secrets
import string
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.clock import Clock
from stepbridge.functions.aws_calls import AwsCalls
from stepbridge.functions.code import CodeStore
from stepbridge.functions.configuration import last_modified
from stepbridge.functions.invoker import Functions
from stepbridge.functions.pagination import page
from stepbridge.functions.refusals import conflict, invalid, not_found
from stepbridge.functions.registry import Configuration, FunctionRegistry
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

_SCHEMA = [
    """
    CREATE TABLE lambda_code_signing_configs (
        arn TEXT PRIMARY KEY,
        config TEXT NOT NULL
    ) STRICT;
    CREATE TABLE lambda_code_signing_functions (
        name TEXT PRIMARY KEY REFERENCES lambda_functions ON DELETE CASCADE,
        arn TEXT NOT NULL REFERENCES lambda_code_signing_configs
    ) STRICT
    """
]
_ID_CHARACTERS = string.ascii_lowercase + string.digits
_SIGNATURE = "META-INF/aws_signer_signature*"  # in a package

CodeSigningConfig = dict[str, Any]


class CodeSigning:
    """The configurations, the functions that have one, and what it means for their code.

    Durable after `store.committed()`.
    """

    def __init__(self, settings: Settings, store: Store, trace: Trace, calls: AwsCalls, code: CodeStore) -> None:
        store.migrate("lambda-code-signing", _SCHEMA)
        self._settings = settings
        self._store = store
        self._trace = trace
        self._calls = calls
        self._code = code

    def new_arn(self) -> str:
        """The ARN of a configuration to be."""
        identity = "csc-" + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(17))
        return f"arn:aws:lambda:{self._settings.region}:{self._settings.account}:code-signing-config:{identity}"

    # Configurations

    def find(self, arn: str) -> CodeSigningConfig:
        """Raises ResourceNotFoundException."""
        row = self._store.query_one("SELECT config FROM lambda_code_signing_configs WHERE arn = ?", (arn,))
        if row is None:
            raise not_found(f"The Lambda code signing configuration {arn} can not be found.")
        config: CodeSigningConfig = json.loads(row[0])
        return config

    def all(self) -> list[CodeSigningConfig]:
        rows = self._store.query("SELECT config FROM lambda_code_signing_configs ORDER BY rowid")
        return [json.loads(row[0]) for row in rows]

    def put(self, config: CodeSigningConfig) -> None:
        self._store.execute(
            "INSERT INTO lambda_code_signing_configs VALUES (?, ?)"
            " ON CONFLICT (arn) DO UPDATE SET config = excluded.config",
            (config["CodeSigningConfigArn"], json.dumps(config)),
        )

    def delete(self, arn: str) -> None:
        self._store.execute("DELETE FROM lambda_code_signing_configs WHERE arn = ?", (arn,))

    # Functions

    def of_function(self, function: str) -> str | None:
        """The ARN of the configuration that a function has."""
        row = self._store.query_one("SELECT arn FROM lambda_code_signing_functions WHERE name = ?", (function,))
        return row[0] if row else None

    def functions(self, arn: str) -> list[str]:
        """The names of the functions that have a configuration."""
        rows = self._store.query("SELECT name FROM lambda_code_signing_functions WHERE arn = ? ORDER BY name", (arn,))
        return [row[0] for row in rows]

    def require(self, arn: str) -> CodeSigningConfig:
        """Raises CodeSigningConfigNotFoundException, which is what a function that is to have it is answered with."""
        try:
            return self.find(arn)
        except AwsError:
            raise AwsError(
                "CodeSigningConfigNotFoundException",
                "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
                f"{arn}.",
                members={"Type": "User"},
            ) from None

    def assign(self, function: str, arn: str | None) -> None:
        """Give a function a configuration that there is, or none."""
        self._store.execute("DELETE FROM lambda_code_signing_functions WHERE name = ?", (function,))
        if arn is not None:
            self._store.execute("INSERT INTO lambda_code_signing_functions VALUES (?, ?)", (function, arn))

    async def check(self, configuration: Configuration, arn: str | None) -> None:
        """Whether a function that has the code signing configuration `arn` may have this code and these layers.

        Raises CodeVerificationFailedException if one is not signed where that is enforced, and
        InvalidParameterValueException if all are, see above; CodeSigningConfigNotFoundException.
        """
        if arn is None:
            return
        function = configuration["FunctionName"]
        policy = self.require(arn)["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"]
        packages = [configuration["CodeSha256"], *(layer["CodeSha256"] for layer in configuration.get("Layers", []))]
        signed = all(any(self._code.unpacked(package).glob(_SIGNATURE)) for package in packages)
        if policy == "Enforce":
            if not signed:
                raise AwsError(
                    "CodeVerificationFailedException",
                    "Lambda cannot deploy the function. The function or layer might be signed using a signature that "
                    "the client is not configured to accept. Check the provided signature for unsigned.",
                    members={"Type": "User"},
                )
            raise invalid(
                "The code is signed, which stepbridge cannot verify: only AWS knows what AWS Signer has signed and "
                f"revoked. Where it is to run here, {arn} must have the UntrustedArtifactOnDeployment Warn."
            )
        if signed:
            self._tell(function, f"The signature in the code of {function} is not verified: only AWS can do that")
            return
        self._tell(function, f"The code of {function} is not signed, as {arn} wants it; that only warns")
        await self._calls.call(
            "cloudwatch",
            "PutMetricData",
            Namespace="AWS/Lambda",
            MetricData=[
                {
                    "MetricName": "SignatureValidationErrors",
                    "Dimensions": [{"Name": "FunctionName", "Value": function}],
                    "Value": 1.0,
                    "Unit": "Count",
                }
            ],
        )

    def _tell(self, function: str, text: str) -> None:
        self._trace.emit("lambda", "code-signature", text, function=function)


class CodeSigningOperations:
    """The part of the Lambda API that is about code signing; a part of :class:`~service.LambdaService`."""

    functions: Functions
    _signing: CodeSigning
    _registry: FunctionRegistry
    _store: Store
    _clock: Clock

    async def create_code_signing_config(self, caller: Caller, request: Members) -> Members:
        arn = self._signing.new_arn()
        config: CodeSigningConfig = {
            "CodeSigningConfigId": arn.rpartition(":")[2],
            "CodeSigningConfigArn": arn,
            "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"},
        }
        if "Tags" in request:
            config["Tags"] = request["Tags"]
        return await self._put_code_signing_config(config, request)

    async def get_code_signing_config(self, caller: Caller, request: Members) -> Members:
        return {"CodeSigningConfig": _shown(self._signing.find(request["CodeSigningConfigArn"]))}

    async def update_code_signing_config(self, caller: Caller, request: Members) -> Members:
        return await self._put_code_signing_config(self._signing.find(request["CodeSigningConfigArn"]), request)

    async def delete_code_signing_config(self, caller: Caller, request: Members) -> Members:
        arn = request["CodeSigningConfigArn"]
        self._signing.find(arn)
        if functions := self._signing.functions(arn):
            raise conflict(
                f"The code signing configuration {arn} cannot be deleted, because it is used by {', '.join(functions)}."
            )
        self._signing.delete(arn)
        await self._store.committed()
        return {}

    async def list_code_signing_configs(self, caller: Caller, request: Members) -> Members:
        return page("CodeSigningConfigs", [_shown(config) for config in self._signing.all()], request, most=10_000)

    async def list_functions_by_code_signing_config(self, caller: Caller, request: Members) -> Members:
        arn = request["CodeSigningConfigArn"]
        self._signing.find(arn)
        arns = [self.functions.name(function).arn for function in self._signing.functions(arn)]
        return page("FunctionArns", arns, request, most=10_000)

    async def put_function_code_signing_config(self, caller: Caller, request: Members) -> Members:
        name = self._registry.unqualified(self.functions.name(request["FunctionName"]))
        arn = request["CodeSigningConfigArn"]
        self._signing.require(arn)
        self._signing.assign(name.name, arn)
        await self._store.committed()
        return {"CodeSigningConfigArn": arn, "FunctionName": name.name}

    async def get_function_code_signing_config(self, caller: Caller, request: Members) -> Members:
        name = self._registry.unqualified(self.functions.name(request["FunctionName"]))
        arn = self._signing.of_function(name.name)
        return {"CodeSigningConfigArn": arn, "FunctionName": name.name} if arn is not None else {}

    async def delete_function_code_signing_config(self, caller: Caller, request: Members) -> Members:
        name = self._registry.unqualified(self.functions.name(request["FunctionName"]))
        self._signing.assign(name.name, None)
        await self._store.committed()
        return {}

    async def _put_code_signing_config(self, config: CodeSigningConfig, request: Members) -> Members:
        for member in ("AllowedPublishers", "CodeSigningPolicies", "Description"):
            if member in request:
                config[member] = request[member]
        config["LastModified"] = last_modified(self._clock.now())
        self._signing.put(config)
        await self._store.committed()
        return {"CodeSigningConfig": _shown(config)}


def _shown(config: CodeSigningConfig) -> Members:
    return {name: value for name, value in config.items() if name != "Tags"}
