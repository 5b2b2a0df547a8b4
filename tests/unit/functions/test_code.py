"""Deployment packages."""

import asyncio
import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from stepbridge.api.errors import AwsError
from stepbridge.functions.code import CodePackage, CodeStore


def keep(store: CodeStore, content: bytes) -> CodePackage:
    return asyncio.run(store.keep(content))


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
    content = archive(("app.py", "1", 0o644), ("bin/run", "2", 0o755))
    package = keep(store, content)
    folder = store.unpacked(package.sha256)
    assert (folder / "app.py").read_text() == "1"
    assert os.access(folder / "bin/run", os.X_OK)
    (folder / "app.py").write_text("changed")
    assert keep(store, content) == package
    assert (store.unpacked(package.sha256) / "app.py").read_text() == "changed"


def test_packages_that_are_not_used_are_deleted(tmp_path: Path) -> None:
    store = CodeStore(tmp_path)
    used, unused = (keep(store, archive(("app.py", text, 0o644))) for text in "12")
    (tmp_path / "left.partial").mkdir()
    store.prune({used.sha256})
    assert (store.unpacked(used.sha256) / "app.py").read_text() == "1"
    assert len(list(tmp_path.iterdir())) == 2
    assert unused.sha256 != used.sha256


@pytest.mark.parametrize("name", ["../outside.py", "/outside.py", "a/../../outside.py"])
def test_a_package_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    store = CodeStore(tmp_path / "code")
    with pytest.raises(AwsError, match="Could not unzip uploaded file"):
        keep(store, archive((name, "x", 0o644)))
    assert not list(tmp_path.rglob("outside.py"))


def test_a_link_that_reaches_outside_is_left_out(tmp_path: Path) -> None:
    store = CodeStore(tmp_path)
    links = [("out", "/etc/passwd", stat.S_IFLNK | 0o777), ("in", "app.py", stat.S_IFLNK | 0o777)]
    package = keep(store, archive(("app.py", "1", 0o644), *links))
    folder = store.unpacked(package.sha256)
    assert (folder / "in").read_text() == "1"
    assert not (folder / "out").is_symlink()


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"PK", archive()):
        with pytest.raises(AwsError) as refused:
            keep(CodeStore(tmp_path), content)
        assert refused.value.code == "InvalidParameterValueException"
