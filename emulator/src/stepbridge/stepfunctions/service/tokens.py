"""Task tokens and pagination tokens: opaque to whoever holds them, recognised by their seal.

A task token says which task of which execution it is for and is sealed with a secret of this emulator, so a token
needs no row of its own and nobody can make one up.  It is as long as AWS's, which are several hundred characters: who
puts a token into something too small for it (a topic, a file name, a 256-character column) must find out here too.
"""

import base64
import binascii
import hashlib
import hmac
import json
import struct

from stepbridge.api.errors import AwsError
from stepbridge.store import Store

_TASK = struct.Struct(">3sQI")
_TASK_MARK = b"\x01\x02\x80"  # "AQKA" in base64, as AWS's tokens begin with AQ…
_TASK_SEAL_BYTES = 453  # 624 characters in all
_PAGE_SEAL_BYTES = 32


def invalid_token() -> AwsError:
    return AwsError("InvalidToken", "Invalid Token: 'Invalid token'")


class Sealer:
    """Makes and opens tokens with the secret kept in `store`."""

    def __init__(self, store: Store) -> None:
        self._secret: bytes = store.query("SELECT value FROM stepfunctions_secrets WHERE name = 'token'")[0]["value"]

    def task_token(self, execution: int, task: int) -> str:
        """The token of task `task` of the execution with row id `execution`; always the same one."""
        head = _TASK.pack(_TASK_MARK, execution, task)
        return base64.b64encode(head + self._seal(b"task", head, _TASK_SEAL_BYTES)).decode()

    def open_task_token(self, token: str) -> tuple[int, int]:
        """The execution's row id and the task id that `token` is for.  Raises AwsError InvalidToken."""
        try:
            raw = base64.b64decode(token, validate=True)
        except (binascii.Error, ValueError):
            raise invalid_token() from None
        head, seal = raw[: _TASK.size], raw[_TASK.size :]
        if len(head) != _TASK.size or not hmac.compare_digest(seal, self._seal(b"task", head, _TASK_SEAL_BYTES)):
            raise invalid_token()
        _, execution, task = _TASK.unpack(head)
        return execution, task

    def page_token(self, listing: str, position: list[str | int | float]) -> str:
        """A `nextToken` from which `listing` (the operation and what it lists) goes on after `position`."""
        body = json.dumps(position).encode()
        return base64.urlsafe_b64encode(self._seal(listing.encode(), body, _PAGE_SEAL_BYTES) + body).decode()

    def open_page_token(self, listing: str, token: str) -> list[str | int | float]:
        """The position in a token from :meth:`page_token`.  Raises AwsError InvalidToken."""
        try:
            raw = base64.urlsafe_b64decode(token)
        except (binascii.Error, ValueError):
            raise invalid_token() from None
        seal, body = raw[:_PAGE_SEAL_BYTES], raw[_PAGE_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal(listing.encode(), body, _PAGE_SEAL_BYTES)):
            raise invalid_token()
        position: list[str | int | float] = json.loads(body)
        return position

    def _seal(self, purpose: bytes, content: bytes, length: int) -> bytes:
        # SHAKE-256 keyed by prefix is a sound MAC of any length (the sponge has no length extension), and quick.
        return hashlib.shake_256(self._secret + len(purpose).to_bytes(2, "big") + purpose + content).digest(length)
