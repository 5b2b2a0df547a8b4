"""The Lambda API but for invocations: what it keeps, and what it refuses in which words."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from tests.integration.functions.harness import ROLE, Lambda, archive

from stepbridge.api.errors import AwsError
from stepbridge.api.models import service_model

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
CODE = "def handler(event, context): pass"


@pytest.fixture
def emulator(tmp_path: Path) -> Lambda:
    return Lambda(tmp_path)


async def refusal(call: Coroutine[Any, Any, Any]) -> tuple[str, str]:
    with pytest.raises(AwsError) as refused:
        await call
    return refused.value.code, refused.value.message


def test_the_life_of_a_function(emulator: Lambda) -> None:
    async def scenario() -> None:
        created = await emulator.create("f", CODE, Tags={"team": "edge"}, Timeout=9)
        assert created["FunctionArn"] == ARN
        assert (created["State"], created["LastUpdateStatus"]) == ("Active", "Successful")
        assert (created["Timeout"], created["MemorySize"], created["Version"]) == (9, 128, "$LATEST")
        assert await emulator.call("get_function_configuration", FunctionName=ARN) == created
        got = await emulator.call("get_function", FunctionName="123456789012:function:f")
        assert got["Configuration"] == created
        assert got["Tags"] == {"team": "edge"}
        assert (await emulator.call("list_functions"))["Functions"] == [created]

        updated = await emulator.call("update_function_configuration", FunctionName="f", Timeout=10, Description="d")
        assert (updated["Timeout"], updated["Description"], updated["CodeSha256"]) == (10, "d", created["CodeSha256"])
        assert updated["RevisionId"] != created["RevisionId"]
        updated = await emulator.call("update_function_code", FunctionName="f", ZipFile=archive({"b.py": "1"}))
        assert updated["CodeSha256"] != created["CodeSha256"]

        assert await refusal(emulator.create("f", CODE)) == (
            "ResourceConflictException",
            "Function already exist: f",
        )
        await emulator.call("delete_function", FunctionName="f")
        not_found = ("ResourceNotFoundException", f"Function not found: {ARN}")
        for operation in ("get_function", "delete_function", "invoke", "get_policy"):
            assert await refusal(emulator.call(operation, FunctionName="f")) == not_found
        await emulator.service.stop()

    asyncio.run(scenario())


INVALID = "InvalidParameterValueException"
TOO_LARGE = "1 validation error detected: Value '%d' at '%s' failed to satisfy constraint: Member must have value less "
VARIABLES = (
    "Lambda was unable to configure your environment variables because the environment variables you have provided "
)
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"Runtime": ""},
        INVALID,
        "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
    ),
    (
        {"Runtime": "java21"},
        INVALID,
        "The runtime java21 is not supported by stepbridge. Functions run on python3.8 and later, and on Node.js.",
    ),
    ({"Runtime": "python3.7"}, INVALID, "The runtime parameter of python3.7 is no longer supported for creating or"),
    (
        {"PackageType": "Image"},
        INVALID,
        "Functions from container images (PackageType Image) are not supported by stepbridge.",
    ),
    (
        {"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:l:1"]},
        INVALID,
        "Layer version arn:aws:lambda:us-east-1:123456789012:layer:l:1 does not exist.",
    ),
    ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, INVALID, "SnapStart is not supported by stepbridge."),
    ({"Timeout": 901}, "ValidationException", TOO_LARGE % (901, "timeout") + "than or equal to 900"),
    ({"MemorySize": 10241}, "ValidationException", TOO_LARGE % (10241, "memorySize") + "than or equal to 10240"),
    ({"Code": {"ZipFile": b"no zip"}}, INVALID, "Could not unzip uploaded file. Please check your file, then try to"),
    ({"Code": {}}, INVALID, "Please provide a source for function code."),
    (
        {"Environment": {"Variables": {"AWS_REGION": "x"}}},
        INVALID,
        VARIABLES + "contains reserved keys that are currently not supported for modification. Reserved keys used in "
        "this request: AWS_REGION",
    ),
    (
        {"Environment": {"Variables": {"A": "x" * 4096}}},
        INVALID,
        VARIABLES + 'exceeded the 4KB limit. String measured: {"A":"xxx',
    ),
]


@pytest.mark.parametrize(("change", "code", "message"), REFUSED)
def test_functions_that_are_refused(emulator: Lambda, change: dict[str, Any], code: str, message: str) -> None:
    async def scenario() -> None:
        refused = await refusal(emulator.create("f", CODE, **change))
        assert refused[0] == code
        assert refused[1].startswith(message)
        assert (await emulator.call("list_functions"))["Functions"] == []
        await emulator.service.stop()

    asyncio.run(scenario())


def test_code_comes_from_s3(emulator: Lambda) -> None:
    async def scenario() -> None:
        where = {"S3Bucket": "artifacts", "S3Key": "code.zip", "S3ObjectVersion": "v1"}
        emulator.calls.answers["GetObject"] = AwsError("NoSuchKey", "No such key.")
        assert await refusal(emulator.create("f", CODE, Code=where)) == (
            "InvalidParameterValueException",
            "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: No such key.",
        )
        emulator.calls.answers["GetObject"] = {"Body": archive({"app.py": "def handler(event, context): return 5"})}
        await emulator.create("f", CODE, Code=where)
        assert emulator.calls.of("GetObject")[-1] == {"Bucket": "artifacts", "Key": "code.zip", "VersionId": "v1"}
        assert await emulator.invoke("f") == 5
        await emulator.service.stop()

    asyncio.run(scenario())


def test_resource_policies(emulator: Lambda) -> None:
    async def scenario() -> None:
        await emulator.create("f", CODE)
        missing = ("ResourceNotFoundException", "The resource you requested does not exist.")
        assert await refusal(emulator.call("get_policy", FunctionName="f")) == missing
        permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "iot.amazonaws.com"}
        source = {"SourceArn": "arn:aws:iot:us-east-1:123456789012:rule/r", "SourceAccount": "123456789012"}
        added = await emulator.call("add_permission", FunctionName="f", **permission, **source)
        assert added["Statement"] == (
            '{"Sid":"s","Effect":"Allow","Principal":{"Service":"iot.amazonaws.com"},"Action":"lambda:InvokeFunction",'
            f'"Resource":"{ARN}","Condition":{{"StringEquals":{{"AWS:SourceAccount":"123456789012"}},'
            '"ArnLike":{"AWS:SourceArn":"arn:aws:iot:us-east-1:123456789012:rule/r"}}}'
        )
        again = emulator.call("add_permission", FunctionName="f", **permission)
        code, message = await refusal(again)
        assert code == "ResourceConflictException"
        assert message.startswith("The statement id (s) provided already exists. Please provide a new statement id")
        policy = (await emulator.call("get_policy", FunctionName="f"))["Policy"]
        assert policy == f'{{"Version":"2012-10-17","Id":"default","Statement":[{added["Statement"]}]}}'
        latest = emulator.call("add_permission", FunctionName="f", Qualifier="$LATEST", **permission)
        assert (await refusal(latest))[1] == "We currently do not support adding policies for $LATEST."
        await emulator.call("remove_permission", FunctionName="f", StatementId="s")
        assert await refusal(emulator.call("remove_permission", FunctionName="f", StatementId="s")) == (
            "ResourceNotFoundException",
            "Statement s is not found in resource policy.",
        )
        await emulator.service.stop()

    asyncio.run(scenario())


def test_resource_policies_as_documents(emulator: Lambda) -> None:
    async def scenario() -> None:
        await emulator.create("f", CODE)
        of_function = {"ResourceArn": ARN}
        missing = ("ResourceNotFoundException", "The resource you requested does not exist.")
        for operation in ("get_resource_policy", "delete_resource_policy"):
            assert await refusal(emulator.call(operation, **of_function)) == missing
        iot = {"Service": "iot.amazonaws.com"}
        permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "sns.amazonaws.com"}
        await emulator.call("add_permission", FunctionName="f", **permission)
        before = await emulator.call("get_resource_policy", **of_function)

        allowed = {"Effect": "Allow", "Principal": iot, "Action": "lambda:InvokeFunction", "Resource": ARN}
        policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        put = await emulator.call("put_resource_policy", **of_function, Policy=policy, RevisionId=before["RevisionId"])
        assert json.loads(put["Policy"])["Statement"] == [allowed]  # and not what was added before
        assert await emulator.call("get_policy", FunctionName="f") == put
        stale = {**of_function, "RevisionId": before["RevisionId"]}
        for call in (
            emulator.call("put_resource_policy", **stale, Policy=policy),
            emulator.call("delete_resource_policy", **stale),
        ):
            assert (await refusal(call))[0] == "PreconditionFailedException"
        as_rule = {"principal": "iot.amazonaws.com", "source_arn": "arn:aws:iot:r", "source_account": "123456789012"}
        await emulator.functions.invoke_as_service(ARN, b"{}", **as_rule)
        denied = {**allowed, "Effect": "Deny", "Sid": "no"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed, denied]})
        await emulator.call("put_resource_policy", **of_function, Policy=policy)
        refused = emulator.functions.invoke_as_service(ARN, b"{}", **as_rule)
        assert (await refusal(refused))[0] == "AccessDeniedException"
        for wrong in ("{", "{}", json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]})):
            put_wrong = emulator.call("put_resource_policy", **of_function, Policy=wrong)
            assert (await refusal(put_wrong))[0] == "InvalidParameterValueException"
        latest = emulator.call("put_resource_policy", ResourceArn=f"{ARN}:$LATEST", Policy=policy)
        assert (await refusal(latest))[1] == "We currently do not support adding policies for $LATEST."
        await emulator.call("delete_resource_policy", **of_function)
        assert await refusal(emulator.call("get_policy", FunctionName="f")) == missing
        await emulator.service.stop()

    asyncio.run(scenario())


def test_a_resource_policy_has_a_limit(emulator: Lambda) -> None:
    async def scenario() -> None:
        await emulator.create("f", CODE)
        permission = {"FunctionName": "f", "Action": "lambda:InvokeFunction", "Principal": "iot.amazonaws.com"}
        long = "arn:aws:" + "r" * 15_000
        first = await emulator.call("add_permission", **permission, StatementId="a", SourceArn=long)
        before = (await emulator.call("get_policy", FunctionName="f"))["Policy"]
        size = len(before) + len(",") + len(first["Statement"]) - 8_000
        second = emulator.call("add_permission", **permission, StatementId="b", SourceArn=long[:-8_000])
        assert await refusal(second) == (
            "PolicyLengthExceededException",
            f"The final policy size ({size}) is bigger than the limit (20480)",
        )
        assert (await emulator.call("get_policy", FunctionName="f"))["Policy"] == before
        statement = {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": ARN}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement] * 200})
        put = emulator.call("put_resource_policy", ResourceArn=ARN, Policy=policy)
        assert (await refusal(put))[0] == "PolicyLengthExceededException"
        await emulator.service.stop()

    asyncio.run(scenario())


def test_versions(emulator: Lambda) -> None:
    async def scenario() -> None:
        await emulator.create("f", CODE)
        first = await emulator.call("publish_version", FunctionName="f")
        assert (first["Version"], first["FunctionArn"]) == ("1", f"{ARN}:1")
        assert (await emulator.call("publish_version", FunctionName="f"))["Version"] == "1", "nothing has changed"
        await emulator.call("update_function_configuration", FunctionName="f", Timeout=8)
        assert (await emulator.call("publish_version", FunctionName="f"))["Version"] == "2"
        listed = (await emulator.call("list_versions_by_function", FunctionName="f"))["Versions"]
        assert [version["Version"] for version in listed] == ["$LATEST", "1", "2"]
        assert (await emulator.call("get_function_configuration", FunctionName="f:1"))["Timeout"] == 3

        await emulator.call("create_alias", FunctionName="f", Name="live", FunctionVersion="1")
        assert await refusal(emulator.call("create_alias", FunctionName="f", Name="live", FunctionVersion="1")) == (
            "ResourceConflictException",
            f"Alias already exists: {ARN}:live",
        )
        assert await refusal(emulator.call("create_alias", FunctionName="f", Name="x", FunctionVersion="9")) == (
            "ResourceNotFoundException",
            f"Function not found: {ARN}:9",
        )
        assert await refusal(emulator.call("get_alias", FunctionName="f", Name="x")) == (
            "ResourceNotFoundException",
            f"Cannot find alias arn: {ARN}:x",
        )
        weights = {"AdditionalVersionWeights": {"2": 0.5}}
        await emulator.call("update_alias", FunctionName="f", Name="live", RoutingConfig=weights)
        for referenced in ("1", "2"):
            assert await refusal(emulator.call("delete_function", FunctionName="f", Qualifier=referenced)) == (
                "ResourceConflictException",
                "Unable to delete version because the following aliases reference it: [live]",
            )
        await emulator.call("delete_alias", FunctionName="f", Name="live")
        await emulator.call("delete_function", FunctionName="f", Qualifier="1")
        assert (await refusal(emulator.call("get_function", FunctionName="f:1")))[0] == "ResourceNotFoundException"
        await emulator.service.stop()

    asyncio.run(scenario())


def test_what_hangs_on_an_alias_goes_with_it(emulator: Lambda) -> None:
    async def scenario() -> None:
        await emulator.create("f", CODE, Publish=True)
        live = {"FunctionName": "f", "Qualifier": "live"}
        permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"}
        await emulator.call("create_alias", FunctionName="f", Name="live", FunctionVersion="1")
        await emulator.call("add_permission", **live, **permission)
        await emulator.call("add_permission", FunctionName="f", **permission)
        await emulator.call("put_function_event_invoke_config", **live, MaximumRetryAttempts=0)
        await emulator.call("delete_alias", FunctionName="f", Name="live")
        await emulator.call("create_alias", FunctionName="f", Name="live", FunctionVersion="1")
        for operation in ("get_policy", "get_function_event_invoke_config"):
            assert (await refusal(emulator.call(operation, **live)))[0] == "ResourceNotFoundException"
        assert "Policy" in await emulator.call("get_policy", FunctionName="f")
        await emulator.service.stop()

    asyncio.run(scenario())


def test_concurrency_and_tags(emulator: Lambda) -> None:
    async def scenario() -> None:
        await emulator.create("f", CODE)
        assert await emulator.call("get_function_concurrency", FunctionName="f") == {}
        await emulator.call("put_function_concurrency", FunctionName="f", ReservedConcurrentExecutions=5)
        assert await emulator.call("get_function_concurrency", FunctionName="f") == {"ReservedConcurrentExecutions": 5}
        too_much = emulator.call("put_function_concurrency", FunctionName="f", ReservedConcurrentExecutions=901)
        assert (await refusal(too_much))[0] == "InvalidParameterValueException"
        await emulator.call("tag_resource", Resource=ARN, Tags={"a": "1", "b": "2"})
        await emulator.call("untag_resource", Resource=ARN, TagKeys=["a"])
        assert await emulator.call("list_tags", Resource=ARN) == {"Tags": {"b": "2"}}
        assert await refusal(emulator.call("list_tags", Resource=f"{ARN}:1")) == (
            "InvalidParameterValueException",
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        )
        await emulator.service.stop()

    asyncio.run(scenario())


def test_what_lambda_may_do_by_itself(emulator: Lambda) -> None:
    async def scenario() -> None:
        created = await emulator.create("f", CODE)
        own = created["RuntimeVersionConfig"]["RuntimeVersionArn"]
        assert await emulator.call("get_function_recursion_config", FunctionName="f") == {"RecursiveLoop": "Terminate"}
        await emulator.call("put_function_recursion_config", FunctionName="f", RecursiveLoop="Allow")
        automatic = {"UpdateRuntimeOn": "Auto", "FunctionArn": ARN}
        assert await emulator.call("get_runtime_management_config", FunctionName="f") == automatic
        manual = {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": own}
        await emulator.call("put_runtime_management_config", FunctionName="f", **manual)
        for wrong in (
            {"UpdateRuntimeOn": "Manual"},
            {**manual, "RuntimeVersionArn": f"{own}0"},
            {**manual, **automatic},
        ):
            put = emulator.call("put_runtime_management_config", **{**wrong, "FunctionName": "f"})
            assert (await refusal(put))[0] == "InvalidParameterValueException"

        # What is put of a function is no less there when its configuration changes.
        await emulator.call("update_function_configuration", FunctionName="f", Timeout=9)
        await emulator.call("publish_version", FunctionName="f")
        assert await emulator.call("get_function_recursion_config", FunctionName="f") == {"RecursiveLoop": "Allow"}
        got = await emulator.call("get_runtime_management_config", FunctionName="f")
        assert got == {**manual, "FunctionArn": ARN}
        of_version = await emulator.call("get_runtime_management_config", FunctionName="f", Qualifier="1")
        assert of_version == {"UpdateRuntimeOn": "Auto", "FunctionArn": f"{ARN}:1"}
        await emulator.service.stop()

    asyncio.run(scenario())


def test_an_update_takes_away(emulator: Lambda) -> None:
    async def scenario() -> None:
        key = "arn:aws:kms:us-east-1:123456789012:key/a"
        code = {"ZipFile": archive({"app.py": CODE}), "SourceKMSKeyArn": key}
        logging = {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"}
        await emulator.create("f", CODE, Code=code, KMSKeyArn=key, LoggingConfig=logging)
        assert (await emulator.call("get_function", FunctionName="f"))["Code"]["SourceKMSKeyArn"] == key
        await emulator.call("update_function_code", FunctionName="f", ZipFile=code["ZipFile"])
        assert "SourceKMSKeyArn" not in (await emulator.call("get_function", FunctionName="f"))["Code"]
        updated = await emulator.call(
            "update_function_configuration", FunctionName="f", KMSKeyArn="", LoggingConfig={"LogFormat": "Text"}
        )
        assert "KMSKeyArn" not in updated
        assert updated["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"}
        await emulator.service.stop()

    asyncio.run(scenario())


def test_what_is_not_offered_is_refused_by_name(emulator: Lambda) -> None:
    async def scenario() -> None:
        await emulator.create("f", CODE)
        s3 = {"S3Bucket": "b", "S3Key": "k", "S3ObjectStorageMode": "REFERENCE"}
        for member, call in {
            "TenantId": emulator.call("invoke", FunctionName="f", TenantId="t"),
            "DurableExecutionName": emulator.call("invoke", FunctionName="f", DurableExecutionName="d"),
            "PublishTo": emulator.call("publish_version", FunctionName="f", PublishTo="LATEST_PUBLISHED"),
            "RuntimeConfig": emulator.call("update_function_configuration", FunctionName="f", RuntimeConfig={"a": 1}),
            "The S3ObjectStorageMode REFERENCE": emulator.create("g", CODE, Code=s3),
            "AcceleratorConfig": emulator.create("g", CODE, AcceleratorConfig={"a": 1}),
        }.items():
            assert await refusal(call) == (INVALID, f"{member} is not supported by stepbridge.")
        await emulator.service.stop()

    asyncio.run(scenario())


def test_every_operation_is_offered_or_known_not_to_be(emulator: Lambda) -> None:
    """A new version of the model must not go by unseen."""
    not_offered = {
        name for name in service_model("lambda").operation_names if not hasattr(emulator.service, xform_name(name))
    }
    assert not_offered == NOT_OFFERED


# Managed instances and durable executions.
NOT_OFFERED = {
    "CheckpointDurableExecution",
    "CreateCapacityProvider",
    "DeleteCapacityProvider",
    "DeleteDurableExecution",
    "GetCapacityProvider",
    "GetDurableExecution",
    "GetDurableExecutionHistory",
    "GetDurableExecutionState",
    "GetFunctionScalingConfig",
    "ListCapacityProviders",
    "ListDurableExecutionsByFunction",
    "ListFunctionVersionsByCapacityProvider",
    "PauseDurableExecution",
    "PutFunctionScalingConfig",
    "ResumeDurableExecution",
    "SendDurableExecutionCallbackFailure",
    "SendDurableExecutionCallbackHeartbeat",
    "SendDurableExecutionCallbackSuccess",
    "StopDurableExecution",
    "UpdateCapacityProvider",
}


def test_lists_come_in_pages(emulator: Lambda) -> None:
    async def scenario() -> None:
        for number in range(5):
            await emulator.create(f"f{number}", CODE)
        names, marker = [], None
        while True:
            given: dict[str, str] = {"Marker": marker} if marker else {}
            answer = await emulator.call("list_functions", MaxItems=2, **given)
            names.append([function["FunctionName"] for function in answer["Functions"]])
            marker = answer.get("NextMarker")
            if marker is None:
                break
        assert names == [["f0", "f1"], ["f2", "f3"], ["f4"]]
        await emulator.service.stop()

    asyncio.run(scenario())


def test_functions_are_there_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        before = Lambda(tmp_path, on_disk=True)
        await before.create("f", "def handler(event, context): return 8", Role=ROLE)
        await before.service.stop()
        before.store.close()
        after = Lambda(tmp_path, on_disk=True)
        await after.service.start()
        assert await after.invoke("f") == 8
        await after.service.stop()
        after.store.close()

    asyncio.run(scenario())


def test_permissions_of_layers(emulator: Lambda) -> None:
    async def scenario() -> None:
        content = {"ZipFile": archive({"python/layered.py": "VALUE = 1"})}
        await emulator.call("publish_layer_version", LayerName="shared", Content=content)
        version = {"LayerName": "shared", "VersionNumber": 1}
        permission = {"StatementId": "all", "Action": "lambda:GetLayerVersion", "Principal": "*"}
        added = await emulator.call("add_layer_version_permission", **version, **permission)
        assert json.loads(added["Statement"]) == {
            "Sid": "all",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "lambda:GetLayerVersion",
            "Resource": "arn:aws:lambda:us-east-1:123456789012:layer:shared:1",
        }
        again = emulator.call("add_layer_version_permission", **version, **permission)
        assert (await refusal(again))[0] == "ResourceConflictException"
        policy = await emulator.call("get_layer_version_policy", **version)
        assert json.loads(policy["Policy"])["Statement"] == [json.loads(added["Statement"])]
        stale = emulator.call("remove_layer_version_permission", **version, StatementId="all", RevisionId="other")
        assert (await refusal(stale))[0] == "PreconditionFailedException"
        await emulator.call("remove_layer_version_permission", **version, StatementId="all")
        for gone in (
            emulator.call("get_layer_version_policy", **version),
            emulator.call("remove_layer_version_permission", **version, StatementId="all"),
            emulator.call("add_layer_version_permission", **{**version, "VersionNumber": 2}, **permission),
        ):
            assert (await refusal(gone))[0] == "ResourceNotFoundException"
        assert "Policy" not in await emulator.call("get_layer_version", **version)
        await emulator.service.stop()

    asyncio.run(scenario())
