"""Write something new beside its final place, so that it appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_SUFFIX, _LOCK = ".tmp", "lock"


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside a path, to write in; it is removed at the end.

    A killed process leaves its folder behind; the next one that writes to the same path removes it.
    A lock tells which folders are still written to. (Where there are no locks, as on Windows, they
    stay.)

    Args:
        path: What is to be written; missing folders above it are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    place = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent))
    try:
        with (place / "new").open("wb") as mark:
            _lock(mark)
            (place / "new").rename(place / _LOCK)  # nobody finds it before it is locked
            inside = place / "content"
            inside.mkdir()
            yield inside
    finally:
        shutil.rmtree(place, ignore_errors=True)


def put_in_place(made: Path, path: Path) -> None:
    """Move a file or folder out of a temporary folder to its place.

    Args:
        made: Lies in what :func:`temporary_folder` gave, or is that.
        path: Where to; a file or folder that is there goes, but stays if the new one cannot come.
    """
    if not (made.is_dir() and path.exists()):
        os.replace(made, path)
        return
    with tempfile.TemporaryDirectory(dir=made.parent) as aside:
        old = path.rename(Path(aside, "old"))
        try:
            made.rename(path)
        except BaseException:
            old.rename(path)
            raise


def _remove_abandoned(path: Path) -> None:
    for place in path.parent.iterdir():
        name = place.name
        if name.startswith(f".{path.name}.") and name.endswith(_SUFFIX):
            with contextlib.suppress(ImportError, OSError):  # in use, or gone meanwhile
                with (place / _LOCK).open("rb") as mark:
                    _flock(mark)
                shutil.rmtree(place)


def _lock(file: IO[Any]) -> None:
    """Lock a file as long as this process lives."""
    with contextlib.suppress(ImportError, OSError):  # Windows; file systems without locks
        _flock(file)


def _flock(file: IO[Any]) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
