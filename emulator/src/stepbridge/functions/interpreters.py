"""Which Python runs a function, and what it may import there."""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stepbridge.functions.fork_server import RUNTIME_PACKAGES

_PROBE = """
import importlib.util, json, sys
found = {name: importlib.util.find_spec(name) for name in sys.argv[1:]}
print(json.dumps([list(sys.version_info[:3]), {name: spec and spec.origin for name, spec in found.items()}]))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that can run handlers: `version` as in `3.12.4`, `packages` where it has the runtime's packages."""

    executable: str
    version: str
    packages: tuple[tuple[str, str], ...]

    def runs(self, runtime: str) -> bool:
        """Whether this is the version that `runtime` (`python3.12`) asks for."""
        return runtime == "python" + ".".join(self.version.split(".")[:2])

    def link_packages(self, folder: Path) -> Path:
        """A folder below `folder` in which this interpreter finds the runtime's packages and nothing else."""
        linked = folder / f"python-{self.version}"
        linked.mkdir(parents=True, exist_ok=True)
        for name, origin in self.packages:
            source = Path(origin)
            link = linked / (name if source.name == "__init__.py" else source.name)
            target = source.parent if source.name == "__init__.py" else source
            if link.is_symlink():
                if link.readlink() == target:
                    continue
                link.unlink()
            link.symlink_to(target)
        return linked


@cache
def find_interpreter(runtime: str) -> Interpreter:
    """The interpreter for `runtime` (`python3.12`): that version if it is on the PATH with awslambdaric, else ours."""
    ours = _running_interpreter()
    if ours.runs(runtime):
        return ours
    executable = shutil.which(runtime)
    return (executable and _probe(executable)) or ours


@cache
def _running_interpreter() -> Interpreter:
    origins: dict[str, str | None] = {}
    for name in RUNTIME_PACKAGES:
        spec = importlib.util.find_spec(name)
        origins[name] = spec.origin if spec else None
    return Interpreter(sys.executable, ".".join(map(str, sys.version_info[:3])), _found(origins))


def _probe(executable: str) -> Interpreter | None:
    command = [executable, "-I", "-c", _PROBE, *RUNTIME_PACKAGES]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=10, check=True)
        version, origins = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if not (origins["awslambdaric"] and origins["runtime_client"] and origins["boto3"]):
        return None
    return Interpreter(executable, ".".join(map(str, version)), _found(origins))


def _found(origins: dict[str, str | None]) -> tuple[tuple[str, str], ...]:
    return tuple((name, origin) for name, origin in sorted(origins.items()) if origin)
