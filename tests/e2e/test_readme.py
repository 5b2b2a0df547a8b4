"""The front page, tried out: what it has one type is typed, and what it shows is compared."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.harness import ROOT

from stepbridge.cli.display import Display
from stepbridge.testing import EmulatorProcess
from stepbridge.trace import Hop

pytest_plugins = ["pytester"]

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def block(text: str) -> str:
    """The block that has this text."""
    (found,) = [content for _, content in BLOCKS if text in content]
    return str(found)


# What is another one each time: the rest of a line has to be there word for word.
ANOTHER = re.compile(
    r"(?P<id>[0-9a-f]{8}-…)|(?P<suffix>(?<=[-_])[A-Za-z0-9]{12}\b)|(?P<token>…[A-Za-z0-9_-]{6}$)|(?P<number>\d+)"
)
PATTERNS = {"id": r"[0-9a-f]{8}-[0-9a-f-]{27}", "suffix": r"[A-Za-z0-9]{12}", "token": r"…\S{6}", "number": r"\d+"}


def pattern(line: str) -> str:
    """What a line of the page stands for; times are padded with spaces."""
    parts, at = [], 0
    for match in ANOTHER.finditer(line):
        parts += [re.escape(line[at : match.start()]), PATTERNS[str(match.lastgroup)]]
        at = match.end()
    return r"\s*" + "".join([*parts, re.escape(line[at:])]).removeprefix(r"\ \ \ ")


def test_make_demo_prints_what_the_page_shows() -> None:
    command, *shown = [line for line in block("$ make demo").splitlines() if line.strip() != "…"]
    assert command == "$ make demo"
    result = subprocess.run(
        [sys.executable, "-m", "stepbridge", "demo"],  # the recipe, without the installation
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=True,
    )
    printed = result.stdout.splitlines()
    assert len(shown) > 15
    for line in shown:
        assert any(re.fullmatch(pattern(line), each) for each in printed), f"{line}\n\nis not in\n\n{result.stdout}"
    assert re.search(r"^demo:.*\n\t@\$\(BIN\)/stepbridge demo$", (ROOT / "Makefile").read_text(), re.MULTILINE)


def typed(command: str, folder: Path, emulator: EmulatorProcess) -> "subprocess.Popen[str]":
    """A block of the page, typed into a shell that has the repository around it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        ["bash", "-c", f"set -e\n{command}"],
        cwd=folder,
        env={**emulator.environment(), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_the_blocks_of_the_terminals_work_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "aws-resources").symlink_to(ROOT / "aws-resources")
    emulator = EmulatorProcess(tmp_path / "emulator", "--memory")
    emulator.start()
    second = typed(block("device create mqtt-container-client"), tmp_path, emulator)
    assert second.stdout is not None
    try:
        for line in second.stdout:
            if "Waiting for jobs" in line:
                break
        else:
            pytest.fail("the worker did not come to wait for jobs")
        (succeeds,) = [each for _, each in BLOCKS if each.startswith('stepbridge run --input \'{"a": 15')]
        output, _ = typed(succeeds, tmp_path, emulator).communicate(timeout=60)
        assert json.loads(output.splitlines()[-1]) == {"a": 15, "b": 42, "lambdaOutput": {"result": 57}}

        command, *shown = block("ended FAILED").splitlines()
        output, _ = typed(command.removeprefix("$ "), tmp_path, emulator).communicate(timeout=60)
        printed = output.splitlines()[-len(shown) :]
        assert re.fullmatch(re.escape(shown[0]).replace("…", "[0-9a-f-]{36}"), printed[0])
        assert printed[1:] == shown[1:]
    finally:
        os.killpg(second.pid, signal.SIGTERM)
        second.wait(20)
        second.stdout.close()
        emulator.stop()


def test_the_tests_of_the_page_pass(pytester: pytest.Pytester) -> None:
    (pytester.path / "aws-resources").symlink_to(ROOT / "aws-resources")
    files = {content.partition("\n")[0]: content for language, content in BLOCKS if language == "python"}
    assert files.keys() == {"# conftest.py", "# test_sum.py"}
    for name, content in files.items():
        (pytester.path / name.removeprefix("# ")).write_text(content)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=120).assert_outcomes(passed=1)


def test_a_policy_is_explained_in_the_words_of_the_page(tmp_path: Path) -> None:
    shown = " ".join(block("may not publish to up/device-2").split())
    arn = "arn:aws:iot:us-east-1:123456789012:"
    statements = [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": f"{arn}client/device-1"},
        {"Effect": "Allow", "Action": "iot:Publish", "Resource": f"{arn}topic/up/device-1"},
    ]
    (tmp_path / "devices.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    (command,) = [line for line in block("policy explain").splitlines() if "policy explain" in line]
    words = command.replace("policy.json", "devices.json").split()
    result = subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 1
    assert " ".join(result.stdout.split()).removesuffix(".") in shown


def test_up_shows_such_an_explanation_whole(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(block("may not publish to up/device-2").split())
    Display().hop(Hop(0.0, "iot", "publish-refused", text))
    assert text in capsys.readouterr().out


def test_a_statement_of_the_page_can_be_tried(tmp_path: Path) -> None:
    (command,) = [line for line in block("rule test").splitlines() if "rule test" in line]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert json.loads(result.stdout) == {"temp": 51, "d": "d1"}
