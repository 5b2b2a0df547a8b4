"""The front page promises commands: they must exist, with the options that it shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCKS = "\n".join(re.findall(r"^```\w*\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL))
COMMANDS = sorted(set(re.findall(r"^(?:\$ )?(stepbridge [^#\n]+)", BLOCKS, re.MULTILINE)))


def test_the_front_page_shows_commands() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_front_page_exists_with_its_options(command: str) -> None:
    words = shlex.split(command)
    subcommands = words[1:3] if words[1] in ("device", "policy", "rule") else words[1:2]
    shown = subprocess.run(
        [sys.executable, "-m", "stepbridge", *subcommands, "--help"], capture_output=True, text=True, check=True
    ).stdout
    for option in (word for word in words if word.startswith("--")):
        assert option in shown, f"stepbridge {' '.join(subcommands)} has no {option}"


def test_the_files_that_the_front_page_links_are_there() -> None:
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target


def test_make_has_the_targets_of_the_front_page() -> None:
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z-]+)", README.read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
