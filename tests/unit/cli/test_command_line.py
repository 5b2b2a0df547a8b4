"""What the command line says before it talks to an emulator, and when there is none."""

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from stepbridge import __version__
from stepbridge.cli.application import main

HEAVY = [
    "boto3", "botocore", "cryptography", "moto", "pydantic", "rich", "samtranslator", "starlette", "uvicorn", "uvloop",
]  # fmt: skip
NOBODY = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Result:
    """What a command left."""

    status: int
    stdout: str
    stderr: str


Stepbridge = Callable[..., Result]


@pytest.fixture
def stepbridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stepbridge:
    """Runs the command in a folder of its own, with no emulator in its environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["stepbridge", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return Result(0 if ended.value.code is None else int(ended.value.code), output.out, output.err)

    return run


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, stepbridge.cli.application; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout.strip() == "[]"


def test_a_command_imports_nothing_heavy_that_it_does_not_need(tmp_path: Path) -> None:
    policy = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    command = "policy explain --policy policy.json --action iot:Publish --resource topic/a --client-id a"
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "stepbridge", *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "stepbridge.authorization" in imported
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ([], ["stepbridge up", 'stepbridge run --input \'{"a": 15, "b": 42}\'']),
        (["up"], ["stepbridge up --memory --port 0 --mqtt-port 0 --ready-file endpoints.json"]),
        (["deploy"], ["stepbridge deploy aws-resources"]),
        (["run"], ['stepbridge run --input \'{"a": 15, "b": 42}\'']),
        (["device", "create"], ["stepbridge device create mqtt-container-client --out certificates"]),
        (["demo"], ['Take {"a": 15, "b": 42} through every hop and back.']),
    ],
)
def test_help_teaches_by_example(stepbridge: Stepbridge, arguments: list[str], lines: list[str]) -> None:
    result = stepbridge(*arguments, "--help")
    assert result.status == 0
    assert set(lines) <= {line.strip() for line in result.stdout.splitlines()}


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["run"], {}, "No emulator runs on the data directory .stepbridge: start one with 'stepbridge up'"),
        (["run", "--data-dir", "other"], {}, "No emulator runs on the data directory other:"),
        (["deploy", "."], {}, "There is no template.yaml or template.yml or template.json in .:"),
        (["deploy", "nowhere"], {}, "There is no template at nowhere."),
        (["demo", "nowhere"], {}, "There is no template at nowhere."),
        (["device", "create", "thing", "--out", "d"], {}, "No emulator runs on the data directory .stepbridge:"),
        (
            ["run", "--endpoint", "http://127.0.0.1:1"],
            {},
            "No emulator answers at http://127.0.0.1:1 (Connection refused)",
        ),
        (["run"], {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "No emulator answers at http://127.0.0.1:1"),
        (["run", "--endpoint", "127.0.0.1:4566"], {}, "The endpoint 127.0.0.1:4566 is not an http:// URL"),
        (
            ["run", "--endpoint", "http://127.0.0.1:port"],
            {},
            "The endpoint http://127.0.0.1:port is not",
        ),
        (["run", "--data-dir", "other"], {"AWS_ENDPOINT_URL": NOBODY}, "No emulator runs on the data directory other:"),
        (["run"], {"AWS_ENDPOINT_URL": ""}, "No emulator runs on the data directory .stepbridge:"),
        (["run", "--input", "{a: 1}"], {}, "The input is not JSON"),
        (["up", "--memory", "--ready-file", "."], {}, "The ready file . cannot be written: name a file"),
        (["up", "--memory", "--ready-file", "file/in/file"], {}, "The ready file file/in/file cannot be written: "),
        (["up", "--memory", "--watch", "nowhere"], {}, "There is no template at nowhere."),
        (["run", "--input", "@nowhere.json"], {}, "The input cannot be read from nowhere.json"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    stepbridge: Stepbridge,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    sentence: str,
) -> None:
    Path("file").touch()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = stepbridge(*arguments)
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr.startswith(f"stepbridge: {sentence}")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["fly"], "No such command 'fly'"),
        (["up", "--port", "70000"], "--port"),
        (["device", "create", "thing"], "--out"),
        (["deploy", ".", "--parameter", "WorkerTopic"], "'WorkerTopic' is not KEY=VALUE"),
        (["up", "--host", "192.0.2.1"], "--host: '192.0.2.1' is no address that this machine can listen on"),
        (["up", "--mqtt-host", "a..b"], "--mqtt-host: 'a..b' is no address that this machine can listen on"),
        (["up", "--hostname", "two words"], "--hostname: 'two words' is not a host's name"),
        (["up", "--region", "moon"], "--region: 'moon' is not a region of the partition aws"),
        (["up", "--region", "us-gov-west-1"], "--region: 'us-gov-west-1' is not a region of the partition aws"),
    ],
)
def test_a_mistake_in_the_command_is_told_as_such(stepbridge: Stepbridge, arguments: list[str], text: str) -> None:
    result = stepbridge(*arguments)
    assert result.status == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_version_as_a_process() -> None:
    command = [sys.executable, "-m", "stepbridge", "version"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout == f"stepbridge {__version__}\n"


def test_ctrl_c_before_the_command_is_read_leaves_no_traceback() -> None:
    code = """
import sys
from stepbridge.cli import main

class Interrupted:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
main()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_a_second_emulator_on_the_same_data_directory_is_refused(stepbridge: Stepbridge, tmp_path: Path) -> None:
    (tmp_path / ".stepbridge").mkdir()
    with (tmp_path / ".stepbridge" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = stepbridge("up")
    assert result.status == 1
    assert result.stderr.startswith("stepbridge: An emulator runs on the data directory .stepbridge already")
    assert len(result.stderr.splitlines()) == 1


def test_a_data_directory_that_is_a_file_is_refused(stepbridge: Stepbridge, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = stepbridge("up", "--data-dir", "file")
    assert result.status == 1
    assert result.stderr.startswith("stepbridge: The data directory file cannot be used")


def test_an_endpoints_file_that_is_broken_says_what_to_do(stepbridge: Stepbridge, tmp_path: Path) -> None:
    (tmp_path / ".stepbridge").mkdir()
    (tmp_path / ".stepbridge" / "endpoints.json").write_text(json.dumps({"mqtt_port": 1}))
    result = stepbridge("run")
    assert result.status == 1
    assert "cannot be read" in result.stderr
    assert "start the emulator again" in result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["version"]])
def test_output_that_cannot_be_written_is_said_in_a_sentence(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "stepbridge", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr == "stepbridge: The output cannot be written: No space left on device.\n"
