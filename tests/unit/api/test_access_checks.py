"""Which requests the HTTP port refuses before it looks at them."""

import pytest

from stepbridge.api.access_checks import refusal

CASES = [
    ("POST", {"host": "127.0.0.1:4566"}, False),
    ("POST", {"host": "[::1]:4566"}, False),
    ("POST", {"host": "localhost:4566"}, False),
    ("POST", {"host": "bucket.localhost:4566"}, False),
    ("POST", {"host": "rule-bridge:4566"}, False),
    ("POST", {"host": "attacker.example:4566"}, True),
    ("GET", {"host": "attacker.example"}, True),
    ("POST", {"host": "127.0.0.1.attacker.example"}, True),
    ("POST", {"host": "localhost:4566", "origin": "https://attacker.example"}, True),
    ("POST", {"host": "localhost:4566", "origin": "null"}, True),
    ("POST", {"host": "localhost:4566", "origin": "http://localhost:3000"}, False),
    ("GET", {"host": "localhost:4566", "origin": "https://attacker.example"}, False),
]


@pytest.mark.parametrize(("method", "headers", "refused"), CASES)
def test_only_local_names_and_origins_are_let_in(method: str, headers: dict[str, str], refused: bool) -> None:
    assert (refusal(method, headers) is not None) == refused
