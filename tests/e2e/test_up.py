"""What `stepbridge up` and its companions say on a machine that is not as they would like it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.harness import command, wait_until

from stepbridge.testing import EmulatorProcess

WAITS = {
    "StartAt": "Wait",
    "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}},
}


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """An emulator of one's own, with its data on disk."""
    emulator = EmulatorProcess(tmp_path / "emulator")
    emulator.start()
    yield emulator
    emulator.kill()


def refusal(directory: Path, *options: str) -> str:
    """What is said by an emulator that does not start."""
    emulator = EmulatorProcess(directory, *options)
    emulator.log.unlink(missing_ok=True)
    with pytest.raises(RuntimeError):
        emulator.start()
    return emulator.log.read_text()


def test_the_users_aws_configuration_is_neither_used_nor_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("no section\n[[[")
    (tmp_path / ".aws" / "credentials").write_text("no section either")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "template.json").write_text(json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}))
    emulator = EmulatorProcess(tmp_path / "emulator", "--memory")
    emulator.start()
    deployed = command(emulator, "deploy", str(tmp_path))
    assert deployed.returncode == 0, deployed.stderr
    assert emulator.stop() == 0


def test_a_database_that_is_none_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "stepbridge.sqlite").write_text("this is no database")
    assert refusal(tmp_path) == (
        f"stepbridge: The database in {tmp_path / 'data'} cannot be used (file is not a database): remove it, or use "
        "another --data-dir.\n"
    )


def test_data_of_another_account_or_region_is_refused_and_not_hidden(emulator: EmulatorProcess) -> None:
    assert emulator.stop() == 0
    said = refusal(emulator.directory, "--account=999999999999", "--region=eu-west-1")
    assert said == (
        f"stepbridge: The emulator cannot start: the data directory {emulator.directory / 'data'} is that of account "
        "123456789012 in us-east-1, not of 999999999999 in eu-west-1: start with --account 123456789012 --region "
        "us-east-1, or another --data-dir.\n"
    )
    emulator.start()


def test_output_that_cannot_be_written_ends_it_in_a_sentence(tmp_path: Path) -> None:
    options = ["--port", "0", "--mqtt-port", "0", "--memory", "--data-dir", str(tmp_path)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "stepbridge", "up", *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr == "stepbridge: The output cannot be written: No space left on device.\n"


def test_run_says_that_the_emulator_has_gone_and_not_that_the_start_failed(emulator: EmulatorProcess) -> None:
    emulator.client("stepfunctions").create_state_machine(
        name="waits", definition=json.dumps(WAITS), roleArn="arn:aws:iam::123456789012:role/any"
    )
    following = subprocess.Popen(
        [sys.executable, "-m", "stepbridge", "run", "--name", "one"],
        env=emulator.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    states = emulator.client("stepfunctions")
    machine = states.list_state_machines()["stateMachines"][0]["stateMachineArn"]
    wait_until(lambda: states.list_executions(stateMachineArn=machine)["executions"], "the start of the execution")
    emulator.kill()
    _, said = following.communicate(timeout=60)
    assert following.returncode == 1
    assert said.splitlines()[-1].startswith("stepbridge: Following the execution one, which has been started, failed: ")


def test_a_template_that_is_not_text_is_refused_in_a_sentence(stepbridge: EmulatorProcess, tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_bytes(b"\xff\xfe")
    result = command(stepbridge, "deploy", str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith(f"stepbridge: {tmp_path / 'template.yaml'}: ")
    assert len(result.stderr.splitlines()) == 1
