"""The local certificate authority, checked with a real TLS handshake."""

import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from stepbridge.iot.certificates import CertificateAuthority, GatewayAuthority, certificate_der, certificate_id


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ca") / "inner"


@pytest.fixture(scope="module")
def authority(directory: Path) -> GatewayAuthority:
    return GatewayAuthority(directory, hosts=["mqtt.example.test", "192.0.2.7"])


def handshake(authority: GatewayAuthority, host: str, certificate: str, key: str, directory: Path) -> bytes | None:
    """The client's certificate as the server sees it after a mutual TLS handshake."""
    (directory / "client.pem").write_text(certificate)
    (directory / "client.key").write_text(key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.server_ssl_files())
    server.load_verify_locations(authority.devices.path)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=str(authority.root.path))
    client.load_cert_chain(directory / "client.pem", directory / "client.key")
    one, other = socket.socketpair()
    seen: list[bytes | None] = []

    def serve() -> None:
        with server.wrap_socket(one, server_side=True) as tls:
            seen.append(tls.getpeercert(binary_form=True))
            tls.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(other, server_hostname=host) as tls:
        tls.sendall(b"x")
    thread.join(5)
    return seen[0]


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "::1", socket.gethostname(), "mqtt.example.test", "192.0.2.7"]
)
def test_a_device_and_the_gateway_trust_each_other(authority: GatewayAuthority, tmp_path: Path, host: str) -> None:
    keys = authority.devices.issue_keys()
    der = handshake(authority, host, keys.certificate, keys.private_key, tmp_path)
    assert der == certificate_der(keys.certificate)


def test_device_certificates_are_as_aws_iot_makes_them(authority: GatewayAuthority) -> None:
    keys = authority.devices.issue_keys()
    certificate = x509.load_pem_x509_certificate(keys.certificate.encode())
    assert certificate.subject.rfc4514_string() == "CN=AWS IoT Certificate"
    # One organizational unit, whatever it looks like.
    issuer = certificate.issuer.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert [each.value for each in issuer] == ["Amazon Web Services O=Amazon.com Inc. L=Seattle ST=Washington C=US"]
    assert len(list(certificate.issuer)) == 1
    assert certificate.not_valid_after_utc == datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert keys.private_key.startswith("-----BEGIN RSA PRIVATE KEY-----")
    key = load_pem_private_key(keys.private_key.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert len(certificate_id(certificate_der(keys.certificate))) == 64


def test_private_keys_are_their_owners_only(authority: GatewayAuthority, directory: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert modes["root-ca.key"] == modes["device-ca.key"] == modes["server.key"] == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert not any(name.endswith(".new") for name in modes)


def test_the_next_start_keeps_everything_until_a_host_is_new(authority: GatewayAuthority, directory: Path) -> None:
    root, devices = authority.root.pem(), authority.devices.pem()
    server = authority.server_ssl_files()[0].read_text()
    again = GatewayAuthority(directory)
    assert (again.root.pem(), again.devices.pem()) == (root, devices)
    assert again.server_ssl_files()[0].read_text() == server
    other = GatewayAuthority(directory, hosts=["new.example.test"])
    assert other.root.pem() == root
    assert other.server_ssl_files()[0].read_text() != server


def test_where_the_root_has_signed_for_devices_it_goes_on(tmp_path: Path) -> None:
    root = CertificateAuthority(tmp_path).root  # as a directory was before there were two
    again = GatewayAuthority(tmp_path)
    assert again.devices.pem() == root.pem()
    assert not (tmp_path / "device-ca.pem").exists()


@pytest.mark.parametrize("size", [1024])
def test_weak_keys_are_refused(authority: GatewayAuthority, size: int) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=size)
    assert "2048" in refusal(authority, key)


def test_other_curves_are_refused(authority: GatewayAuthority) -> None:
    assert "P-256" in refusal(authority, ec.generate_private_key(ec.SECP256K1()))


def refusal(authority: GatewayAuthority, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(ValueError, match="key") as error:
        authority.devices.issue_for_request(request.public_bytes(Encoding.PEM).decode())
    return str(error.value)
