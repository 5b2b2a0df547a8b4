"""What AWS IoT reads from an X.509 certificate, once, when it is registered."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from stepbridge.authorization.device_context import CertificateFacts
from stepbridge.iot.certificates import key_fault

if TYPE_CHECKING:
    from cryptography import x509

# https://docs.aws.amazon.com/iot/latest/developerguide/cert-policy-variables.html
_ATTRIBUTES = {
    "2.5.4.46": "DistinguishedNameQualifier",
    "2.5.4.6": "Country",
    "2.5.4.10": "Organization",
    "2.5.4.11": "OrganizationalUnit",
    "2.5.4.8": "State",
    "2.5.4.3": "CommonName",
    "2.5.4.5": "SerialNumber",
    "2.5.4.12": "Title",
    "2.5.4.4": "Surname",
    "2.5.4.42": "GivenName",
    "2.5.4.43": "Initials",
    "2.5.4.65": "Pseudonym",
    "2.5.4.44": "GenerationQualifier",
}


@dataclass(frozen=True, slots=True)
class ParsedCertificate:
    """A certificate as the registry keeps it.  Times are seconds since the epoch; `subject` and `issuer` RFC 4514."""

    facts: CertificateFacts
    subject: str
    issuer: str
    not_before: float
    not_after: float


def parse_certificate(der: bytes) -> ParsedCertificate:
    """Read a certificate.  Raises ValueError if it is none."""
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(der)
    names: dict[str, list[str]] = {}
    for side, name in (("Subject", certificate.subject), ("Issuer", certificate.issuer)):
        for attribute in name:
            known = _ATTRIBUTES.get(attribute.oid.dotted_string)
            if known is not None:
                value = attribute.value
                names.setdefault(f"{side}.{known}", []).append(value if isinstance(value, str) else value.hex())
    _add_alternative_names(certificate, names)
    return ParsedCertificate(
        facts=CertificateFacts(names, str(certificate.serial_number)),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def unsupported(der: bytes) -> str | None:
    """What AWS IoT does not take of a certificate's key and signature, or None.

    See "Supported certificate signing algorithms" and "Supported certificate key algorithms" in the developer guide's
    page "X.509 client certificates".
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes

    certificate = x509.load_der_x509_certificate(der)
    try:
        fault, digest = key_fault(certificate.public_key()), certificate.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return "has a key or a signature of a kind that AWS IoT does not take"
    if fault is None and not isinstance(digest, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        name = "no digest" if digest is None else digest.name.upper()
        return f"is signed with {name}, and must be with SHA-256, SHA-384 or SHA-512"
    return fault


def is_issued_by(certificate_der: bytes, authority_der: bytes) -> bool:
    """Whether the authority's name and key are those that issued and signed the certificate."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    certificate = x509.load_der_x509_certificate(certificate_der)
    try:
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority_der))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_authority(der: bytes) -> bool:
    """Whether a certificate is that of a certificate authority (basic constraints, RFC 5280 section 4.2.1.9)."""
    from cryptography import x509

    try:
        extension = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return extension.value.ca


def facts_to_json(facts: CertificateFacts) -> str:
    """The facts as the database keeps them."""
    return json.dumps(asdict(facts))


def facts_from_json(text: str) -> CertificateFacts:
    """The facts as they came from :func:`facts_to_json`."""
    return CertificateFacts(**json.loads(text))


def _add_alternative_names(certificate: "x509.Certificate", names: dict[str, list[str]]) -> None:
    from cryptography import x509

    kinds: tuple[tuple[type[x509.GeneralName], str], ...] = (
        (x509.RFC822Name, "RFC822Name"),
        (x509.DNSName, "DNSName"),
        (x509.DirectoryName, "DirectoryName"),
        (x509.UniformResourceIdentifier, "UniformResourceIdentifier"),
        (x509.IPAddress, "IPAddress"),
    )
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            side = "Subject"
        elif isinstance(extension.value, x509.IssuerAlternativeName):
            side = "Issuer"
        else:
            continue
        for entry in extension.value:
            for kind, label in kinds:
                if isinstance(entry, kind):
                    value = entry.value
                    text = value.rfc4514_string() if isinstance(value, x509.Name) else str(value)
                    names.setdefault(f"{side}.AlternativeName.{label}", []).append(text)
