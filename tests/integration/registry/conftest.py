"""Fixtures of the registry's tests."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.registry.client import RegistryClient, Scenario

from stepbridge.iot.certificates import CertificateAuthority


@pytest.fixture(scope="session")
def authority_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority made once."""
    directory = tmp_path_factory.mktemp("authority")
    CertificateAuthority(directory / "ca")
    return directory


@pytest.fixture
def run(authority_files: Path) -> Callable[[Scenario], None]:
    """Run a scenario against a fresh registry."""

    def run_scenario(scenario: Scenario) -> None:
        async def main() -> None:
            await scenario(RegistryClient(authority_files))

        asyncio.run(main())

    return run_scenario
