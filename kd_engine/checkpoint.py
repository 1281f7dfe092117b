"""Checkpoints of mmengine's Runner: read without running code, written whole or not at all."""

from __future__ import annotations

import errno
import logging
import os
import re
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import mmengine.runner.checkpoint as mmengine_checkpoint
from mmengine.dist import barrier, get_rank
from mmengine.fileio import get_file_backend, register_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader

from kd_core.atomic import remove_abandoned, write_whole
from kd_core.checkpoint import CheckpointError, read_checkpoint
from kd_engine.allowed import ALLOWED

__all__ = ["ALLOWED", "AtomicLocalBackend", "last_whole_checkpoint", "use_safe_checkpoints"]

_NAME = re.compile(r"(iter|epoch)_(\d+)\.pth")


def use_safe_checkpoints() -> None:
    """Make mmengine read checkpoints safely and write them atomically, in this whole process.

    Reading: local files, http(s) and s3 addresses and the named collections (`torchvision://`,
    `open-mmlab://`, `mmcls://`) go through `kd_core.checkpoint.read_checkpoint`, with what Runner
    itself saves on the allow-list. `pavi://` is refused.

    Writing: mmengine's local file backend writes to a temporary file in the same folder and renames
    it, so a file with its final name is whole at every moment. The backend "disk" of the deprecated
    `file_client_args` is not covered.

    Calling it again changes nothing.
    """
    CheckpointLoader.register_scheme("", load_from_local, force=True)
    CheckpointLoader.register_scheme(("http://", "https://"), load_from_http, force=True)
    CheckpointLoader.register_scheme(
        (r"(\S+\:)?s3://", r"(\S+\:)?petrel://"), load_from_ceph, force=True
    )
    CheckpointLoader.register_scheme("pavi://", load_from_pavi, force=True)
    # The collections look their address up and call this name in their own module.
    mmengine_checkpoint.load_from_http = load_from_http
    register_backend("local", AtomicLocalBackend, force=True, prefixes="")


def last_whole_checkpoint(work_dir: str | os.PathLike[str]) -> str | None:
    """Find the newest `iter_*.pth` or `epoch_*.pth` that training can resume from.

    A damaged file is skipped with a warning that names it. Temporary files that nobody is writing
    any more are removed. The file `last_checkpoint` is not consulted: it may lag behind.

    Args:
        work_dir: Folder of the checkpoints.

    Returns:
        Its path, or None if there is none.

    Raises:
        CheckpointError: If a file is whole but names what a checkpoint may not.
    """
    folder = Path(work_dir)
    if not folder.is_dir():
        return None
    if get_rank() == 0:
        remove_abandoned(folder)
    numbered: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            numbered[match[1]][int(match[2])] = path
    newest = [_newest_whole(paths) for paths in numbered.values()]
    whole = [(iteration, str(path)) for iteration, path in filter(None, newest)]
    if numbered and not whole:
        _warn(f"No checkpoint in {folder} is whole, so training cannot resume from there.")
    return max(whole)[1] if whole else None


class AtomicLocalBackend(LocalBackend):  # type: ignore[misc]
    """mmengine's local backend, except that a file is written whole or not at all."""

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write bytes to a temporary file in the folder of `filepath`, then rename it.

        Args:
            obj: What to write.
            filepath: Final path; its folder is made if need be.

        Raises:
            OSError: If it cannot be written, as on a full disk; what was there before is intact.
        """
        path = Path(os.path.realpath(filepath))  # A link stays a link.
        try:
            write_whole(path, obj)
        except OSError as error:
            raise _explained(error, path) from error

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        """Write text as `put` writes bytes."""
        self.put(obj.encode(encoding), filepath)


def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read a local checkpoint safely (mmengine's loader for paths)."""
    return _read(filename, map_location)


def load_from_http(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint at an http(s) address safely; rank 0 downloads it first."""
    if get_rank() != 0:
        barrier()
    try:
        return _read(filename, map_location)
    finally:  # Without this an error in rank 0 would leave the others waiting.
        if get_rank() == 0:
            barrier()


def load_from_ceph(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint at an s3 or petrel address safely."""
    with get_file_backend(filename).get_local_path(filename) as path:
        return load_from_local(path, map_location)


def load_from_pavi(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Refuse `pavi://`, whose loader unpickles whatever it finds."""
    raise CheckpointError(
        f"{filename} cannot be read safely. Download it and give the path of the file."
    )


def _read(filename: str, map_location: Any) -> dict[str, Any]:
    # Not mapped: CheckpointHook removes old files while the optimizer keeps their tensors.
    return read_checkpoint(filename, ALLOWED, map_location=map_location or "cpu", mmap=False)


def _newest_whole(paths: dict[int, Path]) -> tuple[int, Path] | None:
    for number in sorted(paths, reverse=True):
        problem = _damage(paths[number])
        if not problem:
            checkpoint = read_checkpoint(paths[number], ALLOWED)
            lacking = [
                key for key in ("meta", "state_dict", "message_hub") if key not in checkpoint
            ]
            if not lacking:
                return int(checkpoint["meta"]["iter"]), paths[number]
            problem = f"it lacks {lacking}"
        _warn(f"{paths[number]} is skipped: {problem}. Training can resume only from a whole file.")
    return None


def _damage(path: Path) -> str:
    """Say what is wrong with an archive; every byte of it is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError) as error:
        return f"it is cut off or damaged ({error})"
    return f"it is damaged (checksum of {broken})" if broken else ""


def _warn(text: str) -> None:
    print_log(text, logger="current", level=logging.WARNING)


def _explained(error: OSError, path: Path) -> OSError:
    remedy = "Check the folder."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "Free some space, or keep fewer checkpoints (max_keep_ckpts)."
    text = f"{path} could not be written: {error.strerror or error}."
    return OSError(error.errno, f"{text} What was there before is intact. {remedy}")
