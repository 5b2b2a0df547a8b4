"""A function's folder with its `requirements.txt` installed into it, built once for the same content."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from stepbridge.functions.interpreters import find_interpreter


class BuildError(Exception):
    """The requirements of a function cannot be installed; the text has pip's own words."""


def built_folder(folder: Path, runtime: str) -> Path:
    """`folder` itself if it has no requirements, else a copy of it with them beside its files.

    The copy is kept for the next time, under the hash of the folder's content.  Raises BuildError.
    """
    requirements = folder / "requirements.txt"
    if not requirements.is_file() or not requirements.read_text().strip() or not runtime.startswith("python"):
        return folder
    interpreter = find_interpreter(runtime).executable
    target = _cache() / _content_hash(folder, interpreter)
    if target.is_dir():
        return target
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        built = Path(scratch) / "built"
        command = [
            interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
            "--requirement", str(requirements), "--target", str(built),
        ]  # fmt: skip
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
        if outcome.returncode != 0:
            raise BuildError(f"pip could not install {requirements}:\n{outcome.stderr.strip()}")
        shutil.copytree(folder, built, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        try:
            built.rename(target)
        except OSError:  # someone else was faster with the same content
            if not target.is_dir():
                raise
    return target


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "stepbridge" / "builds"


def _content_hash(folder: Path, interpreter: str) -> str:
    digest = hashlib.sha256(interpreter.encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]
