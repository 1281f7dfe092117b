"""Atomic writing of files and folders, whole or not at all, and removal of abandoned leftovers.

Everything is written under a temporary name next to its place, ``.<name>.<16 hex digits>.tmp``, and
renamed. The digits are random, so that writers in several containers or machines that share a file
system do not collide. A writer holds a lock on its file: one with such a name and without a lock
was abandoned. Where there are no locks, as on Windows, abandoned files stay.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from kd_core.checkpoint.file_lock import try_lock

_LOG = logging.getLogger(__name__)
_LOCK = "lock"  # in a temporary folder
# The digits; or, of earlier versions, a process id for files and tempfile's letters for folders.
_FILE = re.compile(r"\.(?P<name>.+)\.([0-9a-f]{16}|[0-9]+)\.tmp")
_FOLDER = re.compile(r"\.(?P<name>.+)\.([0-9a-f]{16}|[0-9a-z_]{8})\.tmp")


def temporary_name(path: Path) -> Path:
    """Return a new hidden path in the folder of another path; see the module."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file, whole or not at all.

    Args:
        path: Missing folders above it are made. An existing file stays if the writing fails.
        content: The bytes.

    Raises:
        OSError: If it cannot be written, as on a full disk.
    """
    with temporary_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file to write to; it is moved to its place at the end, or removed on failure.

    Args:
        path: Its place; missing folders above it are made.

    Raises:
        OSError: If it cannot be written, as on a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, file = _open_locked(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # Windows neither renames nor removes what is open.
                file.close()
            os.replace(temporary, path)  # before the lock goes
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Make an empty folder next to a path, to write in; it is removed at the end.

    Leftovers of a killed process next to the same path are removed first.

    Args:
        path: Final path; missing folders above it are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent, path.name)
    place = temporary_name(path)
    place.mkdir(mode=0o700)
    try:
        with (place / "new").open("wb") as mark:
            try_lock(mark.fileno())
            (place / "new").rename(place / _LOCK)  # no other process finds it before it is locked
            inside = place / "content"
            inside.mkdir()
            yield inside
    finally:
        with contextlib.suppress(OSError):
            _remove_folder(place)


def put_in_place(made: Path, path: Path) -> None:
    """Move a file or folder out of a temporary folder to its place.

    Args:
        made: The folder that :func:`temporary_folder` made, or a file in it.
        path: Its place; an existing file or folder is replaced, but stays if the move fails. If the
            process is killed in between, the next :func:`remove_abandoned` puts it back.
    """
    if not (made.is_dir() and path.exists()):
        os.replace(made, path)
        return
    old = path.rename(temporary_name(made))
    try:
        made.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def remove_abandoned(folder: Path, name: str | None = None) -> None:
    """Remove temporary files and folders that no process writes any more, and log their names.

    Args:
        folder: Their folder; those in folders below stay.
        name: Final name of the file or folder; the default is any.
    """
    for path in list(folder.iterdir()):
        match = (_FOLDER if path.is_dir() else _FILE).fullmatch(path.name)
        if match and (name is None or match["name"] == name):
            with contextlib.suppress(OSError):  # in use, or gone meanwhile
                _remove_unlocked(path)


def _open_locked(path: Path) -> tuple[Path, IO[bytes]]:
    while True:
        temporary = temporary_name(path)
        file = os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "wb")
        with contextlib.suppress(BlockingIOError):
            try_lock(file.fileno())
            if os.fstat(file.fileno()).st_nlink:
                return temporary, file
        file.close()  # Another process took it for abandoned before it was locked.


def _remove_unlocked(path: Path) -> None:
    in_folder = path.is_dir()
    with (path / _LOCK if in_folder else path).open("r+b") as file:
        if not try_lock(file.fileno()):
            return
        if in_folder:
            _put_back(path)
            _remove_folder(path)
        else:
            path.unlink()
        _LOG.warning("removed %s: a killed run had left it", path)


def _remove_folder(folder: Path) -> None:
    """Remove a temporary folder, its lock last: without it nobody would do the rest of a kill."""
    for inside in [one for one in folder.iterdir() if one.is_dir()]:
        shutil.rmtree(inside)
    shutil.rmtree(folder)


def _put_back(folder: Path) -> None:
    """Move the old folder back if its writer was killed between the two moves of put_in_place."""
    match = _FOLDER.fullmatch(folder.name)
    target = folder.with_name(match["name"]) if match else folder
    for old in [one for one in folder.iterdir() if _FOLDER.fullmatch(one.name)]:
        if not target.exists():
            old.rename(target)
            _LOG.warning("%s is back: a run was killed while it was replaced", target)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Some file systems cannot sync a folder.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
