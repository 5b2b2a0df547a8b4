"""The client's side of a deploy: package what the template refers to, send it, follow the stack to its end.

It speaks to the emulator as `sam deploy` does: artifacts to S3, a change set, its execution, the stack's events.
"""

import hashlib
import io
import os
import time
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stepbridge.api.client import emulator_client
from stepbridge.cloudformation.build import BuildError, built_folder
from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.template import Template, parse_template
from stepbridge.settings import DEFAULT_REGION

ARTIFACT_BUCKET = "stepbridge-artifacts"

_POLL_SECONDS = 0.1
_CAPABILITIES = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
# Where a template may name something local, and the form in which the place of the upload is written there.
_URI, _BUCKET_AND_KEY, _S3_BUCKET_AND_KEY = (
    "s3://{0}/{1}",
    '{{"Bucket": "{0}", "Key": "{1}"}}',
    ('{{"S3Bucket": "{0}", "S3Key": "{1}"}}'),
)
_LOCAL = {
    ("AWS::Serverless::Function", "CodeUri"): _URI,
    ("AWS::Serverless::LayerVersion", "ContentUri"): _URI,
    ("AWS::Serverless::StateMachine", "DefinitionUri"): _BUCKET_AND_KEY,
    ("AWS::Lambda::Function", "Code"): _S3_BUCKET_AND_KEY,
    ("AWS::Lambda::LayerVersion", "Content"): _S3_BUCKET_AND_KEY,
    ("AWS::StepFunctions::StateMachine", "DefinitionS3Location"): _BUCKET_AND_KEY,
}  # fmt: skip


class DeployError(Exception):
    """The deploy did not come to its end; the text says which resource or file is to blame, and why."""


@dataclass(frozen=True, slots=True)
class StackEvent:
    """One event of the stack, for display: `str()` is a line."""

    logical_id: str
    resource_type: str
    status: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.status:<20} {self.resource_type} {self.logical_id}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class StackResult:
    """A stack that is complete: its outputs, and the physical id of each resource."""

    outputs: Mapping[str, str]
    resources: Mapping[str, str]
    changed: bool = True


@dataclass(slots=True)
class _Artifacts:
    """The uploads of one deploy; the key of each is the hash of its content, so that the same is sent once."""

    s3: Any
    uploaded: set[str] = field(default_factory=set)

    def upload(self, content: bytes, suffix: str = "") -> str:
        key = hashlib.sha256(content).hexdigest()[:32] + suffix
        if key not in self.uploaded:
            self.s3.put_object(Bucket=ARTIFACT_BUCKET, Key=key, Body=content)
            self.uploaded.add(key)
        return key


def deploy(
    template_path: Path,
    stack_name: str,
    parameters: Mapping[str, str],
    endpoint_url: str,
    on_event: Callable[[StackEvent], object],
    *,
    region: str = DEFAULT_REGION,
) -> StackResult:
    """Deploy the template at `template_path` as the stack `stack_name`, telling each event as it happens.

    `region` is the region of the emulator at `endpoint_url`.  Raises DeployError, with the stack as it was before (or
    gone, if it is new).
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        artifacts = _Artifacts(emulator_client("s3", endpoint_url, region))
        key, template = _packaged(template_path, artifacts)
        deployment = _Deployment(emulator_client("cloudformation", endpoint_url, region), stack_name, on_event)
        declared = template.section("Parameters").keys()
        return deployment.run(f"{endpoint_url}/{ARTIFACT_BUCKET}/{key}", declared, parameters)
    except (TemplateError, BuildError, OSError, UnicodeDecodeError) as error:
        raise DeployError(f"{template_path}: {error}") from None
    except ClientError as error:
        raise DeployError(f"{template_path}: {error.response['Error']['Message']}") from None
    except BotoCoreError as error:
        raise DeployError(f"The emulator at {endpoint_url} cannot be reached: {error}") from None


# Packaging


def local_paths(template_path: Path) -> list[Path]:
    """The template and the files and folders that it refers to, as far as it can be read."""
    try:
        references = list(_local_references(template_path.read_text()))
    except (OSError, ValueError, yaml.YAMLError):
        references = []
    return [template_path, *((template_path.parent / local).resolve() for _, _, local, _, _ in references)]


def _packaged(template_path: Path, artifacts: _Artifacts) -> tuple[str, Template]:
    """Upload the template and what it refers to; the template's key, and the template as it is written."""
    text = template_path.read_text()
    template = parse_template(text)
    location = (
        {}
        if artifacts.s3.meta.region_name == "us-east-1"
        else {"CreateBucketConfiguration": {"LocationConstraint": artifacts.s3.meta.region_name}}
    )
    try:
        artifacts.s3.head_bucket(Bucket=ARTIFACT_BUCKET)
    except artifacts.s3.exceptions.ClientError:
        artifacts.s3.create_bucket(Bucket=ARTIFACT_BUCKET, **location)
    replacements = [
        (start, end, form.format(ARTIFACT_BUCKET, _upload(local, template_path, template, owner, artifacts)))
        for start, end, local, form, owner in _local_references(text)
    ]
    for start, end, written in sorted(replacements, reverse=True):
        text = text[:start] + written + text[end:]
    return artifacts.upload(text.encode(), ".template"), template


def _local_references(text: str) -> Iterator[tuple[int, int, str, str, str]]:
    """Where in the text something local is named: start, end, what, the form to replace it by, whose it is.

    The text itself is edited, so that line numbers in the emulator's errors are those of the user's file.
    """
    root = yaml.SafeLoader(text).get_single_node()
    for logical_id, resource in _entries(_entry(root, "Resources")):
        type_node, properties = _entry(resource, "Type"), _entry(resource, "Properties")
        for (type_name, property_name), form in _LOCAL.items():
            node = _entry(properties, property_name)
            if isinstance(type_node, yaml.ScalarNode) and type_node.value == type_name:
                yield from _local_reference(node, form, logical_id)
    yield from _local_reference(_entry(_entry(_entry(root, "Globals"), "Function"), "CodeUri"), _URI, "Globals")


def _local_reference(node: yaml.Node | None, form: str, owner: str) -> Iterator[tuple[int, int, str, str, str]]:
    plain = isinstance(node, yaml.ScalarNode) and not node.tag.startswith("!")
    if node is not None and plain and not node.value.startswith("s3://"):
        quoted = f'"{form}"' if form is _URI else form
        yield node.start_mark.index, node.end_mark.index, node.value, quoted, owner


def _entries(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key.value, value


def _entry(node: yaml.Node | None, name: str) -> yaml.Node | None:
    return dict(_entries(node)).get(name)


def _upload(local: str, template_path: Path, template: Template, owner: str, artifacts: _Artifacts) -> str:
    path = (template_path.parent / local).resolve()
    if path.is_dir():
        return artifacts.upload(zipped(built_folder(path, _runtime(template, owner))))
    if path.is_file():
        return artifacts.upload(path.read_bytes())
    raise DeployError(f"{template_path}: {owner} refers to {local}, and there is no file or folder {path}")


def _runtime(template: Template, owner: str) -> str:
    own = template.resources.get(owner, {}).get("Properties", {}).get("Runtime")
    runtime = own or template.section("Globals").get("Function", {}).get("Runtime", "")
    return runtime if isinstance(runtime, str) else ""


def zipped(folder: Path) -> bytes:
    """The files of a folder as a zip that is the same, byte for byte, whenever the files are."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
        for path in sorted(folder.rglob("*")):
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
            package.writestr(entry, path.read_bytes())
    return archive.getvalue()


# The stack


class _Deployment:
    """One change of one stack, from the client's side."""

    def __init__(self, cloudformation: Any, stack_name: str, on_event: Callable[[StackEvent], object]) -> None:
        self._cloudformation = cloudformation
        self._stack_name = stack_name
        self._on_event = on_event

    def run(self, template_url: str, declared: Collection[str], parameters: Mapping[str, str]) -> StackResult:
        """Bring the stack to the template at a URL, which declares some parameters.

        Those that have no value in `parameters` keep the one that the stack has, as with `aws cloudformation deploy`.
        """
        stack = self._describe()
        if stack is not None and stack["StackStatus"] in {"ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED"}:
            self._remove(stack)  # what never came to be cannot be updated
            stack = None
        new = stack is None or stack["StackStatus"] == "REVIEW_IN_PROGRESS"
        before = {each["ParameterKey"] for each in (stack or {}).get("Parameters", [])}
        kept = sorted(name for name in before.intersection(declared) if name not in parameters)
        change_set = self._cloudformation.create_change_set(
            StackName=self._stack_name,
            ChangeSetName=f"stepbridge-deploy-{time.time_ns()}",
            ChangeSetType="CREATE" if new else "UPDATE",
            TemplateURL=template_url,
            Capabilities=_CAPABILITIES,
            Parameters=[
                *({"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()),
                *({"ParameterKey": name, "UsePreviousValue": True} for name in kept),
            ],
        )  # fmt: skip
        described = self._cloudformation.describe_change_set(ChangeSetName=change_set["Id"])
        if described["Status"] == "FAILED":
            reason = described.get("StatusReason", "")
            self._cloudformation.delete_change_set(ChangeSetName=change_set["Id"])
            if "didn't contain changes" in reason or "No updates are to be performed" in reason:
                return self._result(changed=False)
            raise DeployError(reason)
        seen = {event["EventId"] for event in self._events(change_set["StackId"])}
        self._cloudformation.execute_change_set(ChangeSetName=change_set["Id"])
        self._follow(change_set["StackId"], seen)
        return self._result(changed=True)

    def _describe(self) -> dict[str, Any] | None:
        try:
            stack: dict[str, Any] = self._cloudformation.describe_stacks(StackName=self._stack_name)["Stacks"][0]
        except self._cloudformation.exceptions.ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return stack

    def _remove(self, stack: Mapping[str, Any]) -> None:
        seen = {event["EventId"] for event in self._events(stack["StackId"])}
        self._cloudformation.delete_stack(StackName=self._stack_name)
        self._follow(stack["StackId"], seen)

    def _events(self, stack_id: str) -> list[dict[str, Any]]:
        pages = self._cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        return [event for page in pages for event in page["StackEvents"]]

    def _follow(self, stack_id: str, seen: set[str]) -> None:
        """Tell the events as they come, until the stack's own says that it is over."""
        failures: list[StackEvent] = []
        while True:
            for event in reversed([each for each in self._events(stack_id) if each["EventId"] not in seen]):
                seen.add(event["EventId"])
                shown = StackEvent(
                    event["LogicalResourceId"], event["ResourceType"], event["ResourceStatus"],
                    event.get("ResourceStatusReason"),
                )  # fmt: skip
                self._on_event(shown)
                own = event["PhysicalResourceId"] == stack_id
                if shown.status.endswith("_FAILED") and not own:
                    failures.append(shown)
                if own and not shown.status.endswith("_IN_PROGRESS"):
                    if shown.status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"}:
                        return
                    raise DeployError(self._failure(shown, failures))
            time.sleep(_POLL_SECONDS)

    def _failure(self, end: StackEvent, failures: list[StackEvent]) -> str:
        told = "; ".join(f"{each.logical_id} ({each.resource_type}): {each.reason}" for each in failures)
        return f"The stack {self._stack_name} ended {end.status}. {told or end.reason or ''}".strip()

    def _result(self, *, changed: bool) -> StackResult:
        stack = self._describe() or {}
        pages = self._cloudformation.get_paginator("list_stack_resources").paginate(StackName=self._stack_name)
        resources = {
            each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
            for page in pages
            for each in page["StackResourceSummaries"]
        }
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
        return StackResult(outputs, resources, changed)
