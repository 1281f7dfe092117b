"""Bulk import of pictures: a folder or ZIP with one folder for each person, a report per file.

Each picture is stored in a transaction of its own, so an import that was killed keeps what it has
reported, and the same import again adds the rest. Nothing of a ZIP is ever written to the disk
under a name of its own.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from kd_face import audit, people, pictures
from kd_face.errors import FaceError
from kd_face.home import Home
from kd_face.pictures import Networks

ADDED, KNOWN, REFUSED = "added", "known", "refused"
_ENTRY = 2**10  # bytes of the list of a ZIP for each file; its path is most of it


@dataclass(frozen=True)
class ImportLimits:
    """Limits of one import.

    Args:
        max_files: Number of files.
        max_bytes: Bytes of all files together, unpacked.
        max_ratio: Unpacked size of a file of a ZIP over its packed size, for those over 1 MiB.
    """

    max_files: int = 20_000
    max_bytes: int = 4 * 2**30
    max_ratio: float = 100.0


@dataclass(frozen=True)
class FileReport:
    """What became of a file.

    Args:
        name: Its path in the folder or ZIP.
        person: Name of the folder that it is in.
        outcome: ``added``, ``known`` (the person has the same file already) or ``refused``.
        reason: Why it was refused; empty otherwise.
    """

    name: str
    person: str
    outcome: str
    reason: str = ""


def import_people(
    home: Home,
    networks: Networks,
    source: Path | IO[bytes],
    actor: str,
    limits: ImportLimits | None = None,
) -> Iterator[FileReport]:
    """Import pictures, and yield a report for each file once it is stored.

    Args:
        home: The installation.
        networks: Detector, embedder and limits of an image.
        source: A folder or a ZIP, or the open file of one; the folder that a file is in is the
            person's name.
        actor: For the audit log.
        limits: Of the whole import; checked before the first picture is stored.

    Raises:
        FaceError: If the source is neither, is over a limit, or has paths that lead out of it.
    """
    limits = limits or ImportLimits()
    outcomes = {ADDED: 0, KNOWN: 0, REFUSED: 0}
    with _opened(source, limits) as files:
        listed = files.list()
        _require_limits(listed, limits)
        for name, size in sorted(listed.items()):
            report = _import_file(home, networks, files, (name, size), actor)
            outcomes[report.outcome] += 1
            yield report
    with home.write() as session:
        audit.append(session, actor, "import", outcomes)


def _opened(source: Path | IO[bytes], limits: ImportLimits) -> _Folder | _Zip:
    if not isinstance(source, Path):
        return _Zip(source, "the file", limits)
    return _Folder(source) if source.is_dir() else _Zip(_file(source), str(source), limits)


def _file(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise FaceError(f"{path} must be a folder or a ZIP, but it cannot be read.") from error


def _require_limits(listed: dict[str, int], limits: ImportLimits) -> None:
    if len(listed) > limits.max_files:
        raise FaceError(
            f"at most {limits.max_files:,} files are imported at once, but these are "
            f"{len(listed):,} files. Split them."
        )
    if (total := sum(listed.values())) > limits.max_bytes:
        raise FaceError(
            f"at most {limits.max_bytes:,} bytes are imported at once, but these are {total:,} "
            "bytes unpacked. Split them."
        )


def _import_file(
    home: Home, networks: Networks, files: _Folder | _Zip, file: tuple[str, int], actor: str
) -> FileReport:
    name, size = file
    person = PurePosixPath(name).parent.name
    try:
        if not person:
            raise FaceError("it is not in the folder of a person")
        if size > networks.limits.max_bytes:
            raise FaceError(f"it has more than {networks.limits.max_bytes:,} bytes")
        content = files.read(name, networks.limits.max_bytes)
        with home.read() as session:
            found = people.find(session, person)
            if found and pictures.is_known(session, found.id, content):
                return FileReport(name, person, KNOWN)
        prepared = pictures.prepare(networks, content, PurePosixPath(name).name)
        pictures.add_by_name(home, person, networks, prepared, actor)
    except FaceError as error:
        return FileReport(name, person, REFUSED, str(error))
    return FileReport(name, person, ADDED)


class _Folder:
    """Files below a folder; links are not followed."""

    def __init__(self, root: Path):
        self._root = root

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *_: object) -> None: ...

    def list(self) -> dict[str, int]:
        found = {}
        for path in self._root.rglob("*"):
            hidden = any(part.startswith(".") for part in path.relative_to(self._root).parts)
            if not hidden and path.is_file() and not self._is_linked(path):
                found[path.relative_to(self._root).as_posix()] = path.stat().st_size
        return found

    def read(self, name: str, limit: int) -> bytes:
        with (self._root / name).open("rb") as file:
            return file.read(limit + 1)

    def _is_linked(self, path: Path) -> bool:
        inside = [path, *path.parents[: len(path.relative_to(self._root).parts) - 1]]
        return any(one.is_symlink() for one in inside)


class _Zip:
    """Files of a ZIP."""

    def __init__(self, file: IO[bytes], shown: str, limits: ImportLimits):
        self._file, self._limits = _Bounded(file, limits.max_files * _ENTRY), limits
        try:
            self._zip = zipfile.ZipFile(self._file)
        except (OSError, zipfile.BadZipFile) as error:
            file.close()
            raise FaceError(
                f"{shown} must be a folder or a ZIP, but it is neither, or cannot be read."
            ) from error
        self._file.most = None

    def __enter__(self) -> _Zip:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def list(self) -> dict[str, int]:
        found = {}
        for entry in self._zip.infolist():
            parts = PurePosixPath(entry.filename).parts
            if "\\" in entry.filename or entry.filename.startswith("/") or ".." in parts:
                raise FaceError(
                    f"the ZIP has the path {entry.filename!r}, which leads out of it. It is not "
                    "imported."
                )
            ratio = entry.file_size / max(entry.compress_size, 1)
            if entry.file_size > 2**20 and ratio > self._limits.max_ratio:
                raise FaceError(
                    f"{entry.filename} of the ZIP unpacks to {ratio:.0f} times its size, but at "
                    f"most {self._limits.max_ratio:.0f} times is accepted. It is not imported."
                )
            if not entry.is_dir():
                found[entry.filename] = entry.file_size
        return found

    def read(self, name: str, limit: int) -> bytes:
        try:
            with self._zip.open(name) as file:
                return file.read(limit + 1)  # the size that the ZIP declares may be a lie
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            raise FaceError("it is broken, encrypted or packed in an unknown way") from error
        except Exception as error:  # zlib.error, lzma.LZMAError: no common base
            raise FaceError("it is broken") from error


class _Bounded:
    """A file that gives no more than ``most`` bytes at once, as the list of a ZIP is read whole."""

    def __init__(self, file: IO[bytes], most: int | None):
        self._file, self.most = file, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        if self.most is None:
            return self._file.read(size)
        found = self._file.read(min(size, self.most + 1) if size >= 0 else self.most + 1)
        if len(found) > self.most:
            raise FaceError(
                f"the list of files in the ZIP may have at most {self.most:,} bytes, but it has "
                "more. Split it."
            )
        return found
