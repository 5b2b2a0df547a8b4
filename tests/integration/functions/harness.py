"""A Lambda service for tests, with the other AWS services played by a recorder."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.model import OperationModel

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.clock import Clock, SystemClock
from stepbridge.functions.service import LambdaService
from stepbridge.iam import RoleSession
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

ROLE = "arn:aws:iam::123456789012:role/worker"
CALLER = Caller("123456789012", "us-east-1")


class RecordedCalls:
    """Remembers each call, and answers with what `answers` has for the operation."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: dict[str, dict[str, Any] | AwsError] = {}

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        self.made.append((service, operation, members))
        group = {"logGroupName": members.get("logGroupName")}
        if operation == "CreateLogStream" and group not in self.of("CreateLogGroup"):
            raise AwsError("ResourceNotFoundException", "The specified log group does not exist.", status=400)
        answer = self.answers.get(operation, {})
        if isinstance(answer, AwsError):
            raise answer
        return answer

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [members for _, made, members in self.made if made == operation]


class Unrestricted:
    """An IAM without roles: everything is allowed."""

    async def may_assume(self, service: str, role_arn: str, source_arn: str) -> bool:
        return True

    async def require(self, session: RoleSession, operation: OperationModel, members: Mapping[str, Any]) -> None:
        return None


class Lambda:
    """A Lambda service in `folder`, on a file if `on_disk`."""

    def __init__(self, folder: Path, clock: Clock | None = None, *, on_disk: bool = False) -> None:
        self.clock = clock or SystemClock()
        self.trace = Trace(self.clock)
        self.calls = RecordedCalls()
        self.store = Store(folder / "stepbridge.db" if on_disk else None)
        self.service = LambdaService(
            Settings(data_dir=folder),
            self.store,
            self.clock,
            self.trace,
            lambda: "http://127.0.0.1:4566",
            self.calls,
            Unrestricted(),
        )
        self.functions = self.service.functions

    async def call(self, operation: str, **request: Any) -> Members:
        answer: Members = await getattr(self.service, operation)(CALLER, request)
        return answer

    async def create(self, name: str, code: str | Mapping[str, str], **request: Any) -> Members:
        """A function whose package is `app.py` with this code, or these files."""
        files = {"app.py": code} if isinstance(code, str) else code
        defaults = {
            "Runtime": "python3.11",
            "Handler": "app.handler",
            "Role": ROLE,
            "Code": {"ZipFile": archive(files)},
        }
        return await self.call("create_function", FunctionName=name, **{**defaults, **request})

    async def invoke(self, name: str, event: object = None, **request: Any) -> Any:
        """What the handler returns."""
        answer = await self.call("invoke", FunctionName=name, Payload=json.dumps(event).encode(), **request)
        assert "FunctionError" not in answer, answer["Payload"]
        return json.loads(answer["Payload"])

    async def fail(self, name: str, event: object = None) -> dict[str, Any]:
        """The error that the handler raises."""
        answer = await self.call("invoke", FunctionName=name, Payload=json.dumps(event).encode())
        assert answer["FunctionError"] == "Unhandled"
        document: dict[str, Any] = json.loads(answer["Payload"])
        return document


def archive(files: Mapping[str, str]) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, text in files.items():
            opened.writestr(name, text)
    return buffer.getvalue()
