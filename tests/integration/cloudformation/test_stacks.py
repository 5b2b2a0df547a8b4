"""Stacks from the first call to the last event, with moto carrying out the resources."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.cloudformation.bench import ACCOUNT, Bench, Run, queue, template

from stepbridge.store import Store

# An IoT thing cannot be called this, and only the service knows.
FAILING = {"Type": "AWS::IoT::ThingPrincipalAttachment", "Properties": {"ThingName": "none", "Principal": "none"}}
EXPORTED = {"Value": {"Ref": "Main"}, "Export": {"Name": {"Fn::Sub": "${AWS::StackName}-url"}}}


def test_create_with_references_outputs_and_exports(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        resources = {
            "Main": queue(
                RedrivePolicy={"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 3},
                VisibilityTimeout={"Ref": "Seconds"},
            ),
            "Dead": queue(),
            "Off": queue(QueueName="off") | {"Condition": "Never"},
        }
        status = await one.create(
            "first",
            resources,
            Parameters={"Seconds": {"Type": "Number", "Default": 45}},
            Conditions={"Never": {"Fn::Equals": ["a", "b"]}},
            Outputs={"Url": EXPORTED},
        )
        assert status == "CREATE_COMPLETE"
        stack = (await one.call("describe_stacks", StackName="first"))["Stacks"][0]
        url = stack["Outputs"][0]["OutputValue"]
        assert stack["Outputs"] == [{"OutputKey": "Url", "OutputValue": url, "ExportName": "first-url"}]
        assert url.rpartition("/")[2].startswith("first-Main-")
        attributes = (await one.calls.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=["All"]))[
            "Attributes"
        ]
        assert attributes["VisibilityTimeout"] == "45"
        assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].split(":")[-1].startswith("first-Dead-")
        assert [event[:2] for event in await one.events("first")] == [
            ("first", "CREATE_IN_PROGRESS"),
            ("Dead", "CREATE_IN_PROGRESS"),
            ("Dead", "CREATE_IN_PROGRESS"),
            ("Dead", "CREATE_COMPLETE"),
            ("Main", "CREATE_IN_PROGRESS"),
            ("Main", "CREATE_IN_PROGRESS"),
            ("Main", "CREATE_COMPLETE"),
            ("first", "CREATE_COMPLETE"),
        ]
        assert len(await one.queues()) == 2

        importing = {
            "Copy": queue(
                QueueName={
                    "Fn::Join": [
                        "-",
                        ["of", {"Fn::Select": [4, {"Fn::Split": ["/", {"Fn::ImportValue": "first-url"}]}]}],
                    ]
                }
            )
        }
        assert await one.create("second", importing) == "CREATE_COMPLETE"
        for outputs, done in (({}, "deleted"), ({"Url": {**EXPORTED, "Value": "other"}}, "updated")):
            body = template({"Main": resources["Dead"], "New": queue()}, Outputs=outputs)
            await one.call("update_stack", StackName="first", TemplateBody=body)
            assert await one.status("first") == "UPDATE_ROLLBACK_COMPLETE"
            assert (
                "first",
                "UPDATE_ROLLBACK_IN_PROGRESS",
                f"Export first-url cannot be {done} as it is in use by second",
            ) in await one.events("first")
        refusal = await one.refused("delete_stack", StackName="first")
        assert refusal.message == "Export first-url cannot be deleted as it is in use by second"
        await one.call("delete_stack", StackName="second")
        await one.service.settled()
        await one.call("delete_stack", StackName="first")
        await one.service.settled()
        assert await one.queues() == []
        refusal = await one.refused("describe_stacks", StackName="first")
        assert (refusal.code, refusal.message) == ("ValidationError", "Stack with id first does not exist")

    bench(scenario)


def test_a_failed_creation_leaves_nothing_behind(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        resources = {"A": queue(), "B": queue() | {"DependsOn": "A"}, "C": FAILING | {"DependsOn": "B"}}
        assert await one.create("failing", resources) == "ROLLBACK_COMPLETE"
        events = await one.events("failing")
        failed = next(event for event in events if event[1] == "CREATE_FAILED")
        assert failed[0] == "C"
        assert "HandlerErrorCode: NotFound" in (failed[2] or "")
        assert (
            "failing",
            "ROLLBACK_IN_PROGRESS",
            "The following resource(s) failed to create: [C]. Rollback requested by user.",
        ) in events
        deleted = [event[0] for event in events if event[1] == "DELETE_COMPLETE"]
        assert deleted == ["B", "A"]  # in the reverse order of their creation
        assert await one.queues() == []
        refusal = await one.refused("update_stack", StackName="failing", TemplateBody=template({"A": queue()}))
        assert refusal.message.endswith("is in ROLLBACK_COMPLETE state and can not be updated.")

    bench(scenario)


def test_update_and_its_rollback(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        await one.create("one", {"Keep": queue(), "Change": queue(DelaySeconds=1), "Gone": queue()})
        before = sorted(await one.queues())

        broken = {
            "Keep": queue(),
            "Change": queue(DelaySeconds=2),
            "New": queue(),
            "Bad": FAILING | {"DependsOn": ["New", "Change"]},
        }
        await one.call("update_stack", StackName="one", TemplateBody=template(broken))
        assert await one.status("one") == "UPDATE_ROLLBACK_COMPLETE"
        assert sorted(await one.queues()) == before
        assert await delay_of(one, "Change") == "1"

        good = {"Keep": queue(), "Change": queue(DelaySeconds=3), "New": queue(QueueName="new-name")}
        await one.call("update_stack", StackName="one", TemplateBody=template(good))
        assert await one.status("one") == "UPDATE_COMPLETE"
        assert await delay_of(one, "Change") == "3"
        names = await one.queues()
        assert "new-name" in names
        assert not any("Gone" in name for name in names)

        renamed = {**good, "New": queue(QueueName="newer-name")}
        await one.call("update_stack", StackName="one", TemplateBody=template(renamed))
        assert await one.status("one") == "UPDATE_COMPLETE"
        assert "newer-name" in await one.queues()
        assert "new-name" not in await one.queues()

        refusal = await one.refused("update_stack", StackName="one", TemplateBody=template(renamed))
        assert refusal.message == "No updates are to be performed."

    async def delay_of(one: Bench, logical_id: str) -> str:
        found = await one.call("describe_stack_resource", StackName="one", LogicalResourceId=logical_id)
        url = found["StackResourceDetail"]["PhysicalResourceId"]
        answer = await one.calls.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=["DelaySeconds"])
        delay: str = answer["Attributes"]["DelaySeconds"]
        return delay

    bench(scenario)


def test_change_sets(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        first = {"A": queue(QueueName="a-1"), "B": queue(), "C": queue()}
        created = await one.call(
            "create_change_set", StackName="s", ChangeSetName="c1", ChangeSetType="CREATE", TemplateBody=template(first)
        )
        assert await one.status("s") == "REVIEW_IN_PROGRESS"
        assert await one.queues() == []
        await one.call("execute_change_set", ChangeSetName=created["Id"])
        assert await one.status("s") == "CREATE_COMPLETE"

        second = {"A": queue(QueueName="a-2"), "B": queue(DelaySeconds=5), "D": queue()}
        await one.call("create_change_set", StackName="s", ChangeSetName="c2", TemplateBody=template(second))
        described = await one.call("describe_change_set", StackName="s", ChangeSetName="c2")
        assert (described["Status"], described["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
        changes = [each["ResourceChange"] for each in described["Changes"]]
        assert [(each["LogicalResourceId"], each["Action"], each.get("Replacement")) for each in changes] == [
            ("A", "Modify", "True"),
            ("B", "Modify", "False"),
            ("C", "Remove", None),
            ("D", "Add", None),
        ]
        assert changes[1]["Details"][0]["Target"] == {
            "Attribute": "Properties",
            "Name": "DelaySeconds",
            "RequiresRecreation": "Never",
        }

        await one.call("create_change_set", StackName="s", ChangeSetName="same", TemplateBody=template(first))
        same = await one.call("describe_change_set", StackName="s", ChangeSetName="same")
        assert same["Status"] == "FAILED"
        assert "The submitted information didn't contain changes." in same["StatusReason"]
        refusal = await one.refused("execute_change_set", StackName="s", ChangeSetName="same")
        assert refusal.code == "InvalidChangeSetStatus"
        refusal = await one.refused("describe_change_set", StackName="s", ChangeSetName="none")
        assert refusal.code == "ChangeSetNotFound"

    bench(scenario)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "Resources:\n  A:\n    Type: AWS::EC2::Instance",
            "Template format error: Unrecognized resource types: [AWS::EC2::Instance (resource A, line 2)]",
        ),
        (
            "Resources:\n  A:\n    Type: AWS::SQS::Queue\n    Properties:\n      Delay: 1",
            (
                "Properties validation failed for resource A with message:\n"
                "[#: extraneous key [Delay] is not permitted] (line 4)"
            ),
        ),
        (
            "Resources:\n  A:\n    Type: AWS::Lambda::Permission\n    Properties: {Action: 'lambda:InvokeFunction'}",
            (
                "Properties validation failed for resource A with message:\n"
                "[#: required key [FunctionName] not found, #: required key [Principal] not found] (line 4)"
            ),
        ),
        (
            (
                "Resources:\n  A:\n    Type: AWS::IoT::TopicRule\n    Properties:\n"
                "      TopicRulePayload: {Sql: x, Actions: [{Lambda: {Arn: y}}]}"
            ),
            (
                "Properties validation failed for resource A with message:\n"
                "[#/TopicRulePayload/Actions/0/Lambda: extraneous key [Arn] is not permitted, "
                "#/TopicRulePayload/Actions/0/Lambda: required key [FunctionArn] not found] (line 4)"
            ),
        ),
        (
            "Resources:\n  A: {Type: AWS::SQS::Queue, DependsOn: B}\n  B: {Type: AWS::SQS::Queue, DependsOn: A}",
            "Circular dependency between resources: [A, B]",
        ),
        (
            "Resources:\n  A: {Type: AWS::SQS::Queue, DependsOn: Z}",
            (
                "Template format error: Unresolved resource dependencies [Z] in the Resources block of the template "
                "in resource A (line 2)"
            ),
        ),
        (
            "Resources:\n  A: {Type: AWS::SQS::Queue}\nOutputs: {O: {Value: !GetAtt A.Color}}",
            "Template error: resource A does not support attribute type Color in Fn::GetAtt",
        ),
        (
            "Transform: MyMacro\nResources: {A: {Type: AWS::SQS::Queue}}",
            (
                "No transform named MyMacro found. stepbridge has AWS::Serverless-2016-10-31 and "
                "AWS::LanguageExtensions. (line 1)"
            ),
        ),
    ],
)
def test_refused_before_anything_is_made(bench: Run, body: str, message: str) -> None:
    async def scenario(one: Bench) -> None:
        refusal = await one.refused("create_stack", StackName="s", TemplateBody=body)
        assert (refusal.code, refusal.message) == ("ValidationError", message)
        assert (await one.call("list_stacks"))["StackSummaries"] == []

    bench(scenario)


def test_capabilities(bench: Run) -> None:
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}}

    async def scenario(one: Bench) -> None:
        refusal = await one.refused("create_stack", StackName="s", TemplateBody=template({"R": role}))
        assert refusal.code == "InsufficientCapabilitiesException"
        assert refusal.message == "Requires capabilities : [CAPABILITY_IAM]"

    bench(scenario)


def test_an_invalid_serverless_resource_fails_the_change_set_in_its_own_words(bench: Run) -> None:
    function = "{Type: AWS::Serverless::Function, Properties: {Runtime: python3.13}}"
    body = f"Transform: AWS::Serverless-2016-10-31\nResources: {{F: {function}}}"

    async def scenario(one: Bench) -> None:
        await one.call("create_change_set", StackName="s", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=body)
        described = await one.call("describe_change_set", StackName="s", ChangeSetName="c")
        assert described["Status"] == "FAILED"
        assert described["StatusReason"].startswith(
            "Transform AWS::Serverless-2016-10-31 failed with: Invalid Serverless Application Specification document. "
            "Number of errors found: 1. Resource with id [F] is invalid."
        )

    bench(scenario)


def test_retained_and_protected(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        await one.create("s", {"Kept": queue(QueueName="kept") | {"DeletionPolicy": "Retain"}, "Gone": queue()})
        await one.call("update_termination_protection", StackName="s", EnableTerminationProtection=True)
        refusal = await one.refused("delete_stack", StackName="s")
        assert refusal.message == "Stack [s] cannot be deleted while TerminationProtection is enabled"
        await one.call("update_termination_protection", StackName="s", EnableTerminationProtection=False)
        await one.call("delete_stack", StackName="s")
        await one.service.settled()
        assert await one.queues() == ["kept"]

    bench(scenario)


def test_stacks_survive_a_restart(tmp_path: Path) -> None:
    async def before() -> None:
        store = Store(tmp_path / "db.sqlite")
        assert await Bench(store, tmp_path).create("s", {"A": queue(QueueName="survivor")}) == "CREATE_COMPLETE"
        store.close()

    async def after() -> None:
        store = Store(tmp_path / "db.sqlite")
        one = Bench(store, tmp_path)
        resources = (await one.call("list_stack_resources", StackName="s"))["StackResourceSummaries"]
        assert [each["PhysicalResourceId"].rpartition("/")[2] for each in resources] == ["survivor"]
        await one.call("delete_stack", StackName="s")
        await one.service.settled()
        assert "survivor" not in await one.queues()
        store.close()

    asyncio.run(before())
    asyncio.run(after())


def test_what_is_there_already_is_neither_taken_over_nor_deleted(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        await one.calls.call("sqs", "CreateQueue", QueueName="mine")
        assert await one.create("s", {"A": queue(QueueName="mine")}) == "ROLLBACK_COMPLETE"
        failed = next(event for event in await one.events("s") if event[1] == "CREATE_FAILED")
        assert "Resource of type 'AWS::SQS::Queue' with identifier 'mine' already exists." in (failed[2] or "")
        assert await one.queues() == ["mine"]

    bench(scenario)


def test_an_operation_that_was_cut_off_is_taken_up(tmp_path: Path) -> None:
    resources = {"A": queue(QueueName="resumed-a"), "B": queue(QueueName="resumed-b") | {"DependsOn": "A"}}

    async def before() -> None:
        store = Store(tmp_path / "db.sqlite")
        one = Bench(store, tmp_path)
        reached = asyncio.Event()
        one.trace.listen(lambda hop: reached.set() if "CREATE_COMPLETE" in hop.text else None)
        request = asyncio.create_task(one.call("create_stack", StackName="s", TemplateBody=template(resources)))
        await reached.wait()  # A is there, B is not
        await one.service.stop()
        await request
        assert (await one.call("describe_stacks", StackName="s"))["Stacks"][0]["StackStatus"] == "CREATE_IN_PROGRESS"
        assert [name for name in await one.queues() if name.startswith("resumed")] == ["resumed-a"]
        store.close()

    async def after() -> None:
        store = Store(tmp_path / "db.sqlite")
        one = Bench(store, tmp_path)
        await one.service.start()
        assert await one.status("s") == "CREATE_COMPLETE"
        assert {"resumed-a", "resumed-b"} <= set(await one.queues())
        await one.call("delete_stack", StackName="s")
        await one.service.settled()
        assert not {"resumed-a", "resumed-b"} & set(await one.queues())
        store.close()

    asyncio.run(before())
    asyncio.run(after())


@pytest.mark.parametrize(
    ("operation", "options", "end"),
    [
        ("create_stack", {"OnFailure": "DELETE"}, "DELETE_COMPLETE"),
        ("create_stack", {"OnFailure": "DO_NOTHING"}, "CREATE_FAILED"),
        ("create_stack", {}, "ROLLBACK_COMPLETE"),
        ("update_stack", {"DisableRollback": True}, "UPDATE_FAILED"),
        ("update_stack", {}, "UPDATE_ROLLBACK_COMPLETE"),
    ],
)
def test_what_was_asked_of_an_operation_is_known_after_a_restart(
    tmp_path: Path, operation: str, options: dict[str, Any], end: str
) -> None:
    broken = {"A": queue(), "Bad": FAILING | {"DependsOn": "A"}}

    async def before() -> str:
        store = Store(tmp_path / "db.sqlite")
        one = Bench(store, tmp_path)
        if operation == "update_stack":
            await one.create("asked", {"First": queue()})
        reached = asyncio.Event()
        one.trace.listen(lambda hop: reached.set() if "CREATE_COMPLETE AWS::SQS::Queue A" in hop.text else None)
        request = asyncio.create_task(one.call(operation, StackName="asked", TemplateBody=template(broken), **options))
        await reached.wait()  # Bad is still to be tried
        await one.service.stop()
        stack_id: str = (await request)["StackId"]
        store.close()
        return stack_id

    async def after(stack_id: str) -> None:
        store = Store(tmp_path / "db.sqlite")
        one = Bench(store, tmp_path)
        await one.service.start()
        assert await one.status(stack_id) == end
        await one.call("delete_stack", StackName="asked")
        await one.service.settled()
        store.close()

    asyncio.run(after(asyncio.run(before())))


def test_dynamic_references_are_looked_up_but_not_recorded(bench: Run) -> None:
    secret = "{{resolve:secretsmanager:dynamic-secret:SecretString:password}}"
    parameter = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": f"<{secret}>"}}

    async def scenario(one: Bench) -> None:
        await one.calls.call(
            "secretsmanager", "CreateSecret", Name="dynamic-secret", SecretString='{"password": "hush"}'
        )
        assert await one.create("s", {"P": parameter}) == "CREATE_COMPLETE", await one.events("s")
        found = await one.call("describe_stack_resource", StackName="s", LogicalResourceId="P")
        name = found["StackResourceDetail"]["PhysicalResourceId"]
        assert (await one.calls.call("ssm", "GetParameter", Name=name))["Parameter"]["Value"] == "<hush>"
        assert "hush" not in json.dumps(await one.call("describe_stack_events", StackName="s"))
        await one.call("delete_stack", StackName="s")
        missing = parameter | {"Properties": {"Type": "String", "Value": "{{resolve:ssm:nowhere}}"}}
        assert await one.create("t", {"P": missing}) == "ROLLBACK_COMPLETE"

    bench(scenario)


def test_a_rollback_that_was_cut_off_is_taken_up(tmp_path: Path) -> None:
    first = {"Change": queue(QueueName="undone", DelaySeconds=1), "Renamed": queue(QueueName="undone-old")}
    second = {
        "Change": queue(QueueName="undone", DelaySeconds=2),
        "Renamed": queue(QueueName="undone-new"),
        "Bad": FAILING | {"DependsOn": ["Change", "Renamed"]},
    }

    async def before() -> None:
        store = Store(tmp_path / "db.sqlite")
        one = Bench(store, tmp_path)
        assert await one.create("s", first) == "CREATE_COMPLETE"
        reached = asyncio.Event()
        one.trace.listen(lambda hop: reached.set() if "UPDATE_ROLLBACK_IN_PROGRESS" in hop.text else None)
        request = asyncio.create_task(one.call("update_stack", StackName="s", TemplateBody=template(second)))
        await reached.wait()
        await one.service.stop()
        await request
        assert {"undone", "undone-old", "undone-new"} <= set(await one.queues())
        store.close()

    async def after() -> None:
        store = Store(tmp_path / "db.sqlite")
        one = Bench(store, tmp_path)
        await one.service.start()
        assert await one.status("s") == "UPDATE_ROLLBACK_COMPLETE"
        assert [name for name in sorted(await one.queues()) if name.startswith("undone")] == ["undone", "undone-old"]
        url = f"http://127.0.0.1:1/{ACCOUNT}/undone"
        attributes = await one.calls.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=["DelaySeconds"])
        assert attributes["Attributes"]["DelaySeconds"] == "1"
        await one.call("delete_stack", StackName="s")
        await one.service.settled()
        assert not [name for name in await one.queues() if name.startswith("undone")]
        store.close()

    asyncio.run(before())
    asyncio.run(after())


def test_a_failed_update_is_kept_and_rolled_back_when_asked(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        await one.create("kept", {"Change": queue(DelaySeconds=1)})
        before = await one.queues()
        broken = {"Change": queue(DelaySeconds=2), "New": queue(), "Bad": FAILING | {"DependsOn": ["Change", "New"]}}
        await one.call("update_stack", StackName="kept", TemplateBody=template(broken), DisableRollback=True)
        assert await one.status("kept") == "UPDATE_FAILED"
        assert len(await one.queues()) == 2
        await one.call("rollback_stack", StackName="kept")
        assert await one.status("kept") == "UPDATE_ROLLBACK_COMPLETE"
        assert await one.queues() == before
        refusal = await one.refused("continue_update_rollback", StackName="kept")
        assert "UPDATE_ROLLBACK_COMPLETE state" in refusal.message

    bench(scenario)


def test_parameters_that_are_in_the_parameter_store(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        for name, kind, value in (
            ("plain", "String", "7"),
            ("listed", "StringList", "a,b"),
            ("hidden", "SecureString", "x"),
        ):
            await one.calls.call("ssm", "PutParameter", Name=f"in-store-{name}", Type=kind, Value=value)

        async def refused(kind: str, default: str) -> str:
            body = template(
                {"Q": queue()}, Parameters={"P": {"Type": f"AWS::SSM::Parameter::{kind}", "Default": default}}
            )
            return (await one.refused("create_stack", StackName="t", TemplateBody=body)).message

        status = await one.create(
            "s",
            {"Q": queue(QueueName={"Fn::Select": [1, {"Ref": "List"}]}, DelaySeconds={"Ref": "Delay"})},
            Parameters={
                "Delay": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "in-store-plain"},
                "List": {"Type": "AWS::SSM::Parameter::Value<List<String>>", "Default": "in-store-listed"},
                "Name": {"Type": "AWS::SSM::Parameter::Name", "Default": "in-store-hidden"},
            },
        )
        assert status == "CREATE_COMPLETE"
        assert "b" in await one.queues()
        missing = "Unable to fetch parameters [nowhere] from parameter store for this account."
        assert await refused("Value<String>", "nowhere") == missing
        assert await refused("Name", "nowhere") == missing
        assert await refused("Value<String>", "in-store-hidden") == (
            "Parameters [in-store-hidden] referenced by template have types not supported by CloudFormation."
        )
        await one.call("delete_stack", StackName="s")

    bench(scenario)


def test_what_would_not_be_heeded_is_refused(bench: Run) -> None:
    async def scenario(one: Bench) -> None:
        body = template({"Q": queue()})
        for member, value in (("RoleARN", "arn:aws:iam::1:role/r"), ("StackPolicyBody", "{}"), ("TimeoutInMinutes", 5)):
            refusal = await one.refused("create_stack", StackName="s", TemplateBody=body, **{member: value})
            assert (refusal.code, refusal.message) == ("ValidationError", f"{member} is not supported by stepbridge.")
        refusal = await one.refused(
            "create_stack", StackName="s", TemplateBody=body, OnFailure="DELETE", DisableRollback=True
        )
        assert refusal.message == "Either DisableRollback or OnFailure can be specified, not both."
        body = template({"Q": queue()}, Outputs={"O": {"Value": ["a"]}})
        refusal = await one.refused("create_stack", StackName="s", TemplateBody=body)
        assert refusal.message.endswith("The Value field of every Outputs member must evaluate to a String.")

    bench(scenario)


def test_loops_make_resources(bench: Run) -> None:
    loop = ["Name", {"Ref": "Names"}, {"Queue${Name}": queue(QueueName={"Fn::Sub": "${AWS::StackName}-${Name}"})}]

    async def scenario(one: Bench) -> None:
        status = await one.create(
            "looped",
            {"Fn::ForEach::Queues": loop},
            Transform="AWS::LanguageExtensions",
            Parameters={"Names": {"Type": "CommaDelimitedList", "Default": "a,b"}},
            Outputs={"O": {"Value": {"Fn::GetAtt": ["Queuea", "QueueName"]}}},
        )
        assert status == "CREATE_COMPLETE"
        assert {"looped-a", "looped-b"} <= set(await one.queues())
        await one.call("delete_stack", StackName="looped")

    bench(scenario)
