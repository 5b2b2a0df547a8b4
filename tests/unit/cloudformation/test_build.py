"""Functions with a requirements.txt: built once for the same content."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from stepbridge.cloudformation.build import BuildError, built_folder


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A function that requires a package, which lies beside it; nothing of the index is needed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    wheel = tmp_path / "greeter-1-py3-none-any.whl"
    _write_wheel(wheel)
    folder = tmp_path / "function"
    folder.mkdir()
    (folder / "app.py").write_text("import greeter\n")
    (folder / "requirements.txt").write_text(f"{wheel}\n")
    return folder


def _write_wheel(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("greeter.py", "GREETING = 'hello'\n")
        wheel.writestr("greeter-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeter\nVersion: 1\n")
        wheel.writestr("greeter-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("greeter-1.dist-info/RECORD", "")


def test_requirements_are_installed_once(function: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = built_folder(function, "python3.13")
    assert (built / "greeter.py").is_file()
    assert (built / "app.py").is_file()
    assert not (function / "greeter.py").exists()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("pip was run again")

    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", never)
    assert built_folder(function, "python3.13") == built
    monkeypatch.setattr(subprocess, "run", run)
    (function / "app.py").write_text("import greeter  # changed\n")
    again = built_folder(function, "python3.13")
    assert again != built
    assert (again / "app.py").read_text().endswith("# changed\n")


def test_what_cannot_be_installed_is_told_in_the_words_of_pip(function: Path) -> None:
    (function / "requirements.txt").write_text("no-such-package-anywhere==1\n")
    with pytest.raises(BuildError, match=r"(?s)pip could not install .*requirements.txt:.*no-such-package-anywhere"):
        built_folder(function, "python3.13")


def test_without_requirements_there_is_nothing_to_build(function: Path) -> None:
    (function / "requirements.txt").write_text("\n")
    assert built_folder(function, "python3.13") == function
