"""An emulator (or what the options of pytest say) with this example's stack, and a certificate for its worker."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from stepbridge.testing import Device, Target

pytest_plugins = ["stepbridge.testing.plugin"]

FOLDER = Path(__file__).parent
WORKER = [sys.executable, str(FOLDER / "worker.py")]


@pytest.fixture(scope="session")
def stack(stepbridge: Target) -> Mapping[str, str]:
    """The outputs of the template."""
    return stepbridge.deploy(FOLDER, "heartbeat")


@pytest.fixture(scope="session")
def device(stepbridge: Target, stack: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Device:
    """The worker's certificate."""
    return stepbridge.create_device(stack["ThingName"], tmp_path_factory.mktemp("device"), stack["WorkerPolicyName"])


@pytest.fixture
def worker() -> list[str]:
    """The worker's command."""
    return WORKER
