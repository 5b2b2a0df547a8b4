"""Take any one permission out of `aws-resources/template.yaml`: the hop that needs it fails, with AWS's error.

Which permissions there are is read from the template; what each is for stands in `HOPS`.
"""

import copy
import json
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests.e2e.harness import ROOT, create_device, ended, wait_until

from stepbridge.cloudformation.package import deploy
from stepbridge.cloudformation.template import parse_template
from stepbridge.testing import EmulatorProcess

SOURCE = ROOT / "aws-resources"
TEMPLATE = parse_template((SOURCE / "template.yaml").read_text()).body
ACCOUNT = "123456789012"


@dataclass(frozen=True)
class Permission:
    """An action that a statement of a resource allows; without an action, the resource is the permission."""

    resource: str
    action: str

    def __str__(self) -> str:
        return f"{self.resource}-{self.action.replace(':', '.')}"


def documents(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """The policy documents in a resource."""
    properties = resource["Properties"]
    found = [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    return found + [policy for policy in properties.get("Policies", []) if "Statement" in policy]


def permissions() -> Iterator[Permission]:
    for name, resource in TEMPLATE["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Permission":
            yield Permission(name, resource["Properties"]["Action"])
        for document in documents(resource):
            for statement in document["Statement"]:
                actions = statement["Action"]
                for action in [actions] if isinstance(actions, str) else actions:
                    yield Permission(name, action)


def without(permission: Permission) -> dict[str, Any]:
    """The template with everything but `permission`."""
    template = copy.deepcopy(TEMPLATE)
    resource = template["Resources"][permission.resource]
    if resource["Type"] == "AWS::Lambda::Permission":
        del template["Resources"][permission.resource]
    for document in documents(resource):
        for statement in document["Statement"]:
            actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
            statement["Action"] = [action for action in actions if action != permission.action]
        document["Statement"] = [statement for statement in document["Statement"] if statement["Action"]]
    properties = resource["Properties"]
    if "Policies" in properties:
        properties["Policies"] = [policy for policy in properties["Policies"] if policy["Statement"]]
    return template


class Hops:
    """All that the emulator tells, from now on."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self._seen: list[dict[str, Any]] = []
        self._stream = urllib.request.urlopen(f"{emulator.endpoints['http']}/_stepbridge/trace", timeout=60)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            self._seen.append(json.loads(line))

    def texts(self, event: str, *containing: str) -> list[str]:
        """What was said under the name `event` with all of `containing` in it."""
        found = [hop["text"] for hop in list(self._seen) if hop["event"] == event]
        return [text for text in found if all(part in text for part in containing)]

    def wait_for(self, event: str, *containing: str) -> str:
        return wait_until(lambda: self.texts(event, *containing), f"{event} {containing}")[0]


@dataclass
class Loop:
    """A stack of its own, with a device for it."""

    emulator: EmulatorProcess
    hops: Hops
    outputs: dict[str, str]
    roles: dict[str, str]
    files: dict[str, str]
    jobs: list[dict[str, Any]] = field(default_factory=list)
    clients: list[mqtt.Client] = field(default_factory=list)

    def connect(self) -> tuple[mqtt.Client, Any]:
        """A client of the worker's certificate, and the reason code of its CONNACK."""
        connected = threading.Event()
        codes: list[Any] = []
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.outputs["ClientId"])
        client.tls_set(self.files["root"], self.files["certificate"], self.files["key"])

        def on_connect(client: mqtt.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
            codes.append(code)
            connected.set()

        client.on_connect = on_connect
        client.on_message = lambda client, data, message: self.jobs.append(json.loads(message.payload))
        client.connect(self.emulator.endpoints["mqtt_host"], self.emulator.endpoints["mqtt_port"])
        client.loop_start()
        self.clients.append(client)
        assert connected.wait(15)
        return client, codes[0]

    def subscribe(self, client: mqtt.Client) -> int:
        """The reason code of the SUBACK for the topic of the jobs."""
        codes: list[int] = []
        client.on_subscribe = lambda client, data, mid, reasons, properties: codes.append(reasons[0].value)
        client.subscribe(self.outputs["SubscribeTopic"], qos=1)
        return wait_until(lambda: codes, "the SUBACK")[0]

    def ready(self) -> mqtt.Client:
        """A client that gets the jobs."""
        client, code = self.connect()
        assert not code.is_failure
        assert self.subscribe(client) == 1
        return client

    def start(self) -> str:
        states = self.emulator.client("stepfunctions")
        arn: str = states.start_execution(stateMachineArn=self.outputs["StateMachineArn"], input='{"a": 15, "b": 42}')[
            "executionArn"
        ]
        return arn

    def job(self) -> dict[str, Any]:
        return wait_until(lambda: self.jobs, "the job")[0]

    def answer(self, client: mqtt.Client, **answer: Any) -> None:
        """Answer the job that came."""
        document = {**answer, "TaskToken": self.job()["TaskToken"]}
        client.publish(self.outputs["SubmitTopic"], json.dumps(document), qos=1)

    def refusal(self, resource: str, session: str, action: str, arn: str) -> str:
        """AWS's message for what the role of `resource` may not do."""
        return (
            f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{self.roles[resource]}/{session} is not authorized to perform: "
            f"{action} on resource: {arn} because no identity-based policy allows the {action} action"
        )

    def task_failed(self, execution: str) -> dict[str, Any]:
        """The error and cause of the first failure of a task of an execution."""
        states = self.emulator.client("stepfunctions")

        def probe() -> dict[str, Any] | None:
            events = states.get_execution_history(executionArn=execution)["events"]
            return next((event["taskFailedEventDetails"] for event in events if event["type"] == "TaskFailed"), None)

        return wait_until(probe, "the failure of a task")

    def status(self, execution: str) -> str:
        status: str = self.emulator.client("stepfunctions").describe_execution(executionArn=execution)["status"]
        return status


def step_functions_invokes(loop: Loop) -> None:
    failed = loop.task_failed(loop.start())  # once: the definition has it tried again, on AWS too
    assert failed["error"] == "Lambda.AWSLambdaException"
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{loop.outputs['DispatchFunctionName']}"
    said = loop.refusal("DispatchStateMachine", "SESSION", "lambda:InvokeFunction", function)
    expected = re.escape(said).replace("SESSION", "[A-Za-z0-9]{32}")
    details = (
        r" \(Service: AWSLambda; Status Code: 403; Error Code: AccessDeniedException; Request ID: \S+; Proxy: null\)"
    )
    assert re.fullmatch(expected + details, failed["cause"])


def the_dispatch_function_publishes(loop: Loop) -> None:
    failed = loop.task_failed(loop.start())
    assert failed["error"] == "ClientError"
    topic = f"arn:aws:iot:us-east-1:{ACCOUNT}:topic/{loop.outputs['SubscribeTopic']}"
    said = loop.refusal("DispatchFunction", loop.outputs["DispatchFunctionName"], "iot:Publish", topic)
    cause = json.loads(failed["cause"])["errorMessage"]
    assert cause == f"An error occurred (AccessDeniedException) when calling the Publish operation: {said}"


def the_worker_connects(loop: Loop) -> None:
    _, code = loop.connect()
    assert code == "Not authorized"


def the_worker_subscribes(loop: Loop) -> None:
    client, code = loop.connect()
    assert not code.is_failure
    assert loop.subscribe(client) == 128


def the_worker_receives(loop: Loop) -> None:
    client = loop.ready()
    execution = loop.start()
    loop.hops.wait_for("delivery-refused", loop.outputs["ClientId"], loop.outputs["SubscribeTopic"])
    client.publish(loop.outputs["SubmitTopic"], "{}", qos=1).wait_for_publish(15)  # it is still connected
    assert not loop.jobs
    assert loop.status(execution) == "RUNNING"


def the_worker_publishes(loop: Loop) -> None:
    client = loop.ready()
    execution = loop.start()
    dropped = threading.Event()
    client.on_disconnect = lambda *_: dropped.set()
    loop.answer(client, result=57)
    assert dropped.wait(15), "AWS IoT closes the connection of who publishes without a permission"
    assert loop.status(execution) == "RUNNING"


def the_worker_publishes_retained(loop: Loop) -> None:
    client = loop.ready()
    execution = loop.start()
    loop.answer(client, result=57)
    assert ended(loop.emulator, execution)["status"] == "SUCCEEDED", "its answers are not retained"
    dropped = threading.Event()
    client.on_disconnect = lambda *_: dropped.set()
    client.publish(loop.outputs["SubmitTopic"], "{}", qos=1, retain=True)
    assert dropped.wait(15)


def the_rule_invokes(loop: Loop) -> None:
    client = loop.ready()
    execution = loop.start()
    loop.answer(client, result=57)
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{loop.outputs['CallbackFunctionName']}"
    said = loop.hops.wait_for("action-failed", function)
    assert "AccessDeniedException" in said
    assert f"is not authorized to perform: lambda:InvokeFunction on resource: {function}" in said
    assert "because no resource-based policy allows the lambda:InvokeFunction action" in said
    assert loop.status(execution) == "RUNNING"


def the_callback_function_reports(operation: str, action: str, answer: dict[str, Any]) -> Callable[[Loop], None]:
    def check(loop: Loop) -> None:
        client = loop.ready()
        execution = loop.start()
        loop.answer(client, **answer)
        name = loop.outputs["CallbackFunctionName"]
        said = loop.hops.wait_for("invoke-failed", name)
        refusal = loop.refusal("CallbackFunction", name, action, loop.outputs["StateMachineArn"])
        assert f"An error occurred (AccessDeniedException) when calling the {operation} operation: {refusal}" in said
        assert loop.status(execution) == "RUNNING"

    return check


HOPS: dict[Permission, Callable[[Loop], None]] = {
    Permission("DispatchStateMachine", "lambda:InvokeFunction"): step_functions_invokes,
    Permission("DispatchFunction", "iot:Publish"): the_dispatch_function_publishes,
    Permission("CallbackRulePermission", "lambda:InvokeFunction"): the_rule_invokes,
    Permission("CallbackFunction", "states:SendTaskSuccess"): the_callback_function_reports(
        "SendTaskSuccess", "states:SendTaskSuccess", {"result": 57}
    ),
    Permission("CallbackFunction", "states:SendTaskFailure"): the_callback_function_reports(
        "SendTaskFailure", "states:SendTaskFailure", {"error": "TypeError", "cause": "no"}
    ),
    Permission("WorkerPolicy", "iot:Connect"): the_worker_connects,
    Permission("WorkerPolicy", "iot:Subscribe"): the_worker_subscribes,
    Permission("WorkerPolicy", "iot:Receive"): the_worker_receives,
    Permission("WorkerPolicy", "iot:Publish"): the_worker_publishes,
    Permission("WorkerPolicy", "iot:RetainPublish"): the_worker_publishes_retained,
}


@pytest.fixture(scope="module")
def loops(stepbridge: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Permission, Loop]]:
    """For each permission a stack that lacks it."""
    hops = Hops(stepbridge)
    folder = tmp_path_factory.mktemp("permissions")
    for name in ("functions", "statemachine"):
        (folder / name).symlink_to(SOURCE / name)

    loops = {
        permission: deployed(stepbridge, hops, folder, number, without(permission))
        for number, permission in enumerate(permissions())
    }
    yield loops
    for client in [client for loop in loops.values() for client in loop.clients]:
        client.disconnect()
        client.loop_stop()


def deployed(emulator: EmulatorProcess, hops: Hops, folder: Path, number: int, template: dict[str, Any]) -> Loop:
    name = f"without-{number}"
    path = folder / f"{name}.json"
    path.write_text(json.dumps(template))
    parameters = {
        "MQTTClientID": name,
        "MQTTContainerNameInIoT": name,
        "WorkerTopic": f"{name}/to/worker",
        "LambdaTopic": f"{name}/to/lambda",
    }
    result = deploy(path, name, parameters, emulator.endpoints["http"], lambda event: None)
    resources = emulator.client("cloudformation").describe_stack_resources(StackName=name)["StackResources"]
    physical = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources}
    files = create_device(emulator, folder / name, None)
    emulator.client("iot").attach_policy(policyName=result.outputs["WorkerPolicyName"], target=files["arn"])
    roles = {logical.removesuffix("Role"): role for logical, role in physical.items() if logical.endswith("Role")}
    return Loop(emulator, hops, dict(result.outputs), roles, files)


def test_it_is_known_of_every_permission_what_it_is_for() -> None:
    assert list(HOPS) == list(permissions())


@pytest.mark.parametrize("permission", HOPS, ids=str)
def test_without_it_its_hop_fails(loops: dict[Permission, Loop], permission: Permission) -> None:
    HOPS[permission](loops[permission])
