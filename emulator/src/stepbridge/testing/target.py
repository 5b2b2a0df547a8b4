"""What tests run against: an emulator, or an AWS account.  Tests that keep to this interface run against either."""

import contextlib
import json
import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepbridge.cli.connection import Connection
from stepbridge.cli.deploy import DEFAULT_STACK, deploy_stack
from stepbridge.cli.device import Gateway, create_device, gateway_of
from stepbridge.cli.errors import CommandError
from stepbridge.cli.run import run_execution
from stepbridge.cli.worker import READY, WORKER, running_worker

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution that has ended: `status` is SUCCEEDED, FAILED, TIMED_OUT or ABORTED, `output` decoded JSON."""

    arn: str
    status: str
    output: Any = None
    error: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A registered certificate, with its files.

    `environment` is what a worker needs to connect: ENDPOINT, PORT, CA_FILE, DEVICE_CERT and PRIVATE_KEY, and
    CLIENT_ID, SUBSCRIBE_TOPIC and SUBMIT_TOPIC where the policy allows only one of each.
    """

    environment: Mapping[str, str]

    @contextlib.contextmanager
    def worker(self, command: Sequence[str] = WORKER, *, ready: str = READY) -> Iterator[Path]:
        """Run a worker as a process of its own while the context lasts; gives the file that has its output.

        The context begins when the output has the text `ready`: a message that is published before a worker's first
        subscription is nobody's, on AWS too.  Raises CommandError if the worker ends, or is silent, instead.
        """
        with tempfile.TemporaryDirectory(prefix="stepbridge-worker-") as folder:
            log = Path(folder) / "worker.log"
            with running_worker(self.environment, log, command, ready):
                try:
                    yield log
                finally:
                    sys.stderr.write(log.read_text(errors="replace"))


class Target(ABC):
    """Where the tests run.  What is written to standard error, pytest shows with a test that fails."""

    def __init__(self) -> None:
        self._certificates: list[str] = []

    @abstractmethod
    def client(self, service: str) -> Any:
        """A boto3 client."""

    @abstractmethod
    def deploy(
        self, template: Path | str, stack_name: str = DEFAULT_STACK, parameters: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """The outputs of the stack of `template`, a file or the folder it is in, which is deployed if need be.

        Raises CommandError, which says which resource is to blame, if that does not succeed.
        """

    @abstractmethod
    def run(self, state_machine_arn: str, execution_input: object, timeout: float = 60) -> Execution:
        """Start an execution on `execution_input`, which becomes JSON, and wait for its end.

        Its hops, or on AWS its history, go to standard error.  Raises CommandError if it cannot be started, or has
        not ended after `timeout` seconds.
        """

    @abstractmethod
    def _gateway(self) -> Gateway:
        """Where devices connect."""

    def create_device(self, thing: str, directory: Path, policy: str | None = None) -> Device:
        """Make a certificate for `thing`, which is made too if it is not there, with its files in `directory`.

        `policy` is the name of an IoT policy; not needed where there is only one.  Raises CommandError.
        """
        device = create_device(self.client("iot"), self._gateway(), thing, directory, policy)
        self._certificates.append(device.certificate_arn)
        return Device(device.environment)

    def close(self) -> None:
        """Remove the certificates that were made.  Stacks stay: they are to be deployed again, faster."""
        iot = self.client("iot")
        while self._certificates:
            arn = self._certificates.pop()
            for policy in iot.list_attached_policies(target=arn)["policies"]:
                iot.detach_policy(policyName=policy["policyName"], target=arn)
            for thing in iot.list_principal_things(principal=arn)["things"]:
                iot.detach_thing_principal(thingName=thing, principal=arn)
            certificate = arn.rpartition("/")[2]
            iot.update_certificate(certificateId=certificate, newStatus="INACTIVE")
            iot.delete_certificate(certificateId=certificate)


class Emulator(Target):
    """An emulator that runs; `connection` is the way to it."""

    @property
    @abstractmethod
    def connection(self) -> Connection:
        """Where it is."""

    def client(self, service: str) -> Any:
        """A boto3 client of it."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.connection.url,
            region_name=self.connection.region,
            aws_access_key_id="stepbridge",
            aws_secret_access_key="stepbridge",  # noqa: S106 any key will do
        )

    def deploy(
        self, template: Path | str, stack_name: str = DEFAULT_STACK, parameters: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """Deploy the template, as `stepbridge deploy` does."""
        return deploy_stack(self.connection, Path(template), stack_name, dict(parameters or {})).outputs

    def run(self, state_machine_arn: str, execution_input: object, timeout: float = 60) -> Execution:
        """Run an execution, as `stepbridge run` does."""
        return _ended(run_execution(self.connection, json.dumps(execution_input), state_machine_arn, timeout=timeout))

    def _gateway(self) -> Gateway:
        return gateway_of(self.connection)


class RunningEmulator(Emulator):
    """An emulator that somebody else has started, and goes on when the tests are over."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """Where it is."""
        return self._connection


class AwsAccount(Target):
    """The AWS account and region that boto3 finds in the environment or the profile.

    Stacks are not deployed to it but have to be there, as `sam deploy` puts them.  What executions and messages cost is
    the account's.
    """

    def client(self, service: str) -> Any:
        """A boto3 client of the account."""
        import boto3

        return boto3.client(service)

    def deploy(
        self, template: Path | str, stack_name: str = DEFAULT_STACK, parameters: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """The outputs of the stack, which is there already; `template` and `parameters` are not looked at."""
        cloudformation = self.client("cloudformation")
        try:
            stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
        except cloudformation.exceptions.ClientError as error:
            raise CommandError(
                f"There is no stack {stack_name} to test ({error}): deploy it with 'sam deploy --stack-name "
                f"{stack_name}' from the folder of {template}."
            ) from None
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def run(self, state_machine_arn: str, execution_input: object, timeout: float = 60) -> Execution:
        """Run an execution; its history goes to standard error at its end."""
        states = self.client("stepfunctions")
        started = states.start_execution(stateMachineArn=state_machine_arn, input=json.dumps(execution_input))
        arn = started["executionArn"]
        deadline = time.monotonic() + timeout
        try:
            while (description := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
                if time.monotonic() > deadline:
                    raise CommandError(f"The execution {arn} has not ended after {timeout:.0f} seconds.")
                time.sleep(_POLL_SECONDS)
        finally:
            _show_history(states, arn)
        return _ended(description)

    def _gateway(self) -> Gateway:
        address = self.client("iot").describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
        host, _, port = address.partition(":")
        return Gateway(host, int(port or 8883), _trusted_by_boto3().read_bytes())


def _show_history(states: Any, arn: str) -> None:
    """What happened, without inputs and outputs: task tokens are among them."""
    for page in states.get_paginator("get_execution_history").paginate(executionArn=arn):
        for event in page["events"]:
            line = [event["timestamp"].isoformat(), event["type"]]
            for member, details in event.items():
                if member.endswith("EventDetails"):
                    line += [str(details[name]) for name in ("name", "error", "cause") if details.get(name)]
            sys.stderr.write("  ".join(line) + "\n")


def _trusted_by_boto3() -> Path:
    """The certificates that boto3 knows AWS by, Amazon's roots among them."""
    import botocore

    return Path(os.environ.get("AWS_CA_BUNDLE") or Path(botocore.__file__).parent / "cacert.pem")


def _ended(description: Mapping[str, Any]) -> Execution:
    output = json.loads(description["output"]) if "output" in description else None
    error, cause = description.get("error"), description.get("cause")
    return Execution(description["executionArn"], description["status"], output, error, cause)
