"""The shape of AWS's published sample, built with boto3 calls only.

The sample's dispatch function swallows what goes wrong, its worker connects without a clean session, and its callback
function reports success whatever came: an execution whose job failed ends SUCCEEDED with a null result, on AWS and
here.
"""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests.e2e.harness import allow, create_device, ended

from stepbridge.testing import EmulatorProcess

PUBLISH = """
import json, os
import boto3

def lambda_handler(event, context):
    try:
        boto3.client("iot-data").publish(topic=os.environ["TOPIC"], qos=1, payload=json.dumps(event))
        return {"statusCode": 200}
    except Exception as error:
        print("publish failed", error)
"""

CALLBACK = """
import json
import boto3

def lambda_handler(event, context):
    try:
        boto3.client("stepfunctions").send_task_success(
            taskToken=event["TaskToken"], output=json.dumps({"result": event.get("result")})
        )
    except Exception as error:
        print("callback failed", error)
"""


def zipped(source: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("lambda_function.py", source)
    return archive.getvalue()


def policy_of(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def machine(stepbridge: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    iam, functions, iot = (stepbridge.client(service) for service in ("iam", "lambda", "iot"))
    services = ["lambda.amazonaws.com", "states.amazonaws.com"]
    trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName="sample", AssumeRolePolicyDocument=policy_of(trust))["Role"]["Arn"]
    actions = ["lambda:InvokeFunction", "iot:Publish", "states:SendTaskSuccess"]
    grant = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    iam.put_role_policy(RoleName="sample", PolicyName="loop", PolicyDocument=policy_of(grant))
    arns = {}
    for name, source in (("sample-publish", PUBLISH), ("sample-callback", CALLBACK)):
        arns[name] = functions.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=role,
            Handler="lambda_function.lambda_handler",
            Code={"ZipFile": zipped(source)},
            Timeout=30,
            Environment={"Variables": {"TOPIC": "sample/to/worker"}},
        )["FunctionArn"]
    iot.create_topic_rule(
        ruleName="sample_rule",
        topicRulePayload={
            "sql": "SELECT * FROM 'sample/to/lambda'",
            "actions": [{"lambda": {"functionArn": arns["sample-callback"]}}],
        },
    )
    functions.add_permission(
        FunctionName="sample-callback",
        StatementId="iot",
        Action="lambda:InvokeFunction",
        Principal="iot.amazonaws.com",
        SourceArn=iot.get_topic_rule(ruleName="sample_rule")["ruleArn"],
    )
    policy = allow(
        stepbridge,
        Connect="client/sample-client",
        Subscribe="topicfilter/sample/to/worker",
        Receive="topic/sample/to/worker",
        Publish="topic/sample/to/lambda",
        RetainPublish="topic/sample/to/lambda",
    )
    device = create_device(stepbridge, tmp_path_factory.mktemp("sample"), policy)
    definition = {
        "StartAt": "Dispatch",
        "States": {
            "Dispatch": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
                "Parameters": {
                    "FunctionName": arns["sample-publish"],
                    "Payload": {"Input.$": "$", "TaskToken.$": "$$.Task.Token"},
                },
                "ResultPath": "$.lambdaOutput",
                "End": True,
            }
        },
    }
    states = stepbridge.client("stepfunctions")
    arn = states.create_state_machine(name="sample", definition=json.dumps(definition), roleArn=role)
    client = sample_worker(stepbridge, device)
    yield arn["stateMachineArn"]
    client.disconnect()
    client.loop_stop()


def sample_worker(emulator: EmulatorProcess, device: dict[str, str]) -> mqtt.Client:
    """Adds a and b; what goes wrong becomes a null result."""
    subscribed = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="sample-client", clean_session=False)
    client.tls_set(device["root"], device["certificate"], device["key"])

    def on_connect(client: mqtt.Client, *_: Any) -> None:
        client.subscribe("sample/to/worker", qos=1)

    def on_message(client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        job = json.loads(message.payload)
        try:
            result = job["Input"]["a"] + job["Input"]["b"]
        except Exception:
            result = None
        answer = {"result": result, "TaskToken": job["TaskToken"]}
        client.publish("sample/to/lambda", json.dumps(answer), qos=1)

    client.on_connect = on_connect
    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(emulator.endpoints["mqtt_host"], emulator.endpoints["mqtt_port"])
    client.loop_start()
    assert subscribed.wait(15)
    return client


@pytest.mark.parametrize(
    ("document", "result"), [({"a": 15, "b": 42}, 57), ({"a": 1}, None)], ids=["good input", "bad input"]
)
def test_the_sample_runs_as_on_aws(
    stepbridge: EmulatorProcess, machine: str, document: dict[str, int], result: int | None
) -> None:
    states = stepbridge.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=machine, input=json.dumps(document))["executionArn"]
    description = ended(stepbridge, execution)
    assert description["status"] == "SUCCEEDED"
    assert json.loads(description["output"]) == {**document, "lambdaOutput": {"result": result}}


def test_the_deployed_code_is_kept_apart_from_the_emulator(stepbridge: EmulatorProcess, machine: str) -> None:
    """Nothing of what is deployed may know of an emulator."""
    del stepbridge, machine
    deployed = [*Path("aws-resources").rglob("*"), *Path("on-prem-worker/src").rglob("*.py")]
    for file in deployed:
        if file.is_file() and file.suffix in (".py", ".json", ".yaml"):
            assert "stepbridge" not in file.read_text()
