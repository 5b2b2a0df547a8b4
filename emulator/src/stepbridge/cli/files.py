"""Reading the files that a user names."""

import sys
from pathlib import Path

from stepbridge.cli.errors import CommandError, reason


def read_text(path: Path, what: str) -> str:
    """The text of a file, or of standard input for `-`.  Raises CommandError; `what` names the content in it."""
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CommandError(f"{what} cannot be read from {path}: it is not text in UTF-8.") from None
    except OSError as error:
        raise CommandError(f"{what} cannot be read from {path}: {reason(error)}.") from None


def case_files(paths: list[Path]) -> list[Path]:
    """The files, and the `.json` files below those that are folders.  Raises CommandError if there is none."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        below = sorted(path.rglob("*.json"))
        if not below:
            raise CommandError(f"There is no .json file in the folder {path}.")
        found += below
    return found
