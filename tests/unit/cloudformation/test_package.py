"""The client's packaging: what is local in a template is replaced in its text, and nothing else."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from stepbridge.cloudformation.package import DeployError, _Artifacts, _packaged, zipped
from stepbridge.cloudformation.template import parse_template

TEMPLATE = """\
Transform: AWS::Serverless-2016-10-31
Resources:
  Worker:  # keeps its comment
    Type: AWS::Serverless::Function
    Properties: {CodeUri: code/, Handler: app.handler, Runtime: python3.13}
  Elsewhere:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: s3://bucket/key
  Plain:
    Type: AWS::Lambda::Function
    Properties:
      Code: code
      Description: !Sub "code"
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      DefinitionUri: machine.asl.json
"""


class FakeS3:
    """Keeps what is put."""

    class exceptions:  # noqa: N801 boto3's name
        ClientError = RuntimeError

    class meta:  # noqa: N801 boto3's name
        region_name = "us-east-1"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def head_bucket(self, **_: Any) -> None:
        pass

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803 boto3's names
        self.objects[f"{Bucket}/{Key}"] = Body


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("def handler(event, context): return 1\n")
    (tmp_path / "machine.asl.json").write_text('{"StartAt": "A", "States": {}}')
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    return tmp_path / "template.yaml"


def test_local_references_are_uploaded_and_replaced(project: Path) -> None:
    s3 = FakeS3()
    key, _ = _packaged(project, _Artifacts(s3))
    text = s3.objects[f"stepbridge-artifacts/{key}"].decode()
    resources = parse_template(text).resources
    code = resources["Plain"]["Properties"]["Code"]
    machine = resources["Machine"]["Properties"]["DefinitionUri"]
    assert resources["Worker"]["Properties"]["CodeUri"] == f"s3://{code['S3Bucket']}/{code['S3Key']}"
    assert resources["Elsewhere"]["Properties"]["CodeUri"] == "s3://bucket/key"
    assert s3.objects[f"{machine['Bucket']}/{machine['Key']}"] == b'{"StartAt": "A", "States": {}}'
    with zipfile.ZipFile(BytesIO(s3.objects[f"{code['S3Bucket']}/{code['S3Key']}"])) as package:
        assert package.namelist() == ["app.py"]
    assert len(s3.objects) == 3  # the folder once, the definition, the template
    assert "# keeps its comment" in text
    assert parse_template(text).line("Resources", "Machine") == parse_template(TEMPLATE).line("Resources", "Machine")


def test_the_same_files_are_the_same_package(project: Path) -> None:
    folder = project.parent / "code"
    first = zipped(folder)
    (folder / "app.py").touch()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "app.pyc").write_bytes(b"x")
    assert zipped(folder) == first


def test_a_missing_folder_is_named(project: Path) -> None:
    project.write_text(TEMPLATE.replace("code/", "nowhere/"))
    with pytest.raises(DeployError, match="Worker refers to nowhere/, and there is no file or folder"):
        _packaged(project, _Artifacts(FakeS3()))
