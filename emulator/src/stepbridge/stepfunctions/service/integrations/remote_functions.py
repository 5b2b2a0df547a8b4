"""Lambda functions that run where Step Functions Local's LAMBDA_ENDPOINT says, such as `sam local start-lambda`."""

from dataclasses import dataclass
from typing import Any

from stepbridge.stepfunctions.service.integrations.aws_calls import AwsCalls
from stepbridge.stepfunctions.service.integrations.sdk_metadata import new_request_id


@dataclass(frozen=True, slots=True)
class _Result:
    status_code: int
    payload: bytes
    function_error: str | None
    executed_version: str
    request_id: str


class RemoteFunctions:
    """Invokes functions through `calls`."""

    def __init__(self, calls: AwsCalls) -> None:
        self._calls = calls

    async def invoke(
        self,
        function: str,
        payload: bytes,
        /,
        *,
        qualifier: str | None = None,
        invocation_type: str = "RequestResponse",
        client_context: str | None = None,
    ) -> _Result:
        """Call Invoke.  Raises AwsError."""
        members: dict[str, Any] = {"Qualifier": qualifier, "ClientContext": client_context}
        answer = await self._calls.call(
            "lambda",
            "Invoke",
            FunctionName=function,
            Payload=payload,
            InvocationType=invocation_type,
            **{name: value for name, value in members.items() if value is not None},
        )
        return _Result(
            answer["StatusCode"],
            answer.get("Payload", b""),
            answer.get("FunctionError"),
            answer.get("ExecutedVersion", "$LATEST"),
            new_request_id(),
        )
