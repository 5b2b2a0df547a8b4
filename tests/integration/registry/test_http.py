"""The registry as boto3 sees it, and as a device meets it at the gateway."""

import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import paho.mqtt.client as mqtt
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paho.mqtt.enums import CallbackAPIVersion
from tests.integration.registry.client import customer_authority, signed_certificate

from stepbridge.iot.certificates import certificate_der, certificate_id
from stepbridge.testing.process import EmulatorProcess

ALLOW_ALL = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}
)


@pytest.fixture
def iot(stepbridge: EmulatorProcess) -> Any:
    return boto3.client(
        "iot",
        endpoint_url=stepbridge.endpoints["http"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def device(
    endpoints: dict[str, Any], directory: Path, certificate: str, key: ec.EllipticCurvePrivateKey
) -> mqtt.Client | None:
    """A device with this certificate that has got through CONNECT, or None if it has not."""
    (directory / "device.pem").write_text(certificate)
    (directory / "device.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="device")
    client.tls_set(endpoints["root_ca"], str(directory / "device.pem"), str(directory / "device.key"))
    try:
        client.connect(endpoints["mqtt_host"], endpoints["mqtt_port"])
        return client if loops_until(client, client.is_connected) else None
    except (ssl.SSLError, ConnectionError):
        return None


def loops_until(client: mqtt.Client, condition: Callable[[], bool]) -> bool:
    """Run the client until the condition holds; False if the connection ends before, or after 10 seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        if client.loop(0.1) != mqtt.MQTT_ERR_SUCCESS:
            return condition()
    return condition()


def connects(endpoints: dict[str, Any], directory: Path, certificate: str, key: ec.EllipticCurvePrivateKey) -> bool:
    """Whether a device with this certificate gets through CONNECT."""
    client = device(endpoints, directory, certificate, key)
    if client is not None:
        client.disconnect()
    return client is not None


def wait_until_active(iot: Any, identifier: str) -> None:
    deadline = time.monotonic() + 10
    while (
        status := iot.describe_certificate(certificateId=identifier)["certificateDescription"]["status"]
    ) != "ACTIVE":
        assert time.monotonic() < deadline, f"the certificate is still {status}"
        time.sleep(0.02)


def attach_policy(iot: Any, certificate_arn: str) -> None:
    name = f"allow-{certificate_arn[-8:]}"
    iot.create_policy(policyName=name, policyDocument=ALLOW_ALL)
    iot.attach_policy(policyName=name, target=certificate_arn)


def test_what_boto3_gets(iot: Any) -> None:
    thing = iot.create_thing(thingName="http-thing", attributePayload={"attributes": {"a": "1"}})
    with pytest.raises(ClientError) as refusal:
        iot.create_thing(thingName="http-thing")
    assert refusal.value.response["Error"]["Code"] == "ResourceAlreadyExistsException"
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert refusal.value.response["resourceArn"] == thing["thingArn"]
    with pytest.raises(ClientError) as refusal:
        iot.create_policy(policyName="bad", policyDocument="{}")
    assert refusal.value.response["Error"]["Code"] == "MalformedPolicyException"
    keys = iot.create_keys_and_certificate(setAsActive=True)
    described = iot.describe_certificate(certificateId=keys["certificateId"])["certificateDescription"]
    assert described["validity"]["notAfter"].year == 2049
    iot.attach_thing_principal(thingName="http-thing", principal=keys["certificateArn"])
    assert iot.list_thing_principals(thingName="http-thing")["principals"] == [keys["certificateArn"]]
    assert iot.list_principal_things(principal=keys["certificateArn"])["things"] == ["http-thing"]
    names = [entry["thingName"] for page in iot.get_paginator("list_things").paginate() for entry in page["things"]]
    assert "http-thing" in names
    attach_policy(iot, keys["certificateArn"])
    assert iot.list_principal_policies(principal=keys["certificateArn"])["policies"]
    effective = iot.get_effective_policies(principal=keys["certificateArn"])["effectivePolicies"]
    assert [entry["policyDocument"] for entry in effective] == [ALLOW_ALL]
    result = iot.test_authorization(
        principal=keys["certificateArn"], authInfos=[{"actionType": "CONNECT", "resources": ["arn:aws:iot:::client/x"]}]
    )
    assert result["authResults"][0]["authDecision"] == "ALLOWED"


def test_a_self_signed_certificate_is_admitted_while_it_is_registered_and_active(
    stepbridge: EmulatorProcess, iot: Any, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = signed_certificate("self", key=key)
    assert not connects(stepbridge.endpoints, tmp_path, certificate, key)
    answer = iot.register_certificate_without_ca(certificatePem=certificate, status="ACTIVE")
    attach_policy(iot, answer["certificateArn"])
    client = device(stepbridge.endpoints, tmp_path, certificate, key)
    assert client is not None
    iot.update_certificate(certificateId=answer["certificateId"], newStatus="REVOKED")
    assert loops_until(client, lambda: not client.is_connected()), "revocation closes the connection"
    assert not connects(stepbridge.endpoints, tmp_path, certificate, key)


def test_a_device_of_a_registered_authority_is_provisioned_by_connecting(
    stepbridge: EmulatorProcess, iot: Any, tmp_path: Path
) -> None:
    authority = customer_authority("HTTP CA")
    name = "AWS::IoT::Certificate::"
    template = {
        "Parameters": {f"{name}CommonName": {"Type": "String"}, f"{name}Id": {"Type": "String"}},
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": f"{name}CommonName"}}},
            "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": f"{name}Id"}}},
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": ALLOW_ALL}},
        },
    }
    iot.register_ca_certificate(
        caCertificate=authority[0],
        verificationCertificate=signed_certificate(iot.get_registration_code()["registrationCode"], authority),
        setAsActive=True,
        allowAutoRegistration=True,
        registrationConfig={"templateBody": json.dumps(template), "roleArn": "arn:aws:iam::123456789012:role/jitp"},
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = signed_certificate("pump-7", authority, key=key)
    assert not connects(stepbridge.endpoints, tmp_path, certificate, key), "the first connection only registers"
    identifier = certificate_id(certificate_der(certificate))
    wait_until_active(iot, identifier)
    assert connects(stepbridge.endpoints, tmp_path, certificate, key)
    assert iot.list_thing_principals(thingName="pump-7")["principals"]
