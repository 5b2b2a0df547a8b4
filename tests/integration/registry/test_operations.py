"""The API's own rules: what is idempotent, what conflicts, what pages."""

import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore import xform_name
from botocore.session import get_session
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.integration.registry.client import ARN, RegistryClient, Scenario, customer_authority, signed_certificate

Run = Callable[[Scenario], None]
DOCUMENT = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}
)


def test_each_operation_is_one_of_the_api_and_on_one_service_only(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        known = {xform_name(name) for name in get_session().get_service_model("iot").operation_names}
        offered = [
            name
            for service in client.registry.services
            for name, _ in inspect.getmembers(type(service), inspect.iscoroutinefunction)
            if not name.startswith("_")
        ]
        assert set(offered) <= known
        assert len(offered) == len(set(offered))

    run(scenario)


def test_create_thing_is_idempotent_for_the_same_thing(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        payload = {"attributes": {"site": "hall1"}}
        first = await client.call("create_thing", thingName="t", attributePayload=payload)
        assert await client.call("create_thing", thingName="t", attributePayload=payload) == first
        error = await client.refused("create_thing", thingName="t")
        assert error.code == "ResourceAlreadyExistsException"
        assert error.members == {"resourceId": first["thingId"], "resourceArn": f"{ARN}:thing/t"}

    run(scenario)


def test_thing_attributes_merge_replace_and_remove(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        async def attributes() -> Any:
            return (await client.call("describe_thing", thingName="t"))["attributes"]

        await client.call("create_thing", thingName="t", attributePayload={"attributes": {"a": "1", "b": "2"}})
        merge = {"attributes": {"b": "3", "a": ""}, "merge": True}
        await client.call("update_thing", thingName="t", attributePayload=merge, expectedVersion=1)
        assert await attributes() == {"b": "3"}
        await client.call("update_thing", thingName="t", attributePayload={"attributes": {"c": "4"}})
        assert await attributes() == {"c": "4"}
        error = await client.refused("update_thing", thingName="t", expectedVersion=1)
        assert error.code == "VersionConflictException"
        four = {"attributes": dict.fromkeys("abcd", "x")}
        assert (await client.refused("create_thing", thingName="u", attributePayload=four)).code == (
            "InvalidRequestException"
        )
        await client.call("create_thing_type", thingTypeName="type")
        await client.call("create_thing", thingName="u", thingTypeName="type", attributePayload=four)

    run(scenario)


def test_things_are_listed_by_page_attribute_and_type(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        await client.call("create_thing_type", thingTypeName="pump")
        for number in range(7):
            await client.call(
                "create_thing",
                thingName=f"t{number}",
                attributePayload={"attributes": {"site": f"hall{number % 2}"}},
                **({"thingTypeName": "pump"} if number < 3 else {}),
            )
        names = [f"t{number}" for number in range(7)]
        assert await client.names("list_things", "things", "thingName", maxResults=3) == names
        assert await client.names("list_things", "things", "thingName", thingTypeName="pump") == names[:3]
        site = {"attributeName": "site", "attributeValue": "hall1"}
        assert await client.names("list_things", "things", "thingName", **site) == ["t1", "t3", "t5"]
        prefix = {"attributeName": "site", "attributeValue": "hall", "usePrefixAttributeValue": True}
        assert await client.names("list_things", "things", "thingName", **prefix) == names
        assert (await client.refused("list_things", nextToken="bad")).code == "InvalidRequestException"

    run(scenario)


def test_thing_types_are_deprecated_before_they_are_deleted(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        many = {"searchableAttributes": ["a", "b", "c", "d"]}
        error = await client.refused("create_thing_type", thingTypeName="pump", thingTypeProperties=many)
        assert "3 searchable attributes at most" in error.message
        await client.call("create_thing_type", thingTypeName="pump")
        error = await client.refused("update_thing_type", thingTypeName="pump", thingTypeProperties=many)
        assert error.code == "InvalidRequestException"
        assert "deprecate" in (await client.refused("delete_thing_type", thingTypeName="pump")).message
        await client.call("deprecate_thing_type", thingTypeName="pump")
        error = await client.refused("create_thing", thingName="t", thingTypeName="pump")
        assert error.code == "InvalidRequestException"
        assert "5 minutes" in (await client.refused("delete_thing_type", thingTypeName="pump")).message
        client.clock.advance(300)
        await client.call("delete_thing_type", thingTypeName="pump")
        assert (await client.refused("describe_thing_type", thingTypeName="pump")).code == "ResourceNotFoundException"

    run(scenario)


def test_thing_groups_form_a_tree(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        for name, parent in (("plant", None), ("hall", "plant"), ("line", "hall"), ("office", None)):
            extra = {"parentGroupName": parent} if parent else {}
            await client.call("create_thing_group", thingGroupName=name, **extra)
        described = await client.call("describe_thing_group", thingGroupName="line")
        path = described["thingGroupMetadata"]["rootToParentThingGroups"]
        assert [entry["groupName"] for entry in path] == ["plant", "hall"]
        listing = ("list_thing_groups", "thingGroups", "groupName")
        assert await client.names(*listing, parentGroup="plant") == ["hall"]
        assert await client.names(*listing, parentGroup="plant", recursive=True, maxResults=1) == ["hall", "line"]
        assert await client.names(*listing, recursive=False) == ["office", "plant"]
        await client.call("create_thing", thingName="t")
        await client.call("add_thing_to_thing_group", thingName="t", thingGroupArn=f"{ARN}:thinggroup/line")
        error = await client.refused("add_thing_to_thing_group", thingName="t", thingGroupName="hall")
        assert "same hierarchy" in error.message
        await client.call("add_thing_to_thing_group", thingName="t", thingGroupName="office")
        in_group = ("list_things_in_thing_group", "things")
        assert await client.names(*in_group, thingGroupName="plant") == []
        assert await client.names(*in_group, thingGroupName="plant", recursive=True) == ["t"]
        groups = await client.names("list_thing_groups_for_thing", "thingGroups", "groupName", thingName="t")
        assert groups == ["line", "office"]
        assert (await client.refused("delete_thing_group", thingGroupName="hall")).code == "InvalidRequestException"
        change = {"thingName": "t", "thingGroupsToRemove": ["office"], "thingGroupsToAdd": ["hall"]}
        assert (await client.refused("update_thing_groups_for_thing", **change)).code == "InvalidRequestException"
        assert len(await client.names("list_thing_groups_for_thing", "thingGroups", "groupName", thingName="t")) == 2
        change = {"thingName": "t", "thingGroupsToRemove": ["line"], "thingGroupsToAdd": ["hall"]}
        await client.call("update_thing_groups_for_thing", **change)
        groups = await client.names("list_thing_groups_for_thing", "thingGroups", "groupName", thingName="t")
        assert groups == ["hall", "office"]
        await client.call("delete_thing", thingName="t")
        await client.call("delete_thing_group", thingGroupName="line")
        await client.call("delete_thing_group", thingGroupName="line")

    run(scenario)


def test_a_group_has_two_policies_at_most_and_takes_them_with_it(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        group = (await client.call("create_thing_group", thingGroupName="g"))["thingGroupArn"]
        for name in ("a", "b", "c"):
            await client.call("create_policy", policyName=name, policyDocument=DOCUMENT)
        for name in ("a", "b", "b"):
            await client.call("attach_policy", policyName=name, target=group)
        assert (await client.refused("attach_policy", policyName="c", target=group)).code == "LimitExceededException"
        await client.call("delete_thing_group", thingGroupName="g")
        await client.call("delete_policy", policyName="a")
        await client.call("create_thing_group", thingGroupName="g")
        assert await client.names("list_attached_policies", "policies", "policyName", target=group) == []

    run(scenario)


@pytest.mark.parametrize(
    ("key", "digest", "reason"),
    [
        (rsa.generate_private_key(65537, 1024), hashes.SHA256(), "has an RSA key of 1024 bits"),
        (ed25519.Ed25519PrivateKey.generate(), None, "has a key that is neither RSA nor ECC"),
        (ec.generate_private_key(ec.SECP256K1()), hashes.SHA256(), "has a key that is neither RSA nor ECC"),
        (ec.generate_private_key(ec.SECP256R1()), hashes.SHA3_256(), "is signed with SHA3-256"),
    ],
)
def test_certificates_that_aws_does_not_take(run: Run, key: Any, digest: Any, reason: str) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.sign(key, digest).public_bytes(Encoding.PEM).decode()

    async def scenario(client: RegistryClient) -> None:
        error = await client.refused("register_certificate_without_ca", certificatePem=pem, status="ACTIVE")
        assert error.code == "CertificateValidationException"
        assert f"The certificatePem {reason}" in error.message
        error = await client.refused("register_ca_certificate", caCertificate=pem, certificateMode="SNI_ONLY")
        assert error.code == "CertificateValidationException"

    run(scenario)


def test_a_certificate_goes_only_when_nothing_holds_it(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        keys = await client.call("create_keys_and_certificate", setAsActive=True)
        identifier, arn = keys["certificateId"], keys["certificateArn"]
        await client.call("create_thing", thingName="t")
        await client.call("create_policy", policyName="p", policyDocument=DOCUMENT)
        await client.call("attach_thing_principal", thingName="t", principal=arn)
        await client.call("attach_principal_policy", policyName="p", principal=arn)
        delete = ("delete_certificate",)
        assert (await client.refused(*delete, certificateId=identifier)).code == "CertificateStateException"
        await client.call("update_certificate", certificateId=identifier, newStatus="INACTIVE")
        assert (await client.refused(*delete, certificateId=identifier)).code == "DeleteConflictException"
        assert "attached" in (await client.refused("delete_thing", thingName="t")).message
        await client.call("detach_thing_principal", thingName="t", principal=arn)
        assert (await client.refused(*delete, certificateId=identifier)).code == "DeleteConflictException"
        assert (await client.refused("delete_policy", policyName="p")).code == "DeleteConflictException"
        await client.call("delete_certificate", certificateId=identifier, forceDelete=True)
        assert await client.names("list_targets_for_policy", "targets", policyName="p") == []
        await client.call("delete_policy", policyName="p")
        await client.call("delete_thing", thingName="t")

    run(scenario)


def test_exclusive_attachment_excludes_other_things(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        arn = (await client.call("create_keys_and_certificate"))["certificateArn"]
        for thing in ("t", "u"):
            await client.call("create_thing", thingName=thing)
        exclusive = {"thingPrincipalType": "EXCLUSIVE_THING"}
        await client.call("attach_thing_principal", thingName="t", principal=arn, **exclusive)
        error = await client.refused("attach_thing_principal", thingName="u", principal=arn)
        assert error.code == "InvalidRequestException"
        answer = await client.call("list_principal_things_v2", principal=arn)
        assert answer["principalThingObjects"] == [{"thingName": "t", "thingPrincipalType": "EXCLUSIVE_THING"}]
        assert await client.names("list_thing_principals", "principals", thingName="t") == [arn]

    run(scenario)


def test_policy_versions(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        await client.call("create_policy", policyName="p", policyDocument=DOCUMENT)
        error = await client.refused("create_policy", policyName="p", policyDocument=DOCUMENT)
        assert error.code == "ResourceAlreadyExistsException"
        for _ in range(4):
            await client.call("create_policy_version", policyName="p", policyDocument=DOCUMENT, setAsDefault=True)
        error = await client.refused("create_policy_version", policyName="p", policyDocument=DOCUMENT)
        assert error.code == "VersionsLimitExceededException"
        assert (await client.refused("delete_policy", policyName="p")).code == "DeleteConflictException"
        error = await client.refused("delete_policy_version", policyName="p", policyVersionId="5")
        assert error.code == "DeleteConflictException"
        for version in "1234":
            await client.call("delete_policy_version", policyName="p", policyVersionId=version)
        answer = await client.call("create_policy_version", policyName="p", policyDocument=DOCUMENT)
        assert answer["policyVersionId"] == "6"
        await client.call("delete_policy_version", policyName="p", policyVersionId="6")
        await client.call("delete_policy", policyName="p")
        assert (await client.refused("get_policy", policyName="p")).code == "ResourceNotFoundException"

    run(scenario)


def test_a_malformed_policy_is_refused_with_its_place(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        document = DOCUMENT.replace("Allow", "allow")
        error = await client.refused("create_policy", policyName="p", policyDocument=document)
        assert error.code == "MalformedPolicyException"
        assert error.message == "Policy document is Malformed: Invalid effect: allow (Statement[0].Effect)"

    run(scenario)


def test_ten_policies_at_most(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        target = (await client.call("create_keys_and_certificate"))["certificateArn"]
        for number in range(11):
            await client.call("create_policy", policyName=f"p{number:02}", policyDocument=DOCUMENT)
        for number in range(10):
            await client.call("attach_policy", policyName=f"p{number:02}", target=target)
        error = await client.refused("attach_policy", policyName="p10", target=target)
        assert error.code == "LimitExceededException"
        await client.call("attach_policy", policyName="p00", target=target)
        names = await client.names("list_attached_policies", "policies", "policyName", target=target, pageSize=3)
        assert names == [f"p{number:02}" for number in range(10)]
        newest_first = await client.names("list_policies", "policies", "policyName", pageSize=4)
        assert newest_first == [f"p{number:02}" for number in reversed(range(11))]

    run(scenario)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("describe_thing", {"thingName": "none"}),
        ("describe_thing_group", {"thingGroupName": "none"}),
        ("describe_certificate", {"certificateId": "0" * 64}),
        ("describe_ca_certificate", {"certificateId": "0" * 64}),
        ("get_policy", {"policyName": "none"}),
        ("attach_policy", {"policyName": "none", "target": f"{ARN}:cert/{'0' * 64}"}),
        ("attach_thing_principal", {"thingName": "none", "principal": f"{ARN}:cert/{'0' * 64}"}),
        ("list_tags_for_resource", {"resourceArn": f"{ARN}:policy/none"}),
    ],
)
def test_what_is_not_there(run: Run, operation: str, members: dict[str, str]) -> None:
    async def scenario(client: RegistryClient) -> None:
        assert (await client.refused(operation, **members)).code == "ResourceNotFoundException"

    run(scenario)


def test_a_certificate_from_a_signing_request(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "my-device")])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        pem = request.public_bytes(Encoding.PEM).decode()
        answer = await client.call("create_certificate_from_csr", certificateSigningRequest=pem)
        certificate = x509.load_pem_x509_certificate(answer["certificatePem"].encode())
        assert certificate.subject == subject
        assert certificate.public_key() == key.public_key()
        described = await client.call("describe_certificate", certificateId=answer["certificateId"])
        assert described["certificateDescription"]["status"] == "INACTIVE"
        error = await client.refused("create_certificate_from_csr", certificateSigningRequest="nonsense")
        assert error.code == "InvalidRequestException"

    run(scenario)


def test_a_customers_authority_is_registered_with_proof_of_its_key(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        authority, other = customer_authority(), customer_authority()
        device = signed_certificate("device", authority)
        error = await client.refused("register_certificate", certificatePem=device)
        assert error.code == "CertificateValidationException"
        code = (await client.call("get_registration_code"))["registrationCode"]
        register = {"caCertificate": authority[0], "setAsActive": True}
        for verification, expected in (
            (signed_certificate(code, other), "CertificateValidationException"),
            (signed_certificate("wrong", authority), "RegistrationCodeValidationException"),
        ):
            error = await client.refused("register_ca_certificate", verificationCertificate=verification, **register)
            assert error.code == expected
        verification = signed_certificate(code, authority)
        answer = await client.call("register_ca_certificate", verificationCertificate=verification, **register)
        registered = await client.call("register_certificate", certificatePem=device, caCertificatePem=authority[0])
        listed = await client.names(
            "list_certificates_by_ca", "certificates", "certificateId", caCertificateId=answer["certificateId"]
        )
        assert listed == [registered["certificateId"]]
        error = await client.refused("delete_ca_certificate", certificateId=answer["certificateId"])
        assert error.code == "CertificateStateException"
        await client.call("update_ca_certificate", certificateId=answer["certificateId"], newStatus="INACTIVE")
        error = await client.refused("register_certificate", certificatePem=signed_certificate("late", authority))
        assert error.code == "CertificateStateException"
        await client.call("delete_ca_certificate", certificateId=answer["certificateId"])

    run(scenario)


def test_tags(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        tags = [{"Key": "team", "Value": "a"}]
        arn = (await client.call("create_policy", policyName="p", policyDocument=DOCUMENT, tags=tags))["policyArn"]
        await client.call("tag_resource", resourceArn=arn, tags=[{"Key": "stage", "Value": "test"}])
        await client.call("untag_resource", resourceArn=arn, tagKeys=["team"])
        answer = await client.call("list_tags_for_resource", resourceArn=arn)
        assert answer["tags"] == [{"Key": "stage", "Value": "test"}]

    run(scenario)


def test_test_authorization(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        arn = (await client.call("create_keys_and_certificate"))["certificateArn"]
        statements = [
            {"Effect": "Allow", "Action": "iot:Publish", "Resource": f"{ARN}:topic/*"},
            {"Effect": "Deny", "Action": "iot:Publish", "Resource": f"{ARN}:topic/no"},
            {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": f"{ARN}:topicfilter/${{iot:ClientId}}"},
        ]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        await client.call("create_policy", policyName="p", policyDocument=document)
        await client.call("attach_policy", policyName="p", target=arn)
        infos = [
            {"actionType": "PUBLISH", "resources": [f"{ARN}:topic/yes", f"{ARN}:topic/no"]},
            {"actionType": "SUBSCRIBE", "resources": [f"{ARN}:topicfilter/x"]},
        ]
        answer = await client.call("test_authorization", principal=arn, authInfos=infos)
        decisions = [result["authDecision"] for result in answer["authResults"]]
        assert decisions == ["ALLOWED", "EXPLICIT_DENY", "IMPLICIT_DENY"]
        assert answer["authResults"][2]["missingContextValues"] == ["iot:ClientId"]
        named = answer["authResults"][1]["denied"]["explicitDeny"]["policies"]
        assert named == [{"policyName": "p", "policyArn": f"{ARN}:policy/p"}]
        answer = await client.call("test_authorization", principal=arn, authInfos=infos, clientId="x")
        assert answer["authResults"][2]["authDecision"] == "ALLOWED"

    run(scenario)


def test_describe_endpoint(run: Run) -> None:
    async def scenario(client: RegistryClient) -> None:
        answer = await client.call("describe_endpoint", endpointType="iot:Data-ATS")
        assert answer == {"endpointAddress": "localhost:8883"}
        error = await client.refused("describe_endpoint", endpointType="iot:Nothing")
        assert error.code == "InvalidRequestException"

    run(scenario)
