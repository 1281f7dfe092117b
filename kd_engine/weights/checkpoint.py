"""Checkpoints of mmengine's Runner: read without running code, written whole or not at all."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmengine.runner.checkpoint as mmengine_checkpoint
from mmengine.dist import barrier, get_rank
from mmengine.fileio import get_file_backend, register_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader

from kd_core.checkpoint.atomic import write_whole
from kd_core.checkpoint.load import CheckpointError, read_checkpoint
from kd_engine.weights.missing import require_weights
from kd_engine.weights.safe_globals import ALLOWED

__all__ = ["ALLOWED", "AtomicLocalBackend", "use_safe_checkpoints"]


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


class AtomicLocalBackend(LocalBackend):  # type: ignore[misc]
    """Local backend of mmengine, except that a file is written whole or not at all."""

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write bytes to a temporary file in the folder of `filepath`, then rename it.

        Args:
            obj: The bytes.
            filepath: Final path; its folder is made if necessary.

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


def without_code(checkpoint: dict[str, Any], source: str) -> dict[str, Any]:
    """Remove the text that mmengine would run as a Python config: ``meta["config"]``.

    Runner.resume passes it to Config.fromstring. Runner itself saves its config as ``cfg``, which
    nothing here runs.

    Args:
        checkpoint: The checkpoint; it is not changed.
        source: Name for the warning.
    """
    meta = checkpoint.get("meta")
    if not isinstance(meta, Mapping) or "config" not in meta:
        return checkpoint
    print_log(
        f"meta['config'] of {source} is left out: it is text that would run as a program.",
        logger="current",
        level=logging.WARNING,
    )
    return {**checkpoint, "meta": {key: meta[key] for key in meta if key != "config"}}


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
    require_weights(filename)
    # Not mapped: CheckpointHook removes old files while the optimizer keeps their tensors.
    return without_code(
        read_checkpoint(filename, ALLOWED, map_location=map_location or "cpu", mmap=False), filename
    )


def _explained(error: OSError, path: Path) -> OSError:
    remedy = "Check the folder."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "Free some space, or keep fewer checkpoints (max_keep_ckpts)."
    text = f"{path} could not be written: {error.strerror or error}."
    return OSError(error.errno, f"{text} What was there before is intact. {remedy}")
