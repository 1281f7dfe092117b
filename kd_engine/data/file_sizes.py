"""Sizes of many files at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence


def file_sizes(folders: Iterable[str]) -> dict[str, int]:
    """List folders instead of querying each file: many times faster for 100,000 files.

    Args:
        folders: Folders; those that do not exist are left out, and ``""`` is the current one.

    Returns:
        Path of each file directly in them to its bytes. The path is the folder as given, joined
        with the name.
    """
    sizes: dict[str, int] = {}
    for folder in folders:
        if not os.path.isdir(folder or os.curdir):
            continue
        with os.scandir(folder or os.curdir) as listing:
            for file in listing:
                if file.is_file():
                    sizes[os.path.join(folder, file.name)] = file.stat().st_size
    return sizes


def sizes_of(paths: Sequence[str]) -> dict[str, int]:
    """Return the bytes of files by listing their folders; files that are missing are left out.

    Args:
        paths: The files.
    """
    sizes = file_sizes({os.path.dirname(path) for path in paths})
    return {path: sizes[path] for path in paths if path in sizes}
