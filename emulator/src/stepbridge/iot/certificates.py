"""The local certificate authority: a root of its own, the gateway's server certificate, device certificates.

Everything is made at the first start and kept in one directory, private keys readable by their owner only.  Keys are
RSA 2048, which every TLS library of a device accepts (AWS IoT's own device certificates are RSA 2048 too).

Certificates are checked by the TLS libraries of real clients against real time, so this part runs on the system's
clock whatever clock the emulator has.  The cryptography package is imported when something must be made, which a
second start does not need.
"""

import hashlib
import ipaddress
import json
import os
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from stepbridge.clock import SystemClock

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

_PEM_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# As AWS IoT issues them: valid until the end of 2049.
_DEVICE_END = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
# Apple's TLS refuses server certificates that are valid for more than 825 days.
_SERVER_DAYS = 365
_SERVER_RENEWAL_DAYS = 30
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class IssuedKeys:
    """A new device certificate with its keys, all PEM."""

    certificate: str
    public_key: str
    private_key: str


class CertificateAuthority:
    """The authority that signs for one emulator.

    `directory` holds its files; `hosts` are names and addresses, beside `localhost`, `127.0.0.1`, `::1` and the
    machine's name, that clients may use to reach the gateway.
    """

    def __init__(self, directory: Path, hosts: Sequence[str] = ()) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root_ca_path = directory / "root-ca.pem"
        self._root_key_path = directory / "root-ca.key"
        self._server_path = directory / "server.pem"
        self._server_key_path = directory / "server.key"
        self._server_facts_path = directory / "server.json"
        names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *hosts]
        self._hosts = list(dict.fromkeys(name for name in names if name))
        if not (self.root_ca_path.exists() and self._root_key_path.exists()):
            self._make_root()
            self._make_server()
        elif not self._server_is_current():
            self._make_server()

    def server_ssl_files(self) -> tuple[Path, Path]:
        """The server certificate and its private key, for SSLContext.load_cert_chain."""
        return self._server_path, self._server_key_path

    def root_ca_pem(self) -> str:
        """The root certificate, which clients trust."""
        return self.root_ca_path.read_text()

    def issue_keys(self) -> IssuedKeys:
        """A new key pair and the device certificate for it, as CreateKeysAndCertificate gives."""
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = self._issue_device(_name("AWS IoT Certificate"), key.public_key())
        return IssuedKeys(
            certificate=certificate,
            public_key=key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
            private_key=key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
        )

    def issue_for_request(self, signing_request: str) -> str:
        """The device certificate (PEM) for a certificate signing request (PEM); it keeps the request's subject.

        Raises ValueError, in words for the caller, if the request cannot be read, is not signed by its own key, or
        has a key that AWS IoT does not take.
        """
        from cryptography import x509

        try:
            request = x509.load_pem_x509_csr(signing_request.encode())
            public_key = request.public_key()
            valid = request.is_signature_valid
        except Exception:  # the library raises several kinds for the many ways to be wrong
            raise ValueError(
                "The certificate signing request cannot be read: it is not a PKCS #10 request in PEM, beginning with "
                "-----BEGIN CERTIFICATE REQUEST-----."
            ) from None
        if not valid:
            raise ValueError("The signature of the certificate signing request is not valid.")
        if (fault := key_fault(public_key)) is not None:
            raise ValueError(f"The certificate signing request {fault}.")
        return self._issue_device(request.subject, public_key)

    def _issue_device(self, subject: "x509.Name", public_key: "CertificatePublicKeyTypes") -> str:
        from cryptography import x509

        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        return self._sign(subject, public_key, _DEVICE_END, [(usage, True)])

    def _make_root(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = _name("stepbridge local root CA", organization="stepbridge")
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_now() - _CLOCK_SKEW)
            .not_valid_after(_DEVICE_END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(self._root_key_path, pem, private=True)
        _write(self.root_ca_path, certificate.public_bytes(Encoding.PEM))

    def _make_server(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        end = _now() + timedelta(days=_SERVER_DAYS)
        certificate = self._sign(
            _name("localhost", organization="stepbridge"),
            key.public_key(),
            end,
            [
                (x509.SubjectAlternativeName([_general_name(host) for host in self._hosts]), False),
                (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), False),
            ],
        )
        _write(
            self._server_key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), private=True
        )
        _write(self._server_path, certificate.encode())
        facts = {"hosts": self._hosts, "not_after": end.timestamp()}
        _write(self._server_facts_path, json.dumps(facts).encode())

    def _server_is_current(self) -> bool:
        """Whether the server certificate is there, names all hosts, and will not end soon."""
        if not (self._server_path.exists() and self._server_key_path.exists() and self._server_facts_path.exists()):
            return False
        facts = json.loads(self._server_facts_path.read_text())
        soon = (_now() + timedelta(days=_SERVER_RENEWAL_DAYS)).timestamp()
        return set(self._hosts) <= set(facts["hosts"]) and facts["not_after"] > soon

    def _sign(
        self,
        subject: "x509.Name",
        public_key: "CertificatePublicKeyTypes",
        end: datetime,
        extensions: "Sequence[tuple[x509.ExtensionType, bool]]",
    ) -> str:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

        root = x509.load_pem_x509_certificate(self.root_ca_path.read_bytes())
        root_key = load_pem_private_key(self._root_key_path.read_bytes(), password=None)
        assert isinstance(root_key, rsa.RSAPrivateKey)  # noqa: S101 - this class wrote it
        identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_now() - _CLOCK_SKEW)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def certificate_der(pem: str) -> bytes:
    """The first certificate of a PEM text.  Raises ValueError if there is none."""
    block = _PEM_BLOCK.search(pem)
    if block is None:
        raise ValueError("there is no PEM certificate in it")
    return ssl.PEM_cert_to_DER_cert(block[0])


def key_fault(public_key: "CertificatePublicKeyTypes") -> str | None:
    """What AWS IoT does not take of a device's or an authority's key, to follow its name; None if it takes it."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(public_key, rsa.RSAPublicKey):
        size = public_key.key_size
        return f"has an RSA key of {size} bits, and must have 2048 or more" if size < 2048 else None
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _CURVES:
        return None
    return "has a key that is neither RSA nor ECC on P-256, P-384 or P-521"


def certificate_id(der: bytes) -> str:
    """The id that AWS IoT gives a certificate: the SHA-256 of its DER encoding, 64 hexadecimal digits."""
    return hashlib.sha256(der).hexdigest()


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().now(), UTC)


def _name(common_name: str, organization: str | None = None) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file whole or not at all, a private one readable by its owner only from the first byte."""
    partial = path.with_suffix(path.suffix + ".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(path)
