"""Signature Version 4 in a query string, as clients sign the WebSocket handshake with AWS credentials.

See "AWS Signature Version 4 for API requests" (IAM user guide) and "MQTT over the WebSocket protocol" (AWS IoT
developer guide).  The emulator has no user's secret key: like the HTTP port it takes any signature that has the right
form and is of this region, this service and this hour.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "iotdevicegateway"
_CREDENTIAL = re.compile(r"([A-Za-z0-9]{1,128})/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_SKEW = 300  # seconds that the client's clock may be off, and the lifetime unless X-Amz-Expires says another
_MOST = 604_800  # seconds, of X-Amz-Expires


class SignatureError(Exception):
    """What is wrong with a signature, as a sentence."""


def is_signed(query: str) -> bool:
    """Whether a query string claims to be signed."""
    return "X-Amz-" in query


def signer(query: str, region: str, now: float) -> str:
    """The access key that has signed a query string.  Raises SignatureError."""
    members = dict(parse_qsl(query, keep_blank_values=True))
    if (algorithm := _required(members, "X-Amz-Algorithm")) != _ALGORITHM:
        raise SignatureError(f"X-Amz-Algorithm is {algorithm!r}, not {_ALGORITHM}.")
    credential = _CREDENTIAL.fullmatch(_required(members, "X-Amz-Credential"))
    if credential is None:
        raise SignatureError("X-Amz-Credential is not <access key>/<date>/<region>/<service>/aws4_request.")
    access_key, day, scope_region, service = credential.groups()
    if service != _SERVICE:
        raise SignatureError(f"The credential is scoped to the service {service}, MQTT over WebSocket is {_SERVICE}.")
    if scope_region != region:
        raise SignatureError(f"The credential is scoped to {scope_region}, this emulator is {region}.")
    if "host" not in _required(members, "X-Amz-SignedHeaders").split(";"):
        raise SignatureError("X-Amz-SignedHeaders does not name host.")
    if not _SIGNATURE.fullmatch(_required(members, "X-Amz-Signature")):
        raise SignatureError("X-Amz-Signature is not 64 hexadecimal digits.")
    date = _required(members, "X-Amz-Date")
    signed_at = _seconds(date)
    if not date.startswith(day):
        raise SignatureError(f"The credential is of {day}, X-Amz-Date is {date}.")
    lifetime = _lifetime(members)
    if now < signed_at - _SKEW:
        raise SignatureError(f"The signature is not yet current: X-Amz-Date is {date}.")
    if now > signed_at + lifetime:
        raise SignatureError(f"The signature has expired: X-Amz-Date is {date}, and it lasts {lifetime} s.")
    return access_key


def _required(members: Mapping[str, str], name: str) -> str:
    if not members.get(name):
        raise SignatureError(f"{name} is missing.")
    return members[name]


def _seconds(date: str) -> float:
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise SignatureError(f"X-Amz-Date is {date!r}, not of the form 20260131T235959Z.") from None


def _lifetime(members: Mapping[str, str]) -> int:
    expires = members.get("X-Amz-Expires")
    if expires is None:
        return _SKEW
    if not (expires.isascii() and expires.isdecimal() and len(expires) <= 6 and 1 <= int(expires) <= _MOST):
        raise SignatureError(f"X-Amz-Expires is {expires!r}, not a number of seconds up to {_MOST}.")
    return int(expires)
