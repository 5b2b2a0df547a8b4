"""One emulator with `aws-resources/` deployed, for all end-to-end tests."""

from collections.abc import Iterator

import pytest
from tests.e2e.harness import ROOT, Deployment, Worker, deploy

from stepbridge.testing import EmulatorProcess


@pytest.fixture(scope="session")
def deployment(stepbridge: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """`stepbridge deploy aws-resources` and `stepbridge device create`, once for the session."""
    return deploy(stepbridge, tmp_path_factory.mktemp("device"), ROOT / "aws-resources", "loop")


@pytest.fixture
def worker(deployment: Deployment) -> Iterator[Worker]:
    """The on-prem worker, waiting for jobs."""
    process = Worker(deployment)
    yield process
    process.stop()
