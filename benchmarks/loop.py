"""The whole dispatch-callback loop: 1, 10 and 50 jobs at once, what it costs in processes and memory, a cold start.

The functions and the definition are those of `aws-resources/`, created with boto3 calls on each system; the worker is
a paho client of ours that answers each job at once.
"""

import contextlib
import io
import json
import statistics
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import systems
from benchmarks.table import Table
from stepbridge.testing import EmulatorProcess

RESOURCES = Path(__file__).parents[1] / "aws-resources"
ACTIONS = ("iot:Connect", "iot:Publish", "iot:Subscribe", "iot:Receive", "iot:RetainPublish")
JOB = '{"a": 15, "b": 42}'
JOBS = {1: 100, 10: 300, 50: 600}


def main() -> None:
    """Print the figures."""
    columns = [f"{at_once} at once, {what}" for at_once in JOBS for what in ("p50 ms", "p99 ms", "loops/s")]
    table = Table("loop", [*columns, "processes", "MiB of the tree"])
    for start in (systems.stepbridge, systems.ministack):
        with start() as system:
            table.add(system.name, measure(system))
    table.show()
    print(f"stepbridge up, cold, until ready: {statistics.median(cold_start() for _ in range(5)):.2f} s")


def cold_start() -> float:
    """Seconds until a new emulator, with its certificate authority still to make, is ready."""
    with tempfile.TemporaryDirectory() as folder:
        emulator = EmulatorProcess(Path(folder))
        began = time.perf_counter()
        emulator.start()
        elapsed = time.perf_counter() - began
        emulator.stop()
    return elapsed


def measure(system: systems.System) -> list[float | None]:
    """The figures of one system."""
    with tempfile.TemporaryDirectory() as folder, loop(system, Path(folder)) as machine:
        system.connect().run(machine, JOB)  # the environments of the functions are warm from here on
        figures: list[float | None] = []
        for at_once, jobs in JOBS.items():
            try:
                figures += timed_loops(system, machine, at_once, jobs)
            except RuntimeError as error:  # it lost a job, or refused one: that is its figure
                print(f"{system.name}, {at_once} at once: {error}")
                figures += [None] * 3
        return [*figures, float(len(systems.process_tree(system.pid))), system.memory()]


def timed_loops(system: systems.System, machine: str, at_once: int, jobs: int) -> list[float]:
    """The median and the 99th percentile in ms, and loops per second.  Raises RuntimeError if a job does not end."""
    local = threading.local()

    def one(_: int) -> float:
        if not hasattr(local, "wire"):
            local.wire = system.connect()
        began = time.perf_counter()
        local.wire.run(machine, JOB)
        return time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            times = sorted(pool.map(one, range(jobs)))
        except RuntimeError:
            pool.shutdown(cancel_futures=True)
            raise
    elapsed = time.perf_counter() - began
    return [statistics.median(times) * 1000, times[int(len(times) * 0.99)] * 1000, jobs / elapsed]


@contextlib.contextmanager
def loop(system: systems.System, folder: Path) -> Iterator[str]:
    """The state machine, with everything around it there and a worker connected."""

    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{system.port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    role = make_role(client("iam"))
    dispatch, complete = (make_function(client("lambda"), name, role) for name in ("dispatch_job", "complete_job"))
    iot = client("iot")
    action = {"lambda": {"functionArn": complete}}
    payload = {"sql": "SELECT * FROM 'bench/to/lambda'", "awsIotSqlVersion": "2016-03-23", "actions": [action]}
    iot.create_topic_rule(ruleName="bench", topicRulePayload=payload)
    rule = iot.get_topic_rule(ruleName="bench")["ruleArn"]
    client("lambda").add_permission(
        FunctionName=complete,
        StatementId="iot",
        Action="lambda:InvokeFunction",
        Principal="iot.amazonaws.com",
        SourceArn=rule,
    )
    definition = (RESOURCES / "statemachine" / "dispatch.asl.json").read_text()
    definition = definition.replace("${DispatchFunctionArn}", dispatch)
    machine = client("stepfunctions").create_state_machine(name="bench", definition=definition, roleArn=role)
    worker = connect_worker(system, iot, folder)
    try:
        yield machine["stateMachineArn"]
    finally:
        worker.disconnect()
        worker.loop_stop()


def make_role(iam: Any) -> str:
    """A role that may do all that the loop needs."""
    services = [f"{name}.amazonaws.com" for name in ("lambda", "states", "iot")]
    trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    anything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    role = iam.create_role(RoleName="bench", AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="bench", PolicyName="all", PolicyDocument=document(anything))
    return str(role)


def document(statement: dict[str, Any]) -> str:
    """A policy of one statement."""
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def make_function(functions: Any, name: str, role: str) -> str:
    """One of the functions of `aws-resources/`."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.write(RESOURCES / "functions" / name / "app.py", "app.py")
    made = functions.create_function(
        FunctionName=f"bench-{name}",
        Runtime="python3.13",
        Handler="app.handler",
        Role=role,
        Code={"ZipFile": archive.getvalue()},
        Timeout=30,
        Environment={"Variables": {"WORKER_TOPIC": "bench/to/worker"}},
    )
    return str(made["FunctionArn"])


def connect_worker(system: systems.System, iot: Any, folder: Path) -> mqtt.Client:
    """A worker with a certificate of its own, subscribed."""
    made = iot.create_keys_and_certificate(setAsActive=True)
    statement = {"Effect": "Allow", "Action": list(ACTIONS), "Resource": "*"}
    iot.create_policy(policyName="bench", policyDocument=document(statement))
    iot.attach_policy(policyName="bench", target=made["certificateArn"])
    certificate, key = folder / "certificate.pem", folder / "private.key"
    certificate.write_text(made["certificatePem"])
    key.write_text(made["keyPair"]["PrivateKey"])
    worker = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench")
    worker.tls_set(str(system.root_ca), str(certificate), str(key))
    subscribed = threading.Event()
    worker.on_subscribe = lambda *_: subscribed.set()
    worker.on_connect = lambda client, *_: client.subscribe("bench/to/worker", qos=1)
    worker.on_message = answer
    worker.connect("localhost", system.mqtt_port)
    worker.loop_start()
    if not subscribed.wait(30):
        raise RuntimeError(f"the worker could not subscribe on {system.name}")
    return worker


def answer(worker: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
    """Do the job."""
    job = json.loads(message.payload)
    result = {"result": job["Input"]["a"] + job["Input"]["b"], "TaskToken": job["TaskToken"]}
    worker.publish("bench/to/lambda", json.dumps(result), qos=1)
