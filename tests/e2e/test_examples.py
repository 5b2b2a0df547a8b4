"""The examples, tested as their users do."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.harness import ROOT

EXAMPLES = sorted(template.parent for template in (ROOT / "examples").glob("*/template.yaml"))


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_its_tests_pass(example: Path) -> None:
    (command,) = re.findall(r"^\.venv/bin/(pytest .*)$", (example / "README.md").read_text(), re.MULTILINE)
    result = subprocess.run(
        [sys.executable, "-m", *shlex.split(command), "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_files_that_its_page_links_are_there(example: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (example / "README.md").read_text()):
        assert (example / target).exists(), target
