"""The customer's own certificate authorities.

https://docs.aws.amazon.com/iot/latest/developerguide/register-CA-cert.html
"""

import json
import secrets

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.iot.certificates import certificate_id
from stepbridge.iot.registry.certificate_facts import is_authority, is_issued_by
from stepbridge.iot.registry.certificates import read_certificate
from stepbridge.iot.registry.core import RegistryService, already_exists, invalid, not_found, present, select_page
from stepbridge.iot.registry.provisioning_template import TemplateError, read_template
from stepbridge.iot.registry.tags import set_tags
from stepbridge.store.database import Row

_REGISTRATION_CODE = "registration code"


class AuthorityService(RegistryService):
    """RegisterCACertificate … DeleteCACertificate, and the registration code."""

    async def get_registration_code(self, caller: Caller, request: Members) -> Members:
        """The code that proves possession of a CA's key: the common name of a certificate that the CA signs."""
        row = self._store.query_one("SELECT value FROM iot_setting WHERE name = ?", (_REGISTRATION_CODE,))
        if row is not None:
            return {"registrationCode": row["value"]}
        code = secrets.token_hex(32)
        self._store.execute("INSERT INTO iot_setting VALUES (?, ?)", (_REGISTRATION_CODE, code))
        await self._store.committed()
        return {"registrationCode": code}

    async def delete_registration_code(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        if not self._store.execute("DELETE FROM iot_setting WHERE name = ?", (_REGISTRATION_CODE,)):
            raise not_found("There is no registration code")
        await self._store.committed()
        return {}

    async def register_ca_certificate(self, caller: Caller, request: Members) -> Members:
        """Raises CertificateValidation-, RegistrationCodeValidation- and ResourceAlreadyExistsException."""
        pem, mode = request["caCertificate"], request.get("certificateMode", "DEFAULT")
        der, parsed = read_certificate(pem, "caCertificate")
        if not is_authority(der):
            raise AwsError(
                "CertificateValidationException",
                "The caCertificate is not a CA certificate: its basic constraints do not say CA:TRUE.",
            )
        _check_registration(request)
        identifier = certificate_id(der)
        arn = self._core.arn("cacert", identifier)
        if self._store.query_one("SELECT 1 FROM iot_authority WHERE id = ?", (identifier,)):
            raise already_exists("CA certificate is already registered", identifier, arn)
        self._check_possession(der, request.get("verificationCertificate"), mode)
        status = "ACTIVE" if request.get("setAsActive", False) else "INACTIVE"
        now = self._core.clock.now()
        self._store.execute(
            "INSERT INTO iot_authority (id, pem, subject, status, auto_registration, registration_config, mode,"
            " not_before, not_after, created, modified, version, generation)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, hex(randomblob(16)))",
            (
                identifier,
                pem,
                parsed.subject,
                status,
                "ENABLE" if request.get("allowAutoRegistration", False) else "DISABLE",
                json.dumps(request["registrationConfig"]) if "registrationConfig" in request else None,
                mode,
                parsed.not_before,
                parsed.not_after,
                now,
                now,
            ),
        )
        set_tags(self._store, arn, request.get("tags", []))
        await self._finish()
        if status == "ACTIVE":
            self._core.trusted(pem)
        return {"certificateArn": arn, "certificateId": identifier}

    async def describe_ca_certificate(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        row = self._authority(request["certificateId"])
        description = {
            "certificateArn": self._core.arn("cacert", row["id"]),
            "certificateId": row["id"],
            "status": row["status"],
            "certificatePem": row["pem"],
            "ownedBy": self._core.settings.account,
            "creationDate": row["created"],
            "autoRegistrationStatus": row["auto_registration"],
            "lastModifiedDate": row["modified"],
            "customerVersion": row["version"],
            "generationId": row["generation"].lower(),
            "validity": {"notBefore": row["not_before"], "notAfter": row["not_after"]},
            "certificateMode": row["mode"],
        }
        config = json.loads(row["registration_config"]) if row["registration_config"] is not None else None
        return present(certificateDescription=description, registrationConfig=config)

    async def list_ca_certificates(self, caller: Caller, request: Members) -> Members:
        """The newest first unless asked otherwise."""
        template = request.get("templateName")
        rows, marker = select_page(
            self._store,
            "SELECT number, id, status, created FROM iot_authority"
            " WHERE (? IS NULL OR registration_config ->> 'templateName' = ?)",
            (template, template),
            "number",
            request.get("marker"),
            request.get("pageSize", 25),
            descending=not request.get("ascendingOrder", False),
        )
        certificates = [
            {
                "certificateArn": self._core.arn("cacert", row["id"]),
                "certificateId": row["id"],
                "status": row["status"],
                "creationDate": row["created"],
            }
            for row in rows
        ]
        return present(certificates=certificates, nextMarker=marker)

    async def update_ca_certificate(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        row = self._authority(request["certificateId"])
        _check_registration(request)
        status = request.get("newStatus", row["status"])
        config = row["registration_config"]
        if "registrationConfig" in request:
            config = json.dumps(request["registrationConfig"])
        if request.get("removeAutoRegistration", False):
            config = None
        self._store.execute(
            "UPDATE iot_authority SET status = ?, auto_registration = ?, registration_config = ?, modified = ?,"
            " version = version + 1 WHERE id = ?",
            (
                status,
                request.get("newAutoRegistrationStatus", row["auto_registration"]),
                config,
                self._core.clock.now(),
                row["id"],
            ),
        )
        await self._finish()
        if status == "ACTIVE" and row["status"] != "ACTIVE":
            self._core.trusted(row["pem"])
        return {}

    async def delete_ca_certificate(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, CertificateStateException while it is active."""
        row = self._authority(request["certificateId"])
        if row["status"] == "ACTIVE":
            raise AwsError(
                "CertificateStateException",
                f"CA certificate must be deactivated (not ACTIVE) before deletion. Id: {row['id']}",
            )
        self._store.execute("DELETE FROM iot_authority WHERE id = ?", (row["id"],))
        set_tags(self._store, self._core.arn("cacert", row["id"]), None)
        await self._finish()
        return {}

    def _check_possession(self, authority_der: bytes, verification: str | None, mode: str) -> None:
        """Whether the caller has the CA's key; not asked for in the mode SNI_ONLY."""
        if mode == "SNI_ONLY":
            if verification is not None:
                raise invalid("A verification certificate is not used with certificateMode SNI_ONLY.")
            return
        if verification is None:
            raise invalid("A verification certificate is required with certificateMode DEFAULT.")
        der, parsed = read_certificate(verification, "verificationCertificate")
        if not is_issued_by(der, authority_der):
            raise AwsError(
                "CertificateValidationException", "The verificationCertificate is not signed by the caCertificate."
            )
        row = self._store.query_one("SELECT value FROM iot_setting WHERE name = ?", (_REGISTRATION_CODE,))
        if row is None or row["value"] not in parsed.facts.names.get("Subject.CommonName", ()):
            raise AwsError(
                "RegistrationCodeValidationException",
                "The common name of the verificationCertificate is not the registration code (GetRegistrationCode).",
            )

    def _authority(self, identifier: str) -> Row:
        row = self._store.query_one("SELECT * FROM iot_authority WHERE id = ?", (identifier,))
        if row is None:
            raise not_found(f"CA certificate not found (id={identifier})")
        return row


def _check_registration(request: Members) -> None:
    """Whether a registrationConfig holds a template that just-in-time provisioning can carry out."""
    config = request.get("registrationConfig")
    if config is None:
        return
    if "templateName" in config:
        raise invalid("registrationConfig.templateName is not emulated: give the template as templateBody.")
    if "templateBody" not in config or "roleArn" not in config:
        raise invalid("registrationConfig needs templateBody and roleArn.")
    try:
        template = read_template(config["templateBody"])
    except TemplateError as error:
        raise invalid(f"registrationConfig.templateBody: {error}") from None
    for name in template.get("Parameters", {}):
        if not name.startswith("AWS::IoT::Certificate::"):
            raise invalid(f"registrationConfig.templateBody: {name} is not a parameter that a certificate has.")
