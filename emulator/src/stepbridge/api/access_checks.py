"""Who may talk to the HTTP port at all.

The port listens on loopback, but a page in the user's browser can reach loopback too: through a name of its own that
resolves there (DNS rebinding), or by sending a form across origins.  Both are refused.
"""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def refusal(method: str, headers: Mapping[str, str]) -> str | None:
    """Why a request is refused, or None when it is not."""
    host = _hostname(headers.get("host", ""))
    if not _is_local_name(host):
        return (
            f"The Host header names '{host}'. stepbridge answers to an IP address, to localhost and *.localhost, and "
            "to names without a dot (a container's, the machine's)."
        )
    origin = headers.get("origin")
    if origin and method not in _SAFE_METHODS:
        # `null` is the origin of a sandboxed page: it names no host, and so nobody to trust.
        origin_host = _hostname(urlsplit(origin).netloc)
        if origin_host and _is_local_name(origin_host):
            return None
        return f"A page of '{origin}' may not write to stepbridge."
    return None


def _hostname(netloc: str) -> str:
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0]
    return netloc.partition(":")[0].lower()


@lru_cache(maxsize=256)
def _is_local_name(host: str) -> bool:
    # No one can register a name without a dot, or one under .localhost (RFC 6761).
    if not host or "." not in host or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
