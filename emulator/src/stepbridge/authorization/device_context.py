"""What the policy variables and condition keys of AWS IoT stand for on one connection.

https://docs.aws.amazon.com/iot/latest/developerguide/basic-policy-variables.html
https://docs.aws.amazon.com/iot/latest/developerguide/thing-policy-variables.html
https://docs.aws.amazon.com/iot/latest/developerguide/cert-policy-variables.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stepbridge.authorization.patterns import Context

# "If wildcard characters are present in certificate attributes, the policy variable is not replaced by the certificate
# attribute value"; the same holds for thing attributes with the characters that MQTT and policies give a meaning.
_MEANINGFUL = frozenset("*$+?#")
_LONGEST_VALUE = 1024
_MOST_VALUES = 5


@dataclass(frozen=True, slots=True)
class ThingFacts:
    """What policies may know of the thing that a connection stands for."""

    name: str
    type_name: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What policies may know of a certificate.

    `names` maps what follows `iot:Certificate.` (`Subject.CommonName`, `Issuer.AlternativeName.DNSName`) to its
    values in the order of the certificate.
    """

    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    serial_number: str | None = None


def device_context(
    *,
    client_id: str | None,
    source_ip: str | None = None,
    domain_name: str | None = None,
    thing: ThingFacts | None = None,
    certificate: CertificateFacts | None = None,
    connect_attributes: Sequence[str] | None = None,
    last_will_topic: str | None = None,
) -> Context:
    """The context of a request from a device.

    `thing` is the thing that the principal is attached to and the client id names (or that the principal is attached
    to exclusively), None if there is none: then the thing's variables have no value.  `connect_attributes` and
    `last_will_topic` (an ARN) belong to iot:Connect alone.
    """
    values: dict[str, tuple[str, ...]] = {"iot:Connection.Thing.IsAttached": ("true" if thing else "false",)}
    opaque: set[str] = set()
    if client_id is not None:
        values["iot:ClientId"] = (client_id,)
    if source_ip is not None:
        values["aws:SourceIp"] = (source_ip,)
    if domain_name is not None:
        values["iot:DomainName"] = (domain_name,)
    if thing is not None:
        values["iot:Connection.Thing.ThingName"] = (thing.name,)
        if thing.type_name is not None:
            values["iot:Connection.Thing.ThingTypeName"] = (thing.type_name,)
        for name, value in thing.attributes.items():
            key = f"iot:Connection.Thing.Attributes[{name}]"
            values[key] = (value,)
            if not _substitutable(value):
                opaque.add(key)
    if certificate is not None:
        _add_certificate(certificate, values, opaque)
    if connect_attributes is not None:
        values["iot:ConnectAttributes"] = tuple(connect_attributes)
    if last_will_topic is not None:
        values["iot:LastWillTopic"] = (last_will_topic,)
    return Context(values, opaque)


def _add_certificate(certificate: CertificateFacts, values: dict[str, tuple[str, ...]], opaque: set[str]) -> None:
    names = dict(certificate.names)
    if certificate.serial_number is not None:
        names["SerialNumber"] = (certificate.serial_number,)
    available: list[str] = []
    for name, entries in names.items():
        # "Certificate attributes that contain arrays are limited to five items. Additional items are ignored."
        kept = tuple(entries[:_MOST_VALUES])
        if not kept:
            continue
        key = f"iot:Certificate.{name}"
        available.append(key)
        values[f"{key}.List"] = kept
        for variable, value in ((key, kept[0]), *((f"{key}.{index}", value) for index, value in enumerate(kept))):
            values[variable] = (value,)
            if not _substitutable(value):
                opaque.add(variable)
    values["iot:Certificate.AvailableKeys"] = tuple(available)


def _substitutable(value: str) -> bool:
    return len(value) <= _LONGEST_VALUE and _MEANINGFUL.isdisjoint(value)
