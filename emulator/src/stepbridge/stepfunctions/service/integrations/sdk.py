"""`aws-sdk:<service>:<action>`: any operation of any service that the emulator's port offers.

https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
"""

from functools import cache

from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel

from stepbridge.api.errors import AwsError
from stepbridge.api.models import has_operation, operation_model, service_model, services_by_plain_name
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.service.integrations.aws_calls import (
    AwsCalls,
    make,
    refused_by_sdk,
)
from stepbridge.stepfunctions.service.integrations.call import TaskCall
from stepbridge.stepfunctions.service.integrations.java_sdk import service_name
from stepbridge.stepfunctions.service.integrations.members import SDK, to_output

# The names in resources are those of the AWS SDK for Java 2, which have no hyphens; where botocore's model has another:
_MODELS = {
    "cloudwatchevents": "events",
    "cloudwatchlogs": "logs",
    "cognitoidentityprovider": "cognito-idp",
    "costandusagereport": "cur",
    "costexplorer": "ce",
    "databasemigration": "dms",
    "directory": "ds",
    "elasticloadbalancing": "elb",
    "elasticloadbalancingv2": "elbv2",
    "elasticsearch": "es",
    "eventbridge": "events",
    "iotdataplane": "iot-data",
    "iotjobsdataplane": "iot-jobs-data",
    "marketplacemetering": "meteringmarketplace",
    "serverlessapplicationrepository": "serverlessrepo",
    "sfn": "stepfunctions",
}


@cache
def find_operation(service: str, action: str) -> OperationModel | None:
    """The operation that `aws-sdk:service:action` means, or None if there is none."""
    model, operation = _MODELS.get(service, service), action[:1].upper() + action[1:]
    model = services_by_plain_name().get(model, model)
    try:
        return operation_model(model, operation) if has_operation(model, operation) else None
    except UnknownServiceError:
        return None


class SdkTask:
    """Makes the call of one operation."""

    def __init__(self, calls: AwsCalls, operation: OperationModel) -> None:
        self._calls = calls
        self._operation = operation

    async def __call__(self, call: TaskCall) -> Json:
        operation = self._operation
        service = operation.service_model.service_name
        # The SDK says of a stream that it is made of text what it is.
        is_typed = operation.has_streaming_input and "ContentType" in operation.input_shape.members
        defaults = {"ContentType": "text/plain; charset=UTF-8"} if is_typed else {}
        try:
            answer = await make(self._calls, operation, call, SDK, **defaults)
        except AwsError as error:
            raise refused_by_sdk(service_name(service_model(service).service_id), operation, error) from None
        return to_output(operation.output_shape, answer, SDK)
