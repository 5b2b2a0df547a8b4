"""The worker's environment variables."""

import re
from pathlib import Path

import pytest

from onprem_worker.configuration import Configuration, ConfigurationError


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A whole environment, with files that are there but hold no certificates."""
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("not PEM")
    return {
        "ENDPOINT": "iot.example.com",
        "CA_FILE": str(tmp_path / "ca.pem"),
        "DEVICE_CERT": str(tmp_path / "cert.pem"),
        "PRIVATE_KEY": str(tmp_path / "key.pem"),
        "CLIENT_ID": "worker",
        "SUBSCRIBE_TOPIC": "tenant1/to/worker",
        "SUBMIT_TOPIC": "tenant1/to/lambda",
    }


def test_the_port_is_mqtts_unless_set(environment: dict[str, str]) -> None:
    assert Configuration.from_environment(environment).port == 8883
    assert Configuration.from_environment({**environment, "PORT": "443"}).port == 443
    assert Configuration.from_environment({**environment, "PORT": ""}).port == 8883


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Configuration.from_environment({})
    named = re.findall(r"^  ([A-Z_]+) is not set: \w", str(raised.value), re.MULTILINE)
    assert named == [
        "ENDPOINT",
        "CA_FILE",
        "DEVICE_CERT",
        "PRIVATE_KEY",
        "CLIENT_ID",
        "SUBSCRIBE_TOPIC",
        "SUBMIT_TOPIC",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("ENDPOINT", "https://iot.example.com", "ENDPOINT is a host name alone"),
        ("ENDPOINT", "iot.example.com:8883", "ENDPOINT is a host name alone"),
        ("PORT", "mqtt", "PORT is not a number from 1 to 65535: mqtt"),
        ("PORT", "0", "PORT is not a number"),
        ("PORT", "65536", "PORT is not a number"),
        ("PORT", "²", "PORT is not a number"),
        ("READY_FILE", "/nowhere/ready", "READY_FILE is not in a folder that can be written to: /nowhere/ready"),
        ("CA_FILE", "/nowhere/ca.pem", "CA_FILE is not a file that can be read: /nowhere/ca.pem"),
        ("DEVICE_CERT", "/", "DEVICE_CERT is not a file"),
        ("PRIVATE_KEY", " ", "PRIVATE_KEY is not set"),
        ("CLIENT_ID", "ü" * 65, "CLIENT_ID is longer than 128 bytes"),
        ("SUBSCRIBE_TOPIC", "t" * 257, "SUBSCRIBE_TOPIC is longer than 256 bytes"),
        ("SUBMIT_TOPIC", "tenant1/+/lambda", "SUBMIT_TOPIC has a wildcard"),
    ],
)
def test_one_wrong_variable_is_the_one_named(
    environment: dict[str, str], variable: str, value: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Configuration.from_environment({**environment, variable: value})
    lines = str(raised.value).splitlines()[1:]
    assert len(lines) == 1
    assert problem in lines[0]


def test_files_that_are_no_certificates_are_named(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Configuration.from_environment(environment).tls_context()
    assert "CA_FILE has no certificate" in str(raised.value)
    assert "DEVICE_CERT and PRIVATE_KEY are not a certificate and its unencrypted key" in str(raised.value)
