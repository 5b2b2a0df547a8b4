"""Device certificates: made here, or brought and registered.

https://docs.aws.amazon.com/iot/latest/developerguide/x509-client-certs.html
"""

import asyncio

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.iot.certificates import Issuer, certificate_der, certificate_id
from stepbridge.iot.registry.certificate_facts import (
    ParsedCertificate,
    facts_to_json,
    is_issued_by,
    parse_certificate,
    unsupported,
)
from stepbridge.iot.registry.core import RegistryCore, RegistryService, invalid, not_found, present, select_page
from stepbridge.store.database import Row

# "Setting the status to PENDING_TRANSFER or PENDING_ACTIVATION will result in an exception being thrown."
_SETTABLE = frozenset({"ACTIVE", "INACTIVE", "REVOKED"})


class CertificateService(RegistryService):
    """CreateKeysAndCertificate, RegisterCertificate, … DeleteCertificate."""

    def __init__(self, core: RegistryCore, issuer: Issuer) -> None:
        super().__init__(core)
        self._issuer = issuer

    async def create_keys_and_certificate(self, caller: Caller, request: Members) -> Members:
        """A new key pair and its certificate."""
        keys = await asyncio.to_thread(self._issuer.issue_keys)  # making an RSA key takes tens of milliseconds
        certificate, arn = await self._store_own(keys.certificate, active=request.get("setAsActive", False))
        return {
            "certificateArn": arn,
            "certificateId": certificate,
            "certificatePem": keys.certificate,
            "keyPair": {"PublicKey": keys.public_key, "PrivateKey": keys.private_key},
        }

    async def create_certificate_from_csr(self, caller: Caller, request: Members) -> Members:
        """Raises InvalidRequestException."""
        try:
            pem = await asyncio.to_thread(self._issuer.issue_for_request, request["certificateSigningRequest"])
        except ValueError as error:
            raise invalid(str(error)) from None
        certificate, arn = await self._store_own(pem, active=request.get("setAsActive", False))
        return {"certificateArn": arn, "certificateId": certificate, "certificatePem": pem}

    async def register_certificate(self, caller: Caller, request: Members) -> Members:
        """Raises CertificateValidationException, ResourceAlreadyExistsException, InvalidRequestException."""
        pem = request["certificatePem"]
        der, parsed = read_certificate(pem, "certificatePem")
        authority = self._find_authority(der, parsed, request.get("caCertificatePem"))
        status = request.get("status", "ACTIVE" if request.get("setAsActive") else "INACTIVE")
        return await self._register(pem, der, parsed, status, authority=authority, mode="DEFAULT")

    async def register_certificate_without_ca(self, caller: Caller, request: Members) -> Members:
        """Raises CertificateValidationException, ResourceAlreadyExistsException, InvalidRequestException."""
        pem = request["certificatePem"]
        der, parsed = read_certificate(pem, "certificatePem")
        # "SNI_ONLY: the client must send the Server Name Indication", as certificates without a CA always do.
        return await self._register(
            pem, der, parsed, request.get("status", "INACTIVE"), authority=None, mode="SNI_ONLY"
        )

    async def describe_certificate(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        row = self._certificate(request["certificateId"])
        description = {
            "certificateArn": self._core.arn("cert", row["id"]),
            "certificateId": row["id"],
            "caCertificateId": row["authority"],
            "status": row["status"],
            "certificatePem": row["pem"],
            "ownedBy": self._core.settings.account,
            "creationDate": row["created"],
            "lastModifiedDate": row["modified"],
            "customerVersion": row["version"],
            "transferData": {},
            "generationId": row["generation"].lower(),
            "validity": {"notBefore": row["not_before"], "notAfter": row["not_after"]},
            "certificateMode": row["mode"],
        }
        return {"certificateDescription": present(**description)}

    async def list_certificates(self, caller: Caller, request: Members) -> Members:
        """The newest first unless asked otherwise."""
        return self._list(request, "1", ())

    async def list_certificates_by_ca(self, caller: Caller, request: Members) -> Members:
        """The newest first unless asked otherwise."""
        return self._list(request, "authority = ?", (request["caCertificateId"],))

    async def update_certificate(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException."""
        row, status = self._certificate(request["certificateId"]), request["newStatus"]
        if status not in _SETTABLE:
            raise invalid(f"The status {status} is set by AWS IoT only; use ACTIVE, INACTIVE or REVOKED.")
        self._store.execute(
            "UPDATE iot_certificate SET status = ?, modified = ?, version = version + 1 WHERE id = ?",
            (status, self._core.clock.now(), row["id"]),
        )
        await self._finish()
        if status == "ACTIVE":
            if not row["own"]:
                self._core.trusted(row["pem"])
        elif row["status"] == "ACTIVE":
            self._core.revoked(row["id"])
        return {}

    async def delete_certificate(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, CertificateStateException, DeleteConflictException."""
        row = self._certificate(request["certificateId"])
        arn = self._core.arn("cert", row["id"])
        if row["status"] == "ACTIVE":
            raise AwsError(
                "CertificateStateException",
                f"Certificate must be deactivated (not ACTIVE) before deletion. Id: {row['id']}",
            )
        if self._store.query_one("SELECT 1 FROM iot_thing_principal WHERE principal = ?", (arn,)):
            raise AwsError("DeleteConflictException", f"Things must be detached before deletion (arn: {arn})")
        # "forceDelete: Forces the deletion of a certificate if it is inactive and is not attached to an IoT thing."
        if request.get("forceDelete", False):
            self._store.execute("DELETE FROM iot_policy_target WHERE target = ?", (arn,))
        elif self._store.query_one("SELECT 1 FROM iot_policy_target WHERE target = ?", (arn,)):
            raise AwsError(
                "DeleteConflictException", f"Certificate policies must be detached before deletion (arn: {arn})"
            )
        self._store.execute("DELETE FROM iot_certificate WHERE id = ?", (row["id"],))
        await self._finish()
        self._core.revoked(row["id"])
        return {}

    def _certificate(self, identifier: str) -> Row:
        row = self._store.query_one("SELECT * FROM iot_certificate WHERE id = ?", (identifier,))
        if row is None:
            raise not_found(f"Certificate not found (id={identifier})")
        return row

    def _list(self, request: Members, where: str, parameters: tuple[str, ...]) -> Members:
        rows, marker = select_page(
            self._store,
            f"SELECT number, id, status, mode, created FROM iot_certificate WHERE {where}",  # noqa: S608 - fixed text
            parameters,
            "number",
            request.get("marker"),
            request.get("pageSize", 25),
            descending=not request.get("ascendingOrder", False),
        )
        certificates = [
            {
                "certificateArn": self._core.arn("cert", row["id"]),
                "certificateId": row["id"],
                "status": row["status"],
                "certificateMode": row["mode"],
                "creationDate": row["created"],
            }
            for row in rows
        ]
        return present(certificates=certificates, nextMarker=marker)

    def _find_authority(self, der: bytes, parsed: ParsedCertificate, pem: str | None) -> str:
        """The id of the registered authority that has signed a certificate."""
        rows = self._store.query("SELECT id, pem, status FROM iot_authority WHERE subject = ?", (parsed.issuer,))
        if pem is not None:
            wanted = certificate_id(read_certificate(pem, "caCertificatePem")[0])
            rows = [row for row in rows if row["id"] == wanted]
        issuers = [row for row in rows if is_issued_by(der, certificate_der(row["pem"]))]
        if not issuers:
            raise AwsError(
                "CertificateValidationException",
                f"The certificate is not signed by a CA certificate registered here (its issuer is {parsed.issuer}). "
                "Register the CA with RegisterCACertificate, or use RegisterCertificateWithoutCA.",
            )
        if len(issuers) > 1:
            raise AwsError(
                "CertificateConflictException",
                "More than one registered CA certificate has this subject and key: give the one as caCertificatePem.",
            )
        if issuers[0]["status"] != "ACTIVE":
            raise AwsError("CertificateStateException", f"The CA certificate is not ACTIVE. Id: {issuers[0]['id']}")
        return str(issuers[0]["id"])

    async def _store_own(self, pem: str, *, active: bool) -> tuple[str, str]:
        der = certificate_der(pem)
        parsed = parse_certificate(der)
        identifier = insert_certificate(self._core, pem, der, parsed, "ACTIVE" if active else "INACTIVE", own=True)
        await self._finish()
        return identifier, self._core.arn("cert", identifier)

    async def _register(
        self, pem: str, der: bytes, parsed: ParsedCertificate, status: str, *, authority: str | None, mode: str
    ) -> Members:
        if status not in _SETTABLE:
            raise invalid(f"A certificate cannot be registered with the status {status}.")
        identifier = certificate_id(der)
        arn = self._core.arn("cert", identifier)
        if self._store.query_one("SELECT 1 FROM iot_certificate WHERE id = ?", (identifier,)):
            members = {"resourceId": identifier, "resourceArn": arn}
            message = "The certificate is already provisioned or registered"
            raise AwsError("ResourceAlreadyExistsException", message, members=members)
        insert_certificate(self._core, pem, der, parsed, status, authority=authority, mode=mode)
        await self._finish()
        if status == "ACTIVE":
            self._core.trusted(pem)
        return {"certificateArn": arn, "certificateId": identifier}


def insert_certificate(
    core: RegistryCore,
    pem: str,
    der: bytes,
    parsed: ParsedCertificate,
    status: str,
    *,
    own: bool = False,
    authority: str | None = None,
    mode: str = "DEFAULT",
) -> str:
    """Put a certificate into the registry; its id.  `own` ones are signed by the local authority."""
    identifier, now = certificate_id(der), core.clock.now()
    core.store.execute(
        "INSERT INTO iot_certificate (id, pem, status, authority, mode, own, facts, not_before, not_after, created,"
        " modified, version, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, hex(randomblob(16)))",
        (
            identifier,
            pem,
            status,
            authority,
            mode,
            int(own),
            facts_to_json(parsed.facts),
            parsed.not_before,
            parsed.not_after,
            now,
            now,
        ),
    )
    return identifier


def read_certificate(pem: str, member: str) -> tuple[bytes, ParsedCertificate]:
    """A certificate that is to be registered.  Raises CertificateValidationException, which calls it `member`."""
    try:
        der = certificate_der(pem)
        parsed = parse_certificate(der)
        fault = unsupported(der)
    except ValueError as error:
        raise AwsError("CertificateValidationException", f"The {member} cannot be read: {error}") from None
    if fault is not None:
        raise AwsError("CertificateValidationException", f"The {member} {fault}.")
    return der, parsed
