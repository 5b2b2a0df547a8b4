"""Invocations whose answers are passed on while they come: by function URLs, and by InvokeWithResponseStream.

https://docs.aws.amazon.com/lambda/latest/api/API_InvokeWithResponseStream.html
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from stepbridge.api.service import Caller, Members
from stepbridge.functions.configuration import not_offered
from stepbridge.functions.invoker import Functions, InvocationResult
from stepbridge.functions.response_streams import BrokenStreamError, Head, ResponseStream
from stepbridge.trace import Trace

_running: set[asyncio.Future[InvocationResult]] = set()  # the loop would not keep them


@dataclass(frozen=True, slots=True)
class StreamedInvocation:
    """An invocation that has begun to answer: by `stream`, where there is a `head`, else by its `result` alone."""

    head: Head | None
    stream: ResponseStream
    result: asyncio.Future[InvocationResult]


async def invoke_streaming(functions: Functions, function: str, payload: bytes, **options: Any) -> StreamedInvocation:
    """Invoke `function`, and return when it begins to answer.

    Takes what :meth:`Functions.invoke` does, and raises the same.  Who no longer reads the answer ends nothing: the
    function runs to its end, as on AWS.
    """
    stream = ResponseStream()

    async def invoke() -> InvocationResult:
        broken = True
        try:
            result = await functions.invoke(function, payload, stream=stream, **options)
            broken = result.function_error is not None
            return result
        finally:
            stream.end(broken=broken)

    invocation = asyncio.ensure_future(invoke())
    _running.add(invocation)
    invocation.add_done_callback(_running.discard)
    waiting: set[asyncio.Future[Any]] = {invocation, stream.begun}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        invocation.cancel()
        raise
    if stream.begun.done():
        return StreamedInvocation(stream.begun.result(), stream, invocation)
    invocation.result()  # raises what it raised
    return StreamedInvocation(None, stream, invocation)


class StreamOperations:
    """InvokeWithResponseStream; a part of :class:`~service.LambdaService`."""

    functions: Functions
    _trace: Trace

    async def invoke_with_response_stream(self, caller: Caller, request: Members) -> Members:
        """Handlers of every runtime answer: those that do not stream in one part, whatever their InvokeMode.

        A DryRun runs the function.  That is not what the API reference says, but what the service does, to which AWS's
        own tests of sam hold it: test_invoke_different_boto_options in aws-sam-cli's
        tests/integration/remote/invoke/test_lambda_invoke_response_stream.py.
        """
        if "TenantId" in request:
            raise not_offered("TenantId is")
        if request.get("InvocationType") == "DryRun":
            self._trace.emit(
                "lambda",
                "dry-run-ignored",
                f"InvokeWithResponseStream runs {request['FunctionName']} also as a DryRun, as on AWS: Invoke does not",
            )
        invocation = await invoke_streaming(
            self.functions,
            request["FunctionName"],
            request.get("Payload", b""),
            qualifier=request.get("Qualifier"),
            client_context=request.get("ClientContext"),
            log_tail=request.get("LogType") == "Tail",
        )
        head = invocation.head or Head("application/json", (await invocation.result).executed_version)
        return {
            "StatusCode": 200,
            "ExecutedVersion": head.version,
            "ResponseStreamContentType": head.content_type,
            "EventStream": _events(invocation),
        }


async def _events(invocation: StreamedInvocation) -> AsyncIterator[Members]:
    """The parts of the answer, and at its end what there is to say of it.

    What a runtime reports of a failure midway is for the client, says
    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
    As seen on the service, the error of a handler that has not begun to stream is its payload and nothing else, and an
    answer that a time limit cuts short ends like any other.
    """
    complete: dict[str, str] = {}
    try:
        async for part in invocation.stream.read():
            yield _chunk(part)
    except BrokenStreamError:
        pass  # the result tells why
    result = await invocation.result
    if invocation.head is None:
        yield _chunk(result.payload)
    elif result.error_type is not None:
        complete = {"ErrorCode": result.error_type, "ErrorDetails": result.payload.decode("utf-8", "replace")}
    if result.log_tail is not None:
        complete["LogResult"] = base64.b64encode(result.log_tail).decode()
    yield {"InvokeComplete": complete}


def _chunk(part: bytes) -> Members:
    return {"PayloadChunk": {"Payload": part}}
