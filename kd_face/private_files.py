"""Files of an installation: written whole or not at all, readable by their owner alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from kd_core.checkpoint.atomic import temporary_file


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file to write to; it is moved to its place at the end, or removed on failure.

    Args:
        path: Its place.
    """
    with temporary_file(path) as file:
        os.chmod(file.fileno(), 0o600)  # before anything is in it, whatever the umask says
        yield file


def write_private(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Args:
        path: Its place; an existing file stays if the writing fails.
        content: The bytes.
    """
    with private_file(path) as file:
        file.write(content)
