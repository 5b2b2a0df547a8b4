"""A function's own credentials on MQTT over WebSocket: its role's IAM policies say what it may do there."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from awscrt import auth
from awsiot import mqtt5_client_builder
from tests.e2e.clients.awscrt_client import AwscrtClient5
from tests.e2e.clients.base import Endpoint, RefusedError
from tests.e2e.harness import allow, wait_until

from stepbridge.testing import EmulatorProcess

NAME = "signs-for-mqtt"
CODE = """
import os

def handler(event, context):
    return [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
"""


@dataclass(frozen=True)
class Function:
    """A function's credentials, and how to connect with them."""

    emulator: EmulatorProcess
    credentials: tuple[str, str, str]

    def client(self, client_id: str) -> AwscrtClient5:
        credentials = self.credentials

        class Signed(AwscrtClient5):
            def _build(self, **options: Any) -> Any:
                return mqtt5_client_builder.websockets_with_default_aws_signing(
                    region=self.endpoint.region,
                    credentials_provider=auth.AwsCredentialsProvider.new_static(*credentials),
                    endpoint=self.endpoint.host,
                    port=self.endpoint.port,
                    ca_filepath=self.endpoint.root,
                    **options,
                )

        where = self.emulator.endpoints
        endpoint = Endpoint(
            where["mqtt_host"], where["mqtt_port"], where["region"], certificate="", key="", root=where["root_ca"]
        )
        return Signed(endpoint, client_id)


@pytest.fixture(scope="module")
def function(stepbridge: EmulatorProcess) -> Iterator[Function]:
    iam, functions = stepbridge.client("iam"), stepbridge.client("lambda")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    may = allow(
        stepbridge, Connect="client/signed-*", Publish="topic/signed/*", Receive="topic/signed/*",
        Subscribe="topicfilter/signed/*",
    )  # fmt: skip
    iam.put_role_policy(RoleName=NAME, PolicyName="mqtt", PolicyDocument=json.dumps(may))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("app.py", CODE)
    functions.create_function(
        FunctionName=NAME, Runtime="python3.11", Handler="app.handler", Role=role, Code={"ZipFile": archive.getvalue()}
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=NAME)
    answer = functions.invoke(FunctionName=NAME)
    assert "FunctionError" not in answer
    yield Function(stepbridge, tuple(json.loads(answer["Payload"].read())))
    functions.delete_function(FunctionName=NAME)


def test_what_the_role_allows(function: Function) -> None:
    client = function.client("signed-one")
    client.connect()
    client.subscribe("signed/+", 1)
    client.publish("signed/a", b"hello", 1)
    received = client.inbox.get(timeout=15)
    assert (received.topic, received.payload) == ("signed/a", b"hello")
    with pytest.raises(RefusedError):
        client.subscribe("elsewhere", 1)
    client.close()


def test_what_it_does_not(function: Function) -> None:
    stranger = function.client("other")
    with pytest.raises(RefusedError):
        stranger.connect()
    stranger.close()
    client = function.client("signed-two")
    client.connect()
    with pytest.raises(RefusedError):
        client.publish("elsewhere", b"", 1)
    client.close()


def test_a_policy_that_is_taken_away_acts_on_connections(function: Function) -> None:
    iam = function.emulator.client("iam")
    client = function.client("signed-three")
    client.connect()
    client.subscribe("signed/before", 1)
    document = iam.get_role_policy(RoleName=NAME, PolicyName="mqtt")["PolicyDocument"]
    iam.delete_role_policy(RoleName=NAME, PolicyName="mqtt")

    def refused() -> bool:
        try:
            client.subscribe("signed/after", 1)
        except RefusedError:
            return True
        return False

    wait_until(refused, "the role to be read anew")
    client.close()
    iam.put_role_policy(RoleName=NAME, PolicyName="mqtt", PolicyDocument=json.dumps(document))
