"""RegisterThing, and devices that register by connecting."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.integration.registry.client import (
    ARN,
    RegistryClient,
    Scenario,
    customer_authority,
    signed_certificate,
)

from stepbridge.iot.access import Connection
from stepbridge.iot.certificates import certificate_der, certificate_id

Run = Callable[[Scenario], None]
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "iot:Publish", "Resource": f"{ARN}:topic/data"}],
}


def template(certificate: dict[str, Any], parameters: list[str], thing: dict[str, Any], **settings: Any) -> str:
    return json.dumps(
        {
            "Parameters": {name: {"Type": "String"} for name in parameters},
            "Resources": {
                "thing": {"Type": "AWS::IoT::Thing", "Properties": thing, **settings},
                "certificate": {"Type": "AWS::IoT::Certificate", "Properties": certificate},
                "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": json.dumps(POLICY)}},
            },
        }
    )


def signing_request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


async def authority(client: RegistryClient, **members: Any) -> tuple[str, ec.EllipticCurvePrivateKey]:
    made = customer_authority()
    code = (await client.call("get_registration_code"))["registrationCode"]
    await client.call(
        "register_ca_certificate",
        caCertificate=made[0],
        verificationCertificate=signed_certificate(code, made),
        setAsActive=True,
        allowAutoRegistration=True,
        **members,
    )
    return made


def test_register_thing_makes_everything(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        await client.call("create_thing_group", thingGroupName="pumps")
        thing = {
            "ThingName": {"Fn::Join": ["", ["pump-", {"Ref": "Serial"}]]},
            "AttributePayload": {"serial": {"Ref": "Serial"}},
            "ThingGroups": ["pumps"],
        }
        body = template({"CertificateSigningRequest": {"Ref": "CSR"}}, ["Serial", "CSR"], thing)
        parameters = {"Serial": "7", "CSR": signing_request()}
        answer = await client.call("register_thing", templateBody=body, parameters=parameters)
        assert answer["resourceArns"]["thing"] == f"{ARN}:thing/pump-7"
        principals = await client.names("list_thing_principals", "principals", thingName="pump-7")
        assert principals == [answer["resourceArns"]["certificate"]]
        identifier = certificate_id(certificate_der(answer["certificatePem"]))
        connection = Connection(identifier, "pump-7", "127.0.0.1")
        assert client.access.admit(certificate_der(answer["certificatePem"])).principal == identifier
        assert client.access.decide(connection, "iot:Publish", "topic/data").allowed
        assert await client.names("list_things_in_thing_group", "things", thingGroupName="pumps") == ["pump-7"]

    run(scenario)


def test_a_thing_that_is_there_is_changed_only_where_overrides_say_so(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        await client.call("create_thing", thingName="t", attributePayload={"attributes": {"old": "1"}})
        certificate = {"CertificateSigningRequest": {"Ref": "CSR"}}
        thing = {"ThingName": "t", "AttributePayload": {"new": "2"}}
        parameters = {"CSR": signing_request()}
        body = template(certificate, ["CSR"], thing)
        error = await client.refused("register_thing", templateBody=body, parameters=parameters)
        assert error.code == "ConflictingResourceUpdateException"
        body = template(certificate, ["CSR"], thing, OverrideSettings={"AttributePayload": "MERGE"})
        await client.call("register_thing", templateBody=body, parameters=parameters)
        assert (await client.call("describe_thing", thingName="t"))["attributes"] == {"old": "1", "new": "2"}

    run(scenario)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{", "not JSON"),
        ('{"Resources": {}}', "no AWS::IoT::Certificate"),
        ('{"Resources": {"x": {"Type": "AWS::S3::Bucket"}}}', "Resources.x.Type"),
        (template({"CertificateId": {"Ref": "Nothing"}}, [], {"ThingName": "t"}), "Nothing"),
        (template({"CertificateId": "x"}, ["Missing"], {"ThingName": "t"}), "Missing"),
        (template({"CertificateId": "x"}, [], {"ThingName": {"Fn::Select": ["4", ["a"]]}}), "Fn::Select"),
        (template({"CertificateId": "x", "Serial": "1"}, [], {"ThingName": "t"}), "Properties.Serial"),
    ],
)
def test_templates_that_are_refused(run: Run, body: str, text: str) -> None:
    async def scenario(client: RegistryClient) -> None:
        error = await client.refused("register_thing", templateBody=body)
        assert error.code == "InvalidRequestException"
        assert text in error.message

    run(scenario)


def test_just_in_time_registration(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        events: list[tuple[str, dict[str, Any]]] = []

        async def note(topic: str, payload: bytes) -> None:
            events.append((topic, json.loads(payload)))

        client.registry.on_event(note)
        made = await authority(client)
        authority_id = certificate_id(certificate_der(made[0]))
        der = certificate_der(signed_certificate("device", made))
        identifier = certificate_id(der)
        assert "JITR" in client.access.admit(der).reason
        await client.registry.settled()
        [(topic, event)] = events
        assert topic == f"$aws/events/certificates/registered/{authority_id}"
        assert (event["certificateId"], event["caCertificateId"]) == (identifier, authority_id)
        assert event["certificateStatus"] == "PENDING_ACTIVATION"
        assert "PENDING_ACTIVATION" in client.access.admit(der).reason
        await client.registry.settled()
        assert len(events) == 2
        await client.call("update_certificate", certificateId=identifier, newStatus="ACTIVE")
        assert client.access.admit(der).principal == identifier
        stranger = certificate_der(signed_certificate("device", customer_authority()))
        assert "not registered" in client.access.admit(stranger).reason

    run(scenario)


def test_just_in_time_provisioning(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        prefix = "AWS::IoT::Certificate::"
        thing = {"ThingName": {"Ref": f"{prefix}CommonName"}}
        parameters = [f"{prefix}CommonName", f"{prefix}Country", f"{prefix}Id"]
        body = template({"CertificateId": {"Ref": f"{prefix}Id"}, "Status": "ACTIVE"}, parameters, thing)
        role = f"arn:aws:iam::{ARN.split(':')[4]}:role/jitp"
        made = await authority(client, registrationConfig={"templateBody": body, "roleArn": role})
        der = certificate_der(signed_certificate("pump-7", made, country="DE"))
        assert "JITP" in client.access.admit(der).reason
        await client.registry.settled()
        assert client.access.admit(der).principal == certificate_id(der)
        connection = Connection(certificate_id(der), "pump-7", "127.0.0.1")
        assert client.access.decide(connection, "iot:Publish", "topic/data").allowed
        assert client.access.thing_of(connection) == "pump-7"
        nameless = certificate_der(signed_certificate("pump-8", made))
        client.access.admit(nameless)
        await client.registry.settled()
        assert "PENDING_ACTIVATION" in client.access.admit(nameless).reason
        [failure] = [hop for hop in client.trace.recent if hop.event == "provisioning-failed"]
        assert f"{prefix}Country" in failure.text

    run(scenario)


def test_an_authoritys_template_is_checked_when_it_is_registered(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        made = await authority(client)
        config = {"templateBody": template({"CertificateId": "x"}, ["Mine"], {"ThingName": "t"}), "roleArn": "r" * 20}
        error = await client.refused(
            "update_ca_certificate",
            certificateId=certificate_id(certificate_der(made[0])),
            registrationConfig=config,
        )
        assert "Mine" in error.message

    run(scenario)
