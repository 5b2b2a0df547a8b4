"""lambda: invokes a function asynchronously with the statement's output (developerguide/lambda-rule-action.html).

What the function makes of it is not the rule's to know: its errors never reach the error action.
"""

from collections.abc import Mapping

from stepbridge.api.errors import AwsError
from stepbridge.iot.rules.actions.base import IOT, Action, ActionError, Delivery
from stepbridge.iot.rules.sql import UNDEFINED


class LambdaAction(Action):
    """The function's resource policy decides whether this rule may invoke it; there is no role."""

    name = "lambda"
    service = "AWSLambda"
    failure = "Failed to invoke lambda function"
    target_member = "functionArn"
    target_label = "Function arn"

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises AwsError when the function does not exist or may not be invoked."""
        if delivery.output.value is UNDEFINED:
            # developerguide/binary-payloads.html: the action does not support binary payloads.
            raise ActionError(
                "the payload is not JSON, which a function cannot be invoked with; "
                "SELECT encode(*, 'base64') AS data makes it so"
            )
        function = await delivery.text(self.target)
        await delivery.services.functions.invoke_as_service(
            function,
            delivery.output.payload,
            principal=IOT,
            source_arn=delivery.rule_arn,
            source_account=delivery.settings.account,
        )
        return {"Function": function}

    def failure_of(self, error: AwsError) -> str:
        """As in the example of developerguide/http_batching.html."""
        return f"{self.failure}. Received Server error from Lambda. The error code is {error.status or 400}"
