"""What roles may do survives the emulator: kill -9, and the same is refused as before."""

import json
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.e2e.harness import ended

from stepbridge.testing import EmulatorProcess


def policy(**statement: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def test_roles_are_there_after_kill_9(tmp_path: Path) -> None:
    emulator = EmulatorProcess(tmp_path)
    emulator.start()
    try:
        iam, states = emulator.client("iam"), emulator.client("stepfunctions")
        trust = policy(Principal={"Service": "states.amazonaws.com"}, Action="sts:AssumeRole")
        role = iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        queue = "arn:aws:states:::sqs:sendMessage"
        parameters = {"QueueUrl": f"{emulator.endpoints['http']}/123456789012/q", "MessageBody": "x"}
        state = {"Type": "Task", "Resource": queue, "Parameters": parameters, "End": True}
        definition = {"StartAt": "Send", "States": {"Send": state}}
        machine = states.create_state_machine(name="sends", definition=json.dumps(definition), roleArn=role)

        def cause() -> str:
            execution = states.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
            return str(ended(emulator, execution).get("cause"))

        assert "is not authorized to perform: sqs:sendmessage" in cause()
        emulator.kill()
        emulator.start()
        assert "is not authorized to perform: sqs:sendmessage" in cause()
        allowed = policy(Action="sqs:SendMessage", Resource="*")
        iam.put_role_policy(RoleName="machine", PolicyName="send", PolicyDocument=allowed)
        assert "is not authorized" not in cause()
        iam.delete_role_policy(RoleName="machine", PolicyName="send")
        iam.delete_role(RoleName="machine")
        emulator.kill()
        emulator.start()
        with pytest.raises(ClientError, match="machine"):
            iam.get_role(RoleName="machine")
    finally:
        emulator.stop()
