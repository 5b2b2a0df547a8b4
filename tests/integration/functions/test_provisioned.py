"""Provisioned concurrency: what is asked for is started, used and kept; what AWS refuses is refused in its words."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.integration.functions.harness import Lambda
from tests.integration.functions.test_api import refusal

from stepbridge.functions.concurrency import ACCOUNT_CONCURRENCY
from stepbridge.functions.pool import MAX_PROVISIONED

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
INVALID = "InvalidParameterValueException"
CONFLICT = "ResourceConflictException"
DECREASES = (
    "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum "
    "value of [100]."
)
TOO_MANY = (
    f"stepbridge provisions at most {MAX_PROVISIONED} execution environments, which are processes on this machine, for "
    f"all functions together. Ask for {MAX_PROVISIONED} or fewer, as by a parameter of the template."
)

# Says how its environment came about, which process it is, and when it was initialised.
CODE = """
import os, time
began = time.time()
def handler(event, context):
    if event:
        if event.get("exit"):
            os._exit(1)
        time.sleep(event.get("seconds", 0))
    return [os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], os.getpid(), began]
"""


@pytest.fixture
def emulator(tmp_path: Path) -> Lambda:
    return Lambda(tmp_path, on_disk=True)


def play(emulator: Lambda, scenario: Coroutine[Any, Any, None]) -> None:
    async def run() -> None:
        try:
            await scenario
        finally:
            await emulator.service.stop()

    asyncio.run(run())


async def with_version(emulator: Lambda, code: str = CODE, **request: Any) -> None:
    await emulator.create("f", code, Timeout=20, **request)
    await emulator.call("publish_version", FunctionName="f")


async def put(emulator: Lambda, qualifier: str, count: int) -> dict[str, Any]:
    return await emulator.call(
        "put_provisioned_concurrency_config",
        FunctionName="f",
        Qualifier=qualifier,
        ProvisionedConcurrentExecutions=count,
    )


async def got(emulator: Lambda, qualifier: str) -> dict[str, Any]:
    return await emulator.call("get_provisioned_concurrency_config", FunctionName="f", Qualifier=qualifier)


async def settled(emulator: Lambda, qualifier: str) -> dict[str, Any]:
    """The configuration, when it is in progress no longer."""
    async with asyncio.timeout(60):
        while (answer := await got(emulator, qualifier))["Status"] == "IN_PROGRESS":  # noqa: ASYNC110 - by the API
            await asyncio.sleep(0.01)
    return answer


def counts(answer: dict[str, Any]) -> tuple[int, int, int]:
    members = ("Requested", "Available", "Allocated")
    requested, available, allocated = (answer[f"{member}ProvisionedConcurrentExecutions"] for member in members)
    return requested, available, allocated


def test_environments_are_initialised_before_they_are_invoked(emulator: Lambda) -> None:
    async def scenario() -> None:
        await with_version(emulator)
        asked = await put(emulator, "1", 2)
        assert (asked["Status"], counts(asked)) == ("IN_PROGRESS", (2, 0, 0))
        ready = await settled(emulator, "1")
        assert (ready["Status"], counts(ready)) == ("READY", (2, 2, 2))
        assert "StatusReason" not in ready
        now = emulator.clock.now()
        at_once = [emulator.invoke("f", {"seconds": 1}, Qualifier="1") for _ in range(3)]
        answers = await asyncio.gather(*at_once)
        kinds = sorted(kind for kind, _, _ in answers)
        assert kinds == ["on-demand", "provisioned-concurrency", "provisioned-concurrency"]
        assert all((began < now) == (kind == "provisioned-concurrency") for kind, _, began in answers)
        assert len({process for _, process, _ in answers}) == 3
        assert (await emulator.invoke("f"))[0] == "on-demand"  # $LATEST
        assert (await emulator.invoke("f", Qualifier="1"))[0] == "provisioned-concurrency"

    play(emulator, scenario())


def test_an_environment_that_breaks_is_replaced(emulator: Lambda) -> None:
    async def scenario() -> None:
        await with_version(emulator)
        await put(emulator, "1", 1)
        await settled(emulator, "1")
        _, process, _ = await emulator.invoke("f", Qualifier="1")
        broken = await emulator.call("invoke", FunctionName="f", Qualifier="1", Payload=b'{"exit": true}')
        assert b"Runtime.ExitError" in broken["Payload"]
        assert counts(await settled(emulator, "1")) == (1, 1, 1)
        kind, other, _ = await emulator.invoke("f", Qualifier="1")
        assert kind == "provisioned-concurrency"
        assert other != process

    play(emulator, scenario())


def test_code_that_cannot_be_initialised(emulator: Lambda) -> None:
    async def scenario() -> None:
        await with_version(emulator, "raise ValueError('no')")
        await put(emulator, "1", 3)
        failed = await settled(emulator, "1")
        assert (failed["Status"], failed["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")
        assert counts(failed) == (3, 0, 0)

    play(emulator, scenario())


def test_an_alias_takes_them_with_it_to_another_version(emulator: Lambda) -> None:
    async def scenario() -> None:
        await with_version(emulator)
        await emulator.call("create_alias", FunctionName="f", Name="live", FunctionVersion="1")
        await put(emulator, "live", 1)
        await settled(emulator, "live")
        assert (await emulator.invoke("f", Qualifier="live"))[0] == "provisioned-concurrency"
        listed = await emulator.call("list_provisioned_concurrency_configs", FunctionName="f")
        assert [(one["FunctionArn"], one["Status"]) for one in listed["ProvisionedConcurrencyConfigs"]] == [
            (f"{ARN}:live", "READY")
        ]

        await emulator.call("update_function_configuration", FunctionName="f", Description="another")
        await emulator.call("publish_version", FunctionName="f")
        await emulator.call("update_alias", FunctionName="f", Name="live", FunctionVersion="2")
        await settled(emulator, "live")
        assert (await emulator.invoke("f", Qualifier="2"))[0] == "provisioned-concurrency"
        assert (await emulator.invoke("f", Qualifier="1"))[0] == "on-demand"

        # An alias may be given weights later; its environments are shared out by them.
        await put(emulator, "live", 4)
        weights = {"AdditionalVersionWeights": {"1": 0.25}}
        await emulator.call("update_alias", FunctionName="f", Name="live", RoutingConfig=weights)
        assert counts(await settled(emulator, "live")) == (4, 4, 4)
        assert (await emulator.invoke("f", Qualifier="1"))[0] == "provisioned-concurrency"
        assert await refusal(put(emulator, "live", 2)) == (
            INVALID,
            "Alias with weights can not be used with Provisioned Concurrency",
        )
        moved = emulator.call("update_alias", FunctionName="f", Name="live", FunctionVersion="$LATEST")
        assert (await refusal(moved))[0] == INVALID

        await emulator.call("delete_alias", FunctionName="f", Name="live")
        assert await emulator.call("list_provisioned_concurrency_configs", FunctionName="f") == {
            "ProvisionedConcurrencyConfigs": []
        }
        assert (await emulator.invoke("f", Qualifier="2"))[0] == "on-demand"

    play(emulator, scenario())


def test_what_is_refused(emulator: Lambda) -> None:
    async def scenario() -> None:
        absent = "put_provisioned_concurrency_config"
        asked = {"FunctionName": "f", "Qualifier": "1", "ProvisionedConcurrentExecutions": 1}
        assert await refusal(emulator.call(absent, **asked)) == (
            "ResourceNotFoundException",
            f"Function not found: {ARN}:1",
        )
        await with_version(emulator)
        for name, version in (("latest", "$LATEST"), ("a", "1"), ("b", "1")):
            await emulator.call("create_alias", FunctionName="f", Name=name, FunctionVersion=version)
        unpublished = (INVALID, "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
        assert await refusal(put(emulator, "$LATEST", 1)) == unpublished
        assert await refusal(put(emulator, "latest", 1)) == unpublished
        assert await refusal(put(emulator, "2", 1)) == ("ResourceNotFoundException", f"Function not found: {ARN}:2")
        not_there = ("ResourceNotFoundException", f"Cannot find alias arn: {ARN}:c")
        assert await refusal(put(emulator, "c", 1)) == not_there
        assert await refusal(got(emulator, "c")) == not_there
        assert await refusal(got(emulator, "1")) == (
            "ProvisionedConcurrencyConfigNotFoundException",
            "No Provisioned Concurrency Config found for this function",
        )
        assert await refusal(got(emulator, "$LATEST")) == (
            INVALID,
            "The function resource provided must be an alias or a published version.",
        )

        twice = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        await put(emulator, "1", 1)
        assert await refusal(put(emulator, "a", 1)) == (CONFLICT, twice)
        await emulator.call("delete_provisioned_concurrency_config", FunctionName="f", Qualifier="1")
        await put(emulator, "a", 1)
        assert await refusal(put(emulator, "b", 1)) == (CONFLICT, twice)
        assert await refusal(put(emulator, "1", 1)) == (
            CONFLICT,
            "Version is pointed by a Provisioned Concurrency alias",
        )
        to_latest = emulator.call("update_alias", FunctionName="f", Name="a", FunctionVersion="$LATEST")
        assert await refusal(to_latest) == unpublished

    play(emulator, scenario())


def test_limits(emulator: Lambda) -> None:
    async def scenario() -> None:
        await with_version(emulator)
        assert await refusal(put(emulator, "1", 1001)) == (
            INVALID,
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].",
        )
        assert await refusal(put(emulator, "1", 901)) == (
            INVALID,
            DECREASES,
        )
        assert await refusal(put(emulator, "1", MAX_PROVISIONED + 1)) == (
            INVALID,
            TOO_MANY,
        )
        await put(emulator, "1", 2)

        async def unreserved() -> int:
            limits: dict[str, int] = (await emulator.call("get_account_settings"))["AccountLimit"]
            return limits["UnreservedConcurrentExecutions"]

        assert await unreserved() == ACCOUNT_CONCURRENCY - 2
        reserve = emulator.call("put_function_concurrency", FunctionName="f", ReservedConcurrentExecutions=1)
        assert await refusal(reserve) == (
            INVALID,
            "ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2].",
        )
        await emulator.call("put_function_concurrency", FunctionName="f", ReservedConcurrentExecutions=3)
        assert await unreserved() == ACCOUNT_CONCURRENCY - 3
        assert await refusal(put(emulator, "1", 4)) == (
            INVALID,
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
        )
        await put(emulator, "1", 3)

        # All that is reserved is provisioned: nothing is left for $LATEST.
        await settled(emulator, "1")
        assert (await emulator.invoke("f", Qualifier="1"))[0] == "provisioned-concurrency"
        assert (await refusal(emulator.invoke("f")))[0] == "TooManyRequestsException"
        await put(emulator, "1", 2)
        await settled(emulator, "1")
        assert (await emulator.invoke("f"))[0] == "on-demand"

    play(emulator, scenario())


def test_after_a_restart(emulator: Lambda, tmp_path: Path) -> None:
    async def scenario() -> None:
        await with_version(emulator)
        before = await put(emulator, "1", 2)
        await emulator.service.stop()
        emulator.store.close()

        again = Lambda(tmp_path, on_disk=True)
        await again.service.start()
        ready = await settled(again, "1")
        assert (ready["Status"], counts(ready)) == ("READY", (2, 2, 2))
        assert ready["LastModified"] == before["LastModified"]
        assert (await again.invoke("f", Qualifier="1"))[0] == "provisioned-concurrency"
        await again.call("delete_function", FunctionName="f", Qualifier="1")
        assert await again.call("list_provisioned_concurrency_configs", FunctionName="f") == {
            "ProvisionedConcurrencyConfigs": []
        }
        await again.call("delete_function", FunctionName="f")
        await again.service.stop()
        again.store.close()

    asyncio.run(scenario())
