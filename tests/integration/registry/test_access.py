"""What the device gateway is told: who is admitted, and what a connection may do."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.registry.client import (
    ARN,
    RegistryClient,
    Scenario,
    customer_authority,
    signed_certificate,
)

from stepbridge.iot.access import Connection
from stepbridge.iot.certificates import certificate_der, certificate_id
from stepbridge.store.database import Store

Run = Callable[[Scenario], None]


def policy(*statements: tuple[str, str, str], **condition: Any) -> str:
    """A document of (effect, action, resource) statements."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": effect, "Action": action, "Resource": f"{ARN}:{resource}"} | condition
                for effect, action, resource in statements
            ],
        }
    )


async def device(client: RegistryClient, document: str, thing: str | None = None, **attachment: str) -> str:
    """A certificate with a policy, attached to a thing; its id."""
    keys = await client.call("create_keys_and_certificate", setAsActive=True)
    name = f"policy-{keys['certificateId'][:8]}"
    await client.call("create_policy", policyName=name, policyDocument=document)
    await client.call("attach_policy", policyName=name, target=keys["certificateArn"])
    if thing is not None:
        await client.call("create_thing", thingName=thing)
        await client.call("attach_thing_principal", thingName=thing, principal=keys["certificateArn"], **attachment)
    return str(keys["certificateId"])


def test_only_registered_active_certificates_are_admitted(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        keys = await client.call("create_keys_and_certificate")
        identifier, der = keys["certificateId"], certificate_der(keys["certificatePem"])
        assert identifier == certificate_id(der)
        stranger = certificate_der(signed_certificate("stranger"))
        assert client.access.admit(None).principal is None
        assert "not registered" in client.access.admit(stranger).reason
        assert "INACTIVE" in client.access.admit(der).reason
        await client.call("update_certificate", certificateId=identifier, newStatus="ACTIVE")
        assert client.access.admit(der).principal == identifier
        await client.call("update_certificate", certificateId=identifier, newStatus="REVOKED")
        assert "REVOKED" in client.access.admit(der).reason

    run(scenario)


def test_a_certificate_from_elsewhere_becomes_a_trust_anchor_when_it_is_active(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        first, second = signed_certificate("first"), signed_certificate("second")
        await client.call("register_certificate_without_ca", certificatePem=first, status="ACTIVE")
        trusted: list[str] = []
        client.access.on_trust(trusted.append)
        assert trusted == [first]
        answer = await client.call("register_certificate_without_ca", certificatePem=second)
        assert trusted == [first]
        await client.call("update_certificate", certificateId=answer["certificateId"], newStatus="ACTIVE")
        assert trusted == [first, second]
        await client.call("create_keys_and_certificate", setAsActive=True)
        assert trusted == [first, second]

    run(scenario)


def test_revocation_is_told(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        keys = await client.call("create_keys_and_certificate", setAsActive=True)
        revoked: list[str] = []
        client.access.on_revocation(revoked.append)
        await client.call("update_certificate", certificateId=keys["certificateId"], newStatus="INACTIVE")
        assert revoked == [keys["certificateId"]]

    run(scenario)


def test_decisions_name_the_statement_or_what_is_missing(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        document = policy(
            ("Allow", "iot:Publish", "topic/jobs/*"),
            ("Deny", "iot:Publish", "topic/jobs/secret"),
            ("Allow", "iot:Connect", "client/w"),
        )
        connection = Connection(await device(client, document), "w", "127.0.0.1")
        allowed = client.access.decide(connection, "iot:Publish", "topic/jobs/1/a")
        assert allowed.allowed
        assert "statement 1" in allowed.reason
        denied = client.access.decide(connection, "iot:Publish", "topic/jobs/secret")
        assert not denied.allowed
        assert "statement 2" in denied.reason
        missing = client.access.decide(connection, "iot:Subscribe", "topicfilter/jobs/#")
        assert not missing.allowed
        assert f'"Action": "iot:Subscribe", "Resource": "{ARN}:topicfilter/jobs/#"' in missing.reason

    run(scenario)


def test_a_mistyped_action_is_taken_and_allows_nothing(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        identifier = await device(client, policy(("Allow", "iot:Publsh", "topic/a")))
        decision = client.access.decide(Connection(identifier, "x", "127.0.0.1"), "iot:Publish", "topic/a")
        assert not decision.allowed
        assert "statement 1 does not apply: its Action is iot:Publsh (mistyped?)" in decision.reason

    run(scenario)


def test_changes_act_on_the_next_decision(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        principal = await device(client, policy(("Allow", "iot:Publish", "topic/a")))
        connection = Connection(principal, "w", "127.0.0.1")
        name = f"policy-{principal[:8]}"

        def may(topic: str) -> bool:
            return client.access.decide(connection, "iot:Publish", f"topic/{topic}").allowed

        assert (may("a"), may("b")) == (True, False)
        await client.call(
            "create_policy_version",
            policyName=name,
            policyDocument=policy(("Allow", "iot:Publish", "topic/b")),
            setAsDefault=True,
        )
        assert (may("a"), may("b")) == (False, True)
        await client.call("set_default_policy_version", policyName=name, policyVersionId="1")
        assert (may("a"), may("b")) == (True, False)
        await client.call("detach_policy", policyName=name, target=f"{ARN}:cert/{principal}")
        assert (may("a"), may("b")) == (False, False)

    run(scenario)


@pytest.mark.parametrize(
    ("attachment", "client_id", "allowed"),
    [
        ({}, "thing1", True),
        ({}, "other", False),
        ({"thingPrincipalType": "EXCLUSIVE_THING"}, "other", True),
        (None, "thing1", False),
    ],
)
def test_thing_variables(run: Run, attachment: dict[str, str] | None, client_id: str, allowed: bool) -> None:
    async def scenario(client: RegistryClient) -> None:
        document = policy(("Allow", "iot:Publish", "topic/${iot:Connection.Thing.ThingName}/x"))
        if attachment is None:
            await client.call("create_thing", thingName="thing1")
            principal = await device(client, document)
        else:
            principal = await device(client, document, "thing1", **attachment)
        connection = Connection(principal, client_id, "127.0.0.1")
        assert client.access.decide(connection, "iot:Publish", "topic/thing1/x").allowed is allowed

    run(scenario)


def test_policies_of_thing_groups_and_of_the_groups_above(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        principal = await device(client, policy(("Allow", "iot:Connect", "client/*")), "thing1")
        await client.call("create_thing_group", thingGroupName="plant")
        await client.call("create_thing_group", thingGroupName="hall", parentGroupName="plant")
        await client.call("add_thing_to_thing_group", thingName="thing1", thingGroupName="hall")
        document = policy(("Allow", "iot:Publish", "topic/plant/*"))
        await client.call("create_policy", policyName="plant", policyDocument=document)
        await client.call("attach_policy", policyName="plant", target=f"{ARN}:thinggroup/plant")

        def may(client_id: str) -> bool:
            connection = Connection(principal, client_id, "127.0.0.1")
            return client.access.decide(connection, "iot:Publish", "topic/plant/1").allowed

        assert may("thing1")
        assert not may("other"), "a group's policies act only where the client id is the thing's name"
        answer = await client.call("get_effective_policies", principal=f"{ARN}:cert/{principal}", thingName="thing1")
        assert [entry["policyName"] for entry in answer["effectivePolicies"]] == [f"policy-{principal[:8]}", "plant"]
        await client.call("remove_thing_from_thing_group", thingName="thing1", thingGroupName="hall")
        assert not may("thing1")

    run(scenario)


@pytest.mark.parametrize(
    ("persistent", "will", "allowed"), [(False, None, True), (True, None, False), (False, "w/will", True)]
)
def test_connect_attributes(run: Run, persistent: bool, will: str | None, allowed: bool) -> None:
    async def scenario(client: RegistryClient) -> None:
        condition = {"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}}
        document = policy(("Allow", "iot:Connect", "client/w"), Condition=condition)
        connection = Connection(await device(client, document), "w", "127.0.0.1", persistent, will)
        assert client.access.decide(connection, "iot:Connect", "client/w").allowed is allowed

    run(scenario)


def test_everything_is_there_after_a_restart(authority_files: Path, tmp_path: Path) -> None:
    async def first() -> str:
        store = Store(tmp_path / "db")
        client = RegistryClient(authority_files, store)
        principal = await device(client, policy(("Allow", "iot:Publish", "topic/a")), "thing1")
        store.close()
        return principal

    async def second(principal: str) -> None:
        store = Store(tmp_path / "db")
        client = RegistryClient(authority_files, store)
        connection = Connection(principal, "thing1", "127.0.0.1")
        assert client.access.decide(connection, "iot:Publish", "topic/a").allowed
        assert client.access.thing_of(connection) == "thing1"
        store.close()

    principal = asyncio.run(first())
    asyncio.run(second(principal))


def test_certificate_variables(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        authority = customer_authority()
        code = (await client.call("get_registration_code"))["registrationCode"]
        await client.call(
            "register_ca_certificate",
            caCertificate=authority[0],
            verificationCertificate=signed_certificate(code, authority),
            setAsActive=True,
        )
        pem = signed_certificate("pump-7", authority, organization="Example Corp", country="DE")
        answer = await client.call("register_certificate", certificatePem=pem, status="ACTIVE")
        variable = "${iot:Certificate.Subject.Country}/${iot:Certificate.Issuer.CommonName}"
        document = policy(("Allow", "iot:Publish", f"topic/{variable}"))
        await client.call("create_policy", policyName="p", policyDocument=document)
        await client.call("attach_policy", policyName="p", target=answer["certificateArn"])
        connection = Connection(answer["certificateId"], "x", "127.0.0.1")
        assert client.access.decide(connection, "iot:Publish", "topic/DE/Customer CA").allowed

    run(scenario)


def test_a_policy_may_ask_for_the_domain_name(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        condition = {"StringEquals": {"iot:DomainName": "a.example.test"}}
        principal = await device(client, policy(("Allow", "iot:Publish", "topic/a"), Condition=condition))
        for name, allowed in (("a.example.test", True), ("b.example.test", False), (None, False)):
            connection = Connection(principal, "x", "127.0.0.1", domain_name=name)
            assert client.access.decide(connection, "iot:Publish", "topic/a").allowed is allowed

    run(scenario)


def test_the_thing_that_a_certificate_is_attached_to_exclusively(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        only = await device(client, policy(("Allow", "iot:Connect", "*")), "only", thingPrincipalType="EXCLUSIVE_THING")
        shared = await device(client, policy(("Allow", "iot:Connect", "client/x")), "shared")
        assert client.access.exclusive_thing(only) == "only"
        assert client.access.exclusive_thing(shared) is None

    run(scenario)
