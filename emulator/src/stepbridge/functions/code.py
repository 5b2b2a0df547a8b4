"""Deployment packages: the zip files functions are made of, kept and unpacked once per content."""

import asyncio
import base64
import hashlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stepbridge.functions.refusals import invalid

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_UNZIPPED = 262_144_000
_ARCHIVE = ".zip"
_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class CodePackage:
    """A kept package: `sha256` is base64, as Lambda gives it, `size` that of the zip file in bytes."""

    sha256: str
    size: int


class CodeStore:
    """Keeps packages in `folder`, by the hash of their content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, archive: bytes) -> CodePackage:
        """Keep and unpack the zip file `archive`; raises InvalidParameterValueException if Lambda would refuse it."""
        return await asyncio.to_thread(self._keep, archive)

    def unpacked(self, sha256: str) -> Path:
        """The folder that holds the files of a kept package: a function's /var/task."""
        folder = self._folder / base64.b64decode(sha256).hex()
        if not folder.exists():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = Path(tempfile.mkdtemp(suffix=_PARTIAL, dir=self._folder))
            with zipfile.ZipFile(folder.with_suffix(_ARCHIVE)) as archive:
                for member in archive.infolist():
                    _extract(archive, member, partial)
            partial.chmod(0o755)
            try:
                partial.rename(folder)
            except OSError:  # another thread was faster
                shutil.rmtree(partial)
        return folder

    def archive(self, name: str) -> Path | None:
        """The zip file of a kept package, by the name in :meth:`name`; None if there is none."""
        path = self._folder / f"{name}{_ARCHIVE}"
        return path if name.isalnum() and path.exists() else None

    @staticmethod
    def name(sha256: str) -> str:
        """What a kept package is called in URLs."""
        return base64.b64decode(sha256).hex()

    def merged(self, packages: Sequence[str]) -> Path:
        """One folder with the files of several kept packages; of those of the same name the last package's."""
        if len(packages) == 1:
            return self.unpacked(packages[0])
        folder = self._folder / f"merged-{hashlib.sha256(' '.join(packages).encode()).hexdigest()}"
        if not folder.exists():
            partial = Path(tempfile.mkdtemp(suffix=_PARTIAL, dir=self._folder))
            for package in packages:
                shutil.copytree(self.unpacked(package), partial, symlinks=True, copy_function=_link, dirs_exist_ok=True)
            partial.chmod(0o755)
            partial.rename(folder)
        return folder

    def prune(self, used: Collection[str]) -> None:
        """Delete all packages but those with the hashes `used`."""
        names = {base64.b64decode(sha256).hex() for sha256 in used}
        for path in self._folder.iterdir() if self._folder.exists() else ():
            if path.stem in names and path.suffix != _PARTIAL:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _keep(self, archive: bytes) -> CodePackage:
        _check(archive)
        digest = hashlib.sha256(archive).digest()
        package = CodePackage(base64.b64encode(digest).decode(), len(archive))
        path = self._folder / f"{digest.hex()}{_ARCHIVE}"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, partial = tempfile.mkstemp(suffix=_PARTIAL, dir=self._folder)
            with open(descriptor, "wb") as file:
                file.write(archive)
            Path(partial).rename(path)
        self.unpacked(package.sha256)
        return package


def _link(source: str, destination: str) -> None:
    Path(destination).unlink(missing_ok=True)
    os.link(source, destination)


def _check(archive: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise invalid("Could not unzip uploaded file. Please check your file, then try to upload again.") from error
    if not members:
        raise invalid("Uploaded file must be a non-empty zip")
    if sum(member.file_size for member in members) > MAX_UNZIPPED:
        raise invalid(f"Unzipped size must be smaller than {MAX_UNZIPPED} bytes")
    for member in members:
        if _escapes(member):
            raise invalid(
                f"Could not unzip uploaded file: {member.filename!r} is outside of the function's folder. "
                "Please check your file, then try to upload again."
            )


def _escapes(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    return path.is_absolute() or ".." in path.parts


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        target = archive.read(member).decode()
        link = folder / member.filename
        if not (link.parent / target).resolve().is_relative_to(folder.resolve()):
            return  # it would dangle on Lambda, where there is nothing outside of the folder to point to
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        return
    extracted = Path(archive.extract(member, folder))
    if mode and not member.is_dir():
        extracted.chmod(stat.S_IMODE(mode) & 0o755 | stat.S_IRUSR | stat.S_IWUSR)
