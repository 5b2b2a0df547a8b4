"""Who signed a request, and what for.

Authorization: AWS4-HMAC-SHA256 Credential=<access key>/<date>/<region>/<service>/aws4_request, …
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qs

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/,\s]+)/([^/,\s]+)/aws4_request")


def credential_of(headers: Mapping[str, str], query: str) -> re.Match[str] | None:
    """Access key, region and service (groups 1 to 3), from the header or, of a presigned URL, the query."""
    found = _CREDENTIAL.search(headers.get("authorization", ""))
    if found is None:
        found = _CREDENTIAL.fullmatch(f"Credential={parse_qs(query).get('X-Amz-Credential', [''])[0]}")
    return found
