"""Blobs: the pixels of pictures, each a file under a random id, outside any served folder."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from kd_face.errors import FaceError
from kd_face.private_files import write_private

_ID = re.compile(r"[0-9a-f]{32}")


class Blobs:
    """A folder of blobs.

    Args:
        folder: Made on the first write, readable by its owner alone.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, content: bytes) -> str:
        """Write a blob, whole and synced to the disk; return its id of 32 hex digits."""
        name = secrets.token_hex(16)
        self.put(name, content)
        return name

    def put(self, name: str, content: bytes) -> None:
        """Write a blob under an id that it has already, as a backup knows it.

        Raises:
            FaceError: If the id is not 32 hex digits.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.path(name), content)

    def read(self, name: str) -> bytes:
        """Return the content of a blob.

        Raises:
            FaceError: If there is none, or the id is not one.
        """
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            raise FaceError(f"the blob {name} is missing. Restore a backup.") from None

    def delete(self, names: Collection[str]) -> None:
        """Delete blobs; one that is gone already is no error."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Return the file of a blob.

        Raises:
            FaceError: If the id is not 32 hex digits.
        """
        if not _ID.fullmatch(name):
            raise FaceError("the id of a blob must be 32 hex digits, but this one is not.")
        return self.folder / name[:2] / name

    def __iter__(self) -> Iterator[str]:
        """Yield the ids of all blobs."""
        for path in sorted(self.folder.glob("??/*")):
            if _ID.fullmatch(path.name):
                yield path.name

    def sweep(self, known: Collection[str], min_age: float = 3600.0) -> int:
        """Delete what no row names, left by a process that was killed; return how many.

        Args:
            known: Ids that the database has.
            min_age: Seconds since a blob was written: a younger one may belong to a transaction
                that has not ended.
        """
        names, before, found = set(known), time.time() - min_age, 0
        for name in list(self):
            with contextlib.suppress(FileNotFoundError):
                if name not in names and self.path(name).stat().st_mtime <= before:
                    self.path(name).unlink()
                    found += 1
        return found
