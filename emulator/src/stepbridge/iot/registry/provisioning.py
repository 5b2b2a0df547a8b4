"""Provisioning: RegisterThing, and what happens when an unknown device of a known authority connects.

Just-in-time registration (JITR) registers its certificate PENDING_ACTIVATION and publishes an event; just-in-time
provisioning (JITP) goes on to carry out the template of the authority.  In both, the first connection is refused.

https://docs.aws.amazon.com/iot/latest/developerguide/auto-register-device-cert.html
https://docs.aws.amazon.com/iot/latest/developerguide/jit-provisioning.html
"""

import asyncio
import hashlib
import json
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.authorization.device_context import CertificateFacts
from stepbridge.clock import iso_timestamp
from stepbridge.iot.certificates import certificate_der, certificate_id
from stepbridge.iot.registry.attachments import AttachmentService
from stepbridge.iot.registry.certificate_facts import is_issued_by, parse_certificate, unsupported
from stepbridge.iot.registry.certificates import CertificateService, insert_certificate
from stepbridge.iot.registry.core import RegistryCore, RegistryService, invalid
from stepbridge.iot.registry.policies import PolicyService
from stepbridge.iot.registry.provisioning_template import (
    ProvisioningPlan,
    Resource,
    TemplateError,
    fill_template,
    read_template,
)
from stepbridge.iot.registry.thing_groups import ThingGroupService
from stepbridge.iot.registry.things import ThingService

# The parameters that a JITP template may declare, and where in the certificate's subject their values are
_SUBJECT_PARAMETERS = {
    "Country": "Country",
    "Organization": "Organization",
    "OrganizationalUnit": "OrganizationalUnit",
    "DistinguishedNameQualifier": "DistinguishedNameQualifier",
    "StateName": "State",
    "CommonName": "CommonName",
    "SerialNumber": "SerialNumber",
}

EventListener = Callable[[str, bytes], Coroutine[Any, Any, object]]


class ProvisioningService(RegistryService):
    """RegisterThing, and the device's own way in."""

    def __init__(
        self,
        core: RegistryCore,
        things: ThingService,
        groups: ThingGroupService,
        certificates: CertificateService,
        policies: PolicyService,
        attachments: AttachmentService,
    ) -> None:
        super().__init__(core)
        self._things = things
        self._groups = groups
        self._certificates = certificates
        self._policies = policies
        self._attachments = attachments
        self._caller = Caller(core.settings.account, core.settings.region)
        self._listeners: list[EventListener] = []
        self._running: set[asyncio.Task[object]] = set()

    async def register_thing(self, caller: Caller, request: Members) -> Members:
        """Raises InvalidRequestException, ConflictingResourceUpdateException, ResourceRegistrationFailureException."""
        try:
            plan = fill_template(read_template(request["templateBody"]), request.get("parameters", {}))
        except TemplateError as error:
            raise invalid(str(error)) from None
        return await self._carry_out(plan)

    def on_event(self, listener: EventListener) -> None:
        """Await `listener` with topic and payload of each event that AWS IoT publishes about registrations."""
        self._listeners.append(listener)

    def register_unknown(self, der: bytes) -> str | None:
        """What is done about a certificate that is not registered; None if nothing is.

        The answer is a sentence for the trace.
        """
        if self._store.query_one("SELECT 1 FROM iot_authority WHERE auto_registration = 'ENABLE'") is None:
            return None
        try:
            parsed = parse_certificate(der)
        except ValueError:
            return None
        rows = self._store.query(
            "SELECT * FROM iot_authority WHERE subject = ? AND status = 'ACTIVE' AND auto_registration = 'ENABLE'",
            (parsed.issuer,),
        )
        if unsupported(der) is not None:
            return None
        authority = next((row for row in rows if is_issued_by(der, certificate_der(row["pem"]))), None)
        if authority is None:
            return None
        pem = ssl.DER_cert_to_PEM_cert(der)
        identifier = insert_certificate(
            self._core, pem, der, parsed, "PENDING_ACTIVATION", authority=authority["id"], mode=authority["mode"]
        )
        self._core.changed()
        self.tell_of_pending(identifier)
        if authority["registration_config"] is None:
            return f"the certificate {identifier} has been registered and waits for its activation (JITR)"
        config = json.loads(authority["registration_config"])
        self._run(self._provision(identifier, parsed.facts, config))
        return f"the certificate {identifier} has been registered and is being provisioned (JITP): connect again"

    def tell_of_pending(self, identifier: str) -> None:
        """Publish that a device with a certificate PENDING_ACTIVATION has connected, if an authority registered it."""
        row = self._store.query_one("SELECT authority, created FROM iot_certificate WHERE id = ?", (identifier,))
        if row is None or row["authority"] is None:
            return
        event = {
            "certificateId": identifier,
            "caCertificateId": row["authority"],
            "timestamp": int(self._core.clock.now() * 1000),
            "certificateStatus": "PENDING_ACTIVATION",
            "awsAccountId": self._core.settings.account,
            "certificateRegistrationTimestamp": iso_timestamp(row["created"]),
        }
        for listener in self._listeners:
            self._run(listener(f"$aws/events/certificates/registered/{row['authority']}", json.dumps(event).encode()))

    def under_way(self) -> frozenset[asyncio.Task[object]]:
        """What connections have set off and is not finished: devices being provisioned, events being published."""
        return frozenset(self._running)

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _provision(self, identifier: str, facts: CertificateFacts, config: Members) -> None:
        try:
            template = read_template(config["templateBody"])
            plan = fill_template(template, _certificate_parameters(identifier, facts, template))
            await self._carry_out(plan)
        except (TemplateError, AwsError) as error:
            text = f"the device with the certificate {identifier} is not provisioned: {error}"
            self._core.trace.emit("iot", "provisioning-failed", text, certificate=identifier)
            return
        text = f"the device with the certificate {identifier} has been provisioned"
        self._core.trace.emit("iot", "provisioned", text, certificate=identifier)

    async def _carry_out(self, plan: ProvisioningPlan) -> Members:
        certificate_arn, pem = await self._certificate(plan.certificate)
        arns = {plan.certificate.name: certificate_arn}
        for policy in plan.policies:
            name = await self._policy(policy)
            arns[policy.name] = self._core.arn("policy", name)
            target = {"policyName": name, "target": certificate_arn}
            await self._attachments.attach_policy(self._caller, target)
        if plan.thing is not None:
            thing = await self._thing(plan.thing)
            arns[plan.thing.name] = self._core.arn("thing", thing)
            attachment = {"thingName": thing, "principal": certificate_arn}
            await self._attachments.attach_thing_principal(self._caller, attachment)
        await self._activate(plan.certificate, certificate_arn)
        return {"certificatePem": pem, "resourceArns": arns}

    async def _certificate(self, resource: Resource) -> tuple[str, str]:
        """The ARN and PEM of the template's certificate, registered if it is not yet."""
        properties = resource.properties
        if "CertificateSigningRequest" in properties:
            request = {"certificateSigningRequest": properties["CertificateSigningRequest"]}
            answer = await self._certificates.create_certificate_from_csr(self._caller, request)
            return answer["certificateArn"], answer["certificatePem"]
        if "CertificatePem" in properties:
            pem = properties["CertificatePem"]
            try:
                identifier = certificate_id(certificate_der(pem))
            except ValueError as error:
                raise invalid(f"The CertificatePem cannot be read: {error}") from None
            if not self._store.query_one("SELECT 1 FROM iot_certificate WHERE id = ?", (identifier,)):
                request = {"certificatePem": pem}
                if "CACertificatePem" in properties:
                    request["caCertificatePem"] = properties["CACertificatePem"]
                await self._certificates.register_certificate(self._caller, request)
            return self._core.arn("cert", identifier), pem
        request = {"certificateId": properties.get("CertificateId", "")}
        answer = await self._certificates.describe_certificate(self._caller, request)
        return answer["certificateDescription"]["certificateArn"], answer["certificateDescription"]["certificatePem"]

    async def _activate(self, resource: Resource, arn: str) -> None:
        """Set the certificate's status, last, when all that it gives access to is there."""
        wanted = str(resource.properties.get("Status", "ACTIVE")).upper()
        identifier = self._core.name_in_arn("cert", arn) or ""
        row = self._store.query_one("SELECT status FROM iot_certificate WHERE id = ?", (identifier,))
        override = resource.overrides.get("Status", "REPLACE")
        settled = row is not None and row["status"] in ("ACTIVE", "REVOKED")
        if row is None or row["status"] == wanted or (settled and override == "DO_NOTHING"):
            return
        if settled and override == "FAIL":
            raise _conflict(f"The certificate {identifier} is {row['status']}")
        await self._certificates.update_certificate(self._caller, {"certificateId": identifier, "newStatus": wanted})

    async def _policy(self, resource: Resource) -> str:
        """The name of the template's policy, created if it comes with a document and is not there yet."""
        if "PolicyName" in resource.properties:
            name = str(resource.properties["PolicyName"])
            await self._policies.get_policy(self._caller, {"policyName": name})
            return name
        document = resource.properties["PolicyDocument"]
        text = document if isinstance(document, str) else json.dumps(document)
        # "PolicyName: … Defaults to a hash of the policy document."
        name = hashlib.sha256(text.encode()).hexdigest()
        if self._store.query_one("SELECT 1 FROM iot_policy WHERE name = ?", (name,)) is None:
            await self._policies.create_policy(self._caller, {"policyName": name, "policyDocument": text})
        return name

    async def _thing(self, resource: Resource) -> str:
        """The name of the template's thing, created or changed as its overrides say."""
        properties = resource.properties
        name = properties.get("ThingName")
        if not isinstance(name, str) or not name:
            raise invalid(f"Resources.{resource.name}.Properties.ThingName has no value")
        attributes = {key: str(value) for key, value in properties.get("AttributePayload", {}).items()}
        wanted_type, groups = properties.get("ThingTypeName"), list(properties.get("ThingGroups", []))
        row = self._store.query_one("SELECT type, attributes FROM iot_thing WHERE name = ?", (name,))
        if row is None:
            request: dict[str, Any] = {"thingName": name, "attributePayload": {"attributes": attributes}}
            if wanted_type is not None:
                request["thingTypeName"] = wanted_type
            await self._things.create_thing(self._caller, request)
            current_groups: list[str] = []
        else:
            change: dict[str, Any] = {}
            if wanted_type != row["type"] and self._overrides(resource, "ThingTypeName", name) == "REPLACE":
                change = {"thingTypeName": wanted_type} if wanted_type is not None else {"removeThingType": True}
            if attributes != json.loads(row["attributes"]):
                action = self._overrides(resource, "AttributePayload", name)
                if action in ("REPLACE", "MERGE"):
                    change["attributePayload"] = {"attributes": attributes, "merge": action == "MERGE"}
            if change:
                await self._things.update_thing(self._caller, {"thingName": name, **change})
            rows = self._store.query("SELECT thing_group FROM iot_thing_group_member WHERE thing = ?", (name,))
            current_groups = [group["thing_group"] for group in rows]
            if set(groups) != set(current_groups):
                action = self._overrides(resource, "ThingGroups", name)
                groups = current_groups if action == "DO_NOTHING" else groups
                current_groups = current_groups if action == "REPLACE" else []
        changes = {
            "thingName": name,
            "thingGroupsToAdd": groups,
            "thingGroupsToRemove": [group for group in current_groups if group not in groups],
        }
        await self._groups.update_thing_groups_for_thing(self._caller, changes)
        return name

    @staticmethod
    def _overrides(resource: Resource, property_name: str, thing: str) -> str:
        action = resource.overrides.get(property_name, "FAIL")
        if action == "FAIL":
            raise _conflict(f"The thing {thing} is there with another {property_name}, and nothing overrides it")
        return action


def _certificate_parameters(identifier: str, facts: CertificateFacts, template: Members) -> dict[str, str]:
    """The parameters that JITP takes from the certificate; one that the template declares must be in it."""
    values = {"AWS::IoT::Certificate::Id": identifier}
    for parameter, attribute in _SUBJECT_PARAMETERS.items():
        found = facts.names.get(f"Subject.{attribute}")
        if found:
            values[f"AWS::IoT::Certificate::{parameter}"] = found[0]
    for name in template.get("Parameters", {}):
        if name not in values:
            raise TemplateError(f"The certificate has no value for the template's parameter {name}")
    return values


def _conflict(message: str) -> AwsError:
    return AwsError("ConflictingResourceUpdateException", message)
