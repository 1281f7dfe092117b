"""Checkpoints: read without running code, loaded strictly, written whole or not at all."""

from kd_core.checkpoint.load import LoadReport, compare_weights, load_weights
from kd_core.checkpoint.reader import CheckpointError, UnsafeCheckpointError, read_checkpoint

__all__ = [
    "CheckpointError",
    "LoadReport",
    "UnsafeCheckpointError",
    "compare_weights",
    "load_weights",
    "read_checkpoint",
]
