"""Partial file of a download: its bytes so far, the state that describes them, and a lock.

``x.zip.part`` holds the bytes, ``x.zip.part.json`` the address, validator and size of the file. The
process that fetches holds a lock on ``x.zip.part.lock``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_core.checkpoint.file_lock import hold_lock


class DownloadError(RuntimeError):
    """Error of a file that could not be fetched, or has another checksum."""


def part_of(target: Path) -> Path:
    """Name the part of a file that is being fetched."""
    return target.with_name(target.name + ".part")


def discard_part(target: Path) -> bool:
    """Remove what a broken download has left, unless a process is busy with it.

    Args:
        target: Final name of the file.

    Returns:
        Whether there was something.

    Raises:
        OSError: If it cannot be removed.
    """
    part = part_of(target)
    if not part.is_file():
        return False
    try:
        with locked(part):
            part.unlink(missing_ok=True)
    except DownloadError:
        return False
    return True


@contextlib.contextmanager
def locked(part: Path) -> Iterator[None]:
    """Hold the lock of a part; its state file is removed at the end if there is no part."""
    lock = part.with_name(part.name + ".lock")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(lock))
        except BlockingIOError as error:
            raise DownloadError(
                f"{part} is being fetched by another process. Wait until that has ended, and run "
                "the command again."
            ) from error
        try:
            yield
        finally:
            if not part.exists():
                _state_file(part).unlink(missing_ok=True)
            with contextlib.suppress(PermissionError):  # Windows keeps what is open
                lock.unlink(missing_ok=True)


def read_state(part: Path, url: str) -> dict[str, Any] | None:
    """Return what is known of a part, or None if it cannot be continued from this address."""
    try:
        state = json.loads(_state_file(part).read_text(encoding="utf-8"))
        usable = state["url"] == url and isinstance(state["validator"], str)
        total = state["total"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    whole = total is None or (isinstance(total, int) and total >= length_of(part))
    return state if usable and whole and part.is_file() else None


def write_state(part: Path, url: str, headers: Any, total: int | None) -> None:
    """Start a part anew: note where it comes from, and remove the old bytes."""
    tag = headers.get("ETag") or ""
    weak = tag.startswith("W/")  # HTTP forbids weak tags in If-Range
    validator = headers.get("Last-Modified") if weak or not tag else tag
    state = {"url": url, "validator": validator, "total": total}
    part.unlink(missing_ok=True)  # a new state must never describe old bytes
    _state_file(part).write_text(json.dumps(state), encoding="utf-8")


def length_of(file: Path) -> int:
    """Return the size of a file in bytes; 0 if there is none."""
    return file.stat().st_size if file.is_file() else 0


def _state_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")
