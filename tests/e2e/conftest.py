"""One emulator with `aws-resources/` deployed, for all end-to-end tests."""

from collections.abc import Iterator

import pytest
from tests.e2e.harness import ROOT, Deployment, Worker, command

from stepbridge.testing import EmulatorProcess


@pytest.fixture(scope="session")
def deployment(stepbridge: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """`stepbridge deploy aws-resources` and `stepbridge device create`, once for the session."""
    deployed = command(stepbridge, "deploy", str(ROOT / "aws-resources"), "--stack-name", "loop")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    stack = stepbridge.client("cloudformation").describe_stacks(StackName="loop")["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    device = tmp_path_factory.mktemp("device")
    created = command(
        stepbridge,
        "device",
        "create",
        outputs["ThingName"],
        "--out",
        str(device),
        "--policy",
        outputs["WorkerPolicyName"],
    )
    assert created.returncode == 0, created.stdout + created.stderr
    return Deployment(outputs, device)


@pytest.fixture
def worker(deployment: Deployment) -> Iterator[Worker]:
    """The on-prem worker, waiting for jobs."""
    process = Worker(deployment)
    yield process
    process.stop()
