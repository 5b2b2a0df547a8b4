"""What was changed in moto: roles, buckets, queues, rules … are there again after a restart, though moto keeps nothing.

The requests that changed something are kept, and carried out again when moto is loaded.  What passes through is not
kept: messages in queues, items in tables, log events.  Each request has a seed for moto's random numbers, so that what
is named at random (a subscription, a secret's ARN) gets the same name again.
"""

import contextlib
import json
import random
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stepbridge.api.http import HttpRequest
from stepbridge.store import Store

_SCHEMA = [
    """
    CREATE TABLE moto_change (
        id INTEGER PRIMARY KEY,
        seed INTEGER NOT NULL,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        query TEXT NOT NULL,
        headers TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT
    """
]
_SERVICES = frozenset({
    "dynamodb", "events", "iam", "kinesis", "logs", "s3", "scheduler", "secretsmanager", "sns", "sqs", "ssm",
})  # fmt: skip
_SCOPE = re.compile(r"(?:/|%2F)([a-z0-9-]+)(?:/|%2F)aws4_request")
_ACTION = re.compile(rb"(?:^|&)Action=(\w+)")
_READS = re.compile(
    r"(Batch)?(Get|List|Describe|Simulate|Generate|Lookup|Query|Scan|Filter|Test|Receive|Encrypt|Decrypt|Validate|Select)"
)
_PASSING = re.compile(
    r"SendMessage|DeleteMessage|ChangeMessageVisibility|PurgeQueue|Publish|PutEvents|PutLogEvents|CreateLogStream"
    r"|(Put|Update|Delete)Item|BatchWriteItem|Transact|ExecuteStatement|BatchExecute|PutRecord"
)


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request that changed something, and the seed that moto's random numbers had then."""

    seed: int
    request: HttpRequest


class MotoJournal:
    """The requests that changed something in moto, in order, in the database."""

    def __init__(self, store: Store) -> None:
        store.migrate("moto", _SCHEMA)
        self._store = store

    def requests(self) -> list[KeptRequest]:
        """All that were kept."""
        rows = self._store.query("SELECT * FROM moto_change ORDER BY id")
        return [
            KeptRequest(
                row["seed"],
                HttpRequest(row["method"], row["path"], row["query"], json.loads(row["headers"]), row["body"]),
            )
            for row in rows
        ]

    async def keep(self, kept: KeptRequest) -> None:
        """Keep a request that has been carried out; returns when it is in the database."""
        request = kept.request
        self._store.execute(
            "INSERT INTO moto_change (seed, method, path, query, headers, body) VALUES (?, ?, ?, ?, ?, ?)",
            (
                kept.seed, request.method, request.path, request.query, json.dumps(dict(request.headers)), request.body
            ),
        )  # fmt: skip
        await self._store.committed()


def service_changed_by(request: HttpRequest) -> str | None:
    """The service of which a request changes something that is to be kept; None if it changes nothing."""
    scope = _SCOPE.search(request.headers.get("authorization", "")) or _SCOPE.search(request.query)
    if scope is None or scope[1] not in _SERVICES or request.method in {"GET", "HEAD", "OPTIONS"}:
        return None
    operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
    if not operation and scope[1] not in {"s3", "scheduler"}:
        action = _ACTION.search(request.body or request.query.encode())
        operation = action[1].decode() if action is not None else ""
    return None if _READS.match(operation) or _PASSING.match(operation) else scope[1]


class _Numbers(threading.local):
    """The random numbers of the request that this thread carries out; None where they need not come again."""

    seeded: random.Random | None = None


_numbers = _Numbers()


@contextlib.contextmanager
def numbers_of(kept: KeptRequest) -> Iterator[None]:
    """Have moto's random numbers on this thread be those of `kept`, whatever other threads ask moto meanwhile."""
    _numbers.seeded = random.Random(kept.seed)  # noqa: S311 - names, not secrets
    try:
        yield
    finally:
        _numbers.seeded = None


def give_each_request_its_own_numbers() -> None:
    """Let moto's random numbers be those of the thread: its own generator is one for all threads."""
    from moto.moto_api._internal import mock_random

    shared = random.Random()  # noqa: S311
    mock_random.getrandbits = lambda bits: (_numbers.seeded or shared).getrandbits(bits)  # type: ignore[method-assign]
    mock_random.random = lambda: (_numbers.seeded or shared).random()  # type: ignore[method-assign]


def name_uploads_by_seed() -> None:
    """Let the ids of S3's multipart uploads come from moto's random numbers, which have a seed, as all others do."""
    from moto.moto_api._internal import mock_random
    from moto.s3.models import FakeMultipart

    make = FakeMultipart.__init__

    def make_with_id(upload: Any, *arguments: Any, **named: Any) -> None:
        make(upload, *arguments, **named)
        upload.id = f"{mock_random.getrandbits(256):064x}"

    FakeMultipart.__init__ = make_with_id  # type: ignore[method-assign, assignment]
