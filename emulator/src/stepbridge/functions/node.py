"""Node.js for functions: the interpreter on the PATH with AWS's runtime interface client for it.

https://github.com/aws/aws-lambda-nodejs-runtime-interface-client
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CLIENT = "aws-lambda-ric"
RUNTIME = re.compile(r"nodejs(\d+)\.x")


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js that can run handlers: `version` as in `22.4.1`, `command` what runs the handler named after it."""

    version: str
    command: tuple[str, str]

    def runs(self, runtime: str) -> bool:
        """Whether this is the version that `runtime` (`nodejs22.x`) asks for."""
        return runtime == f"nodejs{self.version.partition('.')[0]}.x"


@cache
def find_node() -> Node | str:
    """The Node.js there is, or what is missing."""
    executable = shutil.which("node")
    if executable is None:
        return "there is no node on the PATH"
    try:
        answer = subprocess.run([executable, "--version"], capture_output=True, timeout=10, check=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{executable} cannot be run: {error}"
    for folder in _module_folders(executable):
        client = _client(folder)
        if client is not None:
            return Node(answer.stdout.strip().removeprefix("v"), (executable, client))
    return f"{executable} has no {CLIENT}: npm install --global {CLIENT}"


def _module_folders(executable: str) -> list[Path]:
    """Where global packages are, NODE_PATH first as Node.js itself has it."""
    named = [Path(entry) for entry in os.environ.get("NODE_PATH", "").split(os.pathsep) if entry]
    prefixes = [Path(executable).parent.parent, Path(executable).resolve().parent.parent, Path("/usr/local")]
    return [*named, *(prefix / "lib/node_modules" for prefix in prefixes)]


def _client(folder: Path) -> str | None:
    """The program of the runtime interface client in a folder of packages."""
    try:
        program = json.loads((folder / CLIENT / "package.json").read_text())["bin"]
        path = folder / CLIENT / (program if isinstance(program, str) else program[CLIENT])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(path) if path.exists() else None
