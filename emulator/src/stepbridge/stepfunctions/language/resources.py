"""What a Task state can call: Lambda functions, activities, and the service integrations of Step Functions.

https://docs.aws.amazon.com/step-functions/latest/dg/integrate-optimized.html
"""

import re
from dataclasses import dataclass

SYNC = "sync"
SYNC_2 = "sync:2"
TASK_TOKEN = "waitForTaskToken"  # noqa: S105 (the name of a pattern)


@dataclass(frozen=True, slots=True)
class LambdaFunction:
    """A function by its ARN."""

    arn: str


@dataclass(frozen=True, slots=True)
class Activity:
    """An activity by its ARN."""

    arn: str


@dataclass(frozen=True, slots=True)
class Integration:
    """`arn:aws:states:::service:action.pattern`; `service` is `lambda`, `aws-sdk:s3`, …"""

    arn: str
    service: str
    action: str
    pattern: str | None = None

    @property
    def action_with_pattern(self) -> str:
        """The `resource` of a history event: `invoke.waitForTaskToken`."""
        return self.action if self.pattern is None else f"{self.action}.{self.pattern}"


Resource = LambdaFunction | Activity | Integration

_NONE = ()
_SYNC = (SYNC,)
_TOKEN = (TASK_TOKEN,)

# Service → action → the patterns that it supports besides request and response.
_OPTIMIZED: dict[str, dict[str, tuple[str, ...]]] = {
    "apigateway": {"invoke": _TOKEN},
    "athena": {
        "startQueryExecution": _SYNC,
        "stopQueryExecution": _NONE,
        "getQueryExecution": _NONE,
        "getQueryResults": _NONE,
    },
    "batch": {"submitJob": _SYNC},
    "bedrock": {"invokeModel": _NONE, "createModelCustomizationJob": _SYNC},
    "codebuild": {
        "startBuild": _SYNC,
        "stopBuild": _NONE,
        "batchDeleteBuilds": _NONE,
        "batchGetReports": _NONE,
        "startBuildBatch": _SYNC,
        "stopBuildBatch": _NONE,
        "retryBuildBatch": _SYNC,
        "deleteBuildBatch": _NONE,
    },
    "databrew": {"startJobRun": _SYNC},
    "dynamodb": {"getItem": _NONE, "putItem": _NONE, "updateItem": _NONE, "deleteItem": _NONE},
    "ecs": {"runTask": (SYNC, TASK_TOKEN)},
    "eks": {
        "createCluster": _SYNC,
        "deleteCluster": _SYNC,
        "createFargateProfile": _SYNC,
        "deleteFargateProfile": _SYNC,
        "createNodegroup": _SYNC,
        "deleteNodegroup": _SYNC,
        "runJob": _SYNC,
        "call": _NONE,
    },
    "elasticmapreduce": {
        "createCluster": _SYNC,
        "terminateCluster": _SYNC,
        "addStep": _SYNC,
        "cancelStep": _NONE,
        "setClusterTerminationProtection": _NONE,
        "modifyInstanceFleetByName": _NONE,
        "modifyInstanceGroupByName": _NONE,
    },
    "emr-containers": {"createVirtualCluster": _NONE, "deleteVirtualCluster": _SYNC, "startJobRun": _SYNC},
    "emr-serverless": {
        "createApplication": _SYNC,
        "startApplication": _SYNC,
        "stopApplication": _SYNC,
        "deleteApplication": _SYNC,
        "startJobRun": _SYNC,
        "cancelJobRun": _SYNC,
    },
    "events": {"putEvents": _TOKEN},
    "glue": {"startJobRun": _SYNC},
    "http": {"invoke": _NONE},
    "lambda": {"invoke": _TOKEN},
    "mediaconvert": {"createJob": _SYNC},
    "sagemaker": {
        "createEndpoint": _NONE,
        "createEndpointConfig": _NONE,
        "createHyperParameterTuningJob": _SYNC,
        "createLabelingJob": _SYNC,
        "createModel": _NONE,
        "createProcessingJob": _SYNC,
        "createTrainingJob": _SYNC,
        "createTransformJob": _SYNC,
        "updateEndpoint": _NONE,
    },
    "sns": {"publish": _TOKEN},
    "sqs": {"sendMessage": _TOKEN},
    "states": {"startExecution": (SYNC, SYNC_2, TASK_TOKEN)},
}

_LAMBDA = re.compile(r"arn:[\w-]+:lambda:[\w-]*:[\w-]*:function:[\w-]+(:[\w$-]+)?")
_ACTIVITY = re.compile(r"arn:[\w-]+:states:[\w-]+:[\w-]+:activity:.+")
_INTEGRATION = re.compile(
    r"arn:[\w-]+:states:::(?P<service>aws-sdk:[a-z0-9]+|[a-z0-9-]+):(?P<action>[a-z][A-Za-z0-9]*)(\.(?P<pattern>.+))?"
)


class ResourceError(ValueError):
    """The value is no resource; the message is AWS's."""


def parse(arn: str) -> Resource:
    """Parse the Resource of a Task.  Raises ResourceError."""
    if not arn.startswith("arn:"):
        raise ResourceError("Value is not a valid resource ARN")
    if _LAMBDA.fullmatch(arn):
        return LambdaFunction(arn)
    if _ACTIVITY.fullmatch(arn):
        return Activity(arn)
    match = _INTEGRATION.fullmatch(arn)
    if match is None:
        raise ResourceError(unrecognized(arn))
    service, action, pattern = match.group("service"), match.group("action"), match.group("pattern")
    patterns = _TOKEN if service.startswith("aws-sdk:") else _OPTIMIZED.get(service, {}).get(action)
    if patterns is None or (pattern is not None and pattern not in patterns):
        raise ResourceError(unrecognized(arn))
    return Integration(arn, service, action, pattern)


def unrecognized(arn: str) -> str:
    """What AWS says of a Resource that it has not."""
    return (
        f"The resource provided {arn} is not recognized. "
        "The value is not a valid resource ARN, or the resource is not available in this region."
    )
