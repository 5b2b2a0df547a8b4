"""Code signing: configurations, the functions that have one, and what it means for their code."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.integration.functions.harness import ROLE, Lambda, archive
from tests.integration.functions.test_api import refusal

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
PROFILE = "arn:aws:signer:us-east-1:123456789012:/signing-profiles/edge/aBcDeFgHiJ"
CODE = "def handler(event, context): pass"
NOT_ACCEPTED = (
    "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is "
    "not configured to accept. Check the provided signature for unsigned."
)
UNSIGNED = ("CodeVerificationFailedException", NOT_ACCEPTED)
SIGNED = {"app.py": CODE, "META-INF/aws_signer_signature_v1.0.SF": "only AWS can tell"}


@pytest.fixture
def emulator(tmp_path: Path) -> Lambda:
    return Lambda(tmp_path)


def play(emulator: Lambda, scenario: Coroutine[Any, Any, None]) -> None:
    async def run() -> None:
        try:
            await scenario
        finally:
            await emulator.service.stop()

    asyncio.run(run())


async def new_config(emulator: Lambda, policy: str | None, **request: Any) -> str:
    """The ARN of a new configuration."""
    policies = {"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": policy}} if policy else {}
    publishers = {"SigningProfileVersionArns": [PROFILE]}
    answer = await emulator.call("create_code_signing_config", AllowedPublishers=publishers, **policies, **request)
    arn: str = answer["CodeSigningConfig"]["CodeSigningConfigArn"]
    return arn


def test_the_life_of_a_configuration(emulator: Lambda) -> None:
    async def scenario() -> None:
        arn = await new_config(emulator, None, Description="d", Tags={"a": "1"})
        got = (await emulator.call("get_code_signing_config", CodeSigningConfigArn=arn))["CodeSigningConfig"]
        assert got == {
            "CodeSigningConfigId": arn.rpartition(":")[2],
            "CodeSigningConfigArn": arn,
            "AllowedPublishers": {"SigningProfileVersionArns": [PROFILE]},
            "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"},
            "Description": "d",
            "LastModified": got["LastModified"],
        }
        assert await emulator.call("list_code_signing_configs") == {"CodeSigningConfigs": [got]}
        enforce = {"UntrustedArtifactOnDeployment": "Enforce"}
        updated = await emulator.call(
            "update_code_signing_config", CodeSigningConfigArn=arn, CodeSigningPolicies=enforce
        )
        assert updated["CodeSigningConfig"]["CodeSigningPolicies"] == enforce
        assert updated["CodeSigningConfig"]["Description"] == "d"
        await emulator.call("tag_resource", Resource=arn, Tags={"b": "2"})
        await emulator.call("untag_resource", Resource=arn, TagKeys=["a"])
        assert await emulator.call("list_tags", Resource=arn) == {"Tags": {"b": "2"}}

        await emulator.create("f", CODE)
        assert await emulator.call("get_function_code_signing_config", FunctionName="f") == {}
        await emulator.call("put_function_code_signing_config", FunctionName="f", CodeSigningConfigArn=arn)
        assert await emulator.call("get_function_code_signing_config", FunctionName=ARN) == {
            "CodeSigningConfigArn": arn,
            "FunctionName": "f",
        }
        by_config = {"CodeSigningConfigArn": arn}
        assert await emulator.call("list_functions_by_code_signing_config", **by_config) == {"FunctionArns": [ARN]}
        in_use = await refusal(emulator.call("delete_code_signing_config", **by_config))
        assert in_use[0] == "ResourceConflictException"
        await emulator.call("delete_function_code_signing_config", FunctionName="f")
        await emulator.call("delete_code_signing_config", **by_config)
        assert await refusal(emulator.call("get_code_signing_config", **by_config)) == (
            "ResourceNotFoundException",
            f"The Lambda code signing configuration {arn} can not be found.",
        )
        message = (
            "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
        )
        gone = ("CodeSigningConfigNotFoundException", f"{message}{arn}.")
        put = emulator.call("put_function_code_signing_config", FunctionName="f", CodeSigningConfigArn=arn)
        assert await refusal(put) == gone
        assert await refusal(emulator.create("g", CODE, CodeSigningConfigArn=arn)) == gone

    play(emulator, scenario())


def test_code_that_is_not_signed_is_refused_where_that_is_enforced(emulator: Lambda) -> None:
    async def scenario() -> None:
        arn = await new_config(emulator, "Enforce")
        assert await refusal(emulator.create("f", CODE, CodeSigningConfigArn=arn)) == UNSIGNED
        assert (await emulator.call("list_functions"))["Functions"] == []

        created = await emulator.create("f", CODE)
        await emulator.call("put_function_code_signing_config", FunctionName="f", CodeSigningConfigArn=arn)
        other = archive({"app.py": "def handler(event, context): return 2"})
        assert await refusal(emulator.call("update_function_code", FunctionName="f", ZipFile=other)) == UNSIGNED
        dry = emulator.call("update_function_code", FunctionName="f", ZipFile=other, DryRun=True)
        assert await refusal(dry) == UNSIGNED
        content = {"ZipFile": archive({"python/layered.py": "VALUE = 1"})}
        layer = (await emulator.call("publish_layer_version", LayerName="l", Content=content))["LayerVersionArn"]
        layered = emulator.call("update_function_configuration", FunctionName="f", Layers=[layer])
        assert await refusal(layered) == UNSIGNED
        assert await emulator.call("get_function_configuration", FunctionName="f") == created
        await emulator.call("update_function_configuration", FunctionName="f", Timeout=9)  # is about no code

        await emulator.call("delete_function_code_signing_config", FunctionName="f")
        await emulator.call("update_function_code", FunctionName="f", ZipFile=other)

    play(emulator, scenario())


def test_a_signature_that_cannot_be_verified_is_not_taken_for_good(emulator: Lambda) -> None:
    async def scenario() -> None:
        arn = await new_config(emulator, "Enforce")
        code, message = await refusal(emulator.create("f", SIGNED, CodeSigningConfigArn=arn))
        assert code == "InvalidParameterValueException"
        assert message.startswith("The code is signed, which stepbridge cannot verify")

        warns = await new_config(emulator, "Warn")
        await emulator.create("f", SIGNED, CodeSigningConfigArn=warns)
        assert [hop.text for hop in emulator.trace.recent if hop.event == "code-signature"] == [
            "The signature in the code of f is not verified: only AWS can do that"
        ]
        assert emulator.calls.of("PutMetricData") == []

    play(emulator, scenario())


def test_a_warning_is_counted(emulator: Lambda) -> None:
    async def scenario() -> None:
        arn = await new_config(emulator, "Warn")
        await emulator.create("f", CODE, CodeSigningConfigArn=arn)
        assert emulator.calls.of("PutMetricData") == [
            {
                "Namespace": "AWS/Lambda",
                "MetricData": [
                    {
                        "MetricName": "SignatureValidationErrors",
                        "Dimensions": [{"Name": "FunctionName", "Value": "f"}],
                        "Value": 1.0,
                        "Unit": "Count",
                    }
                ],
            }
        ]
        assert [hop.text for hop in emulator.trace.recent if hop.event == "code-signature"] == [
            f"The code of f is not signed, as {arn} wants it; that only warns"
        ]
        await emulator.call("delete_function", FunctionName="f")
        await emulator.call("delete_code_signing_config", CodeSigningConfigArn=arn)

    play(emulator, scenario())


def test_configurations_are_there_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        before = Lambda(tmp_path, on_disk=True)
        arn = await new_config(before, "Enforce")
        await before.create("f", CODE, Role=ROLE)
        await before.call("put_function_code_signing_config", FunctionName="f", CodeSigningConfigArn=arn)
        await before.service.stop()
        before.store.close()
        after = Lambda(tmp_path, on_disk=True)
        other = archive({"app.py": "def handler(event, context): return 2"})
        assert await refusal(after.call("update_function_code", FunctionName="f", ZipFile=other)) == UNSIGNED
        await after.service.stop()
        after.store.close()

    asyncio.run(scenario())


def test_what_others_do_while_code_is_checked(emulator: Lambda, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = emulator.calls.call
    waiting: list[Callable[[], Coroutine[Any, Any, Any]]] = []

    async def call(service: str, operation: str, **members: Any) -> dict[str, Any]:
        if operation == "PutMetricData":
            await waiting.pop()()
        return await answer(service, operation, **members)

    monkeypatch.setattr(emulator.calls, "call", call)
    package = {"ZipFile": archive({"app.py": CODE + "  # new"})}

    async def scenario() -> None:
        arn = await new_config(emulator, "Warn")
        await emulator.create("f", CODE)
        await emulator.call("put_function_code_signing_config", FunctionName="f", CodeSigningConfigArn=arn)

        waiting.append(lambda: emulator.call("update_function_configuration", FunctionName="f", Timeout=9))
        updated = await emulator.call("update_function_code", FunctionName="f", **package)
        assert updated["Timeout"] == 9
        assert (await emulator.call("get_function_configuration", FunctionName="f"))["Timeout"] == 9

        waiting.append(lambda: emulator.call("update_function_configuration", FunctionName="f", Timeout=10))
        stale = emulator.call("update_function_code", FunctionName="f", RevisionId=updated["RevisionId"], **package)
        assert (await refusal(stale))[0] == "PreconditionFailedException"

        waiting.append(lambda: emulator.call("delete_function", FunctionName="f"))
        gone = emulator.call("update_function_code", FunctionName="f", **package)
        assert await refusal(gone) == ("ResourceNotFoundException", f"Function not found: {ARN}")

        waiting.append(lambda: emulator.call("delete_code_signing_config", CodeSigningConfigArn=arn))
        unsigned = emulator.create("f", CODE, CodeSigningConfigArn=arn)
        assert (await refusal(unsigned))[0] == "CodeSigningConfigNotFoundException"
        assert (await emulator.call("list_functions"))["Functions"] == []
        assert waiting == []

    play(emulator, scenario())
