"""Table of contents of a zip archive: how its entries are packed and how large they are."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

_SMALL = 256 * 2**20  # bytes; an archive may always unpack to this much
_RATIO = 20  # times its own size; weights hardly compress, zeros among them do


@dataclass(frozen=True)
class ZipEntries:
    """Entries of an archive, as it declares them, before any of them is read.

    Attributes:
        stored: Whether no entry is compressed, so that their bytes can be mapped into memory.
        unpacked: Bytes of all entries together, as the archive declares them.
        packed: Bytes of the file.
    """

    stored: bool
    unpacked: int
    packed: int

    @property
    def is_bomb(self) -> bool:
        """Return whether it would unpack to far more than weights of its size can."""
        return self.unpacked > max(_SMALL, _RATIO * self.packed)


def zip_entries(path: Path) -> ZipEntries | None:
    """Read the table of contents of an archive.

    Args:
        path: The file.

    Returns:
        The table, or None if it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        return None
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    return ZipEntries(stored, sum(entry.file_size for entry in entries), path.stat().st_size)
