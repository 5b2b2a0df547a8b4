"""docker-compose.yml, unmodified: the loop, who reaches whom, and what survives.  `make compose-test` runs this."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError
from tests.docker.harness import ROOT, Compose, checked, wait_until

SERVICES = ("stepfunctions", "mosquitto", "rule-bridge", "worker")
JOBS = 100
JOBS_SECONDS = 240  # a function's second retry comes after two minutes more


def machine(compose: Compose) -> str:
    machines = compose.client("stepfunctions").list_state_machines()["stateMachines"]
    assert len(machines) == 1
    return str(machines[0]["stateMachineArn"])


class Jobs:
    """Executions, all of which must come to the right end."""

    def __init__(self, compose: Compose, name: str, count: int) -> None:
        self._states = compose.client("stepfunctions")
        self._machine = machine(compose)
        self._name = f"{name}-{time.time_ns()}"
        self._count = count
        self._started = threading.Semaphore(0)
        self._compose = compose

    def run(self, interrupt: Callable[[], object]) -> None:
        """Start them all, call `interrupt` when half are started, and wait for all."""
        with ThreadPoolExecutor(4) as pool:
            executions = pool.map(self._start, range(self._count))
            for _ in range(self._count // 2):
                assert self._started.acquire(timeout=60)
            interrupt()
            self.await_all(list(executions))

    def start(self) -> list[str]:
        """Start them all, and do not wait."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(self._start, range(self._count)))

    def await_all(self, executions: list[str]) -> None:
        """Wait for the end of all, and check what each came to."""

        def all_ended() -> bool:
            return self._statuses()["RUNNING"] == 0

        try:
            wait_until(all_ended, "the end of all jobs", JOBS_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}: {dict(self._statuses())}\n{self._compose.logs()}") from None
        for number, execution in enumerate(executions):
            description = self._states.describe_execution(executionArn=execution)
            assert description["status"] == "SUCCEEDED", json.dumps(description, default=str)  # uncut
            assert json.loads(description["output"])["lambdaOutput"] == {"result": number + 1000}

    def _start(self, number: int) -> str:
        # The name makes it the same execution however often a client has to ask.
        name, job = f"{self._name}-{number}", json.dumps({"a": number, "b": 1000})

        def start() -> str | None:
            try:
                started = self._states.start_execution(stateMachineArn=self._machine, name=name, input=job)
            except BotoCoreError:
                return None
            except self._states.exceptions.ExecutionAlreadyExists:  # the answer was lost, and it has ended since
                return f"{self._machine.replace(':stateMachine:', ':execution:')}:{name}"
            return str(started["executionArn"])

        execution = wait_until(start, "the rule-bridge to answer", 60)
        self._started.release()
        return execution

    def _statuses(self) -> Counter[str]:
        pages = self._states.get_paginator("list_executions").paginate(stateMachineArn=self._machine)
        return Counter(
            execution["status"]
            for page in pages
            for execution in page["executions"]
            if execution["name"].startswith(self._name)
        )


def test_the_loop_shows_its_hops_and_the_result(compose: Compose) -> None:
    done = compose.loop('{"a":15,"b":42}')
    assert done.returncode == 0, done.stdout + done.stderr + compose.logs()
    said = done.stdout + done.stderr
    assert '{"a": 15, "b": 42, "lambdaOutput": {"result": 57}}' in done.stdout
    for hop in (
        "→ tenant1/to/worker",
        "tenant1/to/worker → mqtt-container-client",
        "mqtt-container-client → tenant1/to/lambda",
        "matched tenant1/to/lambda",
        "SendTaskSuccess",
    ):
        assert hop in said


def test_a_bad_input_fails_with_the_workers_words(compose: Compose) -> None:
    done = compose.loop('{"a": 1}')
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "ended FAILED" in said
    assert "InvalidJobError" in said
    assert "The job's input has no 'b'." in said


PROBE = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def reaches(place):
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
    except OSError:
        return False
    return True
places = sys.argv[1:]
with ThreadPoolExecutor(40) as pool:
    for place, reached in zip(places, pool.map(reaches, places)):
        if reached:
            print(place)
"""


def test_the_worker_reaches_the_device_port_and_nothing_else(compose: Compose) -> None:
    ports = {"rule-bridge": (8883, 4566, 443), "mosquitto": (8883, 1883), "stepfunctions": (8083,)}
    places = [
        f"{host}:{port}"
        for service, open_ports in ports.items()
        for host in (service, "rule-bridge-apis", *compose.addresses(service).values())
        for port in open_ports
    ]
    gateways = [
        network["IPAM"]["Config"][0]["Gateway"]
        for name in ("cloud", "broker", "on-prem")
        for network in json.loads(checked("docker", "network", "inspect", f"stepbridge-test_{name}"))
    ]
    places += [f"{gateway}:{port}" for gateway in gateways for port in (compose.http_port, compose.mqtt_port, 22)]
    reached = compose.python("worker", PROBE, *dict.fromkeys(places)).split()
    assert reached == ["rule-bridge:8883", f"{compose.addresses('rule-bridge')['on-prem']}:8883"]


def test_the_others_reach_what_they_need(compose: Compose) -> None:
    places = ("mosquitto:8883", "stepfunctions:8083", "rule-bridge-apis:4566")
    assert compose.python("rule-bridge", PROBE, *places).split() == list(places)


def test_mosquitto_takes_nobody_without_a_certificate_of_its_own_authority(compose: Compose) -> None:
    program = """
import socket, ssl, sys
context = ssl.create_default_context(cafile="/certificates/root-ca.pem")
context.maximum_version = ssl.TLSVersion.TLSv1_2
if len(sys.argv) > 1:
    context.load_cert_chain("/certificates/client.pem", "/certificates/client.key")
try:
    context.wrap_socket(socket.create_connection(("mosquitto", 8883), 5), server_hostname="mosquitto").close()
    print("taken")
except ssl.SSLError:
    print("refused")
"""
    assert compose.python("rule-bridge", program).strip() == "refused"
    assert compose.python("rule-bridge", program, "with").strip() == "taken"


def test_only_loopback_is_published(compose: Compose) -> None:
    published = {
        service: [binding for bindings in compose.inspect(service)["NetworkSettings"]["Ports"].values() if bindings
                  for binding in bindings]
        for service in SERVICES
    }  # fmt: skip
    assert [service for service in SERVICES if published[service]] == ["rule-bridge"]
    assert {binding["HostIp"] for binding in published["rule-bridge"]} == {"127.0.0.1"}


@pytest.mark.parametrize("service", SERVICES)
def test_containers_have_what_they_need_and_no_more(compose: Compose, service: str) -> None:
    inspected = compose.inspect(service)
    host = inspected["HostConfig"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert 0 < host["Memory"] <= 1 << 30
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    assert inspected["State"]["Health"]["Status"] == "healthy"
    if service != "stepfunctions":  # AWS's image is as it is
        assert inspected["Config"]["User"] in ("10001", "1883:1883")
        assert host["ReadonlyRootfs"]


@pytest.mark.parametrize(("image", "megabytes"), [("stepbridge:compose", 200), ("onprem-worker:compose", 20)])
def test_images_are_small(image: str, megabytes: int) -> None:
    """What they add to Debian's Python."""
    base = next(
        line.removeprefix("ARG PYTHON=")
        for line in (ROOT / "emulator/Dockerfile").read_text().splitlines()
        if line.startswith("ARG PYTHON=")
    )
    size, size_of_base = (int(checked("docker", "image", "inspect", "-f", "{{.Size}}", name)) for name in (image, base))
    assert (size - size_of_base) / 1e6 < megabytes


@pytest.fixture
def lasting(service: str) -> None:
    """Leaves out what cannot last: see docs/compose.md."""
    image = '{{index .Config.Labels "stepbridge.stand-in"}}'
    name = "amazon/aws-stepfunctions-local:2.0.0"
    if service == "stepfunctions" and not checked("docker", "image", "inspect", "-f", image, name).strip():
        pytest.skip("AWS's Step Functions Local keeps nothing over a restart")


@pytest.mark.usefixtures("lasting")
@pytest.mark.parametrize("service", SERVICES)
def test_killing_a_container_in_the_middle_of_jobs_loses_none(compose: Compose, service: str) -> None:
    Jobs(compose, f"kill-{service}", JOBS).run(lambda: compose.kill(service))
    compose.await_healthy(service)


@pytest.mark.usefixtures("lasting")
@pytest.mark.parametrize("service", SERVICES)
def test_restarting_a_container_in_the_middle_of_jobs_loses_none(compose: Compose, service: str) -> None:
    Jobs(compose, f"restart-{service}", JOBS).run(lambda: compose.checked("restart", "-t", "10", service))
    compose.await_healthy(service)


def certificate(compose: Compose) -> str:
    program = "print(open('/certificates/certificate.pem').read())"
    return hashlib.sha256(compose.python("worker", program).encode()).hexdigest()


def test_down_and_up_keep_the_stack_and_the_certificate(compose: Compose) -> None:
    before: Any = (machine(compose), certificate(compose))
    compose.down()
    compose.up()
    assert (machine(compose), certificate(compose)) == before
    assert '"result": 57' in compose.loop('{"a": 15, "b": 42}').stdout


def test_down_and_up_keep_waiting_jobs_with_our_own_engine(compose: Compose) -> None:
    """The state machine follows to the other engine; executions, queue and session outlive their containers."""
    compose.down()
    compose.stepfunctions = "stepbridge"
    compose.up()
    assert '"result": 57' in compose.loop('{"a": 15, "b": 42}').stdout
    Jobs(compose, "kill-ours", JOBS).run(lambda: compose.kill("stepfunctions"))
    compose.checked("stop", "worker")
    jobs = Jobs(compose, "waiting", 10)
    executions = jobs.start()
    compose.down()
    compose.up()
    jobs.await_all(executions)
