"""Deployment packages."""

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from stepbridge.api.errors import AwsError
from stepbridge.functions.code import CodeStore


def archive(*members: tuple[str, str, int]) -> bytes:
    """A zip file of (name, content, mode)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            opened.writestr(info, content)
    return buffer.getvalue()


def test_a_package_is_unpacked_once(tmp_path: Path) -> None:
    store = CodeStore(tmp_path)
    package = store.keep(archive(("app.py", "1", 0o644), ("bin/run", "2", 0o755)))
    folder = store.unpacked(package.sha256)
    assert (folder / "app.py").read_text() == "1"
    assert os.access(folder / "bin/run", os.X_OK)
    before = folder.stat().st_ino
    assert store.keep(store.archive(package.sha256)) == package
    assert store.unpacked(package.sha256).stat().st_ino == before


@pytest.mark.parametrize("name", ["../outside.py", "/outside.py", "a/../../outside.py"])
def test_a_package_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    store = CodeStore(tmp_path / "code")
    with pytest.raises(AwsError, match="Could not unzip uploaded file"):
        store.keep(archive((name, "x", 0o644)))
    assert not list(tmp_path.rglob("outside.py"))


def test_a_link_that_reaches_outside_is_left_out(tmp_path: Path) -> None:
    store = CodeStore(tmp_path)
    links = [("out", "/etc/passwd", stat.S_IFLNK | 0o777), ("in", "app.py", stat.S_IFLNK | 0o777)]
    package = store.keep(archive(("app.py", "1", 0o644), *links))
    folder = store.unpacked(package.sha256)
    assert (folder / "in").read_text() == "1"
    assert not (folder / "out").is_symlink()


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"PK", archive()):
        with pytest.raises(AwsError) as refused:
            CodeStore(tmp_path).keep(content)
        assert refused.value.code == "InvalidParameterValueException"
