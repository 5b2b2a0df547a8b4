"""CreateStateMachine and its kin."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.integration.stepfunctions import machines
from tests.integration.stepfunctions.driving import ROLE, Emulator, eventually, refused

from stepbridge.clock import ManualClock

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:machine"
GROUP_ONLY = {"logGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/vendedlogs/states/a"}
LOG_GROUP = {"cloudWatchLogsLogGroup": {"logGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:/a/b:*"}}


def run(scenario: Callable[[Emulator], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Emulator(None) as emulator:
            await scenario(emulator)

    asyncio.run(main())


def task(resource: str, **parameters: str) -> dict[str, Any]:
    call = {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}
    return {"StartAt": "Call", "States": {"Call": call}}


def test_a_machine_is_described_as_it_was_created() -> None:
    async def scenario(emulator: Emulator) -> None:
        assert await emulator.create(machines.PASS, tags=[{"key": "team", "value": "a"}]) == MACHINE
        answer = await emulator.call("describe_state_machine", stateMachineArn=MACHINE)
        assert json.loads(answer.pop("definition")) == machines.PASS
        assert answer == {
            "stateMachineArn": MACHINE,
            "name": "machine",
            "status": "ACTIVE",
            "type": "STANDARD",
            "roleArn": ROLE,
            "creationDate": 1_700_000_000.0,
            "loggingConfiguration": {"level": "OFF", "includeExecutionData": False},
            "tracingConfiguration": {"enabled": False},
            "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
        }
        tags = await emulator.call("list_tags_for_resource", resourceArn=MACHINE)
        assert tags == {"tags": [{"key": "team", "value": "a"}]}

    run(scenario)


def test_creating_twice() -> None:
    async def scenario(emulator: Emulator) -> None:
        await emulator.create(machines.PASS)
        other_role = ROLE + "2"
        again = await emulator.call(
            "create_state_machine", name="machine", definition=json.dumps(machines.PASS), roleArn=other_role
        )
        assert again["stateMachineArn"] == MACHINE
        described = await emulator.call("describe_state_machine", stateMachineArn=MACHINE)
        assert described["roleArn"] == ROLE
        error = await refused(emulator.create(machines.wait(1)))
        assert (error.code, error.message) == (
            "StateMachineAlreadyExists",
            f"State Machine Already Exists: '{MACHINE}'",
        )

    run(scenario)


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"name": "a b"}, "InvalidName", "Invalid Name: 'a b'"),
        ({"name": "a/b"}, "InvalidName", "Invalid Name: 'a/b'"),
        ({"roleArn": "nonsense"}, "InvalidArn", "Invalid Arn: 'Invalid ARN prefix: nonsense'"),
        ({"roleArn": MACHINE}, "InvalidArn", None),
        ({"definition": "{}"}, "InvalidDefinition", None),
        ({"definition": "nonsense"}, "InvalidDefinition", None),
        (
            {"definition": json.dumps(task("arn:aws:states:::dynamodb:query"))},
            "InvalidDefinition",
            (
                "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: The resource provided "
                "arn:aws:states:::dynamodb:query is not recognized. The value is not a valid resource ARN, or the "
                "resource is not available in this region. at /States/Call/Resource'"
            ),
        ),
        (
            {"definition": json.dumps(task("arn:aws:states:::glue:startJobRun.sync", JobName="j"))},
            "InvalidDefinition",
            (
                "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: AWS has the resource "
                "arn:aws:states:::glue:startJobRun.sync, but stepbridge cannot emulate it at /States/Call/Resource'"
            ),
        ),
        (
            {"versionDescription": "v"},
            "ValidationException",
            "Version description can only be set when publish is true",
        ),
        (
            {"loggingConfiguration": {"level": "ALL", "destinations": [{"cloudWatchLogsLogGroup": GROUP_ONLY}]}},
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Log Group ARN must be provided with '*' qualifier.",
        ),
        (
            {"encryptionConfiguration": {"type": "CUSTOMER_MANAGED_KMS_KEY"}},
            "InvalidEncryptionConfiguration",
            None,
        ),
        (
            {"encryptionConfiguration": {"type": "AWS_OWNED_KEY", "kmsKeyId": "key"}},
            "InvalidEncryptionConfiguration",
            None,
        ),
        (
            {"loggingConfiguration": {"level": "ALL"}},
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Must specify exactly one Log Destination.",
        ),
        (
            {"loggingConfiguration": {"level": "ALL", "destinations": [LOG_GROUP, LOG_GROUP]}},
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Must specify exactly one Log Destination.",
        ),
    ],
)
def test_what_is_refused(members: dict[str, Any], code: str, message: str | None) -> None:
    async def scenario(emulator: Emulator) -> None:
        given = {"name": "machine", "definition": json.dumps(machines.PASS), "roleArn": ROLE, **members}
        error = await refused(emulator.call("create_state_machine", **given))
        assert error.code == code
        assert message is None or error.message == message
        assert (await emulator.call("list_state_machines"))["stateMachines"] == []

    run(scenario)


def test_updating() -> None:
    async def scenario(emulator: Emulator) -> None:
        await emulator.create(machines.PASS)
        error = await refused(emulator.call("update_state_machine", stateMachineArn=MACHINE))
        assert error.code == "MissingRequiredParameter"
        logging = {"level": "ERROR", "destinations": [LOG_GROUP]}
        first = await emulator.call("update_state_machine", stateMachineArn=MACHINE, loggingConfiguration=logging)
        same = await emulator.call("update_state_machine", stateMachineArn=MACHINE, loggingConfiguration=logging)
        assert same["revisionId"] == first["revisionId"]
        other = await emulator.call("update_state_machine", stateMachineArn=MACHINE, roleArn=ROLE + "2")
        assert other["revisionId"] != first["revisionId"]
        answer = await emulator.call("describe_state_machine", stateMachineArn=MACHINE)
        assert answer["revisionId"] == other["revisionId"]
        assert answer["loggingConfiguration"] == {**logging, "includeExecutionData": False}
        assert (answer["roleArn"], json.loads(answer["definition"])) == (ROLE + "2", machines.PASS)

    run(scenario)


def test_listing_in_pages() -> None:
    async def scenario(emulator: Emulator) -> None:
        for name in "cab":
            await emulator.create(machines.PASS, name)
        page = await emulator.call("list_state_machines", maxResults=2)
        assert [machine["name"] for machine in page["stateMachines"]] == ["a", "b"]
        page = await emulator.call("list_state_machines", maxResults=2, nextToken=page["nextToken"])
        assert [machine["name"] for machine in page["stateMachines"]] == ["c"]
        assert "nextToken" not in page

    run(scenario)


def test_deleting_an_idle_machine() -> None:
    async def scenario(emulator: Emulator) -> None:
        await emulator.create(machines.PASS)
        assert await emulator.call("delete_state_machine", stateMachineArn=MACHINE) == {}
        error = await refused(emulator.call("describe_state_machine", stateMachineArn=MACHINE))
        assert (error.code, error.message) == ("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{MACHINE}'")
        assert await emulator.call("delete_state_machine", stateMachineArn=MACHINE) == {}
        await emulator.create(machines.wait(1))

    run(scenario)


def test_deleting_a_busy_machine_ends_its_executions_at_their_next_transition() -> None:
    async def scenario(emulator: Emulator) -> None:
        definition: dict[str, Any] = machines.wait(60)
        definition["States"]["Pause"] = {"Type": "Wait", "Seconds": 60, "Next": "After"}
        definition["States"]["After"] = {"Type": "Wait", "Seconds": 60, "End": True}
        await emulator.create(definition)
        execution = await emulator.run(MACHINE)
        await emulator.call("delete_state_machine", stateMachineArn=MACHINE)
        answer = await emulator.call("describe_state_machine", stateMachineArn=MACHINE)
        assert answer["status"] == "DELETING"
        assert (await refused(emulator.run(MACHINE))).code == "StateMachineDeleting"
        assert (await refused(emulator.create(definition))).code == "StateMachineDeleting"
        assert await emulator.status(execution) == "RUNNING"
        clock = emulator.clock
        assert isinstance(clock, ManualClock)
        clock.advance(60)
        assert await emulator.status(execution) == "ABORTED"

        async def gone() -> bool | None:
            return True if not (await emulator.call("list_state_machines"))["stateMachines"] else None

        await eventually(gone)

    run(scenario)


@pytest.mark.parametrize(
    ("operation", "qualifier", "message"),
    [
        ("start_execution", "/Map", "Labeled State Machine ARNs are not supported for this API"),
        ("delete_state_machine", ":1", f"Expected an unqualified state machine ARN. Received: {MACHINE}:1"),
        ("publish_state_machine_version", ":1", f"Expected an unqualified state machine ARN. Received: {MACHINE}:1"),
        ("list_state_machine_versions", ":v", f"Expected an unqualified state machine ARN. Received: {MACHINE}:v"),
    ],
)
def test_an_arn_that_is_qualified_where_it_may_not_be_is_refused(operation: str, qualifier: str, message: str) -> None:
    async def scenario(emulator: Emulator) -> None:
        await emulator.create(machines.PASS, publish=True)
        error = await refused(emulator.call(operation, stateMachineArn=MACHINE + qualifier))
        assert (error.code, error.message) == ("ValidationException", message)
        if qualifier == "/Map":
            assert error.members == {"reason": "API_DOES_NOT_SUPPORT_LABELED_ARNS"}
        assert (await emulator.call("describe_state_machine", stateMachineArn=MACHINE))["status"] == "ACTIVE"

    run(scenario)


def test_tags() -> None:
    async def scenario(emulator: Emulator) -> None:
        await emulator.create(machines.PASS)
        tags = [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]
        await emulator.call("tag_resource", resourceArn=MACHINE, tags=tags)
        await emulator.call("untag_resource", resourceArn=MACHINE, tagKeys=["a", "none"])
        answer = await emulator.call("list_tags_for_resource", resourceArn=MACHINE)
        assert answer["tags"] == [{"key": "b", "value": "2"}]
        many = [{"key": str(number), "value": ""} for number in range(50)]
        assert (await refused(emulator.call("tag_resource", resourceArn=MACHINE, tags=many))).code == "TooManyTags"
        other = await refused(emulator.call("list_tags_for_resource", resourceArn=MACHINE + "2"))
        assert other.code == "ResourceNotFound"

    run(scenario)


def test_validating() -> None:
    async def scenario(emulator: Emulator) -> None:
        validate = "validate_state_machine_definition"
        good = await emulator.call(validate, definition=json.dumps(machines.PASS))
        assert good == {"result": "OK", "diagnostics": [], "truncated": False}
        bad = await emulator.call(validate, definition=json.dumps(task("arn:aws:states:::dynamodb:query")))
        assert bad["result"] == "FAIL"
        assert [diagnostic["location"] for diagnostic in bad["diagnostics"]] == ["/States/Call/Resource"]

    run(scenario)


def test_warnings_keep_nobody_from_creating() -> None:
    rule = {"Variable": "$.a", "StringEquals": "$.b"}
    inner = {"Type": "Pass", "Assign": {"x": "States.UUID()"}, "End": True}
    definition = {
        "StartAt": "Given",
        "States": {
            "Given": {"Type": "Pass", "Parameters": {"a": {"b": "$.c", "d.$": "$.e"}, "f": "$5"}, "Next": "Static"},
            "Static": {"Type": "Pass", "Result": {"a": ["$.b"]}, "Next": "Chosen"},
            "Chosen": {"Type": "Choice", "Choices": [{"Not": rule, "Next": "Each"}], "Default": "Ended"},
            "Each": {"Type": "Map", "ItemProcessor": {"StartAt": "One", "States": {"One": inner}}, "Next": "Ended"},
            "Ended": {"Type": "Fail", "Cause": "$.why"},
        },
    }

    async def scenario(emulator: Emulator) -> None:
        text = json.dumps(definition)
        answer = await emulator.call("validate_state_machine_definition", definition=text, severity="WARNING")
        assert answer["result"] == "OK"
        assert [(found["severity"], found["code"], found["location"]) for found in answer["diagnostics"]] == [
            ("WARNING", "NO_DOLLAR", "/States/Given/Parameters/a/b"),
            ("WARNING", "PASS_RESULT_IS_STATIC", "/States/Static/Result"),
            ("WARNING", "NO_PATH", "/States/Chosen/Choices[0]/Not/StringEquals"),
            ("WARNING", "NO_DOLLAR", "/States/Each/ItemProcessor/States/One/Assign/x"),
            ("WARNING", "NO_PATH", "/States/Ended/Cause"),
        ]
        answer = await emulator.call("validate_state_machine_definition", definition=text)
        assert answer == {"result": "OK", "diagnostics": [], "truncated": False}
        await emulator.create(definition)
        answer = await emulator.call("validate_state_machine_definition", definition="{", severity="WARNING")
        assert [found["code"] for found in answer["diagnostics"]] == ["INVALID_JSON_DESCRIPTION"]

    run(scenario)
