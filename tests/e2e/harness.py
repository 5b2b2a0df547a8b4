"""What the end-to-end tests share: devices with real certificates, the worker's process, and ways to wait."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from stepbridge.testing import EmulatorProcess

T = TypeVar("T")
ROOT = Path(__file__).parents[2]


def wait_until(probe: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    """The first answer of `probe` that is not None or False; fails, naming `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = probe()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def ended(emulator: EmulatorProcess, execution: str) -> dict[str, Any]:
    """The execution, when it is no longer running."""
    states = emulator.client("stepfunctions")

    def probe() -> dict[str, Any] | None:
        description: dict[str, Any] = states.describe_execution(executionArn=execution)
        return description if description["status"] != "RUNNING" else None

    return wait_until(probe, f"the end of {execution}")


@dataclass(frozen=True)
class Deployment:
    """aws-resources/ as it is deployed, and the files of one device for it."""

    outputs: dict[str, str]
    device: Path

    @property
    def state_machine(self) -> str:
        """The ARN of the dispatching state machine."""
        return self.outputs["StateMachineArn"]


def command(emulator: EmulatorProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a `stepbridge` command against the emulator."""
    return subprocess.run(
        [sys.executable, "-m", "stepbridge", *arguments],
        env=emulator.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def deploy(
    emulator: EmulatorProcess, device: Path, template: Path, stack: str, parameters: Mapping[str, str] | None = None
) -> Deployment:
    """`stepbridge deploy` of a template such as ours, and `stepbridge device create` with its files in `device`."""
    given = [word for name, value in (parameters or {}).items() for word in ("--parameter", f"{name}={value}")]
    deployed = command(emulator, "deploy", str(template), "--stack-name", stack, *given)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    described = emulator.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    policy = outputs["WorkerPolicyName"]
    created = command(emulator, "device", "create", outputs["ThingName"], "--out", str(device), "--policy", policy)
    assert created.returncode == 0, created.stdout + created.stderr
    return Deployment(outputs, device)


class Worker:
    """The on-prem worker as its own process, with the environment that `stepbridge device create` wrote for it."""

    def __init__(self, deployment: Deployment) -> None:
        lines = (deployment.device / "worker.env").read_text().splitlines()
        environment = dict(shlex.split(line)[0].split("=", 1) for line in lines)
        self._log = deployment.device / f"worker-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([sys.executable, "-m", "onprem_worker"], env=environment, stderr=log)
        # Before its first subscription nobody keeps jobs for it, here or on AWS.
        wait_until(lambda: "Waiting for jobs" in self._log.read_text(), "the worker's subscription")

    def stop(self) -> None:
        """Stop it as an orchestrator does; it must end by itself."""
        self._process.terminate()
        assert self._process.wait(60) == 0, self._log.read_text()

    def log(self) -> str:
        """What it has written."""
        return self._log.read_text()


def create_device(emulator: EmulatorProcess, directory: Path, policy: dict[str, Any] | None) -> dict[str, str]:
    """A registered, ACTIVE certificate with its files in `directory`, and a policy of its own if one is given."""
    iot = emulator.client("iot")
    certificate: dict[str, Any] = iot.create_keys_and_certificate(setAsActive=True)
    if policy is not None:
        name = f"policy-{certificate['certificateId'][:8]}"
        iot.create_policy(policyName=name, policyDocument=json.dumps(policy))
        iot.attach_policy(policyName=name, target=certificate["certificateArn"])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "certificate.pem").write_text(certificate["certificatePem"])
    (directory / "private.key").write_text(certificate["keyPair"]["PrivateKey"])
    return {
        "id": certificate["certificateId"],
        "arn": certificate["certificateArn"],
        "certificate": str(directory / "certificate.pem"),
        "key": str(directory / "private.key"),
        "root": emulator.endpoints["root_ca"],
    }


def allow(emulator: EmulatorProcess, **resources: str | list[str]) -> dict[str, Any]:
    """A policy document that allows `iot:<action>` on the resources given for it, e.g. Connect="client/a"."""
    prefix = f"arn:aws:iot:{emulator.endpoints['region']}:{emulator.endpoints['account']}:"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": f"iot:{action}",
                "Resource": [prefix + name for name in ([names] if isinstance(names, str) else names)],
            }
            for action, names in resources.items()
        ],
    }
