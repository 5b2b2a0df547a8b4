"""A registry on a database in memory, called as the HTTP port calls it, validation included."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.session import get_session
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from stepbridge.api.dispatch import Dispatcher
from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller
from stepbridge.clock import ManualClock
from stepbridge.iot.certificates import CertificateAuthority
from stepbridge.iot.registry import Registry, RegistryAccess
from stepbridge.settings import Settings
from stepbridge.store.database import Store
from stepbridge.trace import Trace

ACCOUNT, REGION = "123456789012", "us-east-1"
ARN = f"arn:aws:iot:{REGION}:{ACCOUNT}"


class RegistryClient:
    """Calls operations by their names in boto3."""

    def __init__(self, directory: Path, store: Store | None = None) -> None:
        self.clock = ManualClock()
        self.trace = Trace(self.clock)
        self.registry = Registry(
            Settings(directory, account=ACCOUNT, region=REGION),
            store or Store(None),
            self.clock,
            self.trace,
            CertificateAuthority(directory / "ca").root,
            lambda: "localhost:8883",
        )
        self._dispatcher = Dispatcher()
        self._dispatcher.register(*self.registry.services)
        model = get_session().get_service_model("iot")
        self._operations = {xform_name(name): model.operation_model(name) for name in model.operation_names}

    @property
    def access(self) -> RegistryAccess:
        return self.registry.access

    async def call(self, name: str, **members: Any) -> dict[str, Any]:
        return await self._dispatcher.call(self._operations[name], Caller(ACCOUNT, REGION), members)

    async def refused(self, name: str, **members: Any) -> AwsError:
        """The error that a call gives."""
        with pytest.raises(AwsError) as refusal:
            await self.call(name, **members)
        return refusal.value

    async def names(self, name: str, member: str, key: str | None = None, **members: Any) -> list[str]:
        """The entries of a listing, page by page."""
        found: list[str] = []
        while True:
            answer = await self.call(name, **members)
            found += [entry[key] if key else entry for entry in answer[member]]
            if "nextToken" in answer:
                members["nextToken"] = answer["nextToken"]
            elif "nextMarker" in answer:
                members["marker"] = answer["nextMarker"]
            else:
                return found


Scenario = Callable[[RegistryClient], Awaitable[None]]


def customer_authority(common_name: str = "Customer CA") -> tuple[str, ec.EllipticCurvePrivateKey]:
    """A CA of a customer's own: certificate (PEM) and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    builder = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode(), key


def signed_certificate(
    common_name: str,
    authority: tuple[str, ec.EllipticCurvePrivateKey] | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
    **attributes: str,
) -> str:
    """A certificate (PEM) for a key, signed by a CA, or by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = _name(common_name, **attributes)
    issuer, signer = subject, key
    if authority is not None:
        issuer, signer = x509.load_pem_x509_certificate(authority[0].encode()).subject, authority[1]
    return _builder(subject, issuer, key).sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _name(common_name: str, **attributes: str) -> x509.Name:
    oids = {"country": NameOID.COUNTRY_NAME, "organization": NameOID.ORGANIZATION_NAME}
    others = [x509.NameAttribute(oids[name], value) for name, value in attributes.items()]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name), *others])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
    )
