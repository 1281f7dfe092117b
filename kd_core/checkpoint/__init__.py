"""Checkpoints: read without running code, loaded strictly, written whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kd_core.packages import lazy_names

if TYPE_CHECKING:
    from kd_core.checkpoint.load import LoadReport, compare_weights, load_weights
    from kd_core.checkpoint.reader import CheckpointError, UnsafeCheckpointError, read_checkpoint
else:
    __getattr__, __dir__ = lazy_names(  # files are written whole without torch
        __name__,
        {
            "CheckpointError": "kd_core.checkpoint.reader",
            "LoadReport": "kd_core.checkpoint.load",
            "UnsafeCheckpointError": "kd_core.checkpoint.reader",
            "compare_weights": "kd_core.checkpoint.load",
            "load_weights": "kd_core.checkpoint.load",
            "read_checkpoint": "kd_core.checkpoint.reader",
        },
    )

__all__ = [
    "CheckpointError",
    "LoadReport",
    "UnsafeCheckpointError",
    "compare_weights",
    "load_weights",
    "read_checkpoint",
]
