"""Rule actions: classes that compile an action's members and carry it out.

developerguide/iot-rule-actions.html
"""

from stepbridge.iot.rules.actions.base import (
    IOT,
    Action,
    ActionError,
    AwsCalls,
    Delivery,
    FunctionInvoker,
    Publisher,
    RefusedMemberError,
    RuleServices,
)
from stepbridge.iot.rules.actions.batches import BatchError
from stepbridge.iot.rules.actions.cloudwatch import CloudWatchAlarmAction, CloudWatchLogsAction, CloudWatchMetricAction
from stepbridge.iot.rules.actions.dynamodb import DynamoDbAction, DynamoDbV2Action
from stepbridge.iot.rules.actions.http import HttpAction
from stepbridge.iot.rules.actions.lambda_ import LambdaAction
from stepbridge.iot.rules.actions.queues import FirehoseAction, KinesisAction, SnsAction, SqsAction
from stepbridge.iot.rules.actions.republish import RepublishAction
from stepbridge.iot.rules.actions.s3 import S3Action
from stepbridge.iot.rules.actions.step_functions import StepFunctionsAction
from stepbridge.iot.rules.actions.timestream import TimestreamAction

_ALL: list[type[Action]] = [
    CloudWatchAlarmAction,
    CloudWatchLogsAction,
    CloudWatchMetricAction,
    DynamoDbAction,
    DynamoDbV2Action,
    FirehoseAction,
    HttpAction,
    KinesisAction,
    LambdaAction,
    RepublishAction,
    S3Action,
    SnsAction,
    SqsAction,
    StepFunctionsAction,
    TimestreamAction,
]
ACTIONS: dict[str, type[Action]] = {action.name: action for action in _ALL}

__all__ = [
    "ACTIONS",
    "IOT",
    "Action",
    "ActionError",
    "AwsCalls",
    "BatchError",
    "Delivery",
    "FunctionInvoker",
    "HttpAction",
    "Publisher",
    "RefusedMemberError",
    "RuleServices",
]
