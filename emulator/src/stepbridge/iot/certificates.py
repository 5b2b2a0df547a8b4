"""The local certificate authorities: a root for the gateway's server certificate, and one for devices' certificates.

They are two, as on AWS: what devices trust (Amazon Root CA 1) has not signed what they are known by.  A device that
has the issuer of its certificate among what it trusts sends it along, as OpenSSL does, and each connection of it would
cost the gateway 4 KiB more.

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
# Who signs AWS IoT's: all of it one organizational unit, as `openssl x509 -issuer` shows of any of them.
_DEVICE_ISSUER = "Amazon Web Services O=Amazon.com Inc. L=Seattle ST=Washington C=US"
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


class Issuer:
    """A certificate that signs others, and its key, in two files."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.path = certificate
        self._key_path = key

    @property
    def exists(self) -> bool:
        return self.path.exists() and self._key_path.exists()

    def pem(self) -> str:
        """The issuer's own certificate."""
        return self.path.read_text()

    def make(self, name: "x509.Name") -> None:
        """Make a new key, and a certificate for it that it signs itself."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_now() - _CLOCK_SKEW)
            .not_valid_after(_DEVICE_END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(self._key_path, pem, private=True)
        _write(self.path, certificate.public_bytes(Encoding.PEM))

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
        return self.sign(subject, public_key, _DEVICE_END, [(_key_usage(signs_certificates=False), True)])

    def sign(
        self,
        subject: "x509.Name",
        public_key: "CertificatePublicKeyTypes",
        end: datetime,
        extensions: "Sequence[tuple[x509.ExtensionType, bool]]",
    ) -> str:
        """A certificate (PEM) for `public_key`, valid until `end`, with `extensions` and whether each is critical."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

        issuer = x509.load_pem_x509_certificate(self.path.read_bytes())
        issuer_key = load_pem_private_key(self._key_path.read_bytes(), password=None)
        assert isinstance(issuer_key, rsa.RSAPrivateKey)  # noqa: S101 - this class wrote it
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject)
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
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


class CertificateAuthority:
    """The root of one server, and the server's certificate, which names it.

    `directory` holds its files; `hosts` are names and addresses, beside `localhost`, `127.0.0.1`, `::1` and the
    machine's name, that clients may use to reach the server.
    """

    def __init__(self, directory: Path, hosts: Sequence[str] = ()) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root = Issuer(directory / "root-ca.pem", directory / "root-ca.key")
        self._server_path = directory / "server.pem"
        self._server_key_path = directory / "server.key"
        self._server_facts_path = directory / "server.json"
        names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *hosts]
        self._hosts = list(dict.fromkeys(name for name in names if name))
        if not self.root.exists:
            self.root.make(_name("stepbridge local root CA", organization="stepbridge"))
            self._make_server()
        elif not self._server_is_current():
            self._make_server()

    def server_ssl_files(self) -> tuple[Path, Path]:
        """The server certificate and its private key, for SSLContext.load_cert_chain."""
        return self._server_path, self._server_key_path

    def _make_server(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        end = _now() + timedelta(days=_SERVER_DAYS)
        certificate = self.root.sign(
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


class GatewayAuthority(CertificateAuthority):
    """The root of the device gateway, and beside it the issuer of `devices`' certificates.

    In a directory of before there were two, the root goes on signing for devices.
    """

    def __init__(self, directory: Path, hosts: Sequence[str] = ()) -> None:
        devices = Issuer(directory / "device-ca.pem", directory / "device-ca.key")
        root_has_signed = (directory / "root-ca.pem").exists() and not devices.exists
        super().__init__(directory, hosts)
        if not (root_has_signed or devices.exists):
            devices.make(_unit(_DEVICE_ISSUER))
        self.devices = self.root if root_has_signed else devices


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


def _unit(name: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, name)])


def _key_usage(*, signs_certificates: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


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
