"""Images below a folder: a search by suffix."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".avif"),
    *(".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2"),
)


def find_images(root: Path) -> list[str]:
    """List the images below a folder, links to folders followed, in order.

    Images are known by their suffixes; other files are left out with a warning, hidden ones
    without.

    Args:
        root: The folder.

    Returns:
        Paths below it, with forward slashes.

    Raises:
        ValueError: If there is no image, or a folder is linked to twice.
    """
    found: list[str] = []
    others: list[str] = []
    visited: set[str] = set()
    start = len(str(root)) + 1
    for folder, names, files in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in visited:
            raise ValueError(f"a folder must be linked to once, but {folder} is there twice.")
        visited.add(real)
        names[:] = [name for name in names if not name.startswith(".")]
        below = folder[start:].replace(os.sep, "/") + "/" if len(folder) >= start else ""
        for name in files:
            if not name.startswith("."):
                known = os.path.splitext(name)[1].lower() in SUFFIXES
                (found if known else others).append(below + name)
    if not found:
        raise ValueError(
            f"{root} has no image ({', '.join(SUFFIXES)}). Put images into it, "
            "in a folder for each class where they have classes."
        )
    if others:
        warnings.warn(
            f"{len(others)} files of {root} are not images by their names and are left out, such "
            f"as {min(others)}.",
            stacklevel=4,
        )
    return sorted(found)
