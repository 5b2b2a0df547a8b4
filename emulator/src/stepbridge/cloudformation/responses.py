"""The answers of custom resources: what a provider PUTs to the ResponseURL of its request.

On AWS that URL is a presigned one of S3; here it is a route of the emulator's own HTTP port, with a secret in it.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref-responses.html
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator

RESPONSE_PATH = "/_stepbridge/cloudformation-response/"


class Responses:
    """Who waits for an answer.  `endpoint` gives the URL of the emulator."""

    def __init__(self, endpoint: Callable[[], str]) -> None:
        self._endpoint = endpoint
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    @contextlib.contextmanager
    def expected(self) -> Iterator[tuple[str, asyncio.Future[bytes]]]:
        """A new ResponseURL and the body that will be sent there; the URL is good until the context is left."""
        token = secrets.token_urlsafe(24)
        answer = self._waiting[token] = asyncio.get_running_loop().create_future()
        try:
            yield f"{self._endpoint()}{RESPONSE_PATH}{token}", answer
        finally:
            del self._waiting[token]

    def take(self, token: str, body: bytes) -> bool:
        """Hand on an answer; whether someone waits for it.  Of several answers the first counts."""
        answer = self._waiting.get(token)
        if answer is None:
            return False
        if not answer.done():
            answer.set_result(body)
        return True
