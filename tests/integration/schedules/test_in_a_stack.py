"""A state machine that a schedule of the same stack starts, on a running emulator."""

import json
from typing import Any

from tests.e2e.harness import wait_until
from tests.integration.cloudformation.stacks import ROLE, Stacks

from stepbridge.testing import EmulatorProcess


def test_a_schedule_starts_the_state_machine(stepbridge: EmulatorProcess) -> None:
    stacks = Stacks(stepbridge)
    statement = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": {"Ref": "Machine"}}
    resources: dict[str, Any] = {
        "Role": ROLE,
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                "Definition": {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}},
            },
        },
        "Starter": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "scheduler.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                },
                "Policies": [
                    {"PolicyName": "start", "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
                ],
            },
        },
        "Hourly": {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "ScheduleExpression": "rate(1 hour)",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {
                    "Arn": {"Ref": "Machine"},
                    "RoleArn": {"Fn::GetAtt": ["Starter", "Arn"]},
                    "Input": '{"at": "<aws.scheduler.scheduled-time>"}',
                },
            },
        },
    }
    assert stacks.create("scheduled", resources) == "CREATE_COMPLETE", stacks.events("scheduled")
    states = stepbridge.client("stepfunctions")
    machine = stacks.physical_id("scheduled", "Machine")
    started = wait_until(
        lambda: states.list_executions(stateMachineArn=machine)["executions"], "the first execution, which is at once"
    )
    execution = states.describe_execution(executionArn=started[0]["executionArn"])
    assert set(json.loads(execution["input"])) == {"at"}
    assert stacks.delete("scheduled") == "DELETE_COMPLETE"
